//! Vectors of 16 f32 on each instruction set.
//!
//! A computation is written once as a [`Kernel`] over a [`Simd`] and compiled for each instruction set; [`dispatch`] picks one. A `Simd` is a
//! proof that the processor has the instructions: only `dispatch` makes one.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use half::f16;

use super::matrix::Isa;

/// A computation that is compiled for each instruction set.
pub trait Kernel {
    /// What it gives.
    type Output;

    /// Computes. Implementations are `#[inline(always)]`, as is all that they call with `simd`, so that they take on the instruction set of
    /// their caller.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Runs `kernel` with the instructions of `isa`.
pub fn dispatch<K: Kernel>(isa: Isa, kernel: K) -> K::Output {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: this `isa` exists only on processors with AVX-512F, which includes AVX2, FMA and F16C.
        Isa::Avx512Vnni(_) => unsafe { avx512::run(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: this `isa` exists only on processors with AVX2, FMA and F16C.
        Isa::Avx2(_) => unsafe { avx2::run(kernel) },
        #[cfg(target_arch = "aarch64")]
        Isa::Neon(_) => kernel.run(portable::Portable),
        Isa::Portable(_) => kernel.run(portable::Portable),
    }
}

/// Operations on vectors of [`LANES`] f32. Comparisons with NaN give the second operand, as on x86.
pub trait Simd: Copy {
    /// A vector.
    type V: Copy;

    /// Rows and vectors per row of the largest tile of sums that fits the registers.
    const TILE: (usize, usize);

    /// All lanes `x`.
    fn splat(self, x: f32) -> Self::V;
    /// Reads a vector.
    fn load(self, from: &[f32; LANES]) -> Self::V;
    /// Reads and widens a vector.
    fn load_f16(self, from: &[f16; LANES]) -> Self::V;
    /// Writes a vector.
    fn store(self, x: Self::V, to: &mut [f32; LANES]);
    /// a + b.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// a - b.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// a · b.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// a / b.
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// a · b + c.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// a > b ? a : b.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// a < b ? a : b.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// a < b ? then : otherwise.
    fn select_less(self, a: Self::V, b: Self::V, then: Self::V, otherwise: Self::V) -> Self::V;
    /// The nearest whole number, for |x| < 2²².
    fn round(self, x: Self::V) -> Self::V;
    /// 2ⁿ for whole n of -126 ..= 127.
    fn power_of_two(self, n: Self::V) -> Self::V;
    /// The sum of the lanes: of halves, quarters, and so on.
    fn sum(self, x: Self::V) -> f32;
    /// The largest lane.
    fn largest(self, x: Self::V) -> f32;

    /// eˣ with an error of 2 units in the last place (Cephes' polynomial); 0 below the smallest normal number, e⁸⁸ above it.
    #[inline(always)]
    fn exp(self, x: Self::V) -> Self::V {
        let low = self.splat(-87.3);
        let clamped = self.min(self.splat(88.0), self.max(low, x));
        let n = self.round(self.mul(clamped, self.splat(std::f32::consts::LOG2_E)));
        // ln 2 in two parts, of which the first has trailing zeros, so that n · part is exact.
        let r = self.fma(n, self.splat(-0.693_359_4), clamped);
        let r = self.fma(n, self.splat(2.121_944_4e-4), r);
        let mut poly = self.splat(1.987_569_1e-4);
        for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
            poly = self.fma(poly, r, self.splat(coefficient));
        }
        let result = self.add(self.fma(poly, self.mul(r, r), r), self.splat(1.0));
        let result = self.mul(result, self.power_of_two(n));
        self.select_less(x, low, self.splat(0.0), result)
    }

    /// 1 / (1 + e⁻ˣ).
    #[inline(always)]
    fn sigmoid(self, x: Self::V) -> Self::V {
        let one = self.splat(1.0);
        self.div(one, self.add(one, self.exp(self.sub(self.splat(0.0), x))))
    }

    /// tanh x with an absolute error of 2⁻²³.
    #[inline(always)]
    fn tanh(self, x: Self::V) -> Self::V {
        let two = self.splat(2.0);
        self.fma(two, self.sigmoid(self.mul(two, x)), self.splat(-1.0))
    }

    /// erf x with an absolute error of 2 · 10⁻⁷ (Abramowitz and Stegun, 7.1.26).
    #[inline(always)]
    fn erf(self, x: Self::V) -> Self::V {
        let zero = self.splat(0.0);
        let one = self.splat(1.0);
        let magnitude = self.max(x, self.sub(zero, x));
        let t = self.div(one, self.fma(self.splat(0.327_591_1), magnitude, one));
        let mut poly = self.splat(1.061_405_4);
        for coefficient in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
            poly = self.fma(poly, t, self.splat(coefficient));
        }
        let tail = self.mul(self.mul(poly, t), self.exp(self.sub(zero, self.mul(x, x))));
        let erf = self.sub(one, tail);
        self.select_less(x, zero, self.sub(zero, erf), erf)
    }
}

/// f32 of a vector.
pub const LANES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    struct Apply<'a> {
        x: &'a [f32; LANES],
        function: &'a str,
    }

    impl Kernel for Apply<'_> {
        type Output = [f32; LANES];

        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> [f32; LANES] {
            let x = simd.load(self.x);
            let y = match self.function {
                "exp" => simd.exp(x),
                "sigmoid" => simd.sigmoid(x),
                "tanh" => simd.tanh(x),
                "erf" => simd.erf(x),
                "sum" => simd.splat(simd.sum(x)),
                "largest" => simd.splat(simd.largest(x)),
                _ => x,
            };
            let mut out = [0.0; LANES];
            simd.store(y, &mut out);
            out
        }
    }

    fn apply(isa: Isa, function: &str, x: &[f32; LANES]) -> [f32; LANES] {
        dispatch(isa, Apply { x, function })
    }

    /// erf by its series.
    fn erf(x: f64) -> f64 {
        if x.abs() > 5.0 {
            return x.signum();
        }
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            let n = f64::from(n);
            term *= -x * x / n;
            sum += term / (2.0 * n + 1.0);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    }

    #[test]
    fn functions_are_close_to_f64() {
        for isa in Isa::available() {
            for step in -900..900 {
                let x: [f32; LANES] = std::array::from_fn(|lane| (step as f32 + lane as f32 / 16.0) / 10.0);
                let check = |function: &str, exact: &dyn Fn(f64) -> f64, relative: f64, absolute: f64| {
                    for (y, x) in apply(isa, function, &x).iter().zip(x) {
                        let want = exact(f64::from(x));
                        let error = (f64::from(*y) - want).abs();
                        assert!(
                            error <= relative * want.abs() + absolute,
                            "{isa:?} {function}({x}) = {y}, not {want}"
                        );
                    }
                };
                check("exp", &|x| x.min(88.0).exp(), 3e-7, 1.3e-38);
                check("sigmoid", &|x| 1.0 / (1.0 + (-x).exp()), 1e-6, 1e-37);
                check("tanh", &f64::tanh, 0.0, 3e-7);
                check("erf", &erf, 0.0, 5e-7);
            }
        }
    }

    #[test]
    fn special_values() {
        for isa in Isa::available() {
            let mut x = [0.0; LANES];
            x[0] = f32::NEG_INFINITY;
            x[1] = f32::INFINITY;
            x[2] = f32::NAN;
            x[3] = -1e30;
            let y = apply(isa, "exp", &x);
            assert_eq!(y[0], 0.0);
            assert!(y[1] > 1e38 && y[1].is_finite());
            assert!(y[2].is_nan());
            assert_eq!(y[3], 0.0);
            assert_eq!(y[4], 1.0);
        }
    }

    #[test]
    fn lanes_are_reduced() {
        for isa in Isa::available() {
            for at in 0..LANES {
                let mut x: [f32; LANES] = std::array::from_fn(|lane| lane as f32 - 40.0);
                x[at] = 3.5;
                assert_eq!(apply(isa, "largest", &x), [3.5; LANES]);
                assert_eq!(apply(isa, "sum", &x), [x.iter().sum::<f32>(); LANES]);
            }
        }
    }
}
