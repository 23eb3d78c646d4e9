//! Q4_1: 4-bit codes with a scale and a minimum.

use bytemuck::{Pod, Zeroable};

use super::block::{Block, assert_layout, f16};
use crate::ir::DType;

/// 32 elements in 20 bytes: `d` (f16) at 0, `m` (f16) at 2, `qs` at 4.
///
/// Element `i < 16` has its code in the low nibble of `qs[i]`, element `i + 16` in the high nibble.
/// `x = d * code + m`. Source: ggml-common.h, `block_q4_1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ4_1 {
    /// Scale, f16 little endian.
    pub d: [u8; 2],
    /// Minimum (added), f16 little endian.
    pub m: [u8; 2],
    /// Codes, two to a byte.
    pub qs: [u8; 16],
}

const _: () = assert_layout::<BlockQ4_1>();

impl Block for BlockQ4_1 {
    const DTYPE: DType = DType::Q4_1;
    type Values = [f32; 32];

    fn dequantize(&self, out: &mut [f32; 32]) {
        let (d, m) = (f16(self.d), f16(self.m));
        let (low, high) = out.split_at_mut(16);
        for ((low, high), byte) in low.iter_mut().zip(high).zip(self.qs) {
            *low = d * f32::from(byte & 15) + m;
            *high = d * f32::from(byte >> 4) + m;
        }
    }
}
