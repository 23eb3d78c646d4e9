//! Replacing many files of a folder as one: all of them, or none.
//!
//! No file system renames several files at once. What this gives: everything is staged before the first file changes, so that only
//! renames are left; an error in the middle puts back what was there; Ctrl-C, SIGTERM and SIGHUP wait until the last rename. Only a
//! power cut or SIGKILL within these renames can leave a mixture, which the program refuses to run (its weights file names another
//! plan) and the next `forge compile` replaces.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::cache::CacheError;
use crate::interrupt;

/// What is to change in a folder.
#[derive(Debug)]
pub struct Replacement<'a> {
    /// The folder.
    pub folder: &'a Path,
    /// Where the new files are, on the same file system.
    pub staged: &'a Path,
    /// Files to be put in place, by path below both folders.
    pub files: &'a [String],
    /// Files to be removed, by path below the folder.
    pub removed: &'a [String],
    /// An empty place for what was there, on the same file system; it can be removed afterwards.
    pub backup: &'a Path,
}

impl Replacement<'_> {
    /// Makes the change.
    ///
    /// # Errors
    /// When a file cannot be replaced. The folder is then as it was.
    pub fn run(&self) -> Result<(), CacheError> {
        // What can fail for want of room fails here.
        for name in self.files.iter().chain(self.removed) {
            create_parent(&self.backup.join(name))?;
        }
        for name in self.files {
            create_parent(&self.folder.join(name))?;
        }
        interrupt::uninterrupted(|| {
            let mut done = Vec::new();
            let result = self.change(&mut done);
            if result.is_err() {
                self.undo(&done);
            }
            result
        })
    }

    /// Notes in `done` every file that it has touched, and whether there was one before.
    fn change<'n>(&'n self, done: &mut Vec<(&'n str, bool)>) -> Result<(), CacheError> {
        for name in self.files {
            let target = self.folder.join(name);
            let existed =
                keep_copy(&target, &self.backup.join(name)).map_err(CacheError::io("replace", &target))?;
            done.push((name, existed));
            fs::rename(self.staged.join(name), &target).map_err(CacheError::io("replace", &target))?;
        }
        for name in self.removed {
            let target = self.folder.join(name);
            fs::rename(&target, self.backup.join(name)).map_err(CacheError::io("remove", &target))?;
            done.push((name, true));
        }
        Ok(())
    }

    /// Best effort: there is nothing better to do where the system refuses what it allowed a moment ago.
    fn undo(&self, done: &[(&str, bool)]) {
        for (name, existed) in done.iter().rev() {
            let target = self.folder.join(name);
            let _ = match existed {
                true => fs::rename(self.backup.join(name), &target),
                false => fs::remove_file(&target),
            };
        }
    }
}

/// Keeps `file` under the name `copy` too; whether there is one. A link, so that there is never no file of its name; where the file
/// system has none, the file moves.
fn keep_copy(file: &Path, copy: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
        Ok(about) if about.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(_) => fs::hard_link(file, copy).or_else(|_| fs::rename(file, copy)).map(|()| true),
    }
}

fn create_parent(path: &Path) -> Result<(), CacheError> {
    let parent: PathBuf = path.parent().unwrap_or(path).to_owned();
    fs::create_dir_all(&parent).map_err(CacheError::io("create", &parent))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn write(folder: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    fn content(folder: &Path, names: &[&str]) -> BTreeMap<String, Option<String>> {
        names.iter().map(|name| (name.to_string(), fs::read_to_string(folder.join(name)).ok())).collect()
    }

    #[test]
    fn all_change_or_none() {
        const NAMES: [&str; 4] = ["a", "src/b", "src/new", "src/old"];
        for blocked in [false, true] {
            let place = tempfile::tempdir().unwrap();
            let (folder, staged) = (place.path().join("folder"), place.path().join("staged"));
            write(&folder, &[("a", "1"), ("src/b", "1"), ("src/old", "1")]);
            write(&staged, &[("a", "2"), ("src/b", "2"), ("src/new", "2"), ("last", "2")]);
            if blocked {
                // A folder with something in it is in the way of the last file.
                write(&folder, &[("last/mine", "1")]);
            }
            let before = content(&folder, &NAMES);
            let result = Replacement {
                folder: &folder,
                staged: &staged,
                files: &["a", "src/b", "src/new", "last"].map(str::to_owned),
                removed: &["src/old".to_owned()],
                backup: &place.path().join("backup"),
            }
            .run();
            if blocked {
                assert!(result.unwrap_err().to_string().contains("last"));
                assert_eq!(content(&folder, &NAMES), before);
            } else {
                result.unwrap();
                let text = |text: &str| Some(text.to_owned());
                let found: Vec<_> = content(&folder, &NAMES).into_values().collect();
                assert_eq!(found, [text("2"), text("2"), text("2"), None]);
            }
        }
    }
}
