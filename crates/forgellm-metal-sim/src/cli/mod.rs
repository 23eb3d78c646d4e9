//! The command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod buffers;
mod dtype;
mod list;
mod npy;
mod run;
mod values;

/// Runs Metal compute kernels on this CPU and checks what they do.
#[derive(Parser)]
#[command(name = "metal-sim", version, about, after_help = EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  metal-sim list kernels.metal
  metal-sim run kernels.metal --kernel add --grid 4 --threads 256 \\
      --buffer 0=a.npy --buffer 1=b.npy --buffer 2=sum:f32[1024] --bytes 3=u32:1024
  metal-sim run kernels.metal --kernel softmax --grid 8 --threads 32 --buffer 0=x.npy=>y.npy --sanitize --seeds 4

Exit status: 0 all well, 1 an error, 2 wrong usage, 3 the sanitizers found something.";

#[derive(Subcommand)]
enum Command {
    /// Compiles a file and lists its kernels, their parameters and the function constants.
    List(list::List),
    /// Runs one kernel over a grid.
    Run(Box<run::Run>),
}

/// What a command found, if nothing went wrong.
pub enum Outcome {
    /// All is well.
    Fine,
    /// The sanitizers have something to say.
    Findings,
}

impl Outcome {
    /// The exit status.
    pub fn code(&self) -> ExitCode {
        match self {
            Self::Fine => ExitCode::SUCCESS,
            Self::Findings => ExitCode::from(3),
        }
    }
}

/// Does what the command line says.
pub fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    match &arguments.command {
        Command::List(list) => list.run(),
        Command::Run(run) => run.run(),
    }
}
