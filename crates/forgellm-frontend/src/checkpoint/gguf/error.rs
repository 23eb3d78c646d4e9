//! What can be wrong with a GGUF file.

use std::io;
use std::path::PathBuf;

use crate::ir::DType;

/// A GGUF file that cannot be used, with the reason.
#[derive(Debug, thiserror::Error)]
#[error("{}: {kind}", .file.display())]
pub struct GgufError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong.
    pub kind: GgufErrorKind,
}

/// The reasons for which a GGUF file is refused. Offsets count bytes from the start of the file.
#[derive(Debug, thiserror::Error)]
pub enum GgufErrorKind {
    /// The system could not open or map it.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A folder.
    #[error("is a folder; give the path of the .gguf file in it")]
    Directory,
    /// The first four bytes are not `GGUF`.
    #[error("is not a GGUF file: it looks like {looks_like} (byte 0); {advice}")]
    NotGguf {
        /// What the bytes look like, in words.
        looks_like: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// Written for big-endian machines.
    #[error(
        "is a big-endian GGUF file (version field at byte 4 reads {version:#010x}); \
         convert it to little-endian with `gguf-convert-endian FILE little`"
    )]
    BigEndian {
        /// The version field, read as little-endian.
        version: u32,
    },
    /// A version that is not 2 or 3.
    #[error("has GGUF version {version} (byte 4); versions 2 and 3 are read: {advice}")]
    Version {
        /// The version.
        version: u32,
        /// What to do.
        advice: &'static str,
    },
    /// The file ends within the header.
    #[error(
        "ends too early: {subject} at byte {offset} needs {needed} bytes and {remaining} are left; \
         the file is cut short or damaged, get it again"
    )]
    Truncated {
        /// What was being read.
        subject: String,
        /// Where it starts.
        offset: u64,
        /// Bytes that it takes.
        needed: u64,
        /// Bytes that are left.
        remaining: u64,
    },
    /// A count of which the items cannot be in the rest of the file.
    #[error(
        "{subject} at byte {offset} counts {count} items, more than the remaining {remaining} bytes can hold; \
         the file is damaged, get it again"
    )]
    CountTooLarge {
        /// What is counted.
        subject: String,
        /// Where the count stands.
        offset: u64,
        /// The count.
        count: u64,
        /// Bytes that are left after it.
        remaining: u64,
    },
    /// A key, a name or a value that is not UTF-8.
    #[error("{subject} is not UTF-8 at byte {offset}; the file is damaged, get it again")]
    NotUtf8 {
        /// Which text.
        subject: String,
        /// The first bad byte.
        offset: u64,
    },
    /// A key that occurs twice.
    #[error(
        "metadata key `{key}` occurs a second time at byte {offset}; write the file again without one of them"
    )]
    DuplicateKey {
        /// The key.
        key: String,
        /// Where the second one starts.
        offset: u64,
    },
    /// A value type that GGUF does not have.
    #[error(
        "metadata key `{key}` has unknown value type {tag} at byte {offset} (GGUF has 0 to 12); \
         the file is damaged or newer than this reader"
    )]
    UnknownValueType {
        /// The key.
        key: String,
        /// The type tag.
        tag: u32,
        /// Where the tag stands.
        offset: u64,
    },
    /// An array of arrays.
    #[error(
        "metadata key `{key}` is an array of arrays (byte {offset}), which no known architecture needs; \
         write the file again without this key"
    )]
    NestedArray {
        /// The key.
        key: String,
        /// Where the inner type stands.
        offset: u64,
    },
    /// A boolean other than 0 and 1.
    #[error(
        "metadata key `{key}` holds {value} as a boolean at byte {offset}, where 0 or 1 must be; the file is damaged"
    )]
    BadBool {
        /// The key.
        key: String,
        /// The byte.
        value: u8,
        /// Where it stands.
        offset: u64,
    },
    /// An array element beyond the range of a signed 64-bit integer.
    #[error(
        "metadata key `{key}` holds {value} at byte {offset}; array elements up to {} are read",
        i64::MAX
    )]
    IntegerRange {
        /// The key.
        key: String,
        /// The element.
        value: u64,
        /// Where it stands.
        offset: u64,
    },
    /// `general.alignment` is no power of two, or no integer.
    #[error(
        "metadata key `general.alignment` is {value}, where a power of two must be; write the file again with 32"
    )]
    BadAlignment {
        /// The value, in words.
        value: String,
    },
    /// A tensor name that occurs twice.
    #[error(
        "has two tensors called `{tensor}` (descriptions {first} and {second}); write the file again without one of them"
    )]
    DuplicateTensor {
        /// The tensor.
        tensor: String,
        /// Index of its first description.
        first: usize,
        /// Index of its second description.
        second: usize,
    },
    /// A number of dimensions other than 1 to 4.
    #[error(
        "tensor `{tensor}` has {count} dimensions (byte {offset}); 1 to 4 are possible: the file is damaged"
    )]
    DimensionCount {
        /// The tensor.
        tensor: String,
        /// Its number of dimensions.
        count: u32,
        /// Where the number stands.
        offset: u64,
    },
    /// A dimension of length zero.
    #[error("dimension {dimension} of tensor `{tensor}` is 0 (byte {offset}); the file is damaged")]
    ZeroDimension {
        /// The tensor.
        tensor: String,
        /// Which, in the file's order (innermost is 0).
        dimension: usize,
        /// Where it stands.
        offset: u64,
    },
    /// A tensor whose size does not fit 64 bits.
    #[error(
        "tensor `{tensor}` (described before byte {offset}) has more bytes than 64 bits can count; the file is damaged"
    )]
    TensorTooLarge {
        /// The tensor.
        tensor: String,
        /// The end of its description.
        offset: u64,
    },
    /// A tensor type that this compiler does not read.
    #[error(
        "tensor `{tensor}` is stored as {type_name} (type {tag}, byte {offset}), which is not supported; \
         use a file with another quantisation, such as Q4_K_M or Q8_0"
    )]
    UnsupportedType {
        /// The tensor.
        tensor: String,
        /// ggml's name of the type, or words for one that it does not have.
        type_name: &'static str,
        /// The type tag.
        tag: u32,
        /// Where the tag stands.
        offset: u64,
    },
    /// A row that is not a whole number of blocks.
    #[error(
        "tensor `{tensor}` has rows of {row} elements (description ends at byte {offset}), which is no multiple \
         of the {} elements in a block of {dtype}; write the file again with another type for it", .dtype.block_elements()
    )]
    RaggedRow {
        /// The tensor.
        tensor: String,
        /// Elements of a row.
        row: u64,
        /// Its type.
        dtype: DType,
        /// The end of its description.
        offset: u64,
    },
    /// Tensor data that does not start on the file's alignment.
    #[error(
        "the data of tensor `{tensor}` starts {offset} bytes into the data section, which is no multiple of the \
         alignment {alignment}; the file is damaged, get it again"
    )]
    Misaligned {
        /// The tensor.
        tensor: String,
        /// Its offset in the data section.
        offset: u64,
        /// The file's alignment.
        alignment: u64,
    },
    /// Tensor data beyond the end of the file.
    #[error(
        "the data of tensor `{tensor}` lies at bytes {start}..{end} and the file has {length}; \
         it is cut short (an unfinished download?), get it again"
    )]
    OutOfBounds {
        /// The tensor.
        tensor: String,
        /// First byte.
        start: u64,
        /// One past the last byte; `u64::MAX` where that overflows.
        end: u64,
        /// Length of the file.
        length: u64,
    },
    /// Two tensors that share bytes.
    #[error(
        "the data of tensors `{first}` and `{second}` overlap at byte {offset}; the file is damaged, get it again"
    )]
    Overlap {
        /// The one that starts first.
        first: String,
        /// The other.
        second: String,
        /// First shared byte.
        offset: u64,
    },
    /// A tensor that is needed and not there.
    #[error("has no tensor `{tensor}`, which this model needs; `forge info` lists what it has")]
    MissingTensor {
        /// The tensor.
        tensor: String,
    },
}

/// The start of a name from a file, short enough for a message.
pub(super) fn shorten(name: &str) -> String {
    const LONGEST: usize = 96;
    match name.char_indices().nth(LONGEST) {
        None => name.to_owned(),
        Some((end, _)) => format!("{}…", &name[..end]),
    }
}
