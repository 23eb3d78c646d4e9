//! The generated files: `src/model.rs` from a plan, and the few around it.

mod dialect;
mod needs;

use forgellm_codegen::{Program, RustWriter, TOKENIZER_FILE, WEIGHTS_FILE};
use forgellm_plan::Plan;

use crate::project::Gpu;
pub(crate) use dialect::MetalDialect;
pub(crate) use needs::kernel_needs;

/// `src/gpu.rs` of a project that runs on the simulator.
pub(crate) const SIMULATED_GPU: &str =
    "//! The GPU: simulated on this machine's processor.\n\npub use crate::sim::api::*;\n";

/// `src/main.rs`.
pub(crate) fn main(program: &Program, gpu: Gpu) -> String {
    let mut w = RustWriter::new();
    w.line(format!("//! {}, compiled for {} by ForgeLLM.", program.model, name(gpu)));
    w.gap();
    let modules: &[&str] = match gpu {
        Gpu::Apple => &["device", "gpu", "kernels", "model", "runtime"],
        Gpu::Simulator => &["device", "gpu", "kernels", "model", "runtime", "sim"],
    };
    for module in modules {
        if matches!(*module, "device" | "gpu" | "sim") {
            w.line("#[allow(dead_code, unused_imports, reason = \"the same for every model, so this one uses a part of it\")]");
        }
        w.line(format!("mod {module};"));
    }
    w.gap();
    w.line("use std::process::ExitCode;");
    w.gap();
    w.block("fn main() -> ExitCode", |w| w.line("runtime::program::main(&model::PROGRAM, model::open)"));
    w.finish()
}

fn name(gpu: Gpu) -> &'static str {
    match gpu {
        Gpu::Apple => "Metal",
        Gpu::Simulator => "a simulated Metal GPU",
    }
}

/// `README.md`.
pub(crate) fn readme(plan: &Plan, program: &Program, gpu: Gpu) -> String {
    let bytes: usize = plan.weights.iter().map(|weight| weight.layout.bytes).sum();
    let needs = match gpu {
        Gpu::Apple => "It needs a Mac with Apple silicon (M1 or later) and macOS 13 or later.",
        Gpu::Simulator => {
            "The GPU is simulated: this program shows what the kernels compute, not how fast they are. It needs clang 16 or later."
        }
    };
    let gpu_files = match gpu {
        Gpu::Apple => "| `src/gpu/` | the few things of Metal that the rest uses |\n",
        Gpu::Simulator => "| `src/gpu.rs`, `src/sim/`, `include/` | the simulated GPU |\n",
    };
    format!(
        "# {model}\n\n\
         {architecture}, compiled for {target} by ForgeLLM. The project is yours: read it, change it. {needs}\n\n\
         ```sh\n\
         cargo build --release\n\
         ./target/release/{name} --weights {WEIGHTS_FILE} --tokenizer {TOKENIZER_FILE} \"The capital of France is\"\n\
         ./target/release/{name} selfcheck    # each kernel on this GPU against a reference\n\
         ./target/release/{name} --help\n\
         ```\n\n\
         The program looks for `{WEIGHTS_FILE}` ({megabytes:.0} MB) and `{TOKENIZER_FILE}` beside itself; the flags name other places.\n\n\
         | file | what it is |\n\
         |---|---|\n\
         | `src/model.rs` | this model: sizes, weights, the forward pass |\n\
         | `shaders/kernels.metal` | the kernels that it runs |\n\
         | `src/device/` | engine and encoding, the same for every model |\n\
         {gpu_files}\
         | `src/runtime/` | the program around the model, the same for every target |\n",
        model = program.model,
        architecture = program.architecture,
        target = name(gpu),
        name = program.name,
        megabytes = bytes as f64 / 1e6,
    )
}
