//! Reading little-endian numbers and text from untrusted bytes.

use std::fmt;

use super::error::{GgufErrorKind, shorten};

/// A position in the file's bytes. Every read names what it reads, for the message when it is not there.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

/// What is being read.
#[derive(Clone, Copy)]
pub(super) enum Subject<'a> {
    /// A field of the fixed header.
    Header(&'static str),
    /// The key of the pair with this index.
    Pair(u64),
    /// The value of a key.
    Key(&'a str),
    /// The name of the tensor with this index.
    TensorEntry(u64),
    /// The description of a tensor.
    Tensor(&'a str),
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Header(field) => f.write_str(field),
            Subject::Pair(index) => write!(f, "the key of metadata pair {index}"),
            Subject::Key(key) => write!(f, "the value of metadata key `{}`", shorten(key)),
            Subject::TensorEntry(index) => write!(f, "the name of tensor {index}"),
            Subject::Tensor(name) => write!(f, "the description of tensor `{}`", shorten(name)),
        }
    }
}

macro_rules! numbers {
    ($($name:ident: $type:ty;)*) => {
        $(pub(super) fn $name(&mut self, subject: Subject<'_>) -> Result<$type, GgufErrorKind> {
            Ok(<$type>::from_le_bytes(self.array(subject)?))
        })*
    };
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { bytes, position: 0 }
    }

    /// Bytes from the start of the file.
    pub(super) fn offset(&self) -> u64 {
        self.position as u64
    }

    pub(super) fn remaining(&self) -> u64 {
        (self.bytes.len() - self.position) as u64
    }

    pub(super) fn take(&mut self, count: u64, subject: Subject<'_>) -> Result<&'a [u8], GgufErrorKind> {
        if count > self.remaining() {
            return Err(GgufErrorKind::Truncated {
                subject: subject.to_string(),
                offset: self.offset(),
                needed: count,
                remaining: self.remaining(),
            });
        }
        // `count` is at most the length of a slice, so it fits `usize` and the sum does not overflow.
        let end = self.position + count as usize;
        let taken = &self.bytes[self.position..end];
        self.position = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, subject: Subject<'_>) -> Result<[u8; N], GgufErrorKind> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64, subject)?);
        Ok(array)
    }

    numbers! {
        u8: u8;
        i8: i8;
        u16: u16;
        i16: i16;
        u32: u32;
        i32: i32;
        u64: u64;
        i64: i64;
        f32: f32;
        f64: f64;
    }

    /// A number of things that take at least `least` bytes each; refused where they cannot all be in what
    /// is left of the file. So a `Vec` with this capacity is bounded by the file's size.
    pub(super) fn count(&mut self, least: u64, subject: Subject<'_>) -> Result<usize, GgufErrorKind> {
        let offset = self.offset();
        let count = self.u64(subject)?;
        if count > self.remaining() / least {
            return Err(GgufErrorKind::CountTooLarge {
                subject: subject.to_string(),
                offset,
                count,
                remaining: self.remaining(),
            });
        }
        Ok(count as usize)
    }

    /// Length and bytes of a text.
    pub(super) fn text_bytes(&mut self, subject: Subject<'_>) -> Result<&'a [u8], GgufErrorKind> {
        let length = self.u64(subject)?;
        self.take(length, subject)
    }

    /// A text that must be UTF-8.
    pub(super) fn text(&mut self, subject: Subject<'_>) -> Result<&'a str, GgufErrorKind> {
        let bytes = self.text_bytes(subject)?;
        std::str::from_utf8(bytes).map_err(|error| GgufErrorKind::NotUtf8 {
            subject: subject.to_string(),
            offset: self.offset() - bytes.len() as u64 + error.valid_up_to() as u64,
        })
    }
}
