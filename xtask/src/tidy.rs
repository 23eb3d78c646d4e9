//! What compilers and linters do not check: who may use whom, lengths of files, paths of one machine, exceptions
//! without a reason.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The crates of ours that each crate may depend on. `None`: all. Dev-dependencies are free.
const MAY_USE: [(&str, Option<&[&str]>); 10] = [
    ("forgellm-frontend", Some(&[])),
    ("forgellm-optimizer", Some(&["forgellm-frontend"])),
    ("forgellm-plan", Some(&["forgellm-frontend"])),
    ("forgellm-runtime", Some(&[])),
    ("forgellm-codegen", Some(&["forgellm-frontend", "forgellm-plan", "forgellm-runtime"])),
    (
        "forgellm-codegen-cpu",
        Some(&["forgellm-frontend", "forgellm-plan", "forgellm-runtime", "forgellm-codegen"]),
    ),
    (
        "forgellm-codegen-metal",
        Some(&[
            "forgellm-frontend",
            "forgellm-plan",
            "forgellm-runtime",
            "forgellm-codegen",
            "forgellm-metal-sim",
        ]),
    ),
    ("forgellm-metal-sim", Some(&[])),
    ("forgellm-cli", None),
    ("xtask", None),
];

/// Longer files are hard to read; each exception has its reason.
const LONGEST_FILE: usize = 500;

/// Files that may be longer.
const LONG_FILES: [(&str, &str); 1] =
    [("crates/forgellm-optimizer/tests/it/fires.rs", "one table of cases, which is read as a whole")];

/// Checks the whole repository and prints all that is wrong.
pub fn check() -> Result<()> {
    let mut wrong = dependencies(&metadata()?)?;
    for file in files()? {
        // Files that were removed and not yet committed, and files that are no text.
        let Ok(text) = fs::read_to_string(&file) else { continue };
        wrong.extend(text_problems(&file, &text));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    for problem in &wrong {
        eprintln!("{problem}");
    }
    bail!("{} problems", wrong.len())
}

fn metadata() -> Result<Value> {
    let output = Command::new("cargo").args(["metadata", "--format-version=1", "--no-deps"]).output()?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// All files that git keeps or would keep.
fn files() -> Result<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()
        .context("cannot run git")?;
    if !output.status.success() {
        bail!("git ls-files failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let names = output.stdout.split(|&byte| byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(|name| String::from_utf8_lossy(name).into_owned()).collect())
}

fn dependencies(metadata: &Value) -> Result<Vec<String>> {
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let name_of = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
    let uses: BTreeMap<String, Vec<String>> = packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().into_iter().flatten();
            let normal = dependencies.filter(|dependency| dependency["kind"] != "dev").map(name_of);
            (name_of(package), normal.collect())
        })
        .collect();
    let mut wrong = Vec::new();
    for (package, dependencies) in &uses {
        let Some((_, may_use)) = MAY_USE.iter().find(|(name, _)| name == package) else {
            wrong.push(format!("{package}: the crate is not in the table of xtask/src/tidy.rs"));
            continue;
        };
        let Some(may_use) = may_use else { continue };
        let ours = dependencies.iter().filter(|dependency| uses.contains_key(*dependency));
        wrong.extend(
            ours.filter(|dependency| !may_use.contains(&dependency.as_str()))
                .map(|dependency| format!("{package}: it may not depend on {dependency}")),
        );
    }
    Ok(wrong)
}

fn text_problems(file: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let is_source = Path::new(file)
        .extension()
        .is_some_and(|extension| ["rs", "metal", "cu"].iter().any(|e| extension == *e));
    let lines = text.lines().count();
    if is_source && lines > LONGEST_FILE && !LONG_FILES.iter().any(|(name, _)| *name == file) {
        wrong.push(format!("{file}: {lines} lines, more than {LONGEST_FILE}"));
    }
    for (number, line) in text.lines().enumerate() {
        if let Some(path) = machine_path(line) {
            wrong.push(format!("{file}:{}: a path of one machine: {path}", number + 1));
        }
    }
    if file.ends_with(".rs") {
        wrong.extend(
            unexplained(text).into_iter().map(|line| format!("{file}:{line}: an exception without a reason")),
        );
    }
    wrong
}

/// Folders under which people and build machines work. Written in two pieces, so that this file passes.
const MACHINE_FOLDERS: [&str; 5] = [
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
    concat!("/wo", "rk/"),
    concat!("/t", "mp/"),
];

/// An absolute path that exists on some machine only.
fn machine_path(line: &str) -> Option<&str> {
    MACHINE_FOLDERS.iter().find_map(|folder| {
        line.match_indices(folder).find_map(|(start, _)| {
            // Within a longer path or an address it is no absolute path.
            let inside = line[..start]
                .chars()
                .next_back()
                .is_some_and(|c| c.is_alphanumeric() || "._-~}>*$)".contains(c));
            let end = line[start..]
                .find([' ', '"', '\'', '`', ')', ','])
                .map_or(line.len(), |length| start + length);
            (!inside).then(|| &line[start..end])
        })
    })
}

/// Lines with `allow`, `expect` or `ignore` attributes that give no reason.
fn unexplained(text: &str) -> Vec<usize> {
    let mut lines = Vec::new();
    for opening in ["#[allow(", "#![allow(", "#[expect(", "#![expect(", "#[ignore"] {
        for (start, _) in text.match_indices(opening) {
            let before = text[..start].rsplit('\n').next().unwrap_or_default();
            let attribute = text[start..].split_once(']').map_or(&text[start..], |(attribute, _)| attribute);
            // Only an attribute that begins its line or follows another is one, not its mention in a text.
            let is_attribute = before.trim_start().is_empty() || before.trim_end().ends_with(']');
            let explained =
                if opening == "#[ignore" { attribute.contains('=') } else { attribute.contains("reason") };
            if is_attribute && !explained {
                lines.push(text[..start].matches('\n').count() + 1);
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_crates_is_enforced() {
        let metadata = serde_json::json!({"packages": [
            {"name": "forgellm-frontend", "dependencies": [{"name": "forgellm-plan", "kind": null}, {"name": "serde", "kind": null}]},
            {"name": "forgellm-plan", "dependencies": [{"name": "forgellm-frontend", "kind": null}, {"name": "xtask", "kind": "dev"}]},
            {"name": "xtask", "dependencies": [{"name": "forgellm-plan", "kind": null}]},
            {"name": "stray", "dependencies": []},
        ]});
        let wrong = dependencies(&metadata).unwrap();
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(wrong[0].contains("may not depend on forgellm-plan"));
        assert!(wrong[1].contains("stray"));
    }

    #[test]
    fn paths_of_a_machine_are_found() {
        let path = concat!("/ho", "me/me/x");
        assert_eq!(machine_path(&format!("open(\"{path}\")")), Some(path));
        assert_eq!(machine_path(&format!("see https://example.org{path}")), None);
        assert_eq!(machine_path("src/home/x and /usr/bin/env"), None);
    }

    #[test]
    fn exceptions_need_reasons() {
        let bad = concat!("#[al", "low(dead_code)]\nfn a() {}\n#[test]\n#[ig", "nore]\nfn b() {}");
        assert_eq!(unexplained(bad), [1, 4]);
        let good = concat!(
            "#[al",
            "low(\n    dead_code,\n    reason = \"x\"\n)]\n#[ig",
            "nore = \"slow\"]\n// `#[al",
            "low(x)]`"
        );
        assert_eq!(unexplained(good), [0; 0]);
    }

    #[test]
    fn long_files_are_found() {
        assert_eq!(text_problems("a.rs", &"x\n".repeat(LONGEST_FILE)).len(), 0);
        assert_eq!(text_problems("a.rs", &"x\n".repeat(LONGEST_FILE + 1)).len(), 1);
        assert_eq!(text_problems("a.json", &"x\n".repeat(LONGEST_FILE + 1)).len(), 0);
    }
}
