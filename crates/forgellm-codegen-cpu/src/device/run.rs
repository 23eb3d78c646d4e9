//! What an operation knows of its step and its thread.

use std::cell::{RefCell, RefMut};
use std::ops::Range;
use std::sync::MutexGuard;
use std::time::Instant;

use super::arena::Arena;
use super::buffer::{AnyBuffer, Buffer, RowKind};
use super::cache::CacheMemory;
use super::linear::{OwnInputs, SharedInputs};
use super::matrix::Isa;
use super::pool::Barrier;
use super::profile::{Profile, Stage};
use super::rope::Turns;
use crate::runtime::pages::PageTable;

/// Wanted rows that go through the head at a time: it bounds the memory of logits.
pub const WANTED_ROWS: usize = 16;

/// A thread's view of a step.
pub struct Run<'r> {
    pub(crate) thread: usize,
    pub(crate) threads: usize,
    pub(crate) isa: Isa,
    pub(crate) barrier: &'r Barrier,
    pub(crate) step: &'r Step<'r>,
    /// Rows of the step of which something is wanted, in this call of the head.
    pub(crate) wanted: &'r [usize],
    pub(crate) memory: &'r StepMemory,
    pub(crate) caches: &'r CacheMemory,
    pub(crate) scratch: RefCell<MutexGuard<'r, Scratch>>,
    /// What this thread has measured, if it is to measure.
    pub(crate) profile: Option<RefCell<Profile>>,
}

impl Run<'_> {
    /// Waits until all threads have come here; what they wrote before is seen after.
    pub fn barrier(&self) {
        let _timer = self.time(Stage::Barrier);
        self.barrier.wait();
    }

    /// Number of rows of a buffer's kind in this step.
    pub(crate) fn rows<R: RowKind>(&self) -> usize {
        if R::WANTED { self.wanted.len() } else { self.step.tokens.len() }
    }

    /// This thread's share of `items` things, in order.
    pub(crate) fn share(&self, items: usize) -> Range<usize> {
        items * self.thread / self.threads..items * (self.thread + 1) / self.threads
    }

    /// Where the rows of `buffer` begin; they lie N elements apart.
    ///
    /// # Panics
    ///
    /// If the buffer lies outside of the arena.
    pub(crate) fn start<const N: usize, R: RowKind>(&self, buffer: Buffer<N, R>) -> *mut f32 {
        let arena = if R::WANTED { &self.memory.wanted } else { &self.memory.rows };
        arena.start(buffer.any())
    }

    /// A row of `buffer`.
    ///
    /// # Safety
    ///
    /// No thread writes to the row while the reference lives.
    pub(crate) unsafe fn row<const N: usize, R: RowKind>(&self, buffer: Buffer<N, R>, row: usize) -> &[f32] {
        // SAFETY: the caller excludes writes.
        unsafe { self.part(buffer, row, 0, N) }
    }

    /// The elements `at .. at + len` of a row of `buffer`.
    ///
    /// # Safety
    ///
    /// No thread writes to them while the reference lives.
    pub(crate) unsafe fn part<const N: usize, R: RowKind>(
        &self,
        buffer: Buffer<N, R>,
        row: usize,
        at: usize,
        len: usize,
    ) -> &[f32] {
        // SAFETY: `part_start` gives room for `len` elements; the caller excludes writes.
        unsafe { std::slice::from_raw_parts(self.part_start(buffer, row, at, len), len) }
    }

    /// A row of `buffer`, to write to.
    ///
    /// # Safety
    ///
    /// Nothing else refers to the row while the reference lives.
    #[allow(clippy::mut_from_ref, reason = "the caller shares out the arena")]
    pub(crate) unsafe fn row_mut<const N: usize, R: RowKind>(
        &self,
        buffer: Buffer<N, R>,
        row: usize,
    ) -> &mut [f32] {
        // SAFETY: the caller excludes other references.
        unsafe { self.part_mut(buffer, row, 0, N) }
    }

    /// The elements `at .. at + len` of a row of `buffer`, to write to.
    ///
    /// # Safety
    ///
    /// Nothing else refers to them while the reference lives.
    #[allow(clippy::mut_from_ref, reason = "the caller shares out the arena")]
    pub(crate) unsafe fn part_mut<const N: usize, R: RowKind>(
        &self,
        buffer: Buffer<N, R>,
        row: usize,
        at: usize,
        len: usize,
    ) -> &mut [f32] {
        // SAFETY: `part_start` gives room for `len` elements; the caller excludes other references.
        unsafe { std::slice::from_raw_parts_mut(self.part_start(buffer, row, at, len), len) }
    }

    /// A wanted row of a buffer of which only the head's results are left to be read: the head has ended.
    pub(crate) fn wanted_row(&self, buffer: AnyBuffer, row: usize) -> &[f32] {
        assert!(row < self.wanted.len(), "row {row} of {}", self.wanted.len());
        // SAFETY: `start` gives room for all wanted rows, and after the head nobody writes to them.
        unsafe {
            std::slice::from_raw_parts(self.memory.wanted.start(buffer).add(row * buffer.width), buffer.width)
        }
    }

    /// Where `len` elements of a row begin.
    fn part_start<const N: usize, R: RowKind>(
        &self,
        buffer: Buffer<N, R>,
        row: usize,
        at: usize,
        len: usize,
    ) -> *mut f32 {
        assert!(row < self.rows::<R>(), "row {row} of {}", self.rows::<R>());
        assert!(at + len <= N, "elements {at} .. {} of {N}", at + len);
        // SAFETY: the arena has room for N elements of each of as many rows as it was made for, which are no fewer than those of
        // the step.
        unsafe { self.start(buffer).add(row * N + at) }
    }

    /// Memory of this thread alone.
    pub(crate) fn scratch(&self) -> RefMut<'_, Scratch> {
        RefMut::map(self.scratch.borrow_mut(), |guard| &mut **guard)
    }

    /// Measures until the result is dropped, if this thread is to measure.
    pub(crate) fn time(&self, stage: Stage) -> Option<Timer<'_>> {
        self.profile.as_ref().map(|profile| Timer { profile, stage, start: Instant::now() })
    }
}

/// The rows of a step and the caches of their sequences.
pub(crate) struct Step<'s> {
    /// Token of each row.
    pub(crate) tokens: Vec<u32>,
    /// Position of each row.
    pub(crate) positions: Vec<usize>,
    /// The sequence of each row, as an index into `sequences`.
    pub(crate) sequence_of: Vec<usize>,
    /// The sequences of the step.
    pub(crate) sequences: Vec<StepSequence<'s>>,
}

/// A sequence of a step.
pub(crate) struct StepSequence<'s> {
    /// Its rows, by their index in the step, in the order of their positions.
    pub(crate) rows: Vec<usize>,
    /// Its pages in each group of caches.
    pub(crate) tables: Vec<&'s PageTable>,
}

/// Memory that all threads of a step share.
pub(crate) struct StepMemory {
    /// Buffers of all rows.
    pub(crate) rows: Arena,
    /// Buffers of the wanted rows.
    pub(crate) wanted: Arena,
    /// Prepared inputs of projections, when threads share them.
    pub(crate) inputs: SharedInputs,
    /// Partial results of attention.
    pub(crate) partials: Arena,
}

impl StepMemory {
    /// Bytes of all of it.
    pub(crate) fn bytes(&self) -> usize {
        self.rows.bytes() + self.wanted.bytes() + self.inputs.bytes() + self.partials.bytes()
    }
}

/// Memory of one thread, kept from step to step.
#[derive(Default)]
pub(crate) struct Scratch {
    /// For whatever an operation needs.
    floats: Vec<f32>,
    /// Prepared inputs of projections, when each thread prepares its own.
    pub(crate) inputs: OwnInputs,
    /// Sines and cosines of the step's positions.
    pub(crate) turns: Vec<Turns>,
}

impl Scratch {
    /// So many floats, of any value.
    pub(crate) fn floats(&mut self, len: usize) -> &mut [f32] {
        if self.floats.len() < len {
            self.floats.resize(len, 0.0);
        }
        &mut self.floats[..len]
    }
}

/// See [`Run::time`].
pub(crate) struct Timer<'r> {
    profile: &'r RefCell<Profile>,
    stage: Stage,
    start: Instant,
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        self.profile.borrow_mut().add(self.stage, self.start.elapsed());
    }
}
