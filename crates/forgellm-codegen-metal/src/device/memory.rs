//! GPU memory of a step: activations, its rows and page tables, scratch, results.

use std::cell::RefCell;

use crate::device::head::MAX_TOP;
use crate::device::run::{Binding, WANTED_ROWS};
use crate::gpu::{Buffer, Device, GpuError};
use crate::runtime::buffer::AnyBuffer;

/// Where parts of a buffer may start, in bytes.
const ALIGNMENT: usize = 256;

/// Activations: [`AnyBuffer`]s, each with room for as many rows as the arena was made for.
pub(crate) struct Arena {
    buffer: Buffer,
    rows: usize,
}

impl Arena {
    /// Room for `rows` rows of `per_row` f32.
    pub(crate) fn new(device: &Device, rows: usize, per_row: usize, label: &str) -> Result<Arena, GpuError> {
        let bytes = rows.saturating_mul(per_row).saturating_mul(size_of::<f32>());
        Ok(Arena { buffer: device.buffer(bytes.max(ALIGNMENT), label)?, rows })
    }

    /// Bytes of all rows.
    pub(crate) fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Where the rows of `buffer` begin; they lie `width` elements apart.
    pub(crate) fn at(&self, buffer: AnyBuffer) -> Binding<'_> {
        Binding { buffer: &self.buffer, offset: buffer.offset * self.rows * size_of::<f32>() }
    }

    /// A row of `buffer`, after the GPU has finished; `None` if it lies outside.
    pub(crate) fn row(&self, buffer: AnyBuffer, row: usize) -> Option<Vec<f32>> {
        let first = (buffer.offset * self.rows + row * buffer.width) * size_of::<f32>();
        read(&self.buffer, first, buffer.width)
    }
}

/// `count` numbers of `buffer` from byte `offset` on; `None` if they lie outside. No work of the GPU may be under way.
pub(crate) fn read<T: bytemuck::Pod>(buffer: &Buffer, offset: usize, count: usize) -> Option<Vec<T>> {
    let bytes = count.checked_mul(size_of::<T>())?;
    if offset.checked_add(bytes)? > buffer.len() {
        return None;
    }
    let mut values = vec![T::zeroed(); count];
    // SAFETY: the range lies within the buffer's shared memory, which lives as long as `buffer`; the destination is as long.
    unsafe {
        let source = buffer.contents().cast_const().add(offset);
        std::ptr::copy_nonoverlapping(source, values.as_mut_ptr().cast::<u8>(), bytes);
    }
    Some(values)
}

/// Puts numbers into `buffer` from byte `offset` on; `None` if they do not fit. No work of the GPU may be under way that touches them.
pub(crate) fn write<T: bytemuck::NoUninit>(buffer: &Buffer, offset: usize, values: &[T]) -> Option<()> {
    let bytes: &[u8] = bytemuck::cast_slice(values);
    if offset.checked_add(bytes.len())? > buffer.len() {
        return None;
    }
    // SAFETY: the range lies within the buffer's shared memory, and the source is other memory.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), buffer.contents().add(offset), bytes.len()) };
    Some(())
}

/// What the kernels read of a step's rows, and what they give: u32 lists, one after the other in one buffer.
pub(crate) struct StepRows {
    pub(crate) buffer: Buffer,
    pub(crate) layout: StepLayout,
}

/// Where each list of a [`StepRows`] begins, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StepLayout {
    /// Token ids \[rows\].
    pub(crate) tokens: usize,
    /// Positions \[rows\].
    pub(crate) positions: usize,
    /// Page-table slots \[rows\].
    pub(crate) slots: usize,
    /// Numbers of the wanted rows \[wanted\].
    pub(crate) wanted: usize,
    /// The most likely tokens, pairs (id, logit f32) [wanted, kept].
    pub(crate) results: usize,
    /// Page tables [group, slot, pages_per_sequence].
    pub(crate) pages: usize,
    /// Page-table slots: sequences that a step can have.
    pub(crate) slot_count: usize,
    /// Entries of a page table.
    pub(crate) pages_per_sequence: usize,
    bytes: usize,
}

impl StepLayout {
    /// Lists for steps of up to `rows` rows of `sequences` sequences, with `groups` page tables of `pages_per_sequence` entries each.
    pub(crate) fn new(rows: usize, sequences: usize, groups: usize, pages_per_sequence: usize) -> StepLayout {
        let list = (rows * size_of::<u32>()).next_multiple_of(ALIGNMENT);
        let results = (WANTED_ROWS * MAX_TOP * 2 * size_of::<u32>()).next_multiple_of(ALIGNMENT);
        let slot_count = sequences.min(rows);
        let tables = groups * slot_count * pages_per_sequence * size_of::<u32>();
        StepLayout {
            tokens: 0,
            positions: list,
            slots: 2 * list,
            wanted: 3 * list,
            results: 4 * list,
            pages: 4 * list + results,
            slot_count,
            pages_per_sequence,
            bytes: 4 * list + results + tables.max(ALIGNMENT),
        }
    }

    /// Where the page tables of a group begin, in bytes.
    pub(crate) fn group(&self, group: usize) -> usize {
        self.pages + group * self.slot_count * self.pages_per_sequence * size_of::<u32>()
    }

    /// Where the page table of a slot begins, in bytes.
    pub(crate) fn table(&self, group: usize, slot: usize) -> usize {
        self.group(group) + slot * self.pages_per_sequence * size_of::<u32>()
    }
}

impl StepRows {
    pub(crate) fn new(device: &Device, layout: StepLayout) -> Result<StepRows, GpuError> {
        Ok(StepRows { buffer: device.buffer(layout.bytes, "rows of the step")?, layout })
    }

    pub(crate) fn at(&self, offset: usize) -> Binding<'_> {
        Binding { buffer: &self.buffer, offset }
    }
}

/// Memory between two dispatches of one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScratchUse {
    /// Partial results of attention.
    Attention,
    /// Normed inputs of a projection.
    Normed,
    /// Partial bests of the head.
    Top,
    /// Queries, keys and values on their way from a projection to the cache.
    Joint,
}

/// How many uses there are.
pub(crate) const SCRATCH_USES: usize = 4;

/// One scratch buffer per use, which grows as it must.
#[derive(Default)]
pub(crate) struct Scratch {
    buffers: RefCell<[Option<Buffer>; SCRATCH_USES]>,
    /// Buffers that were replaced while a step that may use them is being encoded.
    retired: RefCell<Vec<Buffer>>,
}

impl Scratch {
    /// The buffer for `what`, with room for `bytes`.
    pub(crate) fn take(&self, device: &Device, what: ScratchUse, bytes: usize) -> Result<Buffer, GpuError> {
        let slot = &mut self.buffers.borrow_mut()[what as usize];
        if let Some(known) = slot.as_ref().filter(|known| known.len() >= bytes) {
            return Ok(known.clone());
        }
        let buffer = device.buffer(bytes.next_power_of_two().max(ALIGNMENT), "scratch")?;
        self.retired.borrow_mut().extend(slot.replace(buffer.clone()));
        Ok(buffer)
    }

    /// Frees what was replaced, but for what belongs to steps under way: they keep it.
    pub(crate) fn free_retired(&self) {
        self.retired.borrow_mut().clear();
    }
}
