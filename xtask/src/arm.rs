//! The NEON kernels under emulation.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// What must be installed: a program, and the Debian packages that bring it.
const NEEDED: [(&str, &str); 3] = [
    ("/usr/bin/rustc", "rustc-web cargo-web rust-web-src"),
    ("/usr/bin/qemu-aarch64", "qemu-user"),
    ("/usr/bin/aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu libc6-dev-arm64-cross"),
];

/// Builds the matrix kernels for 64-bit Arm and runs their tests in qemu.
pub fn check() -> Result<()> {
    for (program, packages) in NEEDED {
        if !Path::new(program).exists() {
            bail!("{program} is missing: apt-get install {packages}");
        }
    }
    let folder = Path::new("crates/forgellm-codegen-cpu/arm").canonicalize()?;
    let status = Command::new("/usr/bin/cargo")
        .args(["test", "--ignore-rust-version", "-Zbuild-std=std,panic_abort,test"])
        .args(["--target", "aarch64-unknown-linux-gnu", "--test", "matrix"])
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
