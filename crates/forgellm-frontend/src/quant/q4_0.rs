//! Q4_0: 4-bit codes around 8 with one scale.

use bytemuck::{Pod, Zeroable};

use super::block::{Block, assert_layout, f16};
use crate::ir::DType;

/// 32 elements in 18 bytes: `d` (f16) at 0, `qs` at 2.
///
/// Element `i < 16` has its code in the low nibble of `qs[i]`, element `i + 16` in the high nibble.
/// `x = d * (code - 8)`. Source: ggml-common.h, `block_q4_0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ4_0 {
    /// Scale, f16 little endian.
    pub d: [u8; 2],
    /// Codes, two to a byte.
    pub qs: [u8; 16],
}

const _: () = assert_layout::<BlockQ4_0>();

impl Block for BlockQ4_0 {
    const DTYPE: DType = DType::Q4_0;
    type Values = [f32; 32];

    fn dequantize(&self, out: &mut [f32; 32]) {
        let d = f16(self.d);
        let (low, high) = out.split_at_mut(16);
        for ((low, high), byte) in low.iter_mut().zip(high).zip(self.qs) {
            *low = d * (i32::from(byte & 15) - 8) as f32;
            *high = d * (i32::from(byte >> 4) - 8) as f32;
        }
    }
}
