//! What every block type of a quantised tensor offers.

use bytemuck::Pod;

use crate::ir::DType;

/// A block of consecutive elements of a row as it lies in the file.
///
/// Blocks have alignment 1, so a tensor at any byte offset of a mapped file can be viewed as a slice of
/// them with `bytemuck::try_cast_slice`. Every bit pattern is a valid block.
pub trait Block: Pod {
    /// The tensor type that consists of these blocks.
    const DTYPE: DType;
    /// Elements in a block.
    const ELEMENTS: usize = Self::DTYPE.block_elements();
    /// The dequantised block: `[f32; ELEMENTS]`.
    type Values: Pod;

    /// Computes the elements in f32, in ggml's order of operations (bit-exact with its reference).
    fn dequantize(&self, out: &mut Self::Values);
}

/// Fails to compile where a block differs from the size or the alignment that [`DType`] gives.
pub(super) const fn assert_layout<B: Block>() {
    assert!(size_of::<B>() == B::DTYPE.block_bytes());
    assert!(align_of::<B>() == 1);
    assert!(size_of::<B::Values>() == 4 * B::ELEMENTS);
}

/// The value of a little-endian IEEE 754 half.
pub(super) fn f16(bytes: [u8; 2]) -> f32 {
    half::f16::from_le_bytes(bytes).to_f32()
}
