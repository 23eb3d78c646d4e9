//! Kernels that are not from this project, run by `metal-sim` and compared with NumPy.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::checks::run;

/// The crate whose Metal files are run, and its version.
const KERNELS: (&str, &str) = ("candle-metal-kernels", "0.11.1");
/// What computes the expected results.
const NUMPY: &str = "2.3.5";
/// Makes the inputs, runs the kernels and compares.
const SCRIPT: &str = "crates/forgellm-metal-sim/tests/independent/compare.py";

/// Fetches the kernels and NumPy into the target folder, unless they are there, and runs the comparison.
pub fn check() -> Result<()> {
    run(Command::new("cargo").args(["build", "--quiet", "--package", "forgellm-metal-sim"]))?;
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let target = env::current_dir().context("the current folder is gone")?.join(target);
    let folder = target.join("independent");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let kernels = kernels(&folder.join("crate"))?;
    let python = folder.join(format!("numpy-{NUMPY}"));
    install_numpy(&python)?;
    let mut compare = Command::new("python3");
    compare.arg(SCRIPT).arg(target.join("debug/metal-sim")).arg(kernels).arg(folder.join("arrays"));
    run(compare.env("PYTHONPATH", python).env("FORGELLM_METAL_CACHE", folder.join("cache")))
}

/// The folder of the crate's Metal files. cargo fetches the crate, for a package in `folder` that depends on it and is never built.
fn kernels(folder: &Path) -> Result<PathBuf> {
    let (name, version) = KERNELS;
    let manifest = folder.join("Cargo.toml");
    fs::create_dir_all(folder.join("src")).with_context(|| format!("cannot make {}", folder.display()))?;
    let text = format!(
        "[package]\nname = \"independent\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [dependencies]\n{name} = \"={version}\"\n\n[workspace]\n"
    );
    fs::write(&manifest, text).with_context(|| format!("cannot write {}", manifest.display()))?;
    fs::write(folder.join("src/lib.rs"), "").context("cannot write an empty library")?;
    let output = Command::new("cargo")
        .args(["metadata", "--format-version=1", "--manifest-path"])
        .arg(&manifest)
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("cargo cannot fetch {name} {version}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let source = source(&serde_json::from_slice(&output.stdout)?, name)?.join("src/metal_src");
    if !source.is_dir() {
        bail!("{name} {version} has no folder {}", source.display());
    }
    Ok(source)
}

/// The folder of a package that `metadata` lists.
fn source(metadata: &Value, name: &str) -> Result<PathBuf> {
    let mut packages = metadata["packages"].as_array().into_iter().flatten();
    let manifest = packages
        .find(|package| package["name"] == name)
        .and_then(|package| package["manifest_path"].as_str())
        .with_context(|| format!("cargo metadata lists no package {name}"))?;
    Ok(Path::new(manifest).parent().context("a manifest lies in no folder")?.to_owned())
}

/// Makes `folder`, one for `PYTHONPATH` with NumPy in it, unless it is there.
fn install_numpy(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    // Installed beside it first, so that the folder is whole or not there.
    let unfinished = folder.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).with_context(|| format!("cannot remove {}", unfinished.display()))?;
    }
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"])
        .args(["--root-user-action=ignore", "--only-binary=:all:", "--no-deps", "--target"])
        .arg(&unfinished)
        .arg(format!("numpy=={NUMPY}"));
    run(&mut pip).context("NumPy cannot be installed (Debian: apt-get install python3-pip)")?;
    fs::rename(&unfinished, folder).with_context(|| format!("cannot write {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_found_by_its_name() {
        let metadata = serde_json::json!({"packages": [
            {"name": "other", "manifest_path": "sources/other/Cargo.toml"},
            {"name": "kernels", "manifest_path": "sources/kernels-1.0/Cargo.toml"},
        ]});
        assert_eq!(source(&metadata, "kernels").unwrap(), Path::new("sources/kernels-1.0"));
        assert!(source(&metadata, "missing").unwrap_err().to_string().contains("missing"));
        assert!(source(&Value::Null, "kernels").is_err());
    }
}
