//! Q2_K: 2-bit codes, 4-bit scales and minima per 16 elements.

use bytemuck::{Pod, Zeroable};

use super::block::{Block, assert_layout, f16};
use crate::ir::DType;

/// 256 elements in 84 bytes: `scales` at 0, `qs` at 16, `d` (f16) at 80, `dmin` (f16) at 82.
///
/// Element `128 n + 32 j + l` (n < 2, j < 4, l < 32) has its code in bits `2j..2j+2` of
/// `qs[32 n + l]`. The 16 elements of group `g` share `scales[g]`: scale in the low nibble, minimum in
/// the high nibble.
/// `x = (d * scale) * code - dmin * minimum`. Source: ggml-common.h, `block_q2_K`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ2K {
    /// Scale (low nibble) and minimum (high nibble) of each group of 16.
    pub scales: [u8; 16],
    /// Codes, four to a byte, 32 elements apart.
    pub qs: [u8; 64],
    /// Scale of the scales, f16 little endian.
    pub d: [u8; 2],
    /// Scale of the minima, f16 little endian.
    pub dmin: [u8; 2],
}

const _: () = assert_layout::<BlockQ2K>();

impl Block for BlockQ2K {
    const DTYPE: DType = DType::Q2_K;
    type Values = [f32; 256];

    fn dequantize(&self, out: &mut [f32; 256]) {
        let (d, dmin) = (f16(self.d), f16(self.dmin));
        for (g, (group, packed)) in out.chunks_exact_mut(16).zip(self.scales).enumerate() {
            let scale = d * f32::from(packed & 15);
            let minimum = dmin * f32::from(packed >> 4);
            let (start, shift) = (32 * (g / 8) + 16 * (g % 2), 2 * (g % 8 / 2));
            for (x, byte) in group.iter_mut().zip(&self.qs[start..]) {
                *x = scale * f32::from(byte >> shift & 3) - minimum;
            }
        }
    }
}
