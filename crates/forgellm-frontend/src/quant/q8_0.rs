//! Q8_0: signed 8-bit codes with one scale.

use bytemuck::{Pod, Zeroable};

use super::block::{Block, assert_layout, f16};
use crate::ir::DType;

/// 32 elements in 34 bytes: `d` (f16) at 0, `qs` at 2.
///
/// `x[i] = qs[i] * d`. Quantisers write -127..=127; -128 is decoded like any other code.
/// Source: ggml-common.h, `block_q8_0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ8_0 {
    /// Scale, f16 little endian.
    pub d: [u8; 2],
    /// Codes.
    pub qs: [i8; 32],
}

const _: () = assert_layout::<BlockQ8_0>();

impl Block for BlockQ8_0 {
    const DTYPE: DType = DType::Q8_0;
    type Values = [f32; 32];

    fn dequantize(&self, out: &mut [f32; 32]) {
        let d = f16(self.d);
        for (x, code) in out.iter_mut().zip(self.qs) {
            *x = f32::from(code) * d;
        }
    }
}
