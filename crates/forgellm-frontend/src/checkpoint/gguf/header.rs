//! The header: version, key-value pairs, tensor descriptions.

use super::cursor::{Cursor, Subject};
use super::error::{GgufErrorKind, shorten};
use super::foreign;
use super::tensors::{self, TensorInfo};
use crate::checkpoint::{Metadata, Value};

/// All that stands before the tensor data.
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) metadata: Metadata,
    pub(super) tensors: Vec<TensorInfo>,
    /// Indices into `tensors`, in the order of the names.
    pub(super) by_name: Vec<usize>,
}

/// The data section's alignment where `general.alignment` does not say.
pub(super) const DEFAULT_ALIGNMENT: u64 = 32;

/// Bytes of the shortest pair: an empty key, a type, a one-byte value.
const SHORTEST_PAIR: u64 = 8 + 4 + 1;

/// Bytes of the shortest description: an empty name, a number of dimensions, a type, an offset.
const SHORTEST_DESCRIPTION: u64 = 8 + 4 + 4 + 8;

/// Reads and checks the header of the file `bytes`.
pub(super) fn read(bytes: &[u8]) -> Result<Header, GgufErrorKind> {
    let mut cursor = Cursor::new(bytes);
    if !bytes.starts_with(b"GGUF") {
        return Err(foreign::not_gguf(bytes));
    }
    cursor.take(4, Subject::Header("the magic number"))?;
    let version = cursor.u32(Subject::Header("the version"))?;
    check_version(version)?;
    let tensor_count = cursor.count(SHORTEST_DESCRIPTION, Subject::Header("the tensor count"))?;
    let pair_count = cursor.count(SHORTEST_PAIR, Subject::Header("the metadata count"))?;
    let metadata = read_metadata(&mut cursor, pair_count)?;
    let alignment = alignment(&metadata)?;
    let (tensors, by_name) = tensors::read(&mut cursor, tensor_count, alignment, bytes.len() as u64)?;
    Ok(Header { version, metadata, tensors, by_name })
}

fn check_version(version: u32) -> Result<(), GgufErrorKind> {
    match version {
        2 | 3 => Ok(()),
        _ if version & 0xffff == 0 && version != 0 => Err(GgufErrorKind::BigEndian { version }),
        0 | 1 => Err(GgufErrorKind::Version { version, advice: "get a newer conversion of the model" }),
        _ => Err(GgufErrorKind::Version {
            version,
            advice: "the file is damaged, or newer than this compiler",
        }),
    }
}

fn read_metadata(cursor: &mut Cursor<'_>, pair_count: usize) -> Result<Metadata, GgufErrorKind> {
    let mut metadata = Metadata::default();
    for index in 0..pair_count {
        let offset = cursor.offset();
        let key = cursor.text(Subject::Pair(index as u64))?;
        if metadata.get(key).is_some() {
            return Err(GgufErrorKind::DuplicateKey { key: shorten(key), offset });
        }
        let value = read_value(cursor, key)?;
        metadata.insert(key, value);
    }
    Ok(metadata)
}

fn alignment(metadata: &Metadata) -> Result<u64, GgufErrorKind> {
    match metadata.get("general.alignment") {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(Value::U64(alignment)) if alignment.is_power_of_two() => Ok(*alignment),
        Some(Value::U64(alignment)) => Err(GgufErrorKind::BadAlignment { value: alignment.to_string() }),
        Some(Value::I64(alignment)) => {
            Err(GgufErrorKind::BadAlignment { value: format!("the signed {alignment}") })
        }
        Some(_) => Err(GgufErrorKind::BadAlignment { value: "no whole number".to_owned() }),
    }
}

/// The value types of GGUF (`enum gguf_type`).
pub(super) mod value_type {
    pub(in super::super) const UINT8: u32 = 0;
    pub(in super::super) const INT8: u32 = 1;
    pub(in super::super) const UINT16: u32 = 2;
    pub(in super::super) const INT16: u32 = 3;
    pub(in super::super) const UINT32: u32 = 4;
    pub(in super::super) const INT32: u32 = 5;
    pub(in super::super) const FLOAT32: u32 = 6;
    pub(in super::super) const BOOL: u32 = 7;
    pub(in super::super) const STRING: u32 = 8;
    pub(in super::super) const ARRAY: u32 = 9;
    pub(in super::super) const UINT64: u32 = 10;
    pub(in super::super) const INT64: u32 = 11;
    pub(in super::super) const FLOAT64: u32 = 12;
}

fn read_value(cursor: &mut Cursor<'_>, key: &str) -> Result<Value, GgufErrorKind> {
    let subject = Subject::Key(key);
    let offset = cursor.offset();
    let tag = cursor.u32(subject)?;
    Ok(match tag {
        value_type::UINT8 => Value::U64(cursor.u8(subject)?.into()),
        value_type::UINT16 => Value::U64(cursor.u16(subject)?.into()),
        value_type::UINT32 => Value::U64(cursor.u32(subject)?.into()),
        value_type::UINT64 => Value::U64(cursor.u64(subject)?),
        value_type::INT8 => Value::I64(cursor.i8(subject)?.into()),
        value_type::INT16 => Value::I64(cursor.i16(subject)?.into()),
        value_type::INT32 => Value::I64(cursor.i32(subject)?.into()),
        value_type::INT64 => Value::I64(cursor.i64(subject)?),
        value_type::FLOAT32 => Value::F32(cursor.f32(subject)?),
        value_type::FLOAT64 => Value::F32(cursor.f64(subject)? as f32),
        value_type::BOOL => Value::Bool(read_bool(cursor, key)?),
        value_type::STRING => Value::String(cursor.text(subject)?.to_owned()),
        value_type::ARRAY => read_array(cursor, key)?,
        _ => return Err(GgufErrorKind::UnknownValueType { key: shorten(key), tag, offset }),
    })
}

fn read_array(cursor: &mut Cursor<'_>, key: &str) -> Result<Value, GgufErrorKind> {
    let subject = Subject::Key(key);
    let offset = cursor.offset();
    let tag = cursor.u32(subject)?;
    Ok(match tag {
        value_type::UINT8 => integers(cursor, key, |cursor| Ok(cursor.u8(subject)?.into()), 1)?,
        value_type::UINT16 => integers(cursor, key, |cursor| Ok(cursor.u16(subject)?.into()), 2)?,
        value_type::UINT32 => integers(cursor, key, |cursor| Ok(cursor.u32(subject)?.into()), 4)?,
        value_type::UINT64 => integers(cursor, key, |cursor| unsigned_element(cursor, key), 8)?,
        value_type::INT8 => integers(cursor, key, |cursor| Ok(cursor.i8(subject)?.into()), 1)?,
        value_type::INT16 => integers(cursor, key, |cursor| Ok(cursor.i16(subject)?.into()), 2)?,
        value_type::INT32 => integers(cursor, key, |cursor| Ok(cursor.i32(subject)?.into()), 4)?,
        value_type::INT64 => integers(cursor, key, |cursor| cursor.i64(subject), 8)?,
        value_type::FLOAT32 => Value::Floats(elements(cursor, key, |cursor| cursor.f32(subject), 4)?),
        value_type::FLOAT64 => {
            Value::Floats(elements(cursor, key, |cursor| Ok(cursor.f64(subject)? as f32), 8)?)
        }
        value_type::BOOL => Value::Bools(elements(cursor, key, |cursor| read_bool(cursor, key), 1)?),
        value_type::STRING => Value::Strings(elements(cursor, key, |cursor| text_element(cursor, key), 8)?),
        value_type::ARRAY => return Err(GgufErrorKind::NestedArray { key: shorten(key), offset }),
        _ => return Err(GgufErrorKind::UnknownValueType { key: shorten(key), tag, offset }),
    })
}

/// The elements of an array, each of which takes at least `least` bytes.
fn elements<T>(
    cursor: &mut Cursor<'_>,
    key: &str,
    mut read: impl FnMut(&mut Cursor<'_>) -> Result<T, GgufErrorKind>,
    least: u64,
) -> Result<Vec<T>, GgufErrorKind> {
    let count = cursor.count(least, Subject::Key(key))?;
    let mut elements = Vec::with_capacity(count);
    for _ in 0..count {
        elements.push(read(cursor)?);
    }
    Ok(elements)
}

fn integers(
    cursor: &mut Cursor<'_>,
    key: &str,
    read: impl FnMut(&mut Cursor<'_>) -> Result<i64, GgufErrorKind>,
    least: u64,
) -> Result<Value, GgufErrorKind> {
    elements(cursor, key, read, least).map(Value::Integers)
}

fn unsigned_element(cursor: &mut Cursor<'_>, key: &str) -> Result<i64, GgufErrorKind> {
    let offset = cursor.offset();
    let value = cursor.u64(Subject::Key(key))?;
    i64::try_from(value).map_err(|_| GgufErrorKind::IntegerRange { key: shorten(key), value, offset })
}

/// Texts in arrays are vocabulary entries, merges and tags. Some converters wrote entries that are single
/// bytes of a character; a bad byte becomes U+FFFD here rather than making the model unusable.
fn text_element(cursor: &mut Cursor<'_>, key: &str) -> Result<String, GgufErrorKind> {
    Ok(String::from_utf8_lossy(cursor.text_bytes(Subject::Key(key))?).into_owned())
}

fn read_bool(cursor: &mut Cursor<'_>, key: &str) -> Result<bool, GgufErrorKind> {
    let offset = cursor.offset();
    match cursor.u8(Subject::Key(key))? {
        0 => Ok(false),
        1 => Ok(true),
        value => Err(GgufErrorKind::BadBool { key: shorten(key), value, offset }),
    }
}
