//! IQ4_XS: 4-bit indices into a fixed table of 16 values, 6-bit scales per 32 elements.

use bytemuck::{Pod, Zeroable};

use super::block::{Block, assert_layout, f16};
use super::iq4_nl::IQ4_VALUES;
use crate::ir::DType;

/// 256 elements in 136 bytes: `d` (f16) at 0, `scales_h` (u16) at 2, `scales_l` at 4, `qs` at 8.
///
/// Element `32 g + l` (g < 8, l < 16) has its index in the low nibble of `qs[16 g + l]`, element
/// `32 g + 16 + l` in the high nibble. The 32 elements of group `g` share the signed scale
/// [`BlockIq4Xs::scales`]`[g]`.
/// `x = (d * scale) * IQ4_VALUES[index]`. Source: ggml-common.h, `block_iq4_xs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockIq4Xs {
    /// Scale of the scales, f16 little endian.
    pub d: [u8; 2],
    /// High two bits of the scales: bits `2g..2g+2` of the little-endian u16.
    pub scales_h: [u8; 2],
    /// Low four bits of the scales: even groups in the low nibbles.
    pub scales_l: [u8; 4],
    /// Indices, two to a byte, 16 elements apart.
    pub qs: [u8; 128],
}

const _: () = assert_layout::<BlockIq4Xs>();

impl BlockIq4Xs {
    /// The scale of each group of 32 elements, -32..=31.
    pub fn scales(&self) -> [i8; 8] {
        let high = u16::from_le_bytes(self.scales_h);
        std::array::from_fn(|g| {
            let low = self.scales_l[g / 2] >> (4 * (g % 2)) & 15;
            let high = (high >> (2 * g) & 3) as u8;
            (low | high << 4) as i8 - 32
        })
    }
}

impl Block for BlockIq4Xs {
    const DTYPE: DType = DType::IQ4_XS;
    type Values = [f32; 256];

    fn dequantize(&self, out: &mut [f32; 256]) {
        let d = f16(self.d);
        let groups = out.chunks_exact_mut(32).zip(self.qs.chunks_exact(16));
        for ((group, bytes), scale) in groups.zip(self.scales()) {
            let scale = d * f32::from(scale);
            let (low, high) = group.split_at_mut(16);
            for ((low, high), byte) in low.iter_mut().zip(high).zip(bytes) {
                *low = scale * f32::from(IQ4_VALUES[usize::from(byte & 15)]);
                *high = scale * f32::from(IQ4_VALUES[usize::from(byte >> 4)]);
            }
        }
    }
}
