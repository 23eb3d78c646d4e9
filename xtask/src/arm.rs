//! The device layer for 64-bit Arm, under emulation.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::packages;

/// All tests of the device layer.
pub fn check() -> Result<()> {
    run(&["--tests"])
}

/// Those of the matrix kernels, which alone have code of their own for Arm; the others take minutes more, most of it to compile.
pub fn check_matrices() -> Result<()> {
    run(&["--test", "matrix", "--test", "matrix_activations"])
}

/// Builds tests for 64-bit Arm, with the distribution's compiler, which has the sources of the standard library, and runs them in
/// qemu.
fn run(tests: &[&str]) -> Result<()> {
    packages::ensure()?;
    let folder = Path::new("crates/forgellm-codegen-cpu/arm").canonicalize()?;
    let status = Command::new("/usr/bin/cargo")
        .args(["test", "--ignore-rust-version", "-Zbuild-std=std,panic_abort,test"])
        .args(["--target", "aarch64-unknown-linux-gnu"])
        .args(tests)
        // Its 14,336 columns take minutes under emulation; the same loops run over fewer here.
        .args(["--", "--skip", "rows_wider_than_8192"])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTC", "/usr/bin/rustc")
        .env("RUSTC_WRAPPER", folder.join("rustc.sh"))
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc")
        .env(
            "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER",
            "qemu-aarch64 -cpu max -L /usr/aarch64-linux-gnu",
        )
        .env_remove("RUSTUP_TOOLCHAIN")
        .current_dir(&folder)
        .status()
        .context("cannot start /usr/bin/cargo")?;
    if !status.success() {
        bail!("the tests under emulation failed with {status}");
    }
    Ok(())
}
