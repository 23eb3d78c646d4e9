//! Root-mean-square norms.

use super::buffer::{Buffer, RowKind};
use super::matrix::Isa;
use super::profile::Stage;
use super::run::Run;
use super::simd::{Kernel, LANES, Simd, dispatch};

/// output = norm(input): each chunk of `weight.len()` elements becomes x / √(mean(x²) + eps) · weight. The weight's length divides N.
/// `output` may be `input`.
pub fn rms_norm<const N: usize, R: RowKind>(
    run: &Run<'_>,
    input: Buffer<N, R>,
    weight: &[f32],
    eps: f32,
    output: Buffer<N, R>,
) {
    normed_rows(run, input, weight, eps, None, output);
}

/// output = residual + norm(input); see [`rms_norm`]. `output` may be `residual` or `input`.
pub fn rms_norm_add<const N: usize, R: RowKind>(
    run: &Run<'_>,
    input: Buffer<N, R>,
    weight: &[f32],
    eps: f32,
    residual: Buffer<N, R>,
    output: Buffer<N, R>,
) {
    normed_rows(run, input, weight, eps, Some(residual), output);
}

fn normed_rows<const N: usize, R: RowKind>(
    run: &Run<'_>,
    input: Buffer<N, R>,
    weight: &[f32],
    eps: f32,
    residual: Option<Buffer<N, R>>,
    output: Buffer<N, R>,
) {
    let _timer = run.time(Stage::Norm);
    let chunk = weight.len();
    assert!(chunk > 0 && N.is_multiple_of(chunk), "a norm of {chunk} elements does not divide rows of {N}");
    for other in [Some(input), residual].into_iter().flatten() {
        output.any().assert_same_or_apart(other.any());
    }
    let mut scratch = run.scratch();
    let normed = scratch.floats(chunk);
    for item in run.share(run.rows::<R>() * (N / chunk)) {
        let (row, at) = (item / (N / chunk), item % (N / chunk) * chunk);
        // SAFETY: this chunk of each buffer is this thread's, and every reference ends before the next one begins.
        unsafe {
            rms_norm_row(run.isa, run.part(input, row, at, chunk), weight, eps, normed);
            if let Some(residual) = residual {
                for (x, r) in normed.iter_mut().zip(run.part(residual, row, at, chunk)) {
                    *x += r;
                }
            }
            run.part_mut(output, row, at, chunk).copy_from_slice(normed);
        }
    }
}

/// output = input / √(mean(input²) + eps) · weight; all of the same length.
pub(crate) fn rms_norm_row(isa: Isa, input: &[f32], weight: &[f32], eps: f32, output: &mut [f32]) {
    assert!(input.len() == weight.len() && input.len() == output.len(), "norm of unequal lengths");
    dispatch(isa, RmsNorm { input, weight, eps, output });
}

struct RmsNorm<'a> {
    input: &'a [f32],
    weight: &'a [f32],
    eps: f32,
    output: &'a mut [f32],
}

impl Kernel for RmsNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (vectors, tail) = self.input.as_chunks::<LANES>();
        let mut sums = [simd.splat(0.0); 2];
        for (index, vector) in vectors.iter().enumerate() {
            let x = simd.load(vector);
            sums[index % 2] = simd.fma(x, x, sums[index % 2]);
        }
        let squares = simd.sum(simd.add(sums[0], sums[1])) + tail.iter().map(|x| x * x).sum::<f32>();
        let factor = 1.0 / (squares / self.input.len() as f32 + self.eps).sqrt();
        for ((y, x), w) in self.output.iter_mut().zip(self.input).zip(self.weight) {
            *y = x * factor * w;
        }
    }
}
