//! The build script of generated projects, run as Cargo runs it, with a stand-in for Apple's tools.
#![cfg(unix)]

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// Compiles nothing, but writes down with which flags it was asked to, and refuses those of newer compilers if `OLD` is set.
const XCRUN: &str = r#"#!/bin/sh
case "$*" in
    *--version) [ -z "$NO_COMPILER" ] ;;
    *" metallib "*) cp "$4" "$6" ;;
    *fmetal-math-mode*) [ -z "$OLD" ] && echo "$*" > "$9" || { echo "error: unknown argument" >&2; exit 1; } ;;
    *" metal "*) [ -z "$BROKEN" ] && echo "$*" > "$9" || { echo "kernels.metal:1:1: error: no" >&2; exit 1; } ;;
    *) exit 1 ;;
esac
"#;

struct Project {
    folder: tempfile::TempDir,
    output: Output,
}

impl Project {
    /// Runs the script for a target system with some variables set.
    fn build(system: &str, variables: &[(&str, &str)]) -> Project {
        let folder = tempfile::tempdir().unwrap();
        let tools = folder.path().join("tools");
        fs::create_dir(&tools).unwrap();
        fs::write(tools.join("xcrun"), XCRUN).unwrap();
        fs::set_permissions(tools.join("xcrun"), fs::Permissions::from_mode(0o755)).unwrap();
        let paths = env::var_os("PATH").unwrap_or_default();
        let paths: Vec<PathBuf> = [tools].into_iter().chain(env::split_paths(&paths)).collect();
        let output = Command::new(script())
            .current_dir(folder.path())
            .env("OUT_DIR", folder.path())
            .env("CARGO_CFG_TARGET_OS", system)
            .env("PATH", env::join_paths(paths).unwrap())
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        Project { folder, output }
    }

    fn compiled(&self) -> String {
        fs::read_to_string(self.folder.path().join("kernels.metallib")).unwrap()
    }

    fn said(&self) -> String {
        assert!(self.output.status.success(), "{:?}", self.output);
        String::from_utf8(self.output.stdout.clone()).unwrap()
    }
}

/// The compiled script.
fn script() -> &'static Path {
    static SCRIPT: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, script) = SCRIPT.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("build-script");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/project/build.rs");
        let compiler = env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
        let status = Command::new(compiler)
            .args(["--edition", "2024", "-Dwarnings", "-o"])
            .arg(&script)
            .arg(source)
            .status();
        assert!(status.unwrap().success());
        (folder, script)
    });
    script
}

#[test]
fn elsewhere_nothing_is_compiled() {
    let project = Project::build("linux", &[]);
    assert!(project.said().contains("cargo::rerun-if-changed=shaders/kernels.metal"));
    assert_eq!(project.compiled(), "");
}

#[test]
fn for_a_mac_without_compiler_the_source_stays() {
    let project = Project::build("macos", &[("NO_COMPILER", "1")]);
    assert!(!project.said().contains("warning"));
    assert_eq!(project.compiled(), "");
}

#[test]
fn for_a_mac_the_kernels_are_compiled() {
    let flags = Project::build("macos", &[]).compiled();
    for flag in
        ["-std=metal3.1", "-mmacosx-version-min=14.0", "-fmetal-math-mode=relaxed", "shaders/kernels.metal"]
    {
        assert!(flags.contains(flag), "{flag} is not in {flags}");
    }
}

#[test]
fn an_old_compiler_gets_the_safe_mode() {
    let flags = Project::build("macos", &[("OLD", "1")]).compiled();
    assert!(flags.contains("-std=metal3.1") && flags.contains("-fno-fast-math"), "{flags}");
}

#[test]
fn kernels_that_do_not_compile_are_left_to_the_program() {
    let project = Project::build("macos", &[("OLD", "1"), ("BROKEN", "1")]);
    assert!(project.said().contains("cargo::warning="), "{}", project.said());
    assert_eq!(project.compiled(), "");
}
