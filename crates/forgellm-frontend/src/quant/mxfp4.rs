//! MXFP4: OCP microscaling FP4 (E2M1) with a power-of-two scale.

use bytemuck::{Pod, Zeroable};

use super::block::{Block, assert_layout};
use crate::ir::DType;

/// 32 elements in 17 bytes: `e` (E8M0) at 0, `qs` at 1.
///
/// Element `i < 16` has its code in the low nibble of `qs[i]`, element `i + 16` in the high nibble.
/// `x = 2^(e - 127) * E2M1_DOUBLED[code] / 2`. Sources: OCP Microscaling Formats (MX) v1.0; the order
/// of the nibbles: ggml-common.h, `block_mxfp4`. MX reserves `e = 255` for NaN; ggml and so this reader
/// take it as `2^128`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockMxfp4 {
    /// Scale: exponent with bias 127.
    pub e: u8,
    /// E2M1 codes, two to a byte.
    pub qs: [u8; 16],
}

const _: () = assert_layout::<BlockMxfp4>();

impl BlockMxfp4 {
    /// Half the scale, `2^(e - 128)`: the factor for [`E2M1_DOUBLED`]. Exact, subnormal for `e < 2`.
    pub fn half_scale(&self) -> f32 {
        f32::from_bits(match self.e {
            e @ 0..=1 => 0x0020_0000 << e,
            e => u32::from(e - 1) << 23,
        })
    }
}

impl Block for BlockMxfp4 {
    const DTYPE: DType = DType::MXFP4;
    type Values = [f32; 32];

    fn dequantize(&self, out: &mut [f32; 32]) {
        let half_scale = self.half_scale();
        let (low, high) = out.split_at_mut(16);
        for ((low, high), byte) in low.iter_mut().zip(high).zip(self.qs) {
            *low = half_scale * f32::from(E2M1_DOUBLED[usize::from(byte & 15)]);
            *high = half_scale * f32::from(E2M1_DOUBLED[usize::from(byte >> 4)]);
        }
    }
}

/// Twice the E2M1 value of each code: bit 3 is the sign, then two exponent bits and a mantissa bit.
///
/// Code 8 is -0.0 in the standard; as in ggml it decodes to +0.0.
pub const E2M1_DOUBLED: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];
