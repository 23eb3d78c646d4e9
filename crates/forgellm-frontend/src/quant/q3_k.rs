//! Q3_K: 3-bit codes, 6-bit scales per 16 elements.

use bytemuck::{Pod, Zeroable};

use super::block::{Block, assert_layout, f16};
use crate::ir::DType;

/// 256 elements in 110 bytes: `hmask` at 0, `qs` at 32, `scales` at 96, `d` (f16) at 108.
///
/// Element `128 n + 32 j + l` (n < 2, j < 4, l < 32) has its low two bits in bits `2j..2j+2` of
/// `qs[32 n + l]` and its high bit in bit `4 n + j` of `hmask[l]`. The 16 elements of group `g` share
/// the signed scale [`BlockQ3K::scales`]`[g]`.
/// `x = (d * scale) * (low + 4 * high - 4)`. Source: ggml-common.h, `block_q3_K`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ3K {
    /// High bits of the codes.
    pub hmask: [u8; 32],
    /// Low two bits of the codes.
    pub qs: [u8; 64],
    /// Packed 6-bit scales; see [`BlockQ3K::scales`].
    pub scales: [u8; 12],
    /// Scale of the scales, f16 little endian.
    pub d: [u8; 2],
}

const _: () = assert_layout::<BlockQ3K>();

impl BlockQ3K {
    /// The scale of each group of 16 elements, -32..=31.
    ///
    /// Scale `g` has its low four bits in `scales[g % 8]` (low nibble for `g < 8`, else the high one),
    /// and its high two bits in bits `2 (g / 4)..` of `scales[8 + g % 4]`; 32 is subtracted.
    pub fn scales(&self) -> [i8; 16] {
        std::array::from_fn(|g| {
            let low = self.scales[g % 8] >> (4 * (g / 8)) & 15;
            let high = self.scales[8 + g % 4] >> (2 * (g / 4)) & 3;
            (low | high << 4) as i8 - 32
        })
    }
}

impl Block for BlockQ3K {
    const DTYPE: DType = DType::Q3_K;
    type Values = [f32; 256];

    fn dequantize(&self, out: &mut [f32; 256]) {
        let d = f16(self.d);
        for (g, (group, scale)) in out.chunks_exact_mut(16).zip(self.scales()).enumerate() {
            let scale = d * f32::from(scale);
            let half = 16 * (g % 2);
            let (start, shift, bit) = (32 * (g / 8) + half, 2 * (g % 8 / 2), g / 2);
            let codes = self.qs[start..].iter().zip(&self.hmask[half..]);
            for (x, (low, high)) in group.iter_mut().zip(codes) {
                let code = i32::from(low >> shift & 3) + 4 * i32::from(high >> bit & 1) - 4;
                *x = scale * code as f32;
            }
        }
    }
}
