//! Operations that move rows or columns.

use super::kernels::KernelNeeds;
use super::launch::{Launch, unsigned};
use super::run::Run;
use crate::runtime::buffer::{Buffer, RowKind, WantedBuffer};

/// output = the wanted rows of `input`.
pub fn select_wanted<const N: usize>(run: &Run<'_>, input: Buffer<N>, output: WantedBuffer<N>) {
    let buffers = [(0, run.at(input)), (1, run.wanted()), (2, run.at(output))];
    select_wanted_launch(N, run.wanted.1).encode(run, &buffers, &[]);
}

/// output = columns `start .. start + N` of `input`. The buffers do not overlap.
pub fn slice<const W: usize, const N: usize, R: RowKind>(
    run: &Run<'_>,
    input: Buffer<W, R>,
    start: usize,
    output: Buffer<N, R>,
) {
    input.any().assert_apart(output.any());
    assert!(start + N <= W, "columns {start} .. {} of {W}", start + N);
    let buffers = [(0, run.at(input)), (1, run.at(output))];
    slice_launch(W, start, N, run.rows::<R>()).encode(run, &buffers, &[]);
}

/// What the operations of this file need.
pub fn rows_needs() -> KernelNeeds {
    KernelNeeds { files: vec!["rows.metal"], instantiations: Vec::new() }
}

/// Threads of a threadgroup; each moves four elements.
const THREADS: usize = 64;

/// The dispatch for `wanted` rows of `width` elements. Buffers: input, numbers of the wanted rows (u32), output.
pub fn select_wanted_launch(width: usize, wanted: usize) -> Launch {
    launch("select_wanted", vec![unsigned(66, width)], width, wanted)
}

/// The dispatch for columns `start .. start + len` of `rows` rows of `width` elements. Buffers: input, output.
pub fn slice_launch(width: usize, start: usize, len: usize, rows: usize) -> Launch {
    launch("slice", vec![unsigned(66, width), unsigned(67, start), unsigned(68, len)], len, rows)
}

fn launch(function: &str, constants: Vec<crate::gpu::Constant>, columns: usize, rows: usize) -> Launch {
    Launch {
        function: function.into(),
        constants,
        threadgroups: [columns.div_ceil(4 * THREADS), rows, 1],
        threads: [THREADS, 1, 1],
    }
}
