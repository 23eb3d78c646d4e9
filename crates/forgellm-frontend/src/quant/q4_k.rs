//! Q4_K: 4-bit codes, 6-bit scales and minima per 32 elements.

use bytemuck::{Pod, Zeroable};

use super::block::{Block, assert_layout, f16};
use super::k_scales::unpack_scales_and_minima;
use crate::ir::DType;

/// 256 elements in 144 bytes: `d` (f16) at 0, `dmin` (f16) at 2, `scales` at 4, `qs` at 16.
///
/// Element `64 c + l` (c < 4, l < 32) has its code in the low nibble of `qs[32 c + l]`, element
/// `64 c + 32 + l` in the high nibble. The 32 elements of group `g` share scale and minimum `g` of
/// [`BlockQ4K::scales_and_minima`].
/// `x = (d * scale) * code - dmin * minimum`. Source: ggml-common.h, `block_q4_K`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ4K {
    /// Scale of the scales, f16 little endian.
    pub d: [u8; 2],
    /// Scale of the minima, f16 little endian.
    pub dmin: [u8; 2],
    /// Packed 6-bit scales and minima.
    pub scales: [u8; 12],
    /// Codes, two to a byte, 32 elements apart.
    pub qs: [u8; 128],
}

const _: () = assert_layout::<BlockQ4K>();

impl BlockQ4K {
    /// The scale and the minimum of each group of 32 elements, 0..=63.
    pub fn scales_and_minima(&self) -> ([u8; 8], [u8; 8]) {
        unpack_scales_and_minima(&self.scales)
    }
}

impl Block for BlockQ4K {
    const DTYPE: DType = DType::Q4_K;
    type Values = [f32; 256];

    fn dequantize(&self, out: &mut [f32; 256]) {
        let (d, dmin) = (f16(self.d), f16(self.dmin));
        let (scales, minima) = self.scales_and_minima();
        for (g, group) in out.chunks_exact_mut(32).enumerate() {
            let scale = d * f32::from(scales[g]);
            let minimum = dmin * f32::from(minima[g]);
            let shift = 4 * (g % 2);
            for (x, byte) in group.iter_mut().zip(&self.qs[32 * (g / 2)..]) {
                *x = scale * f32::from(byte >> shift & 15) - minimum;
            }
        }
    }
}
