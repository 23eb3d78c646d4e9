//! What continuous integration runs.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::{apple, arm, clients, independent, models, packages, page, tidy};

/// Everything, in the order of cost. Runs to the first failure.
pub fn ci() -> Result<()> {
    let start = Instant::now();
    let mut times = Vec::new();
    let mut step = |name: &'static str, run: &dyn Fn() -> Result<()>| {
        println!("── {name}");
        let start = Instant::now();
        run().with_context(|| format!("the step `{name}` failed"))?;
        times.push((name, start.elapsed()));
        Ok::<(), anyhow::Error>(())
    };
    step("format", &|| cargo("fmt", &["--all", "--check"]))?;
    step("tidy", &tidy::check)?;
    step("lints", &|| cargo("clippy", &["--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    step("system packages", &packages::ensure)?;
    step("models", &models::fetch)?;
    step("tests", &tests)?;
    step("clients", &clients::check)?;
    step("chat page", &page::check)?;
    step("kernels of others", &independent::check)?;
    step("64-bit Arm", &arm::check_matrices)?;
    step("Macs", &|| apple::check(&[]))?;
    step("documentation", &|| {
        run(command("cargo", &["doc", "--workspace", "--no-deps", "--document-private-items"])
            .env("RUSTDOCFLAGS", "-D warnings"))
    })?;
    step("dependencies", &dependencies)?;
    for (name, time) in times {
        println!("{name:16} {}", seconds(time));
    }
    println!("{:16} {}", "all", seconds(start.elapsed()));
    Ok(())
}

/// Whole models against the golden data: the tests with `golden` in their names.
pub fn golden() -> Result<()> {
    models::fetch()?;
    cargo("test", &["--workspace", "--", "golden"])
}

/// Runs the tests that hold snapshots, and accepts what they see.
pub fn bless() -> Result<()> {
    let mut tests = command("cargo", &["test", "--workspace", "--no-fail-fast"]);
    run(tests.env("INSTA_UPDATE", "always").env("FORGELLM_BLESS", "1"))?;
    println!("now read the changes: git diff");
    Ok(())
}

/// nextest runs no documentation tests, so those follow it.
fn tests() -> Result<()> {
    if !is_installed("cargo-nextest") {
        return cargo("test", &["--workspace"]);
    }
    cargo("nextest", &["run", "--workspace"])?;
    cargo("test", &["--workspace", "--doc"])
}

/// Licences, advisories and origins of the dependencies (`deny.toml`), where cargo-deny is installed.
fn dependencies() -> Result<()> {
    if is_installed("cargo-deny") {
        return cargo("deny", &["--all-features", "check", "bans", "licenses", "sources"]);
    }
    println!("left out: cargo-deny is not installed (cargo install cargo-deny)");
    Ok(())
}

fn is_installed(program: &str) -> bool {
    let Some(paths) = std::env::var_os("PATH") else { return false };
    std::env::split_paths(&paths).any(|folder| folder.join(program).is_file())
}

fn cargo(subcommand: &str, arguments: &[&str]) -> Result<()> {
    run(command("cargo", &[subcommand]).args(arguments))
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Runs a command; one that fails is an error with its whole line.
pub fn run(command: &mut Command) -> Result<()> {
    let status =
        command.status().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if !status.success() {
        let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
        bail!("`{} {}` failed with {status}", command.get_program().display(), arguments.join(" "));
    }
    Ok(())
}

fn seconds(time: Duration) -> String {
    format!("{:7.1} s", time.as_secs_f64())
}
