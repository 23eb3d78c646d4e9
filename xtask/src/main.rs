//! Chores of this repository. `cargo xtask` lists them.

mod apple;
mod arm;
mod checks;
mod clients;
mod independent;
mod models;
mod packages;
mod page;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const USAGE: &str = "\
Chores of this repository.

Usage: cargo xtask <CHORE>

  ci       everything that must hold: format, lints, tests, documentation, tidy
  models   downloads the real models that tests run on, into models/
  golden   the tests of whole models against an independent implementation
  clients  the tests of clients against a served model: other people's, hostile ones
  page     the chat page of a served model in Chromium
  bless    accepts what the compiler prints now as the new snapshots
  arm      tests the device layer and a generated program for 64-bit Arm under emulation
  check-apple [PROJECT]…
           type-checks what is written for Macs, or the projects given, on any system
  independent
           Metal kernels of others in metal-sim, compared with NumPy
  tidy     crate dependencies, file lengths, absolute paths, unexplained exceptions
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let chore = arguments.next();
    let rest: Vec<String> = arguments.collect();
    if let Some(extra) = rest.first()
        && chore.as_deref() != Some("check-apple")
    {
        bail!("this chore takes no arguments, and there is `{extra}`\n\n{USAGE}");
    }
    std::env::set_current_dir(workspace()?)?;
    match chore.as_deref() {
        Some("ci") => checks::ci(),
        Some("models") => models::fetch(),
        Some("golden") => checks::golden(),
        Some("clients") => clients::check(),
        Some("page") => page::check(),
        Some("bless") => checks::bless(),
        Some("arm") => arm::check(),
        Some("check-apple") => apple::check(&rest),
        Some("independent") => independent::check(),
        Some("tidy") => tidy::check(),
        Some(other) => bail!("there is no chore `{other}`\n\n{USAGE}"),
        None => {
            print!("{USAGE}");
            Ok(())
        }
    }
}

/// The root of the repository.
fn workspace() -> Result<PathBuf> {
    let xtask = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let root = xtask.parent().context("xtask is not in a workspace")?;
    Ok(root.to_owned())
}
