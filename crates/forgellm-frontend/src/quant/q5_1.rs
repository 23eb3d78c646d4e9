//! Q5_1: 5-bit codes with a scale and a minimum.

use bytemuck::{Pod, Zeroable};

use super::block::{Block, assert_layout, f16};
use crate::ir::DType;

/// 32 elements in 24 bytes: `d` (f16) at 0, `m` (f16) at 2, `qh` at 4, `qs` at 8.
///
/// Element `i < 16` has its low four bits in the low nibble of `qs[i]`, element `i + 16` in the high
/// nibble; bit `i` of `qh` is the fifth bit of element `i`.
/// `x = d * code + m`. Source: ggml-common.h, `block_q5_1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ5_1 {
    /// Scale, f16 little endian.
    pub d: [u8; 2],
    /// Minimum (added), f16 little endian.
    pub m: [u8; 2],
    /// Fifth bits: bit `i` of the little-endian u32 belongs to element `i`.
    pub qh: [u8; 4],
    /// Low four bits, two elements to a byte.
    pub qs: [u8; 16],
}

const _: () = assert_layout::<BlockQ5_1>();

impl Block for BlockQ5_1 {
    const DTYPE: DType = DType::Q5_1;
    type Values = [f32; 32];

    fn dequantize(&self, out: &mut [f32; 32]) {
        let (d, m) = (f16(self.d), f16(self.m));
        let qh = u32::from_le_bytes(self.qh);
        let (low, high) = out.split_at_mut(16);
        for (i, ((low, high), byte)) in low.iter_mut().zip(high).zip(self.qs).enumerate() {
            let low_code = u32::from(byte & 15) | (qh >> i & 1) << 4;
            let high_code = u32::from(byte >> 4) | (qh >> (i + 16) & 1) << 4;
            *low = d * low_code as f32 + m;
            *high = d * high_code as f32 + m;
        }
    }
}
