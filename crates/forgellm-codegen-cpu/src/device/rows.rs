//! Operations that move rows or columns.

use super::buffer::{Buffer, RowKind, Rows, WantedBuffer};
use super::matrix::{Format, Matrix};
use super::profile::Stage;
use super::run::Run;

/// output = scale · the rows of `table` [VOCAB, N] for the step's tokens.
pub fn embed<F: Format, const VOCAB: usize, const N: usize>(
    run: &Run<'_>,
    table: &Matrix<'_, F, VOCAB, N>,
    scale: f32,
    output: Buffer<N>,
) {
    let _timer = run.time(Stage::Rows);
    for row in run.share(run.rows::<Rows>()) {
        // SAFETY: this row is this thread's.
        let output = unsafe { run.row_mut(output, row) };
        table.read_row(run.step.tokens[row] as usize, output);
        if scale != 1.0 {
            for x in output {
                *x *= scale;
            }
        }
    }
}

/// output = the wanted rows of `input`.
pub fn select_wanted<const N: usize>(run: &Run<'_>, input: Buffer<N>, output: WantedBuffer<N>) {
    let _timer = run.time(Stage::Rows);
    for row in run.share(run.wanted.len()) {
        // SAFETY: this row of the output is this thread's; the input lies in another arena, and nobody writes to it now.
        let (input, output) = unsafe { (run.row(input, run.wanted[row]), run.row_mut(output, row)) };
        output.copy_from_slice(input);
    }
}

/// output = columns `start .. start + N` of `input`. The buffers do not overlap.
pub fn slice<const W: usize, const N: usize, R: RowKind>(
    run: &Run<'_>,
    input: Buffer<W, R>,
    start: usize,
    output: Buffer<N, R>,
) {
    let _timer = run.time(Stage::Rows);
    input.any().assert_apart(output.any());
    for row in run.share(run.rows::<R>()) {
        // SAFETY: this row of the output is this thread's, and apart from the input, to which nobody writes now.
        let (input, output) = unsafe { (run.row(input, row), run.row_mut(output, row)) };
        output.copy_from_slice(&input[start..start + N]);
    }
}
