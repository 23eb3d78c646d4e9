//! Operations on single elements. In all of them the output may be an input.

use super::kernels::KernelNeeds;
use super::launch::Launch;
use super::run::Run;
use crate::runtime::buffer::{Buffer, RowKind};

/// output = activation(input).
pub fn activation<const N: usize, R: RowKind>(
    run: &Run<'_>,
    input: Buffer<N, R>,
    activation: Activation,
    output: Buffer<N, R>,
) {
    encode(run, Elementwise::Activation(activation), input, input, output);
}

/// output = a + b.
pub fn add<const N: usize, R: RowKind>(
    run: &Run<'_>,
    a: Buffer<N, R>,
    b: Buffer<N, R>,
    output: Buffer<N, R>,
) {
    encode(run, Elementwise::Add, a, b, output);
}

/// output = a · b.
pub fn mul<const N: usize, R: RowKind>(
    run: &Run<'_>,
    a: Buffer<N, R>,
    b: Buffer<N, R>,
    output: Buffer<N, R>,
) {
    encode(run, Elementwise::Mul, a, b, output);
}

/// output = factor · input.
pub fn scale<const N: usize, R: RowKind>(
    run: &Run<'_>,
    input: Buffer<N, R>,
    factor: f32,
    output: Buffer<N, R>,
) {
    encode(run, Elementwise::Scale(factor), input, input, output);
}

/// output = cap · tanh(input / cap).
pub fn softcap<const N: usize, R: RowKind>(
    run: &Run<'_>,
    input: Buffer<N, R>,
    cap: f32,
    output: Buffer<N, R>,
) {
    encode(run, Elementwise::Softcap(cap), input, input, output);
}

/// What the operations of this file need.
pub fn elementwise_needs() -> KernelNeeds {
    KernelNeeds { files: vec!["activation.metal", "elementwise.metal"], instantiations: Vec::new() }
}

/// Activation functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    /// x · sigmoid(x).
    Silu,
    /// The tanh form of GELU: ½x(1 + tanh(√(2/π)(x + 0.044715x³))).
    GeluTanh,
    /// GELU by the error function: ½x(1 + erf(x/√2)).
    GeluErf,
}

impl Activation {
    /// Its number in `activation.metal`.
    pub fn number(self) -> usize {
        match self {
            Activation::Silu => 1,
            Activation::GeluTanh => 2,
            Activation::GeluErf => 3,
        }
    }
}

/// An operation on single elements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Elementwise {
    /// activation(a).
    Activation(Activation),
    /// a + b.
    Add,
    /// a · b.
    Mul,
    /// factor · a.
    Scale(f32),
    /// cap · tanh(a / cap).
    Softcap(f32),
}

/// Threads of a threadgroup; each works on four elements.
const THREADS: usize = 256;

impl Elementwise {
    /// The dispatch for so many elements. Buffers: a, b (Add and Mul only), output; the number of elements as u32, the parameter.
    pub fn launch(self, elements: usize) -> Launch {
        let function = match self {
            Elementwise::Activation(_) => "element_activation",
            Elementwise::Add => "element_add",
            Elementwise::Mul => "element_mul",
            Elementwise::Scale(_) => "element_scale",
            Elementwise::Softcap(_) => "element_softcap",
        };
        Launch {
            function: function.into(),
            constants: Vec::new(),
            threadgroups: [elements.div_ceil(4 * THREADS), 1, 1],
            threads: [THREADS, 1, 1],
        }
    }

    /// What the kernel takes besides its inputs: a factor, a cap, the number of an activation.
    pub fn parameter(self) -> [u8; 4] {
        match self {
            Elementwise::Activation(activation) => (activation.number() as u32).to_le_bytes(),
            Elementwise::Add | Elementwise::Mul => [0; 4],
            Elementwise::Scale(parameter) | Elementwise::Softcap(parameter) => parameter.to_le_bytes(),
        }
    }
}

fn encode<const N: usize, R: RowKind>(
    run: &Run<'_>,
    operation: Elementwise,
    a: Buffer<N, R>,
    b: Buffer<N, R>,
    output: Buffer<N, R>,
) {
    output.any().assert_same_or_apart(a.any());
    output.any().assert_same_or_apart(b.any());
    let elements = run.rows::<R>() * N;
    let buffers = [(0, run.at(a)), (1, run.at(b)), (2, run.at(output))];
    operation.launch(elements).encode(
        run,
        &buffers,
        &[(3, &(elements as u32).to_le_bytes()), (4, &operation.parameter())],
    );
}
