//! Q6_K: 6-bit codes around 32, signed 8-bit scales per 16 elements.

use bytemuck::{Pod, Zeroable};

use super::block::{Block, assert_layout, f16};
use crate::ir::DType;

/// 256 elements in 210 bytes: `ql` at 0, `qh` at 128, `scales` at 192, `d` (f16) at 208.
///
/// Element `128 n + 32 j + l` (n < 2, j < 4, l < 32) has its low four bits in `ql[64 n + 32 (j % 2) + l]`
/// (low nibble for `j < 2`, else the high one) and its high two bits in bits `2j..2j+2` of
/// `qh[32 n + l]`. The 16 elements of group `g` share `scales[g]`.
/// `x = (d * scale) * (code - 32)`. Source: ggml-common.h, `block_q6_K`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ6K {
    /// Low four bits of the codes.
    pub ql: [u8; 128],
    /// High two bits of the codes.
    pub qh: [u8; 64],
    /// Scale of each group of 16.
    pub scales: [i8; 16],
    /// Scale of the scales, f16 little endian.
    pub d: [u8; 2],
}

const _: () = assert_layout::<BlockQ6K>();

impl Block for BlockQ6K {
    const DTYPE: DType = DType::Q6_K;
    type Values = [f32; 256];

    fn dequantize(&self, out: &mut [f32; 256]) {
        let d = f16(self.d);
        for (g, (group, scale)) in out.chunks_exact_mut(16).zip(self.scales).enumerate() {
            let scale = d * f32::from(scale);
            let (n, j, half) = (g / 8, g % 8 / 2, 16 * (g % 2));
            let low = &self.ql[64 * n + 32 * (j % 2) + half..];
            let high = &self.qh[32 * n + half..];
            let (low_shift, high_shift) = (4 * (j / 2), 2 * j);
            for (x, (low, high)) in group.iter_mut().zip(low.iter().zip(high)) {
                let code = i32::from(low >> low_shift & 15 | (high >> high_shift & 3) << 4) - 32;
                *x = scale * code as f32;
            }
        }
    }
}
