//! The GGUF container, versions 2 and 3: reader and writer.
//!
//! Format: `docs/gguf.md` of the ggml project. A file is a magic number, counts, key-value pairs, tensor
//! descriptions and, after padding to the alignment, the tensor data.
//!
//! The reader trusts nothing: every count and length is compared with the bytes that are left before memory
//! is taken for it, so that memory stays within a small multiple of the file's size, and a file that opens
//! has only tensors that lie inside it, aligned, apart from each other and under names of their own.

mod cursor;
mod error;
mod foreign;
mod header;
mod tensors;
mod types;
mod writer;

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

pub use error::{GgufError, GgufErrorKind};
pub use tensors::TensorInfo;
pub use writer::{GgufWriteError, GgufWriter, TensorSpec};

use crate::checkpoint::Metadata;

/// An open GGUF file whose header was read and checked. Tensor data stays in the file until it is asked for.
pub struct GgufFile {
    path: PathBuf,
    bytes: Bytes,
    version: u32,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    /// Indices into `tensors`, in the order of the names.
    by_name: Vec<usize>,
}

enum Bytes {
    Mapped(memmap2::Mmap),
    Owned(Vec<u8>),
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Owned(bytes) => bytes,
        }
    }
}

impl GgufFile {
    /// Maps the file at `path` and reads its header.
    ///
    /// The file must not be changed or shortened while it is open: the system ends a process that reads a
    /// mapped page which is no longer there.
    ///
    /// # Errors
    ///
    /// What is wrong with the file, where, and what to do about it.
    pub fn open(path: impl AsRef<Path>) -> Result<GgufFile, GgufError> {
        let path = path.as_ref();
        let bytes = map(path).map_err(|kind| GgufError { file: path.to_owned(), kind })?;
        GgufFile::from_bytes(path.to_owned(), bytes)
    }

    /// Reads a file that is already in memory; `name` stands for its path in messages.
    ///
    /// # Errors
    ///
    /// As [`GgufFile::open`].
    pub fn parse(name: impl Into<PathBuf>, bytes: Vec<u8>) -> Result<GgufFile, GgufError> {
        GgufFile::from_bytes(name.into(), Bytes::Owned(bytes))
    }

    fn from_bytes(path: PathBuf, bytes: Bytes) -> Result<GgufFile, GgufError> {
        match header::read(bytes.as_slice()) {
            Ok(header::Header { version, metadata, tensors, by_name }) => {
                Ok(GgufFile { path, bytes, version, metadata, tensors, by_name })
            }
            Err(kind) => Err(GgufError { file: path, kind }),
        }
    }

    /// The path that the file was opened under.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The format's version: 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Length of the file in bytes.
    pub fn length(&self) -> u64 {
        self.bytes.as_slice().len() as u64
    }

    /// The key-value pairs.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// All tensors, in the order of the file's descriptions.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor called `name`, where there is one.
    pub fn find(&self, name: &str) -> Option<&TensorInfo> {
        let place =
            self.by_name.binary_search_by(|&index| self.tensors[index].name.as_str().cmp(name)).ok()?;
        Some(&self.tensors[self.by_name[place]])
    }

    /// The tensor called `name`, which must be there.
    ///
    /// # Errors
    ///
    /// [`GgufErrorKind::MissingTensor`].
    pub fn tensor(&self, name: &str) -> Result<&TensorInfo, GgufError> {
        self.find(name).ok_or_else(|| GgufError {
            file: self.path.clone(),
            kind: GgufErrorKind::MissingTensor { tensor: name.to_owned() },
        })
    }

    /// The stored bytes of a tensor of this file: rows of blocks, outermost dimension first. Empty where
    /// `tensor` describes a range that is not in this file, which no tensor of its own does.
    pub fn data(&self, tensor: &TensorInfo) -> &[u8] {
        let range = usize::try_from(tensor.offset).ok().and_then(|start| {
            let end = start.checked_add(usize::try_from(tensor.bytes).ok()?)?;
            self.bytes.as_slice().get(start..end)
        });
        range.unwrap_or(&[])
    }

    /// The whole file, as bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }
}

impl fmt::Debug for GgufFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GgufFile")
            .field("path", &self.path)
            .field("version", &self.version)
            .field("length", &self.length())
            .field("metadata", &self.metadata.len())
            .field("tensors", &self.tensors.len())
            .finish()
    }
}

fn map(path: &Path) -> Result<Bytes, GgufErrorKind> {
    let file = File::open(path)?;
    let about = file.metadata()?;
    if about.is_dir() {
        return Err(GgufErrorKind::Directory);
    }
    if about.len() == 0 {
        return Ok(Bytes::Owned(Vec::new()));
    }
    // SAFETY: the mapping is private to this value and only read. That nobody shortens the file meanwhile
    // cannot be enforced by any means the system offers; it is the documented contract of `open`.
    let map = unsafe { memmap2::Mmap::map(&file) }?;
    Ok(Bytes::Mapped(map))
}
