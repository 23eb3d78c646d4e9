//! Tensor types: block layouts and reference dequantisation.
//!
//! One file per quantised type, each with its layout and formula. Everything is bit-exact with ggml's
//! reference (and the `gguf` Python package); `tests/quant.rs` holds the comparison.

mod block;
mod error;
mod float;
mod iq4_nl;
mod iq4_xs;
mod k_scales;
mod mxfp4;
mod q2_k;
mod q3_k;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;
mod q8_k;
mod random;

pub use block::Block;
pub use error::QuantError;
pub use iq4_nl::{BlockIq4Nl, IQ4_VALUES};
pub use iq4_xs::BlockIq4Xs;
pub use k_scales::unpack_scales_and_minima;
pub use mxfp4::{BlockMxfp4, E2M1_DOUBLED};
pub use q2_k::BlockQ2K;
pub use q3_k::BlockQ3K;
pub use q4_0::BlockQ4_0;
pub use q4_1::BlockQ4_1;
pub use q4_k::BlockQ4K;
pub use q5_0::BlockQ5_0;
pub use q5_1::BlockQ5_1;
pub use q5_k::BlockQ5K;
pub use q6_k::BlockQ6K;
pub use q8_0::BlockQ8_0;
pub use q8_k::BlockQ8K;
pub use random::random_blocks;

use crate::ir::DType;

/// Dequantises `bytes`, any number of blocks of `dtype`, to as many elements of `out`.
///
/// Float types are converted exactly. On an error `out` is left as it was.
pub fn dequantize(dtype: DType, bytes: &[u8], out: &mut [f32]) -> Result<(), QuantError> {
    match dtype {
        DType::F32 => float::convert(dtype, bytes, out, f32::from_le_bytes),
        DType::F16 => float::convert(dtype, bytes, out, block::f16),
        DType::BF16 => float::convert(dtype, bytes, out, float::bf16),
        DType::Q4_0 => dequantize_blocks::<BlockQ4_0>(bytes, out),
        DType::Q4_1 => dequantize_blocks::<BlockQ4_1>(bytes, out),
        DType::Q5_0 => dequantize_blocks::<BlockQ5_0>(bytes, out),
        DType::Q5_1 => dequantize_blocks::<BlockQ5_1>(bytes, out),
        DType::Q8_0 => dequantize_blocks::<BlockQ8_0>(bytes, out),
        DType::Q2_K => dequantize_blocks::<BlockQ2K>(bytes, out),
        DType::Q3_K => dequantize_blocks::<BlockQ3K>(bytes, out),
        DType::Q4_K => dequantize_blocks::<BlockQ4K>(bytes, out),
        DType::Q5_K => dequantize_blocks::<BlockQ5K>(bytes, out),
        DType::Q6_K => dequantize_blocks::<BlockQ6K>(bytes, out),
        DType::Q8_K => dequantize_blocks::<BlockQ8K>(bytes, out),
        DType::IQ4_NL => dequantize_blocks::<BlockIq4Nl>(bytes, out),
        DType::IQ4_XS => dequantize_blocks::<BlockIq4Xs>(bytes, out),
        DType::MXFP4 => dequantize_blocks::<BlockMxfp4>(bytes, out),
    }
}

fn dequantize_blocks<B: Block>(bytes: &[u8], out: &mut [f32]) -> Result<(), QuantError> {
    let partial = |_| QuantError::PartialBlock { dtype: B::DTYPE, bytes: bytes.len() };
    let blocks: &[B] = bytemuck::try_cast_slice(bytes).map_err(partial)?;
    let output_length =
        QuantError::OutputLength { dtype: B::DTYPE, blocks: blocks.len(), elements: out.len() };
    let Ok(values) = bytemuck::try_cast_slice_mut::<f32, B::Values>(out) else {
        return Err(output_length);
    };
    if values.len() != blocks.len() {
        return Err(output_length);
    }
    for (block, values) in blocks.iter().zip(values) {
        block.dequantize(values);
    }
    Ok(())
}
