//! A generated project: its files, and how they reach the disk.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The files of a project, by path below its folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Project {
    files: BTreeMap<String, String>,
}

/// A file that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {source}; name a folder that you may write to, with room left")]
pub struct WriteError {
    /// The file or folder.
    pub path: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

impl Project {
    /// Adds a file; `path` uses `/`.
    pub fn add(&mut self, path: impl Into<String>, text: impl Into<String>) {
        self.files.insert(path.into(), text.into());
    }

    /// The text of a file.
    pub fn file(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// All files.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Writes the project into `folder`, which is made where it does not exist.
    ///
    /// A file whose text is the same is left alone, so that Cargo builds nothing anew; another is replaced by renaming. Rust files of
    /// `src/` that the project does not have are removed, since they come from an earlier one.
    pub fn write(&self, folder: &Path) -> Result<(), WriteError> {
        let fail = |path: &Path, source| WriteError { path: path.to_owned(), source };
        fs::create_dir_all(folder).map_err(|source| fail(folder, source))?;
        for (name, text) in &self.files {
            let path = folder.join(name);
            if fs::read(&path).is_ok_and(|known| known == text.as_bytes()) {
                continue;
            }
            let parent = path.parent().unwrap_or(folder);
            fs::create_dir_all(parent).map_err(|source| fail(parent, source))?;
            let temporary = path.with_extension(format!("tmp{}", std::process::id()));
            fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, &path)).map_err(|source| {
                let _ = fs::remove_file(&temporary);
                fail(&path, source)
            })?;
        }
        for name in self.strangers(folder)? {
            let path = folder.join(name);
            fs::remove_file(&path).map_err(|source| fail(&path, source))?;
        }
        Ok(())
    }

    /// Rust files below `src/` of `folder` that the project does not have, by path below `folder`: those of an earlier one.
    pub fn strangers(&self, folder: &Path) -> Result<Vec<String>, WriteError> {
        let mut strangers = Vec::new();
        self.collect_strangers(folder, &folder.join("src"), &mut strangers)?;
        strangers.sort();
        Ok(strangers)
    }

    fn collect_strangers(
        &self,
        root: &Path,
        folder: &Path,
        strangers: &mut Vec<String>,
    ) -> Result<(), WriteError> {
        let fail = |source| WriteError { path: folder.to_owned(), source };
        for entry in fs::read_dir(folder).map_err(fail)? {
            let path = entry.map_err(fail)?.path();
            if path.is_dir() {
                self.collect_strangers(root, &path, strangers)?;
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
                if !self.files.contains_key(&name) {
                    strangers.push(name);
                }
            }
        }
        Ok(())
    }
}
