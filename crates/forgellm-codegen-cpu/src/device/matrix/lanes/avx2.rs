//! AVX2 with FMA and F16C: a panel is done in two parts of 8 rows.

use std::arch::x86_64::*;

use super::Lanes;
use crate::device::matrix::activations::{ActivationBlock, inverse_scale};
use crate::device::matrix::isa::Kernel;

/// Proof that the processor has AVX2, FMA and F16C.
#[derive(Debug, Clone, Copy)]
pub struct Avx2(());

impl Avx2 {
    /// The proof, where the processor has it.
    pub fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c"))
        .then_some(Self(()))
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn with_features<K: Kernel>(lanes: Avx2, kernel: K) -> K::Output {
    kernel.run(lanes)
}

impl Lanes for Avx2 {
    const LANES: usize = 8;
    type Bytes = __m256i;
    type Ints = __m256i;
    type Floats = __m256;

    #[inline]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: `self` exists only where the processor has these features.
        unsafe { with_features(self, kernel) }
    }

    #[inline(always)]
    fn bytes(self, vector: &[u8; 64], part: usize) -> __m256i {
        let vector = &vector.as_chunks::<32>().0[part];
        // SAFETY: 32 bytes are readable; `self` proves the features.
        unsafe { _mm256_loadu_si256(vector.as_ptr().cast()) }
    }

    #[inline(always)]
    fn field(self, bytes: __m256i, right: i32, mask: u8) -> __m256i {
        // SAFETY: `self` proves the features.
        unsafe {
            let shifted = match right {
                -4 => _mm256_slli_epi16::<4>(bytes),
                -3 => _mm256_slli_epi16::<3>(bytes),
                -2 => _mm256_slli_epi16::<2>(bytes),
                -1 => _mm256_slli_epi16::<1>(bytes),
                1 => _mm256_srli_epi16::<1>(bytes),
                2 => _mm256_srli_epi16::<2>(bytes),
                3 => _mm256_srli_epi16::<3>(bytes),
                4 => _mm256_srli_epi16::<4>(bytes),
                5 => _mm256_srli_epi16::<5>(bytes),
                6 => _mm256_srli_epi16::<6>(bytes),
                7 => _mm256_srli_epi16::<7>(bytes),
                _ => bytes,
            };
            _mm256_and_si256(shifted, _mm256_set1_epi8(mask as i8))
        }
    }

    #[inline(always)]
    fn or(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_or_si256(a, b) }
    }

    #[inline(always)]
    fn look_up(self, table: &[u8; 16], bytes: __m256i) -> __m256i {
        // SAFETY: 16 bytes are readable; `self` proves the features.
        unsafe {
            let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast()));
            _mm256_shuffle_epi8(table, bytes)
        }
    }

    #[inline(always)]
    fn begin(self, offset: i32, sum: i32) -> __m256i {
        let start = if offset == 128 { 0 } else { -offset * sum };
        // SAFETY: `self` proves the features.
        unsafe { _mm256_set1_epi32(start) }
    }

    /// `maddubs` adds two products in 16 bits with saturation: codes below 64 leave room (2 * 63 * 127). Codes
    /// around 128 are made signed and their sign is moved to the activations: 2 * 128 * 127 fits as well.
    #[inline(always)]
    fn dot(self, offset: i32, sum: __m256i, codes: __m256i, word: i32) -> __m256i {
        // SAFETY: `self` proves the features.
        unsafe {
            let x = _mm256_set1_epi32(word);
            let pairs = if offset == 128 {
                let signed = _mm256_xor_si256(codes, _mm256_set1_epi8(-128));
                _mm256_maddubs_epi16(_mm256_abs_epi8(signed), _mm256_sign_epi8(x, signed))
            } else {
                _mm256_maddubs_epi16(codes, x)
            };
            _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        }
    }

    #[inline(always)]
    fn to_floats(self, ints: __m256i) -> __m256 {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_cvtepi32_ps(ints) }
    }

    #[inline(always)]
    fn f32s(self, values: &[u8; 64], part: usize) -> __m256 {
        let values = &values.as_chunks::<32>().0[part];
        // SAFETY: 32 bytes are readable; `self` proves the features.
        unsafe { _mm256_loadu_ps(values.as_ptr().cast()) }
    }

    #[inline(always)]
    fn f16s(self, values: &[u8; 32], part: usize) -> __m256 {
        let values = &values.as_chunks::<16>().0[part];
        // SAFETY: 16 bytes are readable; `self` proves the features.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(values.as_ptr().cast())) }
    }

    #[inline(always)]
    fn bf16s(self, values: &[u8; 32], part: usize) -> __m256 {
        let values = &values.as_chunks::<16>().0[part];
        // SAFETY: 16 bytes are readable; `self` proves the features.
        unsafe {
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(values.as_ptr().cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
        }
    }

    #[inline(always)]
    fn i8s(self, values: &[u8; 16], part: usize) -> __m256 {
        let values = &values.as_chunks::<8>().0[part];
        // SAFETY: 8 bytes are readable; `self` proves the features.
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(values.as_ptr().cast()))) }
    }

    #[inline(always)]
    fn u8s(self, values: &[u8; 16], part: usize) -> __m256 {
        let values = &values.as_chunks::<8>().0[part];
        // SAFETY: 8 bytes are readable; `self` proves the features.
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(values.as_ptr().cast()))) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn store(self, values: __m256, out: &mut [f32; 16], part: usize) {
        let out = &mut out.as_chunks_mut::<8>().0[part];
        // SAFETY: 32 bytes are writable; `self` proves the features.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), values) }
    }

    #[inline(always)]
    fn quantise(self, values: &[f32; 32]) -> ActivationBlock {
        // SAFETY: `self` proves the features.
        unsafe { quantise(values) }
    }
}

/// [`Lanes::quantise`] with AVX2.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn quantise(values: &[f32; 32]) -> ActivationBlock {
    // SAFETY: 8 floats are readable at every eighth value.
    let x = [0, 8, 16, 24].map(|at| unsafe { _mm256_loadu_ps(values[at..at + 8].as_ptr()) });
    // As integers, magnitudes have the same order, and NaN is the largest.
    let magnitude = |x| _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(i32::MAX));
    let largest = _mm256_max_epi32(
        _mm256_max_epi32(magnitude(x[0]), magnitude(x[1])),
        _mm256_max_epi32(magnitude(x[2]), magnitude(x[3])),
    );
    let largest = _mm_max_epi32(_mm256_castsi256_si128(largest), _mm256_extracti128_si256::<1>(largest));
    let largest = _mm_max_epi32(largest, _mm_unpackhi_epi64(largest, largest));
    let largest = _mm_max_epi32(largest, _mm_shuffle_epi32::<1>(largest));
    let largest = f32::from_bits(_mm_cvtsi128_si32(largest) as u32);

    let inverse = _mm256_set1_ps(inverse_scale(largest));
    let codes = x.map(|x| _mm256_cvtps_epi32(_mm256_mul_ps(x, inverse)));
    // Packing works within 128-bit lanes, so that the words come out as 0 2 4 6 1 3 5 7.
    let words =
        _mm256_packs_epi16(_mm256_packs_epi32(codes[0], codes[1]), _mm256_packs_epi32(codes[2], codes[3]));
    let words = _mm256_permutevar8x32_epi32(words, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    // Sums of absolute differences to zero add up unsigned bytes, eight at a time.
    let unsigned = _mm256_xor_si256(words, _mm256_set1_epi8(-128));
    let sums = _mm256_sad_epu8(unsigned, _mm256_setzero_si256());
    let half_sums = [
        _mm256_extract_epi32::<0>(sums) + _mm256_extract_epi32::<2>(sums) - 16 * 128,
        _mm256_extract_epi32::<4>(sums) + _mm256_extract_epi32::<6>(sums) - 16 * 128,
    ];
    ActivationBlock::new(bytemuck::cast(words), largest, half_sums)
}
