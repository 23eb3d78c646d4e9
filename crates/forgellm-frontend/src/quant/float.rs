//! Tensors of plain floats: F32, F16, BF16.

use super::QuantError;
use crate::ir::DType;

/// Converts little-endian floats of `N` bytes to f32.
pub(super) fn convert<const N: usize>(
    dtype: DType,
    bytes: &[u8],
    out: &mut [f32],
    value: impl Fn([u8; N]) -> f32,
) -> Result<(), QuantError> {
    let (elements, rest) = bytes.as_chunks::<N>();
    if !rest.is_empty() {
        let bytes = bytes.len();
        return Err(QuantError::PartialBlock { dtype, bytes });
    }
    if elements.len() != out.len() {
        return Err(QuantError::OutputLength { dtype, blocks: elements.len(), elements: out.len() });
    }
    for (x, element) in out.iter_mut().zip(elements) {
        *x = value(*element);
    }
    Ok(())
}

/// The value of a little-endian bfloat16: the upper half of an f32.
pub(super) fn bf16([low, high]: [u8; 2]) -> f32 {
    f32::from_le_bytes([0, 0, low, high])
}
