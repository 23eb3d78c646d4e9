//! Q5_0: 5-bit codes around 16 with one scale.

use bytemuck::{Pod, Zeroable};

use super::block::{Block, assert_layout, f16};
use crate::ir::DType;

/// 32 elements in 22 bytes: `d` (f16) at 0, `qh` at 2, `qs` at 6.
///
/// Element `i < 16` has its low four bits in the low nibble of `qs[i]`, element `i + 16` in the high
/// nibble; bit `i` of `qh` is the fifth bit of element `i`.
/// `x = d * (code - 16)`. Source: ggml-common.h, `block_q5_0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ5_0 {
    /// Scale, f16 little endian.
    pub d: [u8; 2],
    /// Fifth bits: bit `i` of the little-endian u32 belongs to element `i`.
    pub qh: [u8; 4],
    /// Low four bits, two elements to a byte.
    pub qs: [u8; 16],
}

const _: () = assert_layout::<BlockQ5_0>();

impl Block for BlockQ5_0 {
    const DTYPE: DType = DType::Q5_0;
    type Values = [f32; 32];

    fn dequantize(&self, out: &mut [f32; 32]) {
        let d = f16(self.d);
        let qh = u32::from_le_bytes(self.qh);
        let (low, high) = out.split_at_mut(16);
        for (i, ((low, high), byte)) in low.iter_mut().zip(high).zip(self.qs).enumerate() {
            let low_code = u32::from(byte & 15) | (qh >> i & 1) << 4;
            let high_code = u32::from(byte >> 4) | (qh >> (i + 16) & 1) << 4;
            *low = d * (low_code as i32 - 16) as f32;
            *high = d * (high_code as i32 - 16) as f32;
        }
    }
}
