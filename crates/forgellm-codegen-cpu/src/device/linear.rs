//! Projections: y = [norm(x) · W₀ᵀ + b₀ | norm(x) · W₁ᵀ + b₁ | …], with what is fused into them.
//!
//! Every thread takes all rows and a share of the outputs, so that each byte of the weights is read once.

mod gate;
mod inputs;

use std::ops::Range;

use super::buffer::{Buffer, RowKind};
use super::elementwise::Activation;
use super::matrix::{Format, Matrix, PANEL_ROWS, Project};
use super::profile::Stage;
use super::run::Run;
pub(crate) use inputs::{OwnInputs, SharedInputs};

/// Projects [rows, IN] to [rows, OUT]; the outputs of `parts` stand side by side and add up to OUT.
pub fn linear<const IN: usize, const OUT: usize, R: RowKind>(
    run: &Run<'_>,
    input: Input<'_, IN, R>,
    parts: &[Part<'_, IN>],
    output: Output<OUT, R>,
) {
    let _timer = run.time(Stage::Linear);
    assert_eq!(
        parts.iter().map(Part::outputs).sum::<usize>(),
        OUT,
        "the parts of a projection add up to its outputs"
    );
    input.buffer.any().assert_apart(output.buffer.any());
    let rows = run.rows::<R>();
    inputs::prepare(run, &input, parts, |x| {
        let shares = shares(run, parts);
        let mut first_output = 0;
        for (part, panels) in parts.iter().zip(shares) {
            part.matrix.project(run.isa, x, 0..rows, panels, &mut |panel, first_row, tile| {
                let at = panel * PANEL_ROWS;
                let len = PANEL_ROWS.min(part.outputs() - at);
                let bias = part.bias.map(|bias| &bias[at..at + len]);
                for (row, values) in (first_row..).zip(tile) {
                    output.write(run, row, first_output + at, &values[..len], bias);
                }
            });
            first_output += part.outputs();
        }
    });
}

/// output = activation(gate(x)) · up(x), element by element: [rows, IN] to [rows, OUT]; `gate` and `up` both have OUT outputs.
pub fn linear_gated<const IN: usize, const OUT: usize, R: RowKind>(
    run: &Run<'_>,
    input: Input<'_, IN, R>,
    gate: Part<'_, IN>,
    up: Part<'_, IN>,
    activation: Activation,
    output: Output<OUT, R>,
) {
    let _timer = run.time(Stage::Linear);
    assert!(
        gate.outputs() == OUT && up.outputs() == OUT,
        "gate and up have as many outputs as their product"
    );
    input.buffer.any().assert_apart(output.buffer.any());
    let rows = run.rows::<R>();
    // A block of rows stays in the cache while panel after panel passes.
    let block = (GATED_CACHE_BYTES / (2 * IN).max(1)).clamp(GATED_ROWS.start, GATED_ROWS.end);
    inputs::prepare(run, &input, &[gate, up], |x| {
        let panels = run.share(gate.matrix.panels());
        let mut gates = vec![[0.0; PANEL_ROWS]; block.min(rows)];
        for first in (0..rows).step_by(block) {
            let rows = first..rows.min(first + block);
            for panel in panels.clone() {
                let at = panel * PANEL_ROWS;
                let len = PANEL_ROWS.min(OUT - at);
                gate.matrix.project(run.isa, x, rows.clone(), panel..panel + 1, &mut |_, row, tile| {
                    let gates = &mut gates[row - first..][..tile.len()];
                    gates.copy_from_slice(tile);
                    add_bias(gates, gate.bias, at);
                });
                up.matrix.project(run.isa, x, rows.clone(), panel..panel + 1, &mut |_, first_row, tile| {
                    let gates = &mut gates[first_row - first..][..tile.len()];
                    gate::multiply(run.isa, activation, gates, tile, up.bias.map(|bias| &bias[at..at + len]));
                    for (row, values) in (first_row..).zip(&*gates) {
                        output.write(run, row, at, &values[..len], None);
                    }
                });
            }
        }
    });
}

/// One weight of a projection.
#[derive(Clone, Copy)]
pub struct Part<'a, const IN: usize> {
    matrix: &'a dyn Project,
    bias: Option<&'a [f32]>,
}

impl<'a, const IN: usize> Part<'a, IN> {
    /// A matrix [OUT, IN] without bias.
    pub fn new<F: Format, const OUT: usize>(matrix: &'a Matrix<'_, F, OUT, IN>) -> Part<'a, IN> {
        Part { matrix, bias: None }
    }

    /// A matrix [OUT, IN] with its bias \[OUT\].
    pub fn biased<F: Format, const OUT: usize>(
        matrix: &'a Matrix<'_, F, OUT, IN>,
        bias: &'a [f32],
    ) -> Part<'a, IN> {
        assert_eq!(bias.len(), OUT, "a bias has as many elements as its matrix has outputs");
        Part { matrix, bias: Some(bias) }
    }

    fn outputs(&self) -> usize {
        self.matrix.outputs()
    }
}

/// What is projected.
pub struct Input<'a, const IN: usize, R> {
    buffer: Buffer<IN, R>,
    norm: Option<(&'a [f32], f32)>,
}

impl<'a, const IN: usize, R: RowKind> Input<'a, IN, R> {
    /// The rows as they are.
    pub fn plain(buffer: Buffer<IN, R>) -> Input<'a, IN, R> {
        Input { buffer, norm: None }
    }

    /// The rows' root-mean-square norm over all IN elements: x / √(mean(x²) + eps) · weight \[IN\].
    pub fn normed(buffer: Buffer<IN, R>, weight: &'a [f32], eps: f32) -> Input<'a, IN, R> {
        assert_eq!(weight.len(), IN, "a fused norm is as long as the row");
        Input { buffer, norm: Some((weight, eps)) }
    }
}

/// Where the result goes. It must not overlap the input.
pub struct Output<const OUT: usize, R> {
    buffer: Buffer<OUT, R>,
    residual: Option<Buffer<OUT, R>>,
}

impl<const OUT: usize, R: RowKind> Output<OUT, R> {
    /// buffer = result.
    pub fn store(buffer: Buffer<OUT, R>) -> Output<OUT, R> {
        Output { buffer, residual: None }
    }

    /// buffer += result.
    pub fn add(buffer: Buffer<OUT, R>) -> Output<OUT, R> {
        Output { buffer, residual: Some(buffer) }
    }

    /// buffer = residual + result.
    pub fn residual(residual: Buffer<OUT, R>, buffer: Buffer<OUT, R>) -> Output<OUT, R> {
        residual.any().assert_same_or_apart(buffer.any());
        Output { buffer, residual: Some(residual) }
    }

    /// Puts `values` + `bias` at `at` in a row.
    fn write(&self, run: &Run<'_>, row: usize, at: usize, values: &[f32], bias: Option<&[f32]>) {
        let mut sum = [0.0; PANEL_ROWS];
        let sum = &mut sum[..values.len()];
        sum.copy_from_slice(values);
        if let Some(bias) = bias {
            for (x, b) in sum.iter_mut().zip(bias) {
                *x += b;
            }
        }
        // SAFETY: outputs are shared out by panels, so these elements of both buffers are this thread's, and each reference ends before
        // the next begins.
        unsafe {
            if let Some(residual) = self.residual {
                for (x, r) in sum.iter_mut().zip(run.part(residual, row, at, values.len())) {
                    *x += r;
                }
            }
            run.part_mut(self.buffer, row, at, values.len()).copy_from_slice(sum);
        }
    }
}

/// Cache that the prepared inputs of a gated projection may take.
const GATED_CACHE_BYTES: usize = 384 << 10;

/// Rows that are gated at a time.
const GATED_ROWS: Range<usize> = 8..512;

/// The panels of each part that are this thread's: a share of the bytes of all parts together.
fn shares<const IN: usize>(run: &Run<'_>, parts: &[Part<'_, IN>]) -> impl Iterator<Item = Range<usize>> {
    let total: usize = parts.iter().map(|part| part.matrix.panels() * part.matrix.panel_bytes()).sum();
    let share = run.share(total);
    let mut before = 0;
    parts.iter().map(move |part| {
        let (panels, bytes) = (part.matrix.panels(), part.matrix.panel_bytes());
        // The panels that begin within the share.
        let edge = |byte: usize| byte.saturating_sub(before).div_ceil(bytes.max(1)).min(panels);
        let range = edge(share.start)..edge(share.end);
        before += panels * bytes;
        range
    })
}

fn add_bias(tile: &mut [[f32; PANEL_ROWS]], bias: Option<&[f32]>, at: usize) {
    let Some(bias) = bias else { return };
    for row in tile {
        for (x, b) in row.iter_mut().zip(&bias[at..]) {
            *x += b;
        }
    }
}
