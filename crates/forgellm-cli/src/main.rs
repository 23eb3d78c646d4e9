//! The `forge` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    forgellm_cli::command::main()
}
