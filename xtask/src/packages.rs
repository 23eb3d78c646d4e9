//! Programs of the system that the tests need, from Debian's packages.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// What must be there, and the packages that bring it.
const NEEDED: [(&str, &[&str]); 9] = [
    ("/usr/bin/clang++-19", &["clang-19"]),
    ("/usr/bin/rustc", &["rustc-web"]),
    ("/usr/bin/cargo", &["cargo-web"]),
    ("/usr/bin/clippy-driver", &["rust-web-clippy"]),
    ("/usr/lib/rustlib/src/rust/library/std/src/lib.rs", &["rust-web-src"]),
    ("/usr/bin/qemu-aarch64", &["qemu-user"]),
    ("/usr/bin/aarch64-linux-gnu-gcc", &["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"]),
    ("/usr/bin/chromium", &["chromium"]),
    ("/usr/bin/chromedriver", &["chromium-driver"]),
];

/// Installs the packages that are missing where that can be done without asking: as root, with apt-get. Says what to install
/// otherwise.
pub fn ensure() -> Result<()> {
    let missing = missing(|file| Path::new(file).exists());
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !is_root()? || !Path::new("/usr/bin/apt-get").exists() {
        bail!("packages are missing; install them with: sudo apt-get install --no-install-recommends {list}");
    }
    println!("installing {list}");
    apt_get(&["update"])?;
    apt_get(&[&["install", "--yes", "--no-install-recommends"], &missing[..]].concat())?;
    Ok(())
}

/// The packages of what is not there.
fn missing(exists: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let packages = NEEDED.iter().filter(|(file, _)| !exists(file)).flat_map(|(_, packages)| packages.iter());
    packages.copied().collect()
}

fn is_root() -> Result<bool> {
    let id = Command::new("id").arg("-u").output().context("cannot start id")?;
    Ok(id.stdout.trim_ascii() == b"0")
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let status = Command::new("/usr/bin/apt-get")
        .args(["--quiet=2"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status()
        .context("cannot start apt-get")?;
    if !status.success() {
        bail!("apt-get {} failed with {status}", arguments.join(" "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_installed() {
        assert_eq!(missing(|_| true), [""; 0]);
        assert_eq!(
            missing(|file| !file.ends_with("gcc")),
            ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"]
        );
        assert_eq!(missing(|file| file == "/usr/bin/rustc").len(), 9);
    }
}
