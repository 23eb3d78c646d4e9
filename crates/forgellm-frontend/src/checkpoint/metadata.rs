//! The key-value section of a model file.

use std::collections::BTreeMap;

/// A metadata value. Integer kinds of every width are held as `U64` or `I64`.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Any unsigned integer.
    U64(u64),
    /// Any signed integer.
    I64(i64),
    /// An f32 (an f64 is rounded to it).
    F32(f32),
    /// A boolean.
    Bool(bool),
    /// UTF-8 text.
    String(String),
    /// An array of strings.
    Strings(Vec<String>),
    /// An array of integers of any width, widened.
    Integers(Vec<i64>),
    /// An array of floats.
    Floats(Vec<f32>),
    /// An array of booleans.
    Bools(Vec<bool>),
}

/// The key-value pairs of a model file, in the order of their keys.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    entries: BTreeMap<String, Value>,
}

/// A key that is missing or holds something else than asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// A required key is not in the file.
    #[error("the file has no metadata key `{0}`, which is needed here")]
    Missing(String),
    /// The key is there with a value of another type or out of range.
    #[error("metadata key `{key}` should be {expected}")]
    WrongType {
        /// The key.
        key: String,
        /// What was asked for, in words.
        expected: &'static str,
    },
}

impl Metadata {
    /// Sets `key`; returns the value that it replaces.
    pub fn insert(&mut self, key: impl Into<String>, value: Value) -> Option<Value> {
        self.entries.insert(key.into(), value)
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries.get(key)
    }

    /// All pairs, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The number of pairs.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

macro_rules! getters {
    ($($get:ident, $require:ident, $type:ty, $expected:literal, $pattern:pat => $value:expr;)*) => {
        impl Metadata {
            $(
                #[doc = concat!("The value of `key` as ", $expected, "; `None` where there is no such key.")]
                pub fn $get(&self, key: &str) -> Result<Option<$type>, MetadataError> {
                    match self.get(key) {
                        None => Ok(None),
                        Some($pattern) => match $value {
                            Some(value) => Ok(Some(value)),
                            None => Err(MetadataError::WrongType { key: key.to_owned(), expected: $expected }),
                        },
                        #[allow(unreachable_patterns, reason = "some getters accept every variant they name")]
                        Some(_) => Err(MetadataError::WrongType { key: key.to_owned(), expected: $expected }),
                    }
                }
                #[doc = concat!("The value of `key` as ", $expected, ", which must be there.")]
                pub fn $require(&self, key: &str) -> Result<$type, MetadataError> {
                    self.$get(key)?.ok_or_else(|| MetadataError::Missing(key.to_owned()))
                }
            )*
        }
    };
}

impl Value {
    fn to_usize(&self) -> Option<usize> {
        match self {
            Value::U64(value) => usize::try_from(*value).ok(),
            Value::I64(value) => usize::try_from(*value).ok(),
            _ => None,
        }
    }
}

getters! {
    usize, require_usize, usize, "a whole number that is not negative", value => value.to_usize();
    f32, require_f32, f32, "a number", value => match value {
        Value::F32(value) => Some(*value),
        Value::U64(value) => Some(*value as f32),
        Value::I64(value) => Some(*value as f32),
        _ => None,
    };
    bool, require_bool, bool, "a boolean", Value::Bool(value) => Some(*value);
    string, require_string, &str, "text", Value::String(value) => Some(value.as_str());
    strings, require_strings, &[String], "an array of text", Value::Strings(value) => Some(value.as_slice());
    integers, require_integers, &[i64], "an array of integers", Value::Integers(value) => Some(value.as_slice());
    floats, require_floats, &[f32], "an array of floats", Value::Floats(value) => Some(value.as_slice());
    bools, require_bools, &[bool], "an array of booleans", Value::Bools(value) => Some(value.as_slice());
}
