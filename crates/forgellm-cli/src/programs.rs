//! Compiled programs, on disk: written to a folder of the user's, or kept in the cache.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use forgellm_codegen::{TOKENIZER_FILE, WEIGHTS_FILE, WriteError};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cache::{Cache, CacheError, FolderLock, file_hash, hex, write_json};
use crate::interrupt::{TempPath, remove_leftovers};
use crate::model::{Model, ModelError};
use crate::pipeline::{CompileError, Compiled, Target, compile};
use crate::replace::Replacement;
use crate::toolchain::{self, BuildError};
use crate::ui::Ui;

/// Why there is no program.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The model file.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The compiler.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// A file of the project.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Cargo.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The cache, or another file.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A folder with something else in it.
    #[error("{} is not empty and holds no project that forge wrote; name a new folder", .0.display())]
    Occupied(PathBuf),
}

/// What was written for a model.
#[derive(Debug, Clone, Serialize)]
pub struct Written {
    /// The project's folder.
    pub project: PathBuf,
    /// The weights file.
    pub weights: PathBuf,
    /// The tokenizer file.
    pub tokenizer: PathBuf,
    /// The program, where it was built.
    pub program: Option<PathBuf>,
    /// The identity of the plan.
    pub plan_hash: String,
}

/// Writes project, weights and tokenizer to `folder`. A folder that is not there appears whole or not at all; an
/// earlier project in it is replaced as a whole, see [`Replacement`]; other files in it stay.
///
/// # Errors
/// When the folder holds something else or cannot be written.
pub fn write(
    model: &Model,
    compiled: &Compiled,
    folder: &Path,
    build: Option<&Cache>,
    ui: &Ui,
) -> Result<Written, ProgramError> {
    // A name such as `.` or `x/` has no place beside it.
    let folder = std::path::absolute(folder).map_err(CacheError::io("resolve", folder))?;
    let is_new = is_free(&folder)?;
    let parent = folder.parent().unwrap_or(&folder);
    fs::create_dir_all(parent).map_err(CacheError::io("create", parent))?;
    // Everything is made in a folder of its own first, on the same file system.
    let staging = TempPath::beside(if is_new { folder.clone() } else { folder.join("new") }.as_path());
    let staged = write_into(model, compiled, staging.path(), ui)?;
    if let Some(cache) = build {
        build_into(staging.path(), &staged.join(&compiled.program.name), cache, ui)?;
    }
    if is_new {
        // An empty folder would be in the way of the renaming on some systems.
        if folder.exists() {
            fs::remove_dir(&folder).map_err(CacheError::io("replace", &folder))?;
        }
        staging.keep_as(&folder).map_err(CacheError::io("write", &folder))?;
    } else {
        let project = compiled.project()?;
        let program = build.map(|_| compiled.program.name.as_str());
        let files = project
            .files()
            // Files that stay as they are keep their times, so that Cargo builds nothing anew.
            .filter(|(name, text)| fs::read(folder.join(name)).map_or(true, |known| known != text.as_bytes()))
            .map(|(name, _)| name)
            .chain([WEIGHTS_FILE, TOKENIZER_FILE])
            .chain(program)
            .map(str::to_owned);
        Replacement {
            folder: &folder,
            staged: &staged,
            files: &files.collect::<Vec<_>>(),
            removed: &project.strangers(&folder)?,
            backup: &staging.path().join(".replaced"),
        }
        .run()?;
    }
    Ok(Written {
        weights: folder.join(WEIGHTS_FILE),
        tokenizer: folder.join(TOKENIZER_FILE),
        program: build.map(|_| folder.join(&compiled.program.name)),
        plan_hash: compiled.plan_hash(),
        project: folder,
    })
}

/// Whether there is nothing in `folder`; an error where there is something that is not ours.
fn is_free(folder: &Path) -> Result<bool, ProgramError> {
    match fs::read_dir(folder) {
        Ok(mut entries) => {
            if entries.next().is_none() {
                return Ok(true);
            }
            let is_ours = ["Cargo.toml", "src/model.rs", "src/runtime/mod.rs"]
                .iter()
                .all(|file| folder.join(file).is_file());
            if is_ours { Ok(false) } else { Err(ProgramError::Occupied(folder.to_owned())) }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(CacheError::io("read", folder)(error).into()),
    }
}

/// Project, weights and tokenizer in `folder`, which is given back.
fn write_into(model: &Model, compiled: &Compiled, folder: &Path, ui: &Ui) -> Result<PathBuf, ProgramError> {
    compiled.project()?.write(folder)?;
    let tokenizer = folder.join(TOKENIZER_FILE);
    fs::write(&tokenizer, &compiled.tokenizer_json).map_err(CacheError::io("write", &tokenizer))?;
    compiled.write_weights(model, &folder.join(WEIGHTS_FILE), ui)?;
    Ok(folder.to_owned())
}

/// Builds `project` in the target folder that all projects share, and copies the program to `program`.
fn build_into(project: &Path, program: &Path, cache: &Cache, ui: &Ui) -> Result<(), ProgramError> {
    let target = cache.folder("cargo")?;
    // Programs of the same name would overwrite each other between cargo's end and the copying.
    let _lock = FolderLock::take(&target, ui)?;
    // With the versions of the last project, nothing is downloaded or built a second time.
    let (shared_lock, lock) = (target.join("Cargo.lock"), project.join("Cargo.lock"));
    if shared_lock.exists() && !lock.exists() {
        fs::copy(&shared_lock, &lock).map_err(CacheError::io("write", &lock))?;
    }
    let built = toolchain::build(project, &target, ui)?;
    fs::copy(&built, program).map_err(CacheError::io("write", program))?;
    fs::copy(&lock, &shared_lock).map_err(CacheError::io("write", &shared_lock))?;
    Ok(())
}

/// `entry.json` of a cached program.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    program: String,
    model_sha256: String,
    target: String,
    plan_hash: String,
}

/// The program of the model in `file`, compiled and built where the cache has none.
///
/// # Errors
/// See [`ProgramError`].
pub fn cached(file: &Path, target: Target, cache: &Cache, ui: &Ui) -> Result<PathBuf, ProgramError> {
    let model_sha256 = file_hash(cache, file, ui)?;
    let folder = cache.folder("programs")?.join(key(&model_sha256, target, cache, ui)?);
    if let Some(program) = complete(&folder) {
        return Ok(program);
    }
    fs::create_dir_all(&folder).map_err(CacheError::io("create", &folder))?;
    let _lock = FolderLock::take(&folder, ui)?;
    if let Some(program) = complete(&folder) {
        return Ok(program);
    }
    remove_leftovers(&folder);
    let model = Model::open(file)?;
    let compiled = compile(&model, target, None)?;
    ui.note(format!(
        "compiling {} ({}) for {}",
        compiled.program.model,
        compiled.program.architecture,
        target.name()
    ));
    let content = folder.join(CONTENT);
    let staging = TempPath::beside(&content);
    write_into(&model, &compiled, staging.path(), ui)?;
    build_into(staging.path(), &staging.path().join(&compiled.program.name), cache, ui)?;
    let entry = Entry {
        program: compiled.program.name.clone(),
        model_sha256,
        target: target.name().to_owned(),
        plan_hash: compiled.plan_hash(),
    };
    write_json(&staging.path().join(ENTRY), &entry)?;
    if content.exists() {
        fs::remove_dir_all(&content).map_err(CacheError::io("replace", &content))?;
    }
    staging.keep_as(&content).map_err(CacheError::io("write", &content))?;
    Ok(content.join(&compiled.program.name))
}

/// The folder of an entry that appears when it is complete, beside the lock.
const CONTENT: &str = "program";
const ENTRY: &str = "entry.json";

fn complete(folder: &Path) -> Option<PathBuf> {
    let content = folder.join(CONTENT);
    let entry: Entry = serde_json::from_slice(&fs::read(content.join(ENTRY)).ok()?).ok()?;
    let files = [entry.program.as_str(), WEIGHTS_FILE, TOKENIZER_FILE];
    files.iter().all(|file| content.join(file).is_file()).then(|| content.join(&entry.program))
}

/// What a program depends on: the model, the target, and the compiler, of which the plan is a function. The compiler
/// is known by its own executable, so that one under development is never taken for another.
fn key(model_sha256: &str, target: Target, cache: &Cache, ui: &Ui) -> Result<String, CacheError> {
    let forge = std::env::current_exe().map_err(CacheError::io("find", Path::new("forge")))?;
    let compiler = file_hash(cache, &forge, ui)?;
    let parts = format!("{model_sha256}\n{}\n{}\n{compiler}", target.name(), env!("CARGO_PKG_VERSION"));
    Ok(hex(&Sha256::digest(parts))[..32].to_owned())
}
