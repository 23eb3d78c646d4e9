//! Compiles the kernels where Apple's Metal compiler is at hand (Xcode, or its command line tools with the Metal toolchain). The program then
//! starts faster; without it, it compiles the kernels itself when it starts, with the same result.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The kernels as text.
const SOURCE: &str = "shaders/kernels.metal";
/// The compiled kernels, in Cargo's output folder: always there for the program to embed, empty where nothing was compiled.
const COMPILED: &str = "kernels.metallib";

/// Language version and the first macOS that has it, newest first. The program asks for the same ones (`src/gpu/device.rs`).
const LANGUAGES: [(&str, &str); 2] = [("metal3.1", "14.0"), ("metal3.0", "13.0")];
/// Sums may be reordered, but infinities and NaN keep their meaning; compilers that cannot say so get the safe mode.
const MATH: [&[&str]; 2] =
    [&["-fmetal-math-mode=relaxed", "-fmetal-math-fp32-functions=fast"], &["-fno-fast-math"]];

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-env-changed=DEVELOPER_DIR");
    let Some(folder) = env::var_os("OUT_DIR").map(PathBuf::from) else {
        println!("cargo::error=OUT_DIR is not set; this is a build script, which Cargo runs");
        return ExitCode::FAILURE;
    };
    let compiled = folder.join(COMPILED);
    let for_mac = env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "macos");
    if for_mac && has_compiler() {
        match compile(&folder, &compiled) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(reason) => {
                println!(
                    "cargo::warning=the kernels are not compiled now, but when the program starts: {reason}"
                );
            }
        }
    }
    if let Err(error) = fs::write(&compiled, []) {
        println!("cargo::error=cannot write {}: {error}", compiled.display());
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn has_compiler() -> bool {
    xcrun(&["metal", "--version"]).is_ok()
}

/// Tries the newest language first, and gives the first complaint if none works.
fn compile(folder: &Path, compiled: &Path) -> Result<(), String> {
    let intermediate = folder.join("kernels.air");
    let (intermediate, compiled) = (path(&intermediate)?, path(compiled)?);
    let mut complaint = None;
    for (language, system) in LANGUAGES {
        for math in MATH {
            let (language, system) = (format!("-std={language}"), format!("-mmacosx-version-min={system}"));
            let mut arguments = vec!["metal", &language, &system, "-c", SOURCE, "-o", intermediate];
            arguments.extend(math);
            let result = xcrun(&arguments).and_then(|()| xcrun(&["metallib", intermediate, "-o", compiled]));
            match result {
                Ok(()) => return Ok(()),
                Err(reason) => complaint.get_or_insert(reason),
            };
        }
    }
    Err(complaint.unwrap_or_default())
}

/// Runs one of Apple's tools; the error is the first line that it complains with.
fn xcrun(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("xcrun")
        .args(["-sdk", "macosx"])
        .args(arguments)
        .output()
        .map_err(|error| format!("cannot run xcrun: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find(|line| line.contains("error")).or(text.lines().next());
    Err(line.map_or_else(|| format!("xcrun {} failed", arguments.join(" ")), str::to_owned))
}

fn path(path: &Path) -> Result<&str, String> {
    path.to_str().ok_or_else(|| format!("the path {} is no text", path.display()))
}
