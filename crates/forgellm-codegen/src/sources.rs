//! The runtime as text.

use crate::{Dependencies, ManifestError};

static RUNTIME: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/runtime_files.rs"));
static RUNTIME_MANIFEST: &str = include_str!(concat!(env!("OUT_DIR"), "/runtime_manifest.toml"));

/// The runtime's files by path below `src/runtime/`, without their tests.
pub fn runtime_sources() -> impl Iterator<Item = (&'static str, String)> {
    sources_without_tests(RUNTIME)
}

/// Embedded files, without those that hold nothing but tests and without the test modules of the others.
pub fn sources_without_tests(
    files: &'static [(&'static str, &'static str)],
) -> impl Iterator<Item = (&'static str, String)> {
    let kept = files.iter().filter(|(name, _)| !is_test_file(name));
    kept.map(|(name, text)| {
        (*name, if name.ends_with(".rs") { without_tests(text) } else { (*text).to_owned() })
    })
}

/// The crates that the runtime needs.
pub fn runtime_dependencies() -> Result<Dependencies, ManifestError> {
    Dependencies::of_manifest(RUNTIME_MANIFEST)
}

/// Whether a file holds nothing but tests: `tests.rs`, or anything in a folder `tests`.
fn is_test_file(name: &str) -> bool {
    name.split('/').any(|part| part == "tests" || part == "tests.rs")
}

/// A rustfmt-formatted file without its test modules (`#[cfg(test)]` followed by `mod` at the start of a line).
fn without_tests(text: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let starts_tests =
            line == "#[cfg(test)]" && lines.peek().is_some_and(|next| next.starts_with("mod "));
        if !starts_tests {
            kept.push(line);
            continue;
        }
        if lines.next().is_some_and(|module| module.ends_with('{')) {
            lines.by_ref().find(|line| *line == "}");
        }
        while lines.peek().is_some_and(|line| line.is_empty())
            && kept.last().is_none_or(|line| line.is_empty())
        {
            lines.next();
        }
    }
    while kept.last().is_some_and(|line| line.is_empty()) {
        kept.pop();
    }
    kept.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_modules_go_and_nothing_else() {
        let text = "mod a;\n#[cfg(test)]\nmod tests;\n\nfn f() {}\n\n#[cfg(test)]\nmod tests {\n    fn g() {\n    }\n}\n";
        assert_eq!(without_tests(text), "mod a;\n\nfn f() {}\n");
        let text = "#[cfg(test)]\nuse x;\nfn f() {}\n";
        assert_eq!(without_tests(text), text);
    }

    #[test]
    fn the_runtime_is_whole() {
        let names: Vec<&str> = runtime_sources().map(|(name, _)| name).collect();
        assert!(names.contains(&"mod.rs") && names.contains(&"engine.rs"), "{names:?}");
        assert!(
            names.contains(&"server/page/chat.js") && names.contains(&"server/page/style.css"),
            "{names:?}"
        );
        assert!(runtime_sources().all(|(_, text)| !text.contains("#[test]")));
    }
}
