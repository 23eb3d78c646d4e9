//! Q8_K: signed 8-bit codes with one f32 scale.

use bytemuck::{Pod, Zeroable};

use super::block::{Block, assert_layout};
use crate::ir::DType;

/// 256 elements in 292 bytes: `d` (f32) at 0, `qs` at 4, `bsums` at 260.
///
/// `x[i] = d * qs[i]`. `bsums[g]` is the sum of the codes of group `g` of 16; it serves dot products
/// with types that have minima and takes no part in dequantising.
/// Source: ggml-common.h, `block_q8_K`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ8K {
    /// Scale, f32 little endian.
    pub d: [u8; 4],
    /// Codes.
    pub qs: [i8; 256],
    /// Sum of the codes of each group of 16, i16 little endian.
    pub bsums: [[u8; 2]; 16],
}

const _: () = assert_layout::<BlockQ8K>();

impl Block for BlockQ8K {
    const DTYPE: DType = DType::Q8_K;
    type Values = [f32; 256];

    fn dequantize(&self, out: &mut [f32; 256]) {
        let d = f32::from_le_bytes(self.d);
        for (x, code) in out.iter_mut().zip(self.qs) {
            *x = d * f32::from(code);
        }
    }
}
