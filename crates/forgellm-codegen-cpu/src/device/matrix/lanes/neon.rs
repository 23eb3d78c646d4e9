//! NEON with the dot-product extension: a panel is done in four parts of 4 rows.

use std::arch::aarch64::*;
use std::arch::asm;

use super::Lanes;
use crate::device::matrix::isa::Kernel;

/// Proof that the processor has NEON with the dot-product extension.
#[derive(Debug, Clone, Copy)]
pub struct Neon(());

impl Neon {
    /// The proof, where the processor has it.
    pub fn detect() -> Option<Self> {
        (std::arch::is_aarch64_feature_detected!("neon")
            && std::arch::is_aarch64_feature_detected!("dotprod"))
        .then_some(Self(()))
    }
}

#[target_feature(enable = "neon,dotprod")]
fn with_features<K: Kernel>(lanes: Neon, kernel: K) -> K::Output {
    kernel.run(lanes)
}

impl Lanes for Neon {
    const LANES: usize = 4;
    type Bytes = uint8x16_t;
    type Ints = int32x4_t;
    type Floats = float32x4_t;

    #[inline]
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: `self` exists only where the processor has these features.
        unsafe { with_features(self, kernel) }
    }

    #[inline(always)]
    fn bytes(self, vector: &[u8; 64], part: usize) -> uint8x16_t {
        let vector = &vector.as_chunks::<16>().0[part];
        // SAFETY: 16 bytes are readable; `self` proves the features.
        unsafe { vld1q_u8(vector.as_ptr()) }
    }

    #[inline(always)]
    fn field(self, bytes: uint8x16_t, right: i32, mask: u8) -> uint8x16_t {
        // SAFETY: `self` proves the features.
        unsafe {
            let shifted = match right {
                -4 => vshlq_n_u8::<4>(bytes),
                -3 => vshlq_n_u8::<3>(bytes),
                -2 => vshlq_n_u8::<2>(bytes),
                -1 => vshlq_n_u8::<1>(bytes),
                1 => vshrq_n_u8::<1>(bytes),
                2 => vshrq_n_u8::<2>(bytes),
                3 => vshrq_n_u8::<3>(bytes),
                4 => vshrq_n_u8::<4>(bytes),
                5 => vshrq_n_u8::<5>(bytes),
                6 => vshrq_n_u8::<6>(bytes),
                7 => vshrq_n_u8::<7>(bytes),
                _ => bytes,
            };
            vandq_u8(shifted, vdupq_n_u8(mask))
        }
    }

    #[inline(always)]
    fn or(self, a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
        // SAFETY: `self` proves the features.
        unsafe { vorrq_u8(a, b) }
    }

    #[inline(always)]
    fn look_up(self, table: &[u8; 16], bytes: uint8x16_t) -> uint8x16_t {
        // SAFETY: 16 bytes are readable; `self` proves the features.
        unsafe { vqtbl1q_u8(vld1q_u8(table.as_ptr()), bytes) }
    }

    #[inline(always)]
    fn begin(self, offset: i32, sum: i32) -> int32x4_t {
        let start = if offset == 128 { 0 } else { -offset * sum };
        // SAFETY: `self` proves the features.
        unsafe { vdupq_n_s32(start) }
    }

    /// The instruction takes signed bytes: codes below 64 are, codes around 128 are made so.
    #[inline(always)]
    fn dot(self, offset: i32, sum: int32x4_t, codes: uint8x16_t, word: i32) -> int32x4_t {
        let mut sum = sum;
        // SAFETY: `self` proves the features; the assembly is one instruction on registers (its intrinsic is not
        // stable in Rust 1.95).
        unsafe {
            let codes = if offset == 128 { veorq_u8(codes, vdupq_n_u8(0x80)) } else { codes };
            asm!(
                "sdot {sum:v}.4s, {codes:v}.16b, {x:v}.16b",
                sum = inout(vreg) sum,
                codes = in(vreg) codes,
                x = in(vreg) vdupq_n_s32(word),
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        sum
    }

    #[inline(always)]
    fn to_floats(self, ints: int32x4_t) -> float32x4_t {
        // SAFETY: `self` proves the features.
        unsafe { vcvtq_f32_s32(ints) }
    }

    #[inline(always)]
    fn f32s(self, values: &[u8; 64], part: usize) -> float32x4_t {
        let values = &values.as_chunks::<16>().0[part];
        // SAFETY: 16 bytes are readable; `self` proves the features.
        unsafe { vreinterpretq_f32_u8(vld1q_u8(values.as_ptr())) }
    }

    #[inline(always)]
    fn f16s(self, values: &[u8; 32], part: usize) -> float32x4_t {
        let values = &values.as_chunks::<8>().0[part];
        // SAFETY: 8 bytes are readable; `self` proves the features, and the conversion is part of NEON on 64-bit Arm
        // (its intrinsic needs a type that is not stable in Rust 1.95).
        unsafe {
            let halves = vld1_u8(values.as_ptr());
            let floats: float32x4_t;
            asm!(
                "fcvtl {floats:v}.4s, {halves:v}.4h",
                floats = out(vreg) floats,
                halves = in(vreg) halves,
                options(pure, nomem, nostack, preserves_flags),
            );
            floats
        }
    }

    #[inline(always)]
    fn bf16s(self, values: &[u8; 32], part: usize) -> float32x4_t {
        let values = &values.as_chunks::<8>().0[part];
        // SAFETY: 8 bytes are readable; `self` proves the features.
        unsafe { vreinterpretq_f32_u32(vshll_n_u16::<16>(vreinterpret_u16_u8(vld1_u8(values.as_ptr())))) }
    }

    #[inline(always)]
    fn i8s(self, values: &[u8; 16], part: usize) -> float32x4_t {
        let values = values.as_chunks::<4>().0[part];
        let values = values.map(|value| f32::from(value as i8));
        // SAFETY: 4 floats are readable; `self` proves the features.
        unsafe { vld1q_f32(values.as_ptr()) }
    }

    #[inline(always)]
    fn u8s(self, values: &[u8; 16], part: usize) -> float32x4_t {
        let values = values.as_chunks::<4>().0[part].map(f32::from);
        // SAFETY: 4 floats are readable; `self` proves the features.
        unsafe { vld1q_f32(values.as_ptr()) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> float32x4_t {
        // SAFETY: `self` proves the features.
        unsafe { vdupq_n_f32(value) }
    }

    #[inline(always)]
    fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: `self` proves the features.
        unsafe { vmulq_f32(a, b) }
    }

    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: `self` proves the features.
        unsafe { vaddq_f32(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: `self` proves the features.
        unsafe { vfmaq_f32(c, a, b) }
    }

    #[inline(always)]
    fn store(self, values: float32x4_t, out: &mut [f32; 16], part: usize) {
        let out = &mut out.as_chunks_mut::<4>().0[part];
        // SAFETY: 4 floats are writable; `self` proves the features.
        unsafe { vst1q_f32(out.as_mut_ptr(), values) }
    }
}
