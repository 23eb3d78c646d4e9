//! Writing GGUF version 3.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::header::{DEFAULT_ALIGNMENT, value_type};
use crate::checkpoint::{Metadata, Value};
use crate::ir::DType;

/// A tensor that is going to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name; ggml accepts up to 63 bytes.
    pub name: String,
    /// How its elements are stored.
    pub dtype: DType,
    /// One to four dimensions, outermost first.
    pub shape: Vec<usize>,
}

/// A file that could not be written. Nothing is left of it.
#[derive(Debug, thiserror::Error)]
pub enum GgufWriteError {
    /// The system refused.
    #[error("cannot write {}: {source}", .path.display())]
    Io {
        /// The file asked for.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `general.alignment` is not a power of two from 8 to 2^31.
    #[error("metadata key `general.alignment` must be a power of two from 8 to 2147483648")]
    BadAlignment,
    /// Two tensors of one name.
    #[error("tensor `{0}` is given twice; give each tensor a name of its own")]
    DuplicateTensor(String),
    /// A name that is empty or longer than the 63 bytes that ggml reads.
    #[error("tensor name `{0}` must have 1 to 63 bytes")]
    BadName(String),
    /// A shape that the format cannot hold.
    #[error(
        "tensor `{name}` of type {dtype} cannot have shape {shape:?}: one to four dimensions, none of them 0, \
         the last a multiple of {}", .dtype.block_elements()
    )]
    BadShape {
        /// The tensor.
        name: String,
        /// Its type.
        dtype: DType,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// Data of another length than the tensor's, or for no tensor.
    #[error("tensor `{name}` takes {expected} bytes and {given} were given")]
    WrongLength {
        /// The tensor; empty where all tensors are already written.
        name: String,
        /// Bytes that it takes.
        expected: u64,
        /// Bytes given.
        given: u64,
    },
}

/// Writes a file: the header first, then the data of every tensor in the order given.
///
/// The bytes go to a temporary file in the same folder, which takes the asked-for name in
/// [`GgufWriter::finish`] and is removed when the writer is dropped before that.
pub struct GgufWriter {
    path: PathBuf,
    temporary: PathBuf,
    /// `None` once finished.
    output: Option<BufWriter<File>>,
    tensors: Vec<(TensorSpec, u64)>,
    alignment: u64,
    /// Index of the tensor whose data comes next.
    current: usize,
    /// Bytes of it that are written.
    written: u64,
}

impl GgufWriter {
    /// Starts the file at `path` with its complete header. Integers are stored in 32 bits where they fit,
    /// as llama.cpp expects of its own keys, else in 64.
    ///
    /// # Errors
    ///
    /// What the format cannot hold, or why the file cannot be made.
    pub fn create(
        path: impl AsRef<Path>,
        metadata: &Metadata,
        tensors: &[TensorSpec],
    ) -> Result<GgufWriter, GgufWriteError> {
        GgufWriter::start(path.as_ref(), metadata, tensors, create_temporary)
    }

    /// As [`GgufWriter::create`], without the temporary name: for a `path` that is one already. It must not
    /// exist, and is removed when the writer is dropped before [`GgufWriter::finish`].
    ///
    /// # Errors
    ///
    /// Those of [`GgufWriter::create`].
    pub fn create_in_place(
        path: impl AsRef<Path>,
        metadata: &Metadata,
        tensors: &[TensorSpec],
    ) -> Result<GgufWriter, GgufWriteError> {
        GgufWriter::start(path.as_ref(), metadata, tensors, |path| {
            Ok((path.to_owned(), File::create_new(path)?))
        })
    }

    fn start(
        path: &Path,
        metadata: &Metadata,
        tensors: &[TensorSpec],
        create: impl FnOnce(&Path) -> io::Result<(PathBuf, File)>,
    ) -> Result<GgufWriter, GgufWriteError> {
        let path = path.to_owned();
        let alignment = alignment(metadata)?;
        let tensors = sizes(tensors)?;
        let header = header_bytes(metadata, &tensors, alignment)?;
        let (temporary, file) = match create(&path) {
            Ok(created) => created,
            Err(source) => return Err(GgufWriteError::Io { path, source }),
        };
        let mut writer = GgufWriter {
            path,
            temporary,
            output: Some(BufWriter::with_capacity(1 << 20, file)),
            tensors,
            alignment,
            current: 0,
            written: 0,
        };
        writer.put(&header)?;
        Ok(writer)
    }

    /// Adds `bytes` to the data of the current tensor; the next tensor becomes current when it is complete.
    ///
    /// # Errors
    ///
    /// More bytes than the tensor takes, or the system's refusal.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), GgufWriteError> {
        let Some((spec, expected)) = self.tensors.get(self.current) else {
            return Err(GgufWriteError::WrongLength {
                name: String::new(),
                expected: 0,
                given: bytes.len() as u64,
            });
        };
        let (expected, given) = (*expected, self.written + bytes.len() as u64);
        if given > expected {
            return Err(GgufWriteError::WrongLength { name: spec.name.clone(), expected, given });
        }
        self.put(bytes)?;
        self.written = given;
        if given == expected {
            let padding = expected.next_multiple_of(self.alignment) - expected;
            self.pad(padding)?;
            self.current += 1;
            self.written = 0;
        }
        Ok(())
    }

    /// Completes the file and gives it its name, replacing a file that has it.
    ///
    /// # Errors
    ///
    /// A tensor whose data is missing, or the system's refusal.
    pub fn finish(mut self) -> Result<(), GgufWriteError> {
        if let Some((spec, expected)) = self.tensors.get(self.current) {
            return Err(GgufWriteError::WrongLength {
                name: spec.name.clone(),
                expected: *expected,
                given: self.written,
            });
        }
        let result = match &mut self.output {
            Some(output) => output.flush().and_then(|()| fs::rename(&self.temporary, &self.path)),
            None => Ok(()),
        };
        result.map_err(|source| GgufWriteError::Io { path: self.path.clone(), source })?;
        self.output = None;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), GgufWriteError> {
        match &mut self.output {
            Some(output) => output
                .write_all(bytes)
                .map_err(|source| GgufWriteError::Io { path: self.path.clone(), source }),
            None => Ok(()),
        }
    }

    fn pad(&mut self, mut count: u64) -> Result<(), GgufWriteError> {
        const ZEROS: [u8; 4096] = [0; 4096];
        while count > 0 {
            let part = count.min(ZEROS.len() as u64);
            self.put(&ZEROS[..part as usize])?;
            count -= part;
        }
        Ok(())
    }
}

impl Drop for GgufWriter {
    fn drop(&mut self) {
        if let Some(output) = self.output.take() {
            // Without the buffered rest: the file goes away. A failure to remove it has nobody to be told to.
            drop(output.into_parts());
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// A new file beside `path`. What a killed process of the same id left behind is stepped over.
fn create_temporary(path: &Path) -> io::Result<(PathBuf, File)> {
    const ATTEMPTS: u32 = 1000;
    let mut attempt = 0;
    loop {
        let mut name = OsString::from(".");
        name.push(path.file_name().ok_or(io::ErrorKind::InvalidFilename)?);
        name.push(format!(".{}-{attempt}.partial", std::process::id()));
        let temporary = path.with_file_name(name);
        match File::create_new(&temporary) {
            Ok(file) => return Ok((temporary, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

fn alignment(metadata: &Metadata) -> Result<u64, GgufWriteError> {
    match metadata.get("general.alignment") {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(Value::U64(alignment)) if alignment.is_power_of_two() && (8..=1 << 31).contains(alignment) => {
            Ok(*alignment)
        }
        Some(_) => Err(GgufWriteError::BadAlignment),
    }
}

/// Checks names and shapes; pairs every tensor with its bytes.
fn sizes(tensors: &[TensorSpec]) -> Result<Vec<(TensorSpec, u64)>, GgufWriteError> {
    let mut names = std::collections::BTreeSet::new();
    let mut sized = Vec::with_capacity(tensors.len());
    for spec in tensors {
        if spec.name.is_empty() || spec.name.len() > 63 {
            return Err(GgufWriteError::BadName(spec.name.clone()));
        }
        if !names.insert(spec.name.as_str()) {
            return Err(GgufWriteError::DuplicateTensor(spec.name.clone()));
        }
        let bytes = byte_count(spec).ok_or_else(|| GgufWriteError::BadShape {
            name: spec.name.clone(),
            dtype: spec.dtype,
            shape: spec.shape.clone(),
        })?;
        sized.push((spec.clone(), bytes));
    }
    Ok(sized)
}

fn byte_count(spec: &TensorSpec) -> Option<u64> {
    let (&row, outer) = spec.shape.split_last()?;
    if outer.len() > 3 || spec.shape.contains(&0) {
        return None;
    }
    let rows = outer.iter().try_fold(1usize, |product, &length| product.checked_mul(length))?;
    u64::try_from(spec.dtype.row_bytes(row)?.checked_mul(rows)?).ok()
}

/// The header with its padding.
fn header_bytes(
    metadata: &Metadata,
    tensors: &[(TensorSpec, u64)],
    alignment: u64,
) -> Result<Vec<u8>, GgufWriteError> {
    let mut header = Vec::new();
    header.extend_from_slice(b"GGUF");
    put_u32(&mut header, 3);
    put_u64(&mut header, tensors.len() as u64);
    put_u64(&mut header, metadata.len() as u64);
    for (key, value) in metadata.iter() {
        put_text(&mut header, key);
        put_value(&mut header, value);
    }
    let mut offset = 0u64;
    for (spec, bytes) in tensors {
        put_text(&mut header, &spec.name);
        put_u32(&mut header, spec.shape.len() as u32);
        for &length in spec.shape.iter().rev() {
            put_u64(&mut header, length as u64);
        }
        put_u32(&mut header, spec.dtype.gguf_tag());
        put_u64(&mut header, offset);
        let next = bytes.checked_next_multiple_of(alignment).and_then(|padded| offset.checked_add(padded));
        offset = next.ok_or_else(|| GgufWriteError::BadShape {
            name: spec.name.clone(),
            dtype: spec.dtype,
            shape: spec.shape.clone(),
        })?;
    }
    header.resize(header.len().next_multiple_of(alignment as usize), 0);
    Ok(header)
}

fn put_u32(header: &mut Vec<u8>, value: u32) {
    header.extend_from_slice(&value.to_le_bytes());
}

fn put_u64(header: &mut Vec<u8>, value: u64) {
    header.extend_from_slice(&value.to_le_bytes());
}

fn put_text(header: &mut Vec<u8>, text: &str) {
    put_u64(header, text.len() as u64);
    header.extend_from_slice(text.as_bytes());
}

fn put_value(header: &mut Vec<u8>, value: &Value) {
    match value {
        Value::U64(value) => match u32::try_from(*value) {
            Ok(value) => put_scalar(header, value_type::UINT32, &value.to_le_bytes()),
            Err(_) => put_scalar(header, value_type::UINT64, &value.to_le_bytes()),
        },
        Value::I64(value) => match i32::try_from(*value) {
            Ok(value) => put_scalar(header, value_type::INT32, &value.to_le_bytes()),
            Err(_) => put_scalar(header, value_type::INT64, &value.to_le_bytes()),
        },
        Value::F32(value) => put_scalar(header, value_type::FLOAT32, &value.to_le_bytes()),
        Value::Bool(value) => put_scalar(header, value_type::BOOL, &[u8::from(*value)]),
        Value::String(text) => {
            put_u32(header, value_type::STRING);
            put_text(header, text);
        }
        Value::Strings(texts) => {
            put_array(header, value_type::STRING, texts, |header, text| put_text(header, text))
        }
        Value::Integers(values) => put_integers(header, values),
        Value::Floats(values) => put_array(header, value_type::FLOAT32, values, |header, value| {
            header.extend_from_slice(&value.to_le_bytes());
        }),
        Value::Bools(values) => {
            put_array(header, value_type::BOOL, values, |header, value| header.push(u8::from(*value)))
        }
    }
}

fn put_scalar(header: &mut Vec<u8>, tag: u32, bytes: &[u8]) {
    put_u32(header, tag);
    header.extend_from_slice(bytes);
}

fn put_array<T>(header: &mut Vec<u8>, tag: u32, values: &[T], mut put: impl FnMut(&mut Vec<u8>, &T)) {
    put_u32(header, value_type::ARRAY);
    put_u32(header, tag);
    put_u64(header, values.len() as u64);
    for value in values {
        put(header, value);
    }
}

fn put_integers(header: &mut Vec<u8>, values: &[i64]) {
    if values.iter().all(|&value| i32::try_from(value).is_ok()) {
        put_array(header, value_type::INT32, values, |header, value| {
            header.extend_from_slice(&(*value as i32).to_le_bytes());
        });
    } else {
        put_array(header, value_type::INT64, values, |header, value| {
            header.extend_from_slice(&value.to_le_bytes());
        });
    }
}
