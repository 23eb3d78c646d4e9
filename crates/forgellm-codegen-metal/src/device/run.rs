//! A step that is being encoded.

use std::cell::{Cell, RefCell};

use crate::device::attention::RowRun;
use crate::device::buckets::Bucket;
use crate::device::cache::{CacheMemory, LayerCache, PAGE};
use crate::device::kernels::Kernels;
use crate::device::kv_format::KvFormat;
use crate::device::memory::{Arena, SCRATCH_USES, Scratch, ScratchUse, StepRows};
use crate::device::record::{Item, Recorded};
use crate::device::weights::{AnyMatrix, Vector, Weights};
use crate::gpu::{Buffer, Constant, Device};
use crate::runtime::buffer::{Buffer as Place, RowKind};

/// Wanted rows that go through the head at a time: it bounds the memory of logits.
pub const WANTED_ROWS: usize = 16;

/// What an operation knows of the step it is encoded into.
///
/// Operations do not fail: the first error is kept, what follows it is not encoded, and the engine gives it to its caller.
pub struct Run<'r> {
    pub(crate) device: &'r Device,
    pub(crate) kernels: &'r Kernels,
    /// What was dispatched so far.
    pub(crate) recorded: RefCell<Vec<Item>>,
    pub(crate) weights: &'r Weights,
    pub(crate) rows_arena: &'r Arena,
    pub(crate) wanted_arena: &'r Arena,
    pub(crate) step: &'r StepRows,
    /// The results of the step before.
    pub(crate) earlier: Earlier<'r>,
    pub(crate) caches: &'r CacheMemory,
    pub(crate) scratch: &'r Scratch,
    /// The kernels of projections.
    pub(crate) projections: &'static [Bucket],
    /// Rows of the step.
    pub(crate) rows: usize,
    /// The wanted rows that the head runs for now: the first, among all wanted rows of the step, and how many.
    pub(crate) wanted: (usize, usize),
    /// The rows, as runs of consecutive positions of a sequence.
    pub(crate) row_runs: &'r [RowRun],
    /// Scratch that was used since the last barrier.
    pub(crate) scratch_used: Cell<[bool; SCRATCH_USES]>,
    /// The first error.
    pub(crate) failed: RefCell<Option<String>>,
}

/// The most likely tokens of a step, for the next one.
#[derive(Clone, Copy)]
pub(crate) struct Earlier<'a> {
    /// Pairs (id u32, logit f32) [rows, kept].
    pub(crate) results: Binding<'a>,
    /// Wanted rows of that step.
    pub(crate) rows: usize,
    /// Pairs of each.
    pub(crate) kept: usize,
}

/// A place in a GPU buffer.
#[derive(Clone, Copy)]
pub struct Binding<'a> {
    /// The buffer.
    pub buffer: &'a Buffer,
    /// Its byte that the kernel sees first.
    pub offset: usize,
}

/// A layer's cache, as kernels see it.
pub(crate) struct CacheBinding<'a> {
    /// Shapes and window.
    pub layer: &'a LayerCache,
    /// Keys [page, kv_head, PAGE, head_dim] f16.
    pub keys: Binding<'a>,
    /// Values, the same.
    pub values: Binding<'a>,
    /// Page tables [slot, pages_per_sequence] u32 of the layer's group.
    pub tables: Binding<'a>,
    /// Entries of a page table.
    pub pages_per_sequence: usize,
    /// Positions of a page.
    pub page: usize,
    /// How keys and values are stored.
    pub format: KvFormat,
}

/// One dispatch.
pub struct Dispatch<'a> {
    /// The kernel.
    pub function: &'a str,
    /// What its pipeline is specialised by.
    pub constants: &'a [Constant],
    /// Buffers by index.
    pub buffers: &'a [(usize, Binding<'a>)],
    /// Small constant data by index.
    pub bytes: &'a [(usize, &'a [u8])],
    /// Threadgroups of the grid.
    pub threadgroups: [usize; 3],
    /// Threads of a threadgroup.
    pub threads: [usize; 3],
}

impl<'r> Run<'r> {
    /// What was encoded before is done, and its results are seen, before what is encoded after begins.
    pub fn barrier(&self) {
        let mut recorded = self.recorded.borrow_mut();
        if matches!(recorded.last(), Some(Item::Dispatch(_))) {
            recorded.push(Item::Barrier);
        }
        self.scratch_used.set([false; SCRATCH_USES]);
    }

    /// Number of rows of a buffer's kind in this step.
    pub(crate) fn rows<R: RowKind>(&self) -> usize {
        if R::WANTED { self.wanted.1 } else { self.rows }
    }

    /// Where the rows of `place` begin; they lie N elements apart.
    pub(crate) fn at<const N: usize, R: RowKind>(&self, place: Place<N, R>) -> Binding<'r> {
        if R::WANTED { self.wanted_arena.at(place.any()) } else { self.rows_arena.at(place.any()) }
    }

    /// A vector of the weights.
    pub(crate) fn vector(&self, vector: Vector) -> Binding<'r> {
        Binding { buffer: self.weights.buffer(), offset: vector.offset }
    }

    /// A matrix of the weights.
    pub(crate) fn matrix(&self, matrix: &AnyMatrix) -> Binding<'r> {
        Binding { buffer: self.weights.buffer(), offset: matrix.offset }
    }

    /// The kernel for projections of so many rows. `None`, and the run has failed, if there is none.
    pub(crate) fn bucket(&self, rows: usize) -> Option<Bucket> {
        let bucket = self.projections.iter().find(|bucket| rows <= bucket.most_rows);
        if bucket.is_none() {
            self.fail(format!("there is no kernel for projections of {rows} rows"));
        }
        bucket.copied()
    }

    /// Token ids of the rows.
    pub(crate) fn tokens(&self) -> Binding<'r> {
        self.step.at(self.step.layout.tokens)
    }

    /// Where the most likely tokens of the wanted rows go.
    pub(crate) fn results(&self) -> Binding<'r> {
        self.step.at(self.step.layout.results)
    }

    /// Positions of the rows.
    pub(crate) fn positions(&self) -> Binding<'r> {
        self.step.at(self.step.layout.positions)
    }

    /// Page-table slots of the rows.
    pub(crate) fn slots(&self) -> Binding<'r> {
        self.step.at(self.step.layout.slots)
    }

    /// Numbers, among the rows, of the wanted rows that the head runs for now.
    pub(crate) fn wanted(&self) -> Binding<'r> {
        self.step.at(self.step.layout.wanted + self.wanted.0 * size_of::<u32>())
    }

    /// A layer's cache. `None`, and the run has failed, if it has no memory.
    pub(crate) fn cache(&self, cache: usize) -> Option<CacheBinding<'r>> {
        let found = self.caches.layer(cache).and_then(|layer| Some((layer, self.caches.place(layer)?)));
        let Some((layer, (buffer, keys, values))) = found else {
            self.fail(format!("cache {cache} has no memory"));
            return None;
        };
        Some(CacheBinding {
            layer,
            keys: Binding { buffer, offset: keys },
            values: Binding { buffer, offset: values },
            tables: self.step.at(self.step.layout.group(layer.group)),
            pages_per_sequence: self.step.layout.pages_per_sequence,
            page: PAGE,
            format: self.caches.format(),
        })
    }

    /// Memory between the dispatches of one operation. It waits for whoever used the same before.
    pub(crate) fn scratch(&self, what: ScratchUse, bytes: usize) -> Option<Buffer> {
        let mut used = self.scratch_used.get();
        if used[what as usize] {
            self.barrier();
            used = [false; SCRATCH_USES];
        }
        used[what as usize] = true;
        self.scratch_used.set(used);
        self.scratch.take(self.device, what, bytes).map_err(|error| self.fail(error)).ok()
    }

    /// Says that dispatches since the last barrier use the scratch that was taken before it.
    pub(crate) fn scratch_in_use(&self, what: ScratchUse) {
        let mut used = self.scratch_used.get();
        used[what as usize] = true;
        self.scratch_used.set(used);
    }

    /// Encodes a dispatch; nothing once the run has failed. A grid of nothing is left out.
    pub(crate) fn dispatch(&self, dispatch: &Dispatch<'_>) {
        if self.failed.borrow().is_some() || dispatch.threadgroups.contains(&0) {
            return;
        }
        let pipeline = match self.kernels.pipeline(dispatch.function, dispatch.constants) {
            Ok(pipeline) => pipeline,
            Err(error) => return self.fail(error),
        };
        let buffers = dispatch.buffers.iter();
        let bytes = dispatch.bytes.iter();
        self.recorded.borrow_mut().push(Item::Dispatch(Recorded {
            function: dispatch.function.to_owned(),
            pipeline,
            constants: dispatch.constants.to_vec(),
            buffers: buffers.map(|(index, place)| (*index, place.buffer.clone(), place.offset)).collect(),
            bytes: bytes.map(|(index, bytes)| (*index, bytes.to_vec())).collect(),
            threadgroups: dispatch.threadgroups,
            threads: dispatch.threads,
        }));
    }

    /// Keeps the first error.
    pub(crate) fn fail(&self, error: impl ToString) {
        self.failed.borrow_mut().get_or_insert_with(|| error.to_string());
    }
}
