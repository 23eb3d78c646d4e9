//! The command `metal-sim`: lists and runs the kernels of a Metal file on this CPU.

use std::process::ExitCode;

use clap::Parser;

mod cli;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    match cli::run(&arguments) {
        Ok(outcome) => outcome.code(),
        Err(error) => {
            eprintln!("metal-sim: {error:#}");
            ExitCode::from(1)
        }
    }
}
