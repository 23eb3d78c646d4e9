//! The `Cargo.toml` of a generated project.

use std::collections::BTreeMap;

/// Crates that a project depends on, by name, as they stand in a manifest.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dependencies(BTreeMap<String, toml::Value>);

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
        let mut dependencies = BTreeMap::new();
        let table = manifest.get("dependencies").and_then(toml::Value::as_table);
        for (name, value) in table.into_iter().flatten() {
            if value.get("path").is_some() || value.get("workspace").is_some() {
                return Err(ManifestError::Path(name.clone()));
            }
            dependencies.insert(name.clone(), value.clone());
        }
        Ok(Dependencies(dependencies))
    }

    /// Both together; a crate that both name must be asked for alike.
    pub fn and(mut self, other: Dependencies) -> Result<Dependencies, ManifestError> {
        for (name, value) in other.0 {
            match self.0.get(&name) {
                Some(known) if *known != value => return Err(ManifestError::Conflict(name)),
                _ => self.0.insert(name, value),
            };
        }
        Ok(self)
    }

    /// The manifest of the project `name`.
    pub fn manifest(&self, name: &str, description: &str) -> String {
        let (quoted, description) = (toml::Value::from(name), toml::Value::from(description));
        let mut text = format!(
            "[package]\nname = {quoted}\nversion = \"0.1.0\"\nedition = \"2024\"\nrust-version = \"1.95\"\n\
             description = {description}\npublish = false\n\n\
             # A workspace of its own, wherever the folder lies.\n[workspace]\n\n[dependencies]\n"
        );
        for (name, value) in &self.0 {
            text.push_str(&format!("{name} = {value}\n"));
        }
        text.push_str(&format!(
            "\n# The crates around the model are not where the time goes; this halves the time of the first build.\n\
             [profile.release]\nopt-level = 1\n\n\
             [profile.release.package.{name}]\nopt-level = 3\n"
        ));
        text
    }
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
}
