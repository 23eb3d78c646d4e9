//! Root-mean-square norms.

use super::kernels::KernelNeeds;
use super::launch::{Launch, flag, float, unsigned};
use super::run::{Binding, Run};
use super::weights::Vector;
use crate::runtime::buffer::{Buffer, RowKind};

/// output = norm(input): each chunk of `weight.len` elements becomes x / √(mean(x²) + eps) · weight. The weight's length divides N.
/// `output` may be `input`.
pub fn rms_norm<const N: usize, R: RowKind>(
    run: &Run<'_>,
    input: Buffer<N, R>,
    weight: Vector,
    eps: f32,
    output: Buffer<N, R>,
) {
    output.any().assert_same_or_apart(input.any());
    let norm = RmsNorm { width: weight.len, eps, residual: false };
    let chunks = run.rows::<R>() * norm.chunks_of_row(N);
    norm.encode(run, chunks, run.at(input), weight, None, run.at(output));
}

/// output = residual + norm(input); see [`rms_norm`]. `output` may be `residual` or `input`.
pub fn rms_norm_add<const N: usize, R: RowKind>(
    run: &Run<'_>,
    input: Buffer<N, R>,
    weight: Vector,
    eps: f32,
    residual: Buffer<N, R>,
    output: Buffer<N, R>,
) {
    output.any().assert_same_or_apart(input.any());
    output.any().assert_same_or_apart(residual.any());
    let norm = RmsNorm { width: weight.len, eps, residual: true };
    let chunks = run.rows::<R>() * norm.chunks_of_row(N);
    norm.encode(run, chunks, run.at(input), weight, Some(run.at(residual)), run.at(output));
}

/// What the norms of this file need.
pub fn rms_norm_needs() -> KernelNeeds {
    KernelNeeds { files: vec!["norm.metal"], instantiations: Vec::new() }
}

/// A norm over chunks that lie one after the other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RmsNorm {
    /// Elements of a chunk.
    pub width: usize,
    /// Added to the mean square.
    pub eps: f32,
    /// Whether something is added to the normed values.
    pub residual: bool,
}

/// From so many elements on, a whole threadgroup works on a chunk; below, each of its simdgroups has one of its own. At 1,024, a lane has 32
/// elements.
const WIDE: usize = 1025;

/// Simdgroups of a threadgroup.
const SIMDGROUPS: usize = 8;

impl RmsNorm {
    /// Chunks of a row of `elements`.
    fn chunks_of_row(&self, elements: usize) -> usize {
        assert!(
            self.width > 0 && elements.is_multiple_of(self.width),
            "a norm of {} elements does not divide rows of {elements}",
            self.width
        );
        elements / self.width
    }

    /// The dispatch for so many chunks. Buffers: input, weight, residual (bound in any case), output; the number of chunks as u32.
    pub fn launch(&self, chunks: usize) -> Launch {
        let wide = self.width >= WIDE;
        Launch {
            function: "rms_norm".into(),
            constants: vec![
                unsigned(60, self.width),
                float(61, self.eps),
                flag(62, self.residual),
                flag(63, wide),
            ],
            threadgroups: [if wide { chunks } else { chunks.div_ceil(SIMDGROUPS) }, 1, 1],
            threads: [SIMDGROUPS * 32, 1, 1],
        }
    }

    /// Encodes the norm of so many chunks.
    pub(crate) fn encode(
        &self,
        run: &Run<'_>,
        chunks: usize,
        input: Binding<'_>,
        weight: Vector,
        residual: Option<Binding<'_>>,
        output: Binding<'_>,
    ) {
        let buffers = [(0, input), (1, run.vector(weight)), (2, residual.unwrap_or(input)), (3, output)];
        self.launch(chunks).encode(run, &buffers, &[(4, &(chunks as u32).to_le_bytes())]);
    }
}
