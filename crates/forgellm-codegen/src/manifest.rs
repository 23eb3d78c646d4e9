//! The `Cargo.toml` of a generated project.

use std::collections::BTreeMap;

/// Crates that a project depends on, as they stand in a manifest.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dependencies {
    everywhere: Crates,
    /// Those that only some systems need, by the system as Cargo names it: `cfg(target_os = "macos")`.
    systems: BTreeMap<String, Crates>,
}

/// Crates by name.
type Crates = BTreeMap<String, toml::Value>;

/// Why a manifest cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ManifestError {
    /// It is no TOML.
    #[error("the embedded manifest cannot be read: {0}")]
    Syntax(String),
    /// A dependency that a project elsewhere could not fetch.
    #[error(
        "dependency `{0}` of the embedded manifest is a path, and so cannot stand in a generated project"
    )]
    Path(String),
    /// Two parts of the project want different versions or features.
    #[error("dependency `{0}` is asked for in two ways")]
    Conflict(String),
}

impl Dependencies {
    /// The `[dependencies]` of a manifest.
    pub fn of_manifest(text: &str) -> Result<Dependencies, ManifestError> {
        let manifest: toml::Table =
            text.parse().map_err(|error: toml::de::Error| ManifestError::Syntax(error.to_string()))?;
        let everywhere = crates(&manifest)?;
        let mut systems = BTreeMap::new();
        let targets = manifest.get("target").and_then(toml::Value::as_table);
        for (system, table) in targets.into_iter().flatten() {
            if let Some(table) = table.as_table() {
                systems.insert(system.clone(), crates(table)?);
            }
        }
        Ok(Dependencies { everywhere, systems })
    }

    /// Both together; a crate that both name must be asked for alike.
    pub fn and(mut self, other: Dependencies) -> Result<Dependencies, ManifestError> {
        merge(&mut self.everywhere, other.everywhere)?;
        for (system, crates) in other.systems {
            merge(self.systems.entry(system).or_default(), crates)?;
        }
        Ok(self)
    }

    /// All but the named crates.
    pub fn without(mut self, names: &[&str]) -> Dependencies {
        self.everywhere.retain(|name, _| !names.contains(&name.as_str()));
        self
    }

    /// The manifest of the project `name`.
    pub fn manifest(&self, name: &str, description: &str) -> String {
        let (quoted, description) = (toml::Value::from(name), toml::Value::from(description));
        let mut text = format!(
            "[package]\nname = {quoted}\nversion = \"0.1.0\"\nedition = \"2024\"\nrust-version = \"1.95\"\n\
             description = {description}\npublish = false\n\n\
             # A workspace of its own, wherever the folder lies.\n[workspace]\n\n[dependencies]\n"
        );
        let list = |text: &mut String, crates: &Crates| {
            for (name, value) in crates {
                text.push_str(&format!("{name} = {value}\n"));
            }
        };
        list(&mut text, &self.everywhere);
        for (system, crates) in &self.systems {
            text.push_str(&format!("\n[target.{}.dependencies]\n", toml::Value::from(system.as_str())));
            list(&mut text, crates);
        }
        text.push_str(&format!(
            "\n# The crates around the model are not where the time goes; this halves the time of the first build.\n\
             [profile.release]\nopt-level = 1\n\n\
             [profile.release.package.{name}]\nopt-level = 3\n"
        ));
        text
    }
}

/// The `[dependencies]` of a table.
fn crates(table: &toml::Table) -> Result<Crates, ManifestError> {
    let mut crates = Crates::new();
    let dependencies = table.get("dependencies").and_then(toml::Value::as_table);
    for (name, value) in dependencies.into_iter().flatten() {
        if value.get("path").is_some() || value.get("workspace").is_some() {
            return Err(ManifestError::Path(name.clone()));
        }
        crates.insert(name.clone(), value.clone());
    }
    Ok(crates)
}

fn merge(into: &mut Crates, from: Crates) -> Result<(), ManifestError> {
    for (name, value) in from {
        match into.get(&name) {
            Some(known) if *known != value => return Err(ManifestError::Conflict(name)),
            _ => into.insert(name, value),
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_description_is_valid() {
        for description in ["a \"b\" \\ c", "a\nb\u{301}\u{200b}", ""] {
            let text = Dependencies::default().manifest("name", description);
            let manifest: toml::Table = text.parse().unwrap();
            assert_eq!(manifest["package"]["description"].as_str(), Some(description));
        }
    }

    #[test]
    fn a_path_is_refused_and_versions_must_agree() {
        let path = Dependencies::of_manifest("[dependencies]\na = { path = \"../a\" }");
        assert_eq!(path, Err(ManifestError::Path("a".into())));
        let one = Dependencies::of_manifest("[dependencies]\na = \"1\"\n").unwrap();
        let two = Dependencies::of_manifest("[dependencies]\na = \"2\"\n").unwrap();
        assert_eq!(one.clone().and(two), Err(ManifestError::Conflict("a".into())));
        assert_eq!(one.clone().and(one.clone()), Ok(one));
    }

    #[test]
    fn what_one_system_needs_stays_its_own() {
        let text =
            "[target.'cfg(target_os = \"macos\")'.dependencies]\na = \"1\"\n[dependencies]\nb = \"1\"\n";
        let text = Dependencies::of_manifest(text).unwrap().manifest("name", "");
        let manifest: toml::Table = text.parse().unwrap();
        assert_eq!(manifest["target"]["cfg(target_os = \"macos\")"]["dependencies"]["a"].as_str(), Some("1"));
        assert_eq!(manifest["dependencies"]["b"].as_str(), Some("1"));
        assert!(manifest["dependencies"].get("a").is_none());
    }
}
