//! Projections: y = [norm(x) · W₀ᵀ + b₀ | norm(x) · W₁ᵀ + b₁ | …], with what is fused into them.
//!
//! The model's [`Bucket`]s say how many rows go through the mat-vec; more go through the GEMM after a norm of its own.

use super::buckets::{Bucket, Projection};
use super::elementwise::Activation;
use super::format::{Format, FormatInfo};
use super::gemm::{Gemm, GemmPart, gemm, gemm_needs};
use super::kernels::KernelNeeds;
use super::mat_vec::{mat_vec, mat_vec_needs};
use super::memory::ScratchUse;
use super::norm::{RmsNorm, rms_norm_needs};
use super::prologue::{AddAt, InputAt};
use super::run::{Binding, Run};
use super::weights::{AnyMatrix, Matrix, Vector};
use crate::runtime::buffer::{AnyBuffer, Buffer, RowKind};

/// Projects [rows, IN] to [rows, OUT]; the outputs of up to three `parts` stand side by side and add up to OUT.
pub fn linear<const IN: usize, const OUT: usize, R: RowKind>(
    run: &Run<'_>,
    input: Input<IN, R>,
    parts: &[Part<IN>],
    output: Output<OUT, R>,
) {
    let outputs: usize = parts.iter().map(|part| part.matrix.outputs).sum();
    assert_eq!(outputs, OUT, "the parts of a projection add up to its outputs");
    project(run, input, parts, None, output);
}

/// output = activation(gate(x)) · up(x), element by element: [rows, IN] to [rows, OUT]; `gate` and `up` both have OUT outputs.
pub fn linear_gated<const IN: usize, const OUT: usize, R: RowKind>(
    run: &Run<'_>,
    input: Input<IN, R>,
    gate: Part<IN>,
    up: Part<IN>,
    activation: Activation,
    output: Output<OUT, R>,
) {
    assert!(
        gate.matrix.outputs == OUT && up.matrix.outputs == OUT,
        "gate and up have as many outputs as their product"
    );
    project(run, input, &[gate, up], Some(activation), output);
}

/// What projections whose parts have these formats need.
pub fn linear_needs(formats: &[&FormatInfo]) -> KernelNeeds {
    mat_vec_needs(formats).and(rms_norm_needs()).and(gemm_needs(formats))
}

/// One weight of a projection.
#[derive(Debug, Clone, Copy)]
pub struct Part<const IN: usize> {
    pub(crate) matrix: AnyMatrix,
    pub(crate) bias: Option<Vector>,
}

impl<const IN: usize> Part<IN> {
    /// A matrix [OUT, IN] without bias.
    pub fn new<F: Format, const OUT: usize>(matrix: &Matrix<F, OUT, IN>) -> Part<IN> {
        Part { matrix: matrix.any(), bias: None }
    }

    /// A matrix [OUT, IN] with its bias \[OUT\].
    pub fn biased<F: Format, const OUT: usize>(matrix: &Matrix<F, OUT, IN>, bias: Vector) -> Part<IN> {
        assert_eq!(bias.len, OUT, "a bias has as many elements as its matrix has outputs");
        Part { matrix: matrix.any(), bias: Some(bias) }
    }
}

/// What is projected.
#[derive(Clone, Copy)]
pub struct Input<const IN: usize, R> {
    buffer: Buffer<IN, R>,
    /// Weight and epsilon.
    norm: Option<(Vector, f32)>,
    add: Option<Add<IN, R>>,
}

/// What makes an input a sum.
#[derive(Clone, Copy)]
struct Add<const IN: usize, R> {
    /// Weight and epsilon.
    norm: (Vector, f32),
    stream: Buffer<IN, R>,
    sum: Buffer<IN, R>,
}

impl<const IN: usize, R: RowKind> Input<IN, R> {
    /// The rows as they are.
    pub fn plain(buffer: Buffer<IN, R>) -> Input<IN, R> {
        Input { buffer, norm: None, add: None }
    }

    /// The rows' root-mean-square norm over all IN elements: x / √(mean(x²) + eps) · weight \[IN\].
    pub fn normed(buffer: Buffer<IN, R>, weight: Vector, eps: f32) -> Input<IN, R> {
        assert_eq!(weight.len, IN, "a fused norm is as long as the row");
        Input { buffer, norm: Some((weight, eps)), add: None }
    }

    /// The norm of a sum: of `stream` and the norm of the rows by `add_weight` and `add_eps`. The sum goes to `sum`, which overlaps neither.
    pub fn added(
        buffer: Buffer<IN, R>,
        add_weight: Vector,
        add_eps: f32,
        stream: Buffer<IN, R>,
        sum: Buffer<IN, R>,
        weight: Vector,
        eps: f32,
    ) -> Input<IN, R> {
        assert_eq!(add_weight.len, IN, "a fused norm is as long as the row");
        sum.any().assert_apart(buffer.any());
        sum.any().assert_apart(stream.any());
        Input {
            add: Some(Add { norm: (add_weight, add_eps), stream, sum }),
            ..Input::normed(buffer, weight, eps)
        }
    }

    /// Where all of it lies.
    pub(crate) fn at<'r>(&self, run: &Run<'r>) -> InputAt<'r> {
        let add = self.add.as_ref().map(|add| AddAt {
            norm: add.norm,
            stream: run.at(add.stream),
            sum: run.at(add.sum),
        });
        InputAt { x: run.at(self.buffer), norm: self.norm, add }
    }

    /// Checks that a result overlaps nothing that is read or written before it.
    pub(crate) fn assert_apart(&self, result: AnyBuffer) {
        result.assert_apart(self.buffer.any());
        if let Some(Add { stream, sum, .. }) = &self.add {
            result.assert_apart(stream.any());
            result.assert_apart(sum.any());
        }
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
}

fn project<const IN: usize, const OUT: usize, R: RowKind>(
    run: &Run<'_>,
    input: Input<IN, R>,
    parts: &[Part<IN>],
    gate: Option<Activation>,
    output: Output<OUT, R>,
) {
    input.assert_apart(output.buffer.any());
    let residual = output.residual.map(|residual| run.at(residual));
    project_to(run, input, parts, gate, residual, run.at(output.buffer));
}

/// Projects to any place that the input does not overlap.
pub(crate) fn project_to<const IN: usize, R: RowKind>(
    run: &Run<'_>,
    input: Input<IN, R>,
    parts: &[Part<IN>],
    gate: Option<Activation>,
    residual: Option<Binding<'_>>,
    y: Binding<'_>,
) {
    let rows = run.rows::<R>();
    let Some(Bucket { kernel, tile, .. }) = run.bucket(rows) else { return };
    let mut input = input.at(run);
    let parts: Vec<_> = parts.iter().map(|part| (part.matrix, part.bias)).collect();
    if kernel == Projection::MatVec {
        let shape = shape(IN, &parts, gate, residual.is_some());
        return mat_vec(run, rows, tile, input, shape, &parts, residual, y);
    }
    if let Some(AddAt { norm: (weight, eps), stream, sum }) = input.add {
        RmsNorm { width: IN, eps, residual: true }.encode(run, rows, input.x, weight, Some(stream), sum);
        run.barrier();
        input.x = sum;
    }
    let Some((weight, eps)) = input.norm else {
        return gemm(run, rows, tile, input.x, &parts, gate, residual, y);
    };
    let Some(scratch) = run.scratch(ScratchUse::Normed, rows * IN * size_of::<f32>()) else { return };
    let normed = Binding { buffer: &scratch, offset: 0 };
    RmsNorm { width: IN, eps, residual: false }.encode(run, rows, input.x, weight, None, normed);
    run.barrier();
    run.scratch_in_use(ScratchUse::Normed);
    gemm(run, rows, tile, normed, &parts, gate, residual, y);
}

/// The shape of a projection of these parts.
pub(crate) fn shape(
    inputs: usize,
    parts: &[(AnyMatrix, Option<Vector>)],
    gate: Option<Activation>,
    residual: bool,
) -> Gemm {
    let part = |(matrix, bias): &(AnyMatrix, Option<Vector>)| GemmPart {
        format: matrix.format,
        outputs: matrix.outputs,
        bias: bias.is_some(),
    };
    Gemm { inputs, parts: parts.iter().map(part).collect(), gate, residual }
}
