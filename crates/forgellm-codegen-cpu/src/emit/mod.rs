//! The generated files: `src/model.rs` from a plan, and the few around it.

mod dialect;

use forgellm_codegen::{Program, RustWriter, TOKENIZER_FILE, WEIGHTS_FILE};
use forgellm_plan::Plan;

pub(crate) use dialect::CpuDialect;

/// `src/main.rs`.
pub(crate) fn main(program: &Program) -> String {
    let mut w = RustWriter::new();
    w.line(format!("//! {}, compiled for the CPU by ForgeLLM.", program.model));
    w.gap();
    w.line("#[allow(dead_code, unused_imports, reason = \"the same for every model, so this one uses a part of it\")]");
    w.line("mod device;");
    w.line("mod model;");
    w.line("mod runtime;");
    w.gap();
    w.line("use std::process::ExitCode;");
    w.gap();
    w.block("fn main() -> ExitCode", |w| w.line("runtime::program::main(&model::PROGRAM, model::open)"));
    w.finish()
}

/// `README.md`.
pub(crate) fn readme(plan: &Plan, program: &Program) -> String {
    let bytes: usize = plan.weights.iter().map(|weight| weight.layout.bytes).sum();
    format!(
        "# {model}\n\n\
         {architecture}, compiled for the CPU by ForgeLLM. The project is yours: read it, change it.\n\n\
         ```sh\n\
         cargo build --release\n\
         ./target/release/{name} --weights {WEIGHTS_FILE} --tokenizer {TOKENIZER_FILE} \"The capital of France is\"\n\
         ./target/release/{name} --help\n\
         ```\n\n\
         The program looks for `{WEIGHTS_FILE}` ({megabytes:.0} MB) and `{TOKENIZER_FILE}` beside itself; the flags name other places.\n\n\
         | file | what it is |\n\
         |---|---|\n\
         | `src/model.rs` | this model: sizes, weights, the forward pass |\n\
         | `src/device/` | kernels and engine for the CPU, the same for every model |\n\
         | `src/runtime/` | the program around the model, the same for every target |\n",
        model = program.model,
        architecture = program.architecture,
        name = program.name,
        megabytes = bytes as f64 / 1e6,
    )
}
