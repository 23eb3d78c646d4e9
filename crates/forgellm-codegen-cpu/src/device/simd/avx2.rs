//! AVX2 with FMA and F16C: a vector is two registers.

use std::arch::x86_64::*;

use half::f16;

use super::{Kernel, LANES, Simd};

/// Exists only while the processor has AVX2, FMA and F16C.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

/// Runs a kernel.
///
/// # Safety
///
/// The processor has AVX2, FMA and F16C.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx2(()))
}

/// Two halves of a vector.
#[derive(Clone, Copy)]
pub(super) struct Pair(__m256, __m256);

/// Intrinsics of AVX2, FMA and F16C; a value of [`Avx2`] proves that the processor has them.
macro_rules! simd {
    ($e:expr) => {
        // SAFETY: `self` proves that the processor has the instructions; references are to as many elements as are read or written.
        unsafe { $e }
    };
}

/// The same on both halves.
macro_rules! both {
    ($f:ident, $a:expr, $b:expr) => {
        simd!(Pair($f($a.0, $b.0), $f($a.1, $b.1)))
    };
}

impl Simd for Avx2 {
    type V = Pair;

    const TILE: (usize, usize) = (2, 2);

    #[inline(always)]
    fn splat(self, x: f32) -> Pair {
        simd!(Pair(_mm256_set1_ps(x), _mm256_set1_ps(x)))
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Pair {
        simd!(Pair(_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from.as_ptr().add(8))))
    }

    #[inline(always)]
    fn load_f16(self, from: &[f16; LANES]) -> Pair {
        let from: *const __m128i = from.as_ptr().cast();
        simd!(Pair(_mm256_cvtph_ps(_mm_loadu_si128(from)), _mm256_cvtph_ps(_mm_loadu_si128(from.add(1)))))
    }

    #[inline(always)]
    fn store(self, x: Pair, to: &mut [f32; LANES]) {
        simd!({
            _mm256_storeu_ps(to.as_mut_ptr(), x.0);
            _mm256_storeu_ps(to.as_mut_ptr().add(8), x.1);
        })
    }

    #[inline(always)]
    fn add(self, a: Pair, b: Pair) -> Pair {
        both!(_mm256_add_ps, a, b)
    }

    #[inline(always)]
    fn sub(self, a: Pair, b: Pair) -> Pair {
        both!(_mm256_sub_ps, a, b)
    }

    #[inline(always)]
    fn mul(self, a: Pair, b: Pair) -> Pair {
        both!(_mm256_mul_ps, a, b)
    }

    #[inline(always)]
    fn div(self, a: Pair, b: Pair) -> Pair {
        both!(_mm256_div_ps, a, b)
    }

    #[inline(always)]
    fn fma(self, a: Pair, b: Pair, c: Pair) -> Pair {
        simd!(Pair(_mm256_fmadd_ps(a.0, b.0, c.0), _mm256_fmadd_ps(a.1, b.1, c.1)))
    }

    #[inline(always)]
    fn max(self, a: Pair, b: Pair) -> Pair {
        both!(_mm256_max_ps, a, b)
    }

    #[inline(always)]
    fn min(self, a: Pair, b: Pair) -> Pair {
        both!(_mm256_min_ps, a, b)
    }

    #[inline(always)]
    fn select_less(self, a: Pair, b: Pair, then: Pair, otherwise: Pair) -> Pair {
        simd!(Pair(
            _mm256_blendv_ps(otherwise.0, then.0, _mm256_cmp_ps::<_CMP_LT_OQ>(a.0, b.0)),
            _mm256_blendv_ps(otherwise.1, then.1, _mm256_cmp_ps::<_CMP_LT_OQ>(a.1, b.1))
        ))
    }

    #[inline(always)]
    fn round(self, x: Pair) -> Pair {
        simd!(Pair(
            _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x.0),
            _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x.1)
        ))
    }

    #[inline(always)]
    fn power_of_two(self, n: Pair) -> Pair {
        simd!({
            let bias = _mm256_set1_epi32(127);
            let power = |n| {
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(_mm256_cvtps_epi32(n), bias)))
            };
            Pair(power(n.0), power(n.1))
        })
    }

    #[inline(always)]
    fn sum(self, x: Pair) -> f32 {
        simd!({
            let eight = _mm256_add_ps(x.0, x.1);
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        })
    }

    #[inline(always)]
    fn largest(self, x: Pair) -> f32 {
        simd!({
            let eight = _mm256_max_ps(x.0, x.1);
            let four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two)))
        })
    }
}
