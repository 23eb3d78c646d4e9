//! The inputs of a projection as its kernels read them: normed, and in 8 bits where the weights are quantised.

use super::{Input, Part};
use crate::device::arena::Arena;
use crate::device::buffer::RowKind;
use crate::device::matrix::{ActivationBlock, ActivationKind, Activations, quantise_row};
use crate::device::norm::rms_norm_row;
use crate::device::run::Run;

/// Values that share a scale.
const BLOCK: usize = 32;

/// Up to so many rows every thread prepares for itself, which takes less time than to wait for the others.
const OWN_ROWS: usize = 2;

/// Calls `project` with the prepared input.
pub(super) fn prepare<const IN: usize, R: RowKind>(
    run: &Run<'_>,
    input: &Input<'_, IN, R>,
    parts: &[Part<'_, IN>],
    project: impl FnOnce(&Activations<'_>),
) {
    let rows = run.rows::<R>();
    if rows == 0 {
        return;
    }
    let needed = |kind| parts.iter().any(|part| part.matrix.needs() == kind);
    let (blocks_needed, floats_needed) = (needed(ActivationKind::Int8), needed(ActivationKind::F32));
    // Rows that are read as they are need no copy.
    let floats_copied = floats_needed && input.norm.is_some();
    let floats_len = if floats_copied { rows * IN } else { 0 };
    let blocks_len = if blocks_needed { rows * (IN / BLOCK) } else { 0 };

    let mut scratch = run.scratch();
    let own = rows <= OWN_ROWS || run.threads == 1;
    let (floats, blocks) = if own {
        let OwnInputs { row: _, floats, blocks } = &mut scratch.inputs;
        grow(floats, floats_len, 0.0);
        grow(blocks, blocks_len, ActivationBlock::default());
        (floats.as_mut_ptr(), blocks.as_mut_ptr())
    } else {
        let shared = &run.memory.inputs;
        assert!(
            floats_len <= shared.floats.len() && blocks_len <= shared.blocks.len(),
            "inputs wider than the arena"
        );
        // Others may still read what the projection before has put there.
        run.barrier.wait();
        (shared.floats.base(), shared.blocks.base())
    };
    let normed = grow(&mut scratch.inputs.row, IN, 0.0);
    if blocks_needed || floats_copied {
        for row in if own { 0..rows } else { run.share(rows) } {
            // SAFETY: nobody writes to the input now.
            let mut x = unsafe { run.row(input.buffer, row) };
            if let Some((weight, eps)) = input.norm {
                rms_norm_row(run.isa, x, weight, eps, normed);
                x = normed;
            }
            // SAFETY: `floats` and `blocks` have room for all rows if they are needed, and this row of them is this thread's.
            unsafe {
                if floats_copied {
                    std::slice::from_raw_parts_mut(floats.add(row * IN), IN).copy_from_slice(x);
                }
                if blocks_needed {
                    let blocks = std::slice::from_raw_parts_mut(blocks.add(row * (IN / BLOCK)), IN / BLOCK);
                    quantise_row(run.isa, x, blocks);
                }
            }
        }
    }
    if !own {
        run.barrier.wait();
    }
    // SAFETY: the elements were just written, by this thread or before the barrier, and nobody writes to them before the next projection's
    // barrier. A plain input is written by nobody until the operation after this one.
    let (floats, blocks) = unsafe {
        let floats: &[f32] = match (floats_needed, floats_copied) {
            (true, true) => std::slice::from_raw_parts(floats, floats_len),
            (true, false) => std::slice::from_raw_parts(run.start(input.buffer), rows * IN),
            (false, _) => &[],
        };
        (floats, std::slice::from_raw_parts(blocks, blocks_len))
    };
    project(&Activations::new(IN, floats, blocks));
}

/// Prepared inputs that all threads share.
pub(crate) struct SharedInputs {
    floats: Arena<f32>,
    blocks: Arena<ActivationBlock>,
}

impl SharedInputs {
    /// Room for `rows` inputs of up to `width` elements; `None` if there is no memory.
    pub(crate) fn new(rows: usize, width: usize) -> Option<SharedInputs> {
        Some(SharedInputs {
            floats: Arena::new(rows, width)?,
            blocks: Arena::new(rows, width.div_ceil(BLOCK))?,
        })
    }

    /// Bytes of the room.
    pub(crate) fn bytes(&self) -> usize {
        self.floats.bytes() + self.blocks.bytes()
    }
}

/// Prepared inputs of one thread.
#[derive(Default)]
pub(crate) struct OwnInputs {
    row: Vec<f32>,
    floats: Vec<f32>,
    blocks: Vec<ActivationBlock>,
}

fn grow<T: Clone>(vec: &mut Vec<T>, len: usize, value: T) -> &mut [T] {
    if vec.len() < len {
        vec.resize(len, value);
    }
    &mut vec[..len]
}
