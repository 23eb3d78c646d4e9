//! Memory that kernels and the program share.

use std::ops::Range;
use std::sync::Arc;

use memmap2::MmapMut;

use super::GpuError;

/// Memory of the program that a buffer may stand over without a copy.
pub trait Memory: Send + Sync {
    /// The bytes: the same ones at every call, and nobody changes them while the memory lives.
    fn bytes(&self) -> &[u8];
}

/// A buffer. Clones are the same buffer.
#[derive(Clone)]
pub struct Buffer {
    inner: Arc<Inner>,
}

struct Inner {
    label: String,
    start: *mut u8,
    length: usize,
    read_only: bool,
    _owner: Owner,
}

/// What keeps the bytes alive.
enum Owner {
    Mapped { _map: MmapMut },
    Lent { _memory: Arc<dyn Memory> },
}

// SAFETY: the memory is owned, or lent by something Sync; who writes what and when is for its users to order, as with
// a buffer of a GPU, and all access to the content is through raw pointers.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

impl Buffer {
    /// Zeroed memory, with `guard` bytes around it that belong to no other buffer.
    pub(super) fn zeroed(length: usize, label: &str, guard: usize) -> Result<Self, GpuError> {
        let refuse = |reason: String| GpuError::Memory { label: label.to_owned(), bytes: length, reason };
        if length == 0 {
            return Err(refuse("a buffer cannot be empty".to_owned()));
        }
        let size = length.checked_next_multiple_of(4096).and_then(|size| size.checked_add(2 * guard));
        let size = size.ok_or_else(|| refuse("the size is absurd".to_owned()))?;
        let mut map = MmapMut::map_anon(size).map_err(|error| refuse(error.to_string()))?;
        // SAFETY: the map has `guard` bytes before, and as many behind, the `length` bytes.
        let start = unsafe { map.as_mut_ptr().add(guard) };
        Ok(Self::new(label, start, length, false, Owner::Mapped { _map: map }))
    }

    /// Over memory that something else owns.
    pub(super) fn over(memory: &Arc<dyn Memory>, label: &str) -> Result<Self, GpuError> {
        let memory = Arc::clone(memory);
        let bytes = memory.bytes();
        let (start, length) = (bytes.as_ptr().cast_mut(), bytes.len());
        if length == 0 {
            let reason = "a buffer cannot be empty".to_owned();
            return Err(GpuError::Memory { label: label.to_owned(), bytes: 0, reason });
        }
        Ok(Self::new(label, start, length, true, Owner::Lent { _memory: memory }))
    }

    fn new(label: &str, start: *mut u8, length: usize, read_only: bool, owner: Owner) -> Self {
        let label = label.to_owned();
        Self { inner: Arc::new(Inner { label, start, length, read_only, _owner: owner }) }
    }

    /// Bytes.
    #[allow(clippy::len_without_is_empty, reason = "a buffer is never empty")]
    pub fn len(&self) -> usize {
        self.inner.length
    }

    /// The first of its [`len`](Self::len) bytes. A buffer over lent memory must not be written.
    pub fn contents(&self) -> *mut u8 {
        self.inner.start
    }

    /// The name in messages and reports.
    pub fn label(&self) -> &str {
        &self.inner.label
    }

    pub(super) fn read_only(&self) -> bool {
        self.inner.read_only
    }

    /// The addresses of its bytes.
    pub(super) fn range(&self) -> Range<usize> {
        let start = self.inner.start as usize;
        start..start + self.inner.length
    }
}

/// A few bytes that a command carries, aligned as a buffer would be.
#[derive(Clone)]
pub(super) struct Inline {
    words: Arc<[u128]>,
    length: usize,
}

impl Inline {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let words = bytes.chunks(16).map(|chunk| {
            let mut word = [0; 16];
            word[..chunk.len()].copy_from_slice(chunk);
            u128::from_ne_bytes(word)
        });
        // A word behind the end, so that an access a little too far hits nothing of others.
        Self { words: words.chain([0]).collect(), length: bytes.len() }
    }

    pub(super) fn range(&self) -> Range<usize> {
        let start = self.words.as_ptr() as usize;
        start..start + self.length
    }
}
