//! What is written for Macs, type-checked anywhere: by the distribution's compiler, which comes with the sources of its standard library, from
//! which that of a Mac is built; rustup gives neither.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use forgellm_cli::model::Model;
use forgellm_cli::pipeline::{self, Target};

use crate::checks::run;
use crate::{models, packages};

/// The target that all Macs with Apple silicon run.
const TARGET: &str = "aarch64-apple-darwin";

/// The projects that are always checked.
const PROJECTS: [&str; 1] = ["crates/forgellm-codegen-metal/apple"];

/// Checks all projects and those that are generated for the real models, or those in `folders` (below the repository's root, or absolute)
/// if there are any.
pub fn check(folders: &[String]) -> Result<()> {
    packages::ensure()?;
    let mut folders: Vec<PathBuf> = folders.iter().map(PathBuf::from).collect();
    if folders.is_empty() {
        folders.extend(PROJECTS.map(PathBuf::from));
        folders.extend(generate()?);
    }
    for folder in folders {
        let name = folder.display();
        check_project(&folder).with_context(|| format!("{name} does not pass for {TARGET}"))?;
        println!("{name}: passes for {TARGET}");
    }
    Ok(())
}

/// The Metal projects of the real models.
fn generate() -> Result<Vec<PathBuf>> {
    models::fetch()?;
    let mut folders = Vec::new();
    for file in models::files() {
        let name = file.file_stem().context("a model has no name")?;
        let folder = target_folder()?.join("projects").join(name);
        let compiled = pipeline::compile(&Model::open(&file)?, Target::Metal, None)?;
        compiled.project()?.write(&folder)?;
        folders.push(folder);
    }
    Ok(folders)
}

/// Type-checks and lints one project with warnings as errors, and checks its format.
pub fn check_project(folder: &Path) -> Result<()> {
    let folder = folder.canonicalize().with_context(|| format!("there is no folder {}", folder.display()))?;
    if !folder.join("Cargo.toml").is_file() {
        bail!("{} has no Cargo.toml", folder.display());
    }
    run(Command::new("cargo").args(["fmt", "--check"]).current_dir(&folder))?;
    run(Command::new("/usr/bin/cargo-clippy")
        .args(["clippy", "-Zbuild-std=std,panic_abort", "--target", TARGET, "--", "-D", "warnings"])
        .env("CARGO", "/usr/bin/cargo")
        .env("RUSTC", "/usr/bin/rustc")
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", target_folder()?)
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("RUSTFLAGS")
        .current_dir(&folder))
}

/// One for all projects, so that the standard library and the bindings are built once.
fn target_folder() -> Result<PathBuf> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    Ok(env::current_dir().context("the current folder is gone")?.join(target).join("check-apple"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_a_manifest_is_refused() {
        let error = check_project(Path::new("src")).unwrap_err().to_string();
        assert!(error.ends_with("has no Cargo.toml"), "{error}");
        assert!(check_project(Path::new("no such folder")).is_err());
    }
}
