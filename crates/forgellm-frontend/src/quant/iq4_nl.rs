//! IQ4_NL: 4-bit indices into a fixed table of 16 values, one scale.

use bytemuck::{Pod, Zeroable};

use super::block::{Block, assert_layout, f16};
use crate::ir::DType;

/// 32 elements in 18 bytes: `d` (f16) at 0, `qs` at 2.
///
/// Element `i < 16` has its index in the low nibble of `qs[i]`, element `i + 16` in the high nibble.
/// `x = d * IQ4_VALUES[index]`. Source: ggml-common.h, `block_iq4_nl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct BlockIq4Nl {
    /// Scale, f16 little endian.
    pub d: [u8; 2],
    /// Indices, two to a byte.
    pub qs: [u8; 16],
}

const _: () = assert_layout::<BlockIq4Nl>();

impl Block for BlockIq4Nl {
    const DTYPE: DType = DType::IQ4_NL;
    type Values = [f32; 32];

    fn dequantize(&self, out: &mut [f32; 32]) {
        let d = f16(self.d);
        let (low, high) = out.split_at_mut(16);
        for ((low, high), byte) in low.iter_mut().zip(high).zip(self.qs) {
            *low = d * f32::from(IQ4_VALUES[usize::from(byte & 15)]);
            *high = d * f32::from(IQ4_VALUES[usize::from(byte >> 4)]);
        }
    }
}

/// The values of IQ4_NL and IQ4_XS (ggml-common.h, `kvalues_iq4nl`).
pub const IQ4_VALUES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
