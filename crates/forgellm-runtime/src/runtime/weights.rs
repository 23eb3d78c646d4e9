//! The weights file: a safetensors file laid out so that it can be mapped and used in place.
//!
//! Beyond the safetensors format (<https://github.com/huggingface/safetensors#format>) it promises:
//!
//! - the header is padded with spaces so that the data starts at a multiple of [`DATA_ALIGNMENT`];
//! - every tensor starts at a multiple of [`TENSOR_ALIGNMENT`]. The format allows no holes, so the bytes between two tensors belong
//!   to a `U8` tensor of their own, whose name starts with [`PADDING_PREFIX`];
//! - the metadata names the format, the layout version, the plan that the layout was made for, and the model (`KEY_…`).

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

/// The data section starts at a multiple of this many bytes (the page of Apple silicon, the largest in use).
pub const DATA_ALIGNMENT: usize = 16 * 1024;
/// Every tensor starts at a multiple of this many bytes from the start of the data.
pub const TENSOR_ALIGNMENT: usize = 256;
/// Names of the tensors that only fill the space between two others start with this.
pub const PADDING_PREFIX: &str = "_padding.";
/// Metadata key of the format's name, whose value is [`FORMAT`].
pub const KEY_FORMAT: &str = "format";
/// Value of [`KEY_FORMAT`].
pub const FORMAT: &str = "forgellm";
/// Metadata key of the layout version, a decimal number.
pub const KEY_LAYOUT_VERSION: &str = "layout_version";
/// Metadata key of the hash of the plan that the file was made for.
pub const KEY_PLAN_HASH: &str = "plan_hash";
/// Metadata key of the model's name.
pub const KEY_MODEL: &str = "model";
/// The version of the layout that this source writes and reads.
pub const LAYOUT_VERSION: u32 = 1;

/// Bytes of the header's length, which starts the file.
const LENGTH_BYTES: usize = 8;
/// The safetensors limit on the header.
const MAX_HEADER: u64 = 100_000_000;

/// What a program expects of its weights file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected<'a> {
    /// The layout version it was compiled for.
    pub layout_version: u32,
    /// The hash of its plan.
    pub plan_hash: &'a str,
}

/// A weights file, mapped into memory.
///
/// The file must not be written to while it is open; put a new one in its place by renaming.
#[derive(Debug)]
pub struct Weights {
    path: PathBuf,
    map: Mmap,
    data_start: usize,
    tensors: HashMap<String, (usize, usize)>,
    model: Option<String>,
}

/// Why a weights file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// There is no such file.
    #[error("there is no weights file {path}; put it beside the program or name it with --weights")]
    NotFound {
        /// The path tried.
        path: PathBuf,
    },
    /// The file cannot be opened, read or mapped.
    #[error("cannot read the weights file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is some other file, or its header is damaged.
    #[error(
        "{path} is not a ForgeLLM weights file: {reason}; compile the model again or name the right file"
    )]
    NotWeights {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file is shorter than its header says.
    #[error("the weights file {path} is truncated: it has {found} of {expected} bytes; copy it again")]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes that it should have, as far as known.
        expected: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// The file has another layout version.
    #[error(
        "the weights file {path} has layout version {found}, this program reads version {expected}; compile the model again"
    )]
    Layout {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: String,
        /// The program's version.
        expected: u32,
    },
    /// The file was laid out for another program.
    #[error(
        "the weights file {path} was made for another plan ({found}, this program is {expected}); use the file that was \
         written with this program, or compile the model again"
    )]
    Plan {
        /// The file.
        path: PathBuf,
        /// The plan it was made for.
        found: String,
        /// The program's plan.
        expected: String,
    },
    /// A tensor is not in the file.
    #[error("the weights file {path} has no tensor {name}; compile the model again")]
    MissingTensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A tensor has another size than the program needs.
    #[error(
        "tensor {name} in the weights file {path} has {found} bytes, the program needs {expected}; compile the model again"
    )]
    TensorSize {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its bytes.
        found: usize,
        /// Bytes needed.
        expected: usize,
    },
}

impl Weights {
    /// Maps the file and checks everything about it but the values of the weights.
    pub fn open(path: &Path, expected: &Expected<'_>) -> Result<Weights, WeightsError> {
        let read_error = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => WeightsError::NotFound { path: path.to_owned() },
            _ => WeightsError::Io { path: path.to_owned(), source },
        };
        let file = File::open(path).map_err(read_error)?;
        let status = file.metadata().map_err(read_error)?;
        if !status.is_file() {
            return Err(not_weights(path, "it is not a regular file"));
        }
        if status.len() == 0 {
            return Err(not_weights(path, "it is empty"));
        }
        // SAFETY: the mapping is read only. That nobody shortens or rewrites the file while it is mapped is a condition of use,
        // stated for `Weights`; no mapped file can be guarded against it.
        let map = unsafe { Mmap::map(&file) }.map_err(read_error)?;
        let header = read_header(path, &map, expected)?;
        Ok(Weights {
            path: path.to_owned(),
            map,
            data_start: header.data_start,
            tensors: header.tensors,
            model: header.model,
        })
    }

    /// Brings the whole file into memory, if it is not there yet, and tells `progress` how far it is (bytes done, bytes in all); stops
    /// where that gives false, and gives false then.
    pub fn read_ahead(&self, progress: &mut dyn FnMut(u64, u64) -> bool) -> bool {
        /// No system has smaller pages.
        const PAGE: usize = 4096;
        const PIECE: usize = 4 << 20;
        let total = self.map.len() as u64;
        let mut done = 0;
        for piece in self.map.chunks(PIECE) {
            for page in piece.chunks(PAGE) {
                std::hint::black_box(page.first().copied());
            }
            done += piece.len() as u64;
            if !progress(done, total) {
                return false;
            }
        }
        true
    }

    /// The bytes of a tensor, which must be `expected_bytes` many. They start on [`TENSOR_ALIGNMENT`].
    pub fn tensor(&self, name: &str, expected_bytes: usize) -> Result<&[u8], WeightsError> {
        let missing = || WeightsError::MissingTensor { path: self.path.clone(), name: name.to_owned() };
        let &(start, end) = self.tensors.get(name).ok_or_else(missing)?;
        let bytes = self.data().get(start..end).ok_or_else(missing)?;
        if bytes.len() != expected_bytes {
            return Err(WeightsError::TensorSize {
                path: self.path.clone(),
                name: name.to_owned(),
                found: bytes.len(),
                expected: expected_bytes,
            });
        }
        Ok(bytes)
    }

    /// Where a tensor starts, in bytes from the start of [`Weights::data`].
    pub fn offset(&self, name: &str) -> Option<usize> {
        self.tensors.get(name).map(|&(start, _)| start)
    }

    /// The whole data section, page aligned: what a device maps in one piece.
    pub fn data(&self) -> &[u8] {
        self.map.get(self.data_start..).unwrap_or_default()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The model's name, as the file gives it.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }
}

/// What a checked header says.
struct Header {
    data_start: usize,
    tensors: HashMap<String, (usize, usize)>,
    model: Option<String>,
}

fn read_header(path: &Path, file: &[u8], expected: &Expected<'_>) -> Result<Header, WeightsError> {
    let found = file.len() as u64;
    let truncated = |expected: u64| WeightsError::Truncated { path: path.to_owned(), expected, found };
    let Some((length, rest)) = file.split_first_chunk::<LENGTH_BYTES>() else {
        return Err(not_weights(path, "it is shorter than a header"));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER || rest.first().is_some_and(|&byte| byte != b'{') {
        return Err(not_weights(path, "it does not start as a safetensors file"));
    }
    let data_start = length + LENGTH_BYTES as u64;
    let header = usize::try_from(length).ok().and_then(|length| rest.get(..length));
    let Some(header) = header else {
        return Err(truncated(data_start));
    };
    let metadata: safetensors::tensor::Metadata = serde_json::from_slice(header)
        .map_err(|error| not_weights(path, &format!("its header is damaged ({error})")))?;
    let text = |key: &str| metadata.metadata().as_ref().and_then(|map| map.get(key)).map(String::as_str);
    if text(KEY_FORMAT) != Some(FORMAT) {
        return Err(not_weights(path, "it is a safetensors file of another kind"));
    }
    let layout = text(KEY_LAYOUT_VERSION).unwrap_or("none");
    if layout.parse() != Ok(expected.layout_version) {
        return Err(WeightsError::Layout {
            path: path.to_owned(),
            found: layout.to_owned(),
            expected: expected.layout_version,
        });
    }
    let whole = data_start
        .checked_add(metadata.data_len() as u64)
        .ok_or_else(|| not_weights(path, "its header is damaged (sizes)"))?;
    if found < whole {
        return Err(truncated(whole));
    }
    if found > whole {
        return Err(not_weights(path, &format!("{} bytes follow its last tensor", found - whole)));
    }
    let plan = text(KEY_PLAN_HASH).unwrap_or("none");
    if plan != expected.plan_hash {
        return Err(WeightsError::Plan {
            path: path.to_owned(),
            found: plan.to_owned(),
            expected: expected.plan_hash.to_owned(),
        });
    }
    let data_start = data_start as usize;
    if !data_start.is_multiple_of(DATA_ALIGNMENT) {
        return Err(not_weights(path, "its data is not aligned"));
    }
    let mut tensors = HashMap::new();
    for (name, info) in metadata.tensors() {
        if name.starts_with(PADDING_PREFIX) {
            continue;
        }
        if !info.data_offsets.0.is_multiple_of(TENSOR_ALIGNMENT) {
            return Err(not_weights(path, &format!("tensor {name} is not aligned")));
        }
        tensors.insert(name, info.data_offsets);
    }
    Ok(Header { data_start, tensors, model: text(KEY_MODEL).map(str::to_owned) })
}

fn not_weights(path: &Path, reason: &str) -> WeightsError {
    WeightsError::NotWeights { path: path.to_owned(), reason: reason.to_owned() }
}
