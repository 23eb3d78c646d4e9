//! Cargo, which builds the generated projects.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use indicatif::ProgressBar;
use serde_json::Value;

use crate::interrupt::ChildGroup;
use crate::ui::Ui;

/// Why a project was not built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// There is no cargo.
    #[error(
        "cargo is needed to build the program, and it cannot be started; install Rust (https://rustup.rs), or `forge compile` here and build elsewhere"
    )]
    NoCargo(#[source] io::Error),
    /// Cargo's output cannot be read.
    #[error("cannot read what cargo says")]
    Output(#[source] io::Error),
    /// The build failed.
    #[error("cargo could not build {}:\n{output}", project.display())]
    Failed {
        /// The project.
        project: PathBuf,
        /// What cargo and the compiler said.
        output: String,
    },
}

/// Builds the project in the folder `project` with optimization, into `target_dir`; gives the program.
///
/// # Errors
/// When cargo is missing, has no network for a dependency that it does not have yet, or the project does not compile.
pub fn build(project: &Path, target_dir: &Path, ui: &Ui) -> Result<PathBuf, BuildError> {
    let bar = ui.steps("compiling", packages(project)?);
    let mut command = cargo(project);
    command
        .args(["build", "--release", "--message-format=json-render-diagnostics", "--target-dir"])
        .arg(target_dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = ChildGroup::spawn(&mut command).map_err(BuildError::NoCargo)?;
    let (executable, output) = follow(&mut child, &bar).map_err(BuildError::Output)?;
    let status = child.wait().map_err(BuildError::Output)?;
    bar.finish_and_clear();
    match executable {
        Some(executable) if status.success() => Ok(executable),
        _ => Err(BuildError::Failed { project: project.to_owned(), output: without_progress(&output) }),
    }
}

/// The number of packages that the project is built from, itself among them.
fn packages(project: &Path) -> Result<u64, BuildError> {
    let mut command = cargo(project);
    command.args(["metadata", "--format-version=1"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(host) = host() {
        command.arg("--filter-platform").arg(host);
    }
    let mut child = ChildGroup::spawn(&mut command).map_err(BuildError::NoCargo)?;
    let (json, errors) = read_both(&mut child).map_err(BuildError::Output)?;
    let status = child.wait().map_err(BuildError::Output)?;
    if !status.success() {
        return Err(BuildError::Failed { project: project.to_owned(), output: without_progress(&errors) });
    }
    let metadata: Value = serde_json::from_str(&json).unwrap_or_default();
    Ok(metadata["resolve"]["nodes"].as_array().map_or(0, |nodes| nodes.len() as u64))
}

/// The platform triple of this machine, from rustc; cargo takes the same one.
fn host() -> Option<String> {
    let output = Command::new("rustc").arg("-vV").stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned)
}

fn cargo(project: &Path) -> Command {
    // Set by cargo for what it runs: then the same cargo builds the project.
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    command.current_dir(project).stdin(Stdio::null());
    // Flags for building forge are not meant for what forge builds.
    for variable in ["CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_TARGET_DIR"] {
        command.env_remove(variable);
    }
    command
}

/// Reads cargo's messages to their end, counting packages; gives the executable and all that was said to people.
fn follow(child: &mut ChildGroup, bar: &ProgressBar) -> io::Result<(Option<PathBuf>, String)> {
    let (Some(stdout), Some(stderr)) = (child.child.stdout.take(), child.child.stderr.take()) else {
        return Ok((None, String::new()));
    };
    std::thread::scope(|scope| {
        let errors = scope.spawn(move || read_lossy(stderr));
        let mut built = BTreeSet::new();
        let mut executable = None;
        for line in BufReader::new(stdout).lines() {
            let Ok(message) = serde_json::from_str::<Value>(&line?) else { continue };
            if message["reason"] != "compiler-artifact" {
                continue;
            }
            if let Some(package) = message["package_id"].as_str() {
                built.insert(package.to_owned());
                bar.set_position(built.len() as u64);
            }
            executable = message["executable"].as_str().map(PathBuf::from).or(executable);
        }
        let errors = errors.join().unwrap_or_else(|_| Ok(String::new()))?;
        Ok((executable, errors))
    })
}

fn read_both(child: &mut ChildGroup) -> io::Result<(String, String)> {
    let (Some(stdout), Some(stderr)) = (child.child.stdout.take(), child.child.stderr.take()) else {
        return Ok(Default::default());
    };
    std::thread::scope(|scope| {
        let errors = scope.spawn(move || read_lossy(stderr));
        let output = read_lossy(stdout)?;
        Ok((output, errors.join().unwrap_or_else(|_| Ok(String::new()))?))
    })
}

fn read_lossy(mut stream: impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Cargo's output without the lines that tell what it does while it goes well.
fn without_progress(output: &str) -> String {
    let verbs =
        ["Compiling", "Downloading", "Downloaded", "Locking", "Updating", "Adding", "Blocking", "Fresh"];
    let is_progress = |line: &&str| verbs.iter().any(|verb| line.trim_start().starts_with(verb));
    output.lines().filter(|line| !is_progress(line)).collect::<Vec<_>>().join("\n").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn project(main: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("src")).unwrap();
        fs::write(folder.path().join("src/main.rs"), main).unwrap();
        let manifest = "[package]\nname = \"tiny\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n";
        fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
        folder
    }

    #[test]
    fn a_project_becomes_a_program() {
        let folder = project("fn main() { print!(\"it runs\") }");
        let program = build(folder.path(), &folder.path().join("elsewhere"), &Ui::new(true, false)).unwrap();
        assert_eq!(Command::new(program).output().unwrap().stdout, b"it runs");
    }

    #[test]
    fn errors_of_the_compiler_are_shown() {
        let folder = project("fn main() { nonsense }");
        let error = build(folder.path(), &folder.path().join("target"), &Ui::new(true, false)).unwrap_err();
        assert!(matches!(&error, BuildError::Failed { output, .. } if output.contains("E0425")), "{error}");
    }
}
