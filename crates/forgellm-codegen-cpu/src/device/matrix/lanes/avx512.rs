//! AVX-512 with VNNI: a panel's 16 rows are one vector.

use std::arch::x86_64::*;

use super::{Lanes, avx2};
use crate::device::matrix::activations::ActivationBlock;
use crate::device::matrix::isa::Kernel;

/// Proof that the processor has AVX-512 (F, BW, DQ, VL) and VNNI.
#[derive(Debug, Clone, Copy)]
pub struct Avx512Vnni(());

impl Avx512Vnni {
    /// The proof, where the processor has it.
    pub fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c"))
        .then_some(Self(()))
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma,f16c")]
fn with_features<K: Kernel>(lanes: Avx512Vnni, kernel: K) -> K::Output {
    kernel.run(lanes)
}

impl Lanes for Avx512Vnni {
    const LANES: usize = 16;
    type Bytes = __m512i;
    type Ints = __m512i;
    type Floats = __m512;

    #[inline]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: `self` exists only where the processor has these features.
        unsafe { with_features(self, kernel) }
    }

    #[inline(always)]
    fn bytes(self, vector: &[u8; 64], _: usize) -> __m512i {
        // SAFETY: 64 bytes are readable; `self` proves the features.
        unsafe { _mm512_loadu_si512(vector.as_ptr().cast()) }
    }

    #[inline(always)]
    fn field(self, bytes: __m512i, right: i32, mask: u8) -> __m512i {
        // SAFETY: `self` proves the features.
        unsafe {
            let shifted = match right {
                -4 => _mm512_slli_epi16::<4>(bytes),
                -3 => _mm512_slli_epi16::<3>(bytes),
                -2 => _mm512_slli_epi16::<2>(bytes),
                -1 => _mm512_slli_epi16::<1>(bytes),
                1 => _mm512_srli_epi16::<1>(bytes),
                2 => _mm512_srli_epi16::<2>(bytes),
                3 => _mm512_srli_epi16::<3>(bytes),
                4 => _mm512_srli_epi16::<4>(bytes),
                5 => _mm512_srli_epi16::<5>(bytes),
                6 => _mm512_srli_epi16::<6>(bytes),
                7 => _mm512_srli_epi16::<7>(bytes),
                _ => bytes,
            };
            _mm512_and_si512(shifted, _mm512_set1_epi8(mask as i8))
        }
    }

    #[inline(always)]
    fn or(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_or_si512(a, b) }
    }

    #[inline(always)]
    fn look_up(self, table: &[u8; 16], bytes: __m512i) -> __m512i {
        // SAFETY: 16 bytes are readable; `self` proves the features.
        unsafe {
            let table = _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast()));
            _mm512_shuffle_epi8(table, bytes)
        }
    }

    #[inline(always)]
    fn begin(self, offset: i32, sum: i32) -> __m512i {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_set1_epi32(-offset * sum) }
    }

    #[inline(always)]
    fn dot(self, _: i32, sum: __m512i, codes: __m512i, word: i32) -> __m512i {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_dpbusd_epi32(sum, codes, _mm512_set1_epi32(word)) }
    }

    #[inline(always)]
    fn to_floats(self, ints: __m512i) -> __m512 {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_cvtepi32_ps(ints) }
    }

    #[inline(always)]
    fn f32s(self, values: &[u8; 64], _: usize) -> __m512 {
        // SAFETY: 64 bytes are readable; `self` proves the features.
        unsafe { _mm512_loadu_ps(values.as_ptr().cast()) }
    }

    #[inline(always)]
    fn f16s(self, values: &[u8; 32], _: usize) -> __m512 {
        // SAFETY: 32 bytes are readable; `self` proves the features.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(values.as_ptr().cast())) }
    }

    #[inline(always)]
    fn bf16s(self, values: &[u8; 32], _: usize) -> __m512 {
        // SAFETY: 32 bytes are readable; `self` proves the features.
        unsafe {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(values.as_ptr().cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
    }

    #[inline(always)]
    fn i8s(self, values: &[u8; 16], _: usize) -> __m512 {
        // SAFETY: 16 bytes are readable; `self` proves the features.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(values.as_ptr().cast()))) }
    }

    #[inline(always)]
    fn u8s(self, values: &[u8; 16], _: usize) -> __m512 {
        // SAFETY: 16 bytes are readable; `self` proves the features.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(values.as_ptr().cast()))) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn store(self, values: __m512, out: &mut [f32; 16], _: usize) {
        // SAFETY: 64 bytes are writable; `self` proves the features.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), values) }
    }

    #[inline(always)]
    fn quantise(self, values: &[f32; 32]) -> ActivationBlock {
        // SAFETY: AVX-512 includes AVX2.
        unsafe { avx2::quantise(values) }
    }
}
