//! Where the results of operations live: fixed places in one arena. Every device layer's model code uses these types.

use std::marker::PhantomData;

/// A [rows, N] f32 buffer of the arena, or a [wanted, N] one with `R = Wanted`.
///
/// The arena holds `offset` elements per row before it, so its first byte is at 4 · offset · (rows that fit in the arena).
pub struct Buffer<const N: usize, R = Rows> {
    offset: usize,
    rows: PhantomData<R>,
}

/// A [wanted, N] f32 buffer.
pub type WantedBuffer<const N: usize> = Buffer<N, Wanted>;

impl<const N: usize, R> Buffer<N, R> {
    /// The buffer that lies `offset` elements per row into the arena of its kind of rows.
    pub const fn at(offset: usize) -> Buffer<N, R> {
        Buffer { offset, rows: PhantomData }
    }

    /// The same place, without its type.
    pub const fn any(self) -> AnyBuffer {
        AnyBuffer { offset: self.offset, width: N }
    }
}

impl<const N: usize, R> Clone for Buffer<N, R> {
    fn clone(&self) -> Buffer<N, R> {
        *self
    }
}

impl<const N: usize, R> Copy for Buffer<N, R> {}

/// A buffer whose width is a value; its kind of rows follows from where it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnyBuffer {
    /// Elements per row that lie before it.
    pub offset: usize,
    /// Elements of a row.
    pub width: usize,
}

impl AnyBuffer {
    /// Checks that two buffers of the same kind of rows do not overlap.
    pub fn assert_apart(self, other: AnyBuffer) {
        let apart = self.offset + self.width <= other.offset || other.offset + other.width <= self.offset;
        assert!(apart, "{self:?} and {other:?} overlap");
    }

    /// Checks that two buffers of the same kind of rows are the same or do not overlap.
    pub fn assert_same_or_apart(self, other: AnyBuffer) {
        if self != other {
            self.assert_apart(other);
        }
    }
}

/// The rows of a step.
#[derive(Debug, Clone, Copy)]
pub enum Rows {}

/// The rows of which the head gives something; the device layer says how many at a time.
#[derive(Debug, Clone, Copy)]
pub enum Wanted {}

/// Which rows a buffer has: [`Rows`] or [`Wanted`].
pub trait RowKind: sealed::Sealed {
    /// Whether these are the wanted rows.
    const WANTED: bool;
}

impl RowKind for Rows {
    const WANTED: bool = false;
}

impl RowKind for Wanted {
    const WANTED: bool = true;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Rows {}
    impl Sealed for super::Wanted {}
}
