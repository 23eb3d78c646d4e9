//! Models in repositories of the Hugging Face Hub.
//!
//! Files are kept in the Hub's own cache (`HF_HOME`, else `~/.cache/huggingface`), so a file that another tool
//! fetched is found. `HF_ENDPOINT` names another hub; a token is taken from where the Hub's tools put it.
//!
//! No hub can be reached from where this is developed: downloads are tested against a server that answers what the Hub's client asks, not
//! against the Hub itself.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use hf_hub::Repo;
use hf_hub::api::Progress;
use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use indicatif::ProgressBar;

use super::SourceSyntax;
use super::parts::is_shard;
use crate::cache::{Cache, CacheError};
use crate::interrupt::TempPath;
use crate::ui::Ui;

/// `ORG/REPO[/FILE]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HfFile {
    /// `ORG/REPO`
    pub repository: String,
    /// The path of the file in the repository, where one is asked for.
    pub file: Option<String>,
}

/// Why the Hub gave no model.
#[derive(Debug, thiserror::Error)]
pub enum HfError {
    /// The repository cannot be listed.
    #[error("cannot list the Hub's repository {repository} (is the name right, and is the Hub reachable?)")]
    List {
        /// `ORG/REPO`
        repository: String,
        /// Why not.
        source: ApiError,
    },
    /// The file cannot be downloaded.
    #[error("cannot download {file} of the Hub's repository {repository}")]
    Download {
        /// `ORG/REPO`
        repository: String,
        /// The file.
        file: String,
        /// Why not.
        source: ApiError,
    },
    /// No GGUF file in the repository.
    #[error("the Hub's repository {0} has no .gguf file; look for a conversion of it, often called …-GGUF")]
    NoModel(String),
    /// Several GGUF files.
    #[error("the Hub's repository {repository} has several models; add one of them after a slash: {}", .files.join(", "))]
    SeveralModels {
        /// `ORG/REPO`
        repository: String,
        /// The models.
        files: Vec<String>,
    },
    /// Only shards of a split GGUF, or one was asked for.
    #[error(
        "{file} of the Hub's repository {repository} is one shard of a split model; download the shards, merge them with `llama-gguf-split --merge` and give the file"
    )]
    Split {
        /// `ORG/REPO`
        repository: String,
        /// A shard.
        file: String,
    },
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl FromStr for HfFile {
    type Err = SourceSyntax;

    fn from_str(text: &str) -> Result<Self, SourceSyntax> {
        let mut pieces = text.splitn(3, '/');
        let word = |piece: Option<&str>| {
            piece
                .filter(|piece| {
                    !piece.is_empty()
                        && !piece.starts_with('.')
                        && piece.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
                })
                .map(str::to_owned)
        };
        let (organisation, name, file) = (word(pieces.next()), word(pieces.next()), pieces.next());
        let climbs = |file: &str| file.split('/').any(|piece| matches!(piece, "" | "." | ".."));
        match (organisation, name) {
            (Some(organisation), Some(name)) if !file.is_some_and(climbs) => {
                Ok(HfFile { repository: format!("{organisation}/{name}"), file: file.map(str::to_owned) })
            }
            _ => Err(SourceSyntax::Repository(text.to_owned())),
        }
    }
}

impl fmt::Display for HfFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        self.file.as_ref().map_or(Ok(()), |file| write!(f, "/{file}"))
    }
}

/// The model's file in the Hub's cache, downloaded where it is not there yet.
pub fn fetch(wanted: &HfFile, cache: &Cache, ui: &Ui) -> Result<PathBuf, HfError> {
    let repository = &wanted.repository;
    let hub_cache = hf_hub::Cache::from_env().repo(Repo::model(repository.clone()));
    let chosen_before = cache.folder("models/hf")?.join(repository.replace('/', "--"));
    let known = wanted.file.clone().or_else(|| fs::read_to_string(&chosen_before).ok());
    if let Some(path) = known.as_deref().and_then(|file| hub_cache.get(file)) {
        return Ok(path);
    }
    let listing = |source| HfError::List { repository: repository.clone(), source };
    let api = ApiBuilder::from_env().with_progress(false).build().map_err(listing)?.model(repository.clone());
    let file = match &wanted.file {
        Some(file) if is_shard(file) => {
            return Err(HfError::Split { repository: repository.clone(), file: file.clone() });
        }
        Some(file) => file.clone(),
        None => only_model(repository, list(&api).map_err(listing)?)?,
    };
    let path = api
        .download_with_progress(&file, Bar(ui.bytes(file.clone(), 0)))
        .map_err(|source| HfError::Download { repository: repository.clone(), file: file.clone(), source })?;
    if wanted.file.is_none() {
        remember_choice(&chosen_before, &file)?;
    }
    ui.note(format!("{file} from hf:{repository}"));
    Ok(path)
}

fn list(api: &ApiRepo) -> Result<Vec<String>, ApiError> {
    Ok(api.info()?.siblings.into_iter().map(|sibling| sibling.rfilename).collect())
}

/// The one `.gguf` file among `files`.
fn only_model(repository: &str, files: Vec<String>) -> Result<String, HfError> {
    let repository = repository.to_owned();
    let (shards, mut models): (Vec<_>, Vec<_>) =
        files.into_iter().filter(|file| file.ends_with(".gguf")).partition(|file| is_shard(file));
    match (models.len(), shards.into_iter().next()) {
        (0, None) => Err(HfError::NoModel(repository)),
        (0, Some(file)) => Err(HfError::Split { repository, file }),
        (1, None) => Ok(models.remove(0)),
        _ => {
            models.sort();
            Err(HfError::SeveralModels { repository, files: models })
        }
    }
}

fn remember_choice(path: &Path, file: &str) -> Result<(), CacheError> {
    let temp = TempPath::beside(path);
    fs::write(temp.path(), file).map_err(CacheError::io("write", temp.path()))?;
    temp.keep_as(path).map_err(CacheError::io("write", path))
}

struct Bar(ProgressBar);

impl Progress for Bar {
    fn init(&mut self, size: usize, _filename: &str) {
        self.0.set_length(size as u64);
    }

    fn update(&mut self, size: usize) {
        self.0.inc(size as u64);
    }

    fn finish(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_read() {
        let file: HfFile = "org/Model-1.5_x/sub/m.gguf".parse().unwrap();
        assert_eq!(
            file,
            HfFile { repository: "org/Model-1.5_x".to_owned(), file: Some("sub/m.gguf".to_owned()) }
        );
        for wrong in
            ["", "org", "org/", "/repo", "../repo", "org/re po", "org/repo/", "org/repo/../x", "org/repo?x"]
        {
            assert_eq!(wrong.parse::<HfFile>(), Err(SourceSyntax::Repository(wrong.to_owned())), "{wrong}");
        }
    }

    #[test]
    fn one_model_is_chosen_and_several_are_named() {
        let choose =
            |files: &[&str]| only_model("o/r", files.iter().map(|file| (*file).to_owned()).collect());
        assert_eq!(choose(&["README.md", "m.gguf"]).unwrap(), "m.gguf");
        assert!(matches!(choose(&["README.md"]), Err(HfError::NoModel(_))));
        assert!(
            matches!(choose(&["b.gguf", "a.gguf"]), Err(HfError::SeveralModels { files, .. }) if files == ["a.gguf", "b.gguf"])
        );
        assert!(matches!(
            choose(&["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]),
            Err(HfError::Split { .. })
        ));
    }
}
