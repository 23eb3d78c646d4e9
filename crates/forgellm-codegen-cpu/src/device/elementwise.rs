//! Operations on single elements. In all of them the output may be an input.

use super::buffer::{Buffer, RowKind};
use super::profile::Stage;
use super::run::Run;
use super::simd::{Kernel, LANES, Simd, dispatch};

/// output = activation(input).
pub fn activation<const N: usize, R: RowKind>(
    run: &Run<'_>,
    input: Buffer<N, R>,
    activation: Activation,
    output: Buffer<N, R>,
) {
    each(run, input, input, output, Activate(activation));
}

/// output = a + b.
pub fn add<const N: usize, R: RowKind>(
    run: &Run<'_>,
    a: Buffer<N, R>,
    b: Buffer<N, R>,
    output: Buffer<N, R>,
) {
    each(run, a, b, output, Add);
}

/// output = a · b.
pub fn mul<const N: usize, R: RowKind>(
    run: &Run<'_>,
    a: Buffer<N, R>,
    b: Buffer<N, R>,
    output: Buffer<N, R>,
) {
    each(run, a, b, output, Mul);
}

/// output = factor · input.
pub fn scale<const N: usize, R: RowKind>(
    run: &Run<'_>,
    input: Buffer<N, R>,
    factor: f32,
    output: Buffer<N, R>,
) {
    each(run, input, input, output, Scale(factor));
}

/// output = cap · tanh(input / cap).
pub fn softcap<const N: usize, R: RowKind>(
    run: &Run<'_>,
    input: Buffer<N, R>,
    cap: f32,
    output: Buffer<N, R>,
) {
    each(run, input, input, output, Softcap(cap));
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

/// The activation of each lane.
#[inline(always)]
pub(crate) fn activate<S: Simd>(simd: S, activation: Activation, x: S::V) -> S::V {
    match activation {
        Activation::Silu => simd.mul(x, simd.sigmoid(x)),
        Activation::GeluTanh => {
            // ½(1 + tanh z) = sigmoid(2z).
            let cubed = simd.mul(simd.mul(x, x), x);
            let inner = simd.fma(simd.splat(0.044_715), cubed, x);
            simd.mul(x, simd.sigmoid(simd.mul(simd.splat(2.0 * 0.797_884_6), inner)))
        }
        Activation::GeluErf => {
            let erf = simd.erf(simd.mul(x, simd.splat(std::f32::consts::FRAC_1_SQRT_2)));
            simd.mul(simd.mul(simd.splat(0.5), x), simd.add(simd.splat(1.0), erf))
        }
    }
}

/// What is done to two elements.
trait Each {
    /// Does it to vectors of them.
    fn each<S: Simd>(&self, simd: S, a: S::V, b: S::V) -> S::V;
}

struct Activate(Activation);

impl Each for Activate {
    #[inline(always)]
    fn each<S: Simd>(&self, simd: S, a: S::V, _: S::V) -> S::V {
        activate(simd, self.0, a)
    }
}

struct Add;

impl Each for Add {
    #[inline(always)]
    fn each<S: Simd>(&self, simd: S, a: S::V, b: S::V) -> S::V {
        simd.add(a, b)
    }
}

struct Mul;

impl Each for Mul {
    #[inline(always)]
    fn each<S: Simd>(&self, simd: S, a: S::V, b: S::V) -> S::V {
        simd.mul(a, b)
    }
}

struct Scale(f32);

impl Each for Scale {
    #[inline(always)]
    fn each<S: Simd>(&self, simd: S, a: S::V, _: S::V) -> S::V {
        simd.mul(a, simd.splat(self.0))
    }
}

struct Softcap(f32);

impl Each for Softcap {
    #[inline(always)]
    fn each<S: Simd>(&self, simd: S, a: S::V, _: S::V) -> S::V {
        let cap = simd.splat(self.0);
        simd.mul(cap, simd.tanh(simd.div(a, cap)))
    }
}

fn each<const N: usize, R: RowKind>(
    run: &Run<'_>,
    a: Buffer<N, R>,
    b: Buffer<N, R>,
    output: Buffer<N, R>,
    f: impl Each,
) {
    let _timer = run.time(Stage::Elementwise);
    output.any().assert_same_or_apart(a.any());
    output.any().assert_same_or_apart(b.any());
    let share = run.share(run.rows::<R>() * N);
    // SAFETY: the share lies within the buffers' rows, and its elements are this thread's.
    unsafe {
        let (a, b) = (run.start(a).add(share.start), run.start(b).add(share.start));
        let output = run.start(output).add(share.start);
        dispatch(run.isa, Elements { a, b, output, len: share.len(), f });
    }
}

/// `len` elements at each address; the output is an input or apart from it.
struct Elements<F> {
    a: *const f32,
    b: *const f32,
    output: *mut f32,
    len: usize,
    f: F,
}

impl<F: Each> Kernel for Elements<F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let whole = self.len / LANES * LANES;
        for at in (0..whole).step_by(LANES) {
            self.vector(simd, at, LANES);
        }
        if whole < self.len {
            self.vector(simd, whole, self.len - whole);
        }
    }
}

impl<F: Each> Elements<F> {
    /// The elements `at .. at + len`, of which there are so many.
    #[inline(always)]
    fn vector<S: Simd>(&self, simd: S, at: usize, len: usize) {
        let (mut a, mut b) = ([0.0; LANES], [0.0; LANES]);
        // SAFETY: there are `len` elements at each address, of which this thread alone has the use; they are copied, so it does not
        // matter that an input may be the output.
        unsafe {
            self.a.add(at).copy_to_nonoverlapping(a.as_mut_ptr(), len);
            self.b.add(at).copy_to_nonoverlapping(b.as_mut_ptr(), len);
        }
        let result = self.f.each(simd, simd.load(&a), simd.load(&b));
        simd.store(result, &mut a);
        // SAFETY: as above.
        unsafe { self.output.add(at).copy_from_nonoverlapping(a.as_ptr(), len) };
    }
}
