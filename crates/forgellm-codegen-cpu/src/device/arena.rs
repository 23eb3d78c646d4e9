//! Zeroed memory that threads share out among themselves.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::marker::PhantomData;
use std::ptr::NonNull;

use half::f16;

use super::buffer::AnyBuffer;
use super::matrix::ActivationBlock;

/// Where elements start, in bytes: a cache line, and the widest vector.
const ALIGNMENT: usize = 64;

/// Zeroed elements at an address that 64 divides. The system gives the memory page by page as it is first written.
pub(crate) struct Arena<T: Zeroed = f32> {
    base: NonNull<T>,
    len: usize,
    /// What was allocated: a little more than the elements, which start at the first aligned address of it.
    allocation: Option<(NonNull<u8>, Layout)>,
    /// Rows of each buffer in the arena.
    rows: usize,
    elements: PhantomData<T>,
}

impl<T: Zeroed> Arena<T> {
    /// Room for `rows` rows of `per_row` elements; `None` if there is no such room.
    pub(crate) fn new(rows: usize, per_row: usize) -> Option<Arena<T>> {
        let len = rows.checked_mul(per_row)?;
        let bytes = len.checked_mul(size_of::<T>())?;
        let empty =
            Arena { base: NonNull::dangling(), len: 0, allocation: None, rows, elements: PhantomData };
        if bytes == 0 {
            return Some(empty);
        }
        // The allocator zeroes memory of a larger alignment by writing to all of it, and so takes it at once; of this one it leaves that
        // to the system.
        let layout = Layout::from_size_align(bytes.checked_add(ALIGNMENT)?, align_of::<u64>()).ok()?;
        // SAFETY: the layout is not empty.
        let allocated = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        let before = allocated.addr().get().next_multiple_of(ALIGNMENT) - allocated.addr().get();
        // SAFETY: the layout has room for the elements behind the bytes that the alignment takes.
        let base = unsafe { allocated.add(before) }.cast();
        Some(Arena { base, len, allocation: Some((allocated, layout)), ..empty })
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of the elements.
    pub(crate) fn bytes(&self) -> usize {
        self.len * size_of::<T>()
    }

    /// The first element; the others follow.
    pub(crate) fn base(&self) -> *mut T {
        self.base.as_ptr()
    }

    /// The first element of a buffer; all its rows follow.
    ///
    /// # Panics
    ///
    /// If the buffer lies outside of the arena.
    pub(crate) fn start(&self, buffer: AnyBuffer) -> *mut T {
        let AnyBuffer { offset, width } = buffer;
        let inside = offset.checked_add(width).and_then(|end| end.checked_mul(self.rows));
        assert!(inside.is_some_and(|end| end <= self.len), "{buffer:?} lies outside of its arena");
        // SAFETY: the buffer lies within the allocation, as was just checked.
        unsafe { self.base().add(offset * self.rows) }
    }
}

impl<T: Zeroed> Drop for Arena<T> {
    fn drop(&mut self) {
        if let Some((allocated, layout)) = self.allocation {
            // SAFETY: it came from `alloc_zeroed` with this layout.
            unsafe { dealloc(allocated.as_ptr(), layout) };
        }
    }
}

// SAFETY: the arena owns its elements, which are plain numbers.
unsafe impl<T: Zeroed> Send for Arena<T> {}
// SAFETY: a shared arena only hands out raw pointers; who uses them answers for the absence of races.
unsafe impl<T: Zeroed> Sync for Arena<T> {}

/// Plain numbers, for which all zero bytes are a value.
///
/// # Safety
///
/// That must be so, and the type must be `Copy` data without references.
pub(crate) unsafe trait Zeroed: Copy {}

// SAFETY: a number.
unsafe impl Zeroed for f32 {}
// SAFETY: a number.
unsafe impl Zeroed for f16 {}
// SAFETY: made of numbers only.
unsafe impl Zeroed for ActivationBlock {}
