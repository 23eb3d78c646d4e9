//! 64-bit Arm, under emulation: the device layer's tests, and a generated program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::{models, packages};

const TARGET: &str = "aarch64-unknown-linux-gnu";

/// qemu with everything that a 64-bit Arm processor may have.
const EMULATOR: [&str; 5] = ["qemu-aarch64", "-cpu", "max", "-L", "/usr/aarch64-linux-gnu"];

/// All tests of the device layer, and the perplexity that a generated program gives.
pub fn check() -> Result<()> {
    test(&["--tests"])?;
    program()
}

/// Those of the matrix kernels, which alone have code of their own for Arm; the others take minutes more, most of it to compile.
pub fn check_matrices() -> Result<()> {
    test(&["--test", "matrix", "--test", "matrix_activations"])
}

fn test(tests: &[&str]) -> Result<()> {
    let mut cargo = cargo(&tests_folder()?)?;
    cargo.args(["test", "-Zbuild-std=std,panic_abort,test", "--target", TARGET, "--ignore-rust-version"]);
    // Its 14,336 columns take minutes under emulation; the same loops run over fewer here.
    succeed(cargo.args(tests).args(["--", "--skip", "rows_wider_than_8192"]))
}

/// SmolLM2's program, compiled for Arm, is as near to the golden perplexity as one for this machine must be.
fn program() -> Result<()> {
    const NAME: &str = "forgellm-arm";
    models::fetch()?;
    let folder = std::env::current_dir()?.join("target/arm-program");
    let forge = ["run", "--release", "--quiet", "-p", "forgellm-cli", "--", "compile", "models/smollm2.gguf"];
    succeed(Command::new("cargo").args(forge).args(["--target", "cpu", "--name", NAME, "-o"]).arg(&folder))?;
    let mut build = cargo(&folder)?;
    build.args([
        "build",
        "--release",
        "-Zbuild-std=std,panic_abort",
        "--target",
        TARGET,
        "--ignore-rust-version",
    ]);
    succeed(&mut build)?;

    let golden =
        fs::read_to_string("tests/golden/smollm2-135m.json").context("cannot read the golden data")?;
    let golden: serde_json::Value = serde_json::from_str(&golden)?;
    let golden = &golden["perplexity"][0];
    let text = folder.join("golden.txt");
    fs::write(&text, golden["text"].as_str().context("the golden data has no text")?)?;
    let [qemu, options @ ..] = EMULATOR;
    let output = Command::new(qemu)
        .args(options)
        .arg(folder.join("target").join(TARGET).join("release").join(NAME))
        .args(["--weights", "weights.safetensors", "--tokenizer", "tokenizer.json", "--json", "perplexity"])
        .arg(&text)
        .current_dir(&folder)
        .output()
        .context("cannot start qemu-aarch64")?;
    ensure!(output.status.success(), "the program failed: {}", String::from_utf8_lossy(&output.stderr));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let perplexity = |of: &serde_json::Value| of["perplexity"].as_f64().context("no perplexity");
    let (found, expected) = (perplexity(&found)?, perplexity(golden)?);
    println!("SmolLM2 for 64-bit Arm: perplexity {found:.4}, golden {expected:.4}");
    ensure!((found / expected - 1.0).abs() <= 0.005, "the perplexity is off by more than 0.5%");
    Ok(())
}

/// The distribution's compiler, which has the sources of the standard library, for the project in `folder`.
fn cargo(folder: &Path) -> Result<Command> {
    packages::ensure()?;
    let mut cargo = Command::new("/usr/bin/cargo");
    cargo
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTC", "/usr/bin/rustc")
        .env("RUSTC_WRAPPER", tests_folder()?.join("rustc.sh"))
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc")
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", EMULATOR.join(" "))
        .env_remove("RUSTUP_TOOLCHAIN")
        .current_dir(folder);
    Ok(cargo)
}

fn tests_folder() -> Result<PathBuf> {
    Path::new("crates/forgellm-codegen-cpu/arm").canonicalize().context("the folder of the tests is gone")
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed with {status}");
    }
    Ok(())
}
