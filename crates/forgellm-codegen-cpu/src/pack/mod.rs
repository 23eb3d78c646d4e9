//! Repacking of GGUF matrices into the panels that the CPU kernels read ([`crate::device::matrix::format`]).
//!
//! Done once, at compile time; the packed bytes go to the weights file as they are.

mod codes;
mod float;
mod k_quants;
mod simple;
mod table;

use std::ops::Range;

use bytemuck::PodCastError;
use forgellm_frontend::ir::DType;
use forgellm_frontend::quant::{self, Block};

use crate::device::matrix::PANEL_ROWS;
use crate::device::matrix::format::{self, Format};

/// Packs a whole matrix `[out, in_]` of `dtype`: `gguf_bytes` are its rows as they lie in the file, `dst` is
/// [`packed_bytes`] long.
pub fn pack(
    dtype: DType,
    out: usize,
    in_: usize,
    gguf_bytes: &[u8],
    dst: &mut [u8],
) -> Result<(), PackError> {
    pack_panels(dtype, out, in_, gguf_bytes, 0..out.div_ceil(PANEL_ROWS), dst)
}

/// Packs some of the panels of a matrix, so that several threads can share the work. `gguf_bytes` is the whole
/// matrix, `dst` has room for exactly these panels.
pub fn pack_panels(
    dtype: DType,
    out: usize,
    in_: usize,
    gguf_bytes: &[u8],
    panels: Range<usize>,
    dst: &mut [u8],
) -> Result<(), PackError> {
    let shape = PackError::Shape { dtype, out, inputs: in_ };
    let row_bytes = dtype.row_bytes(in_).filter(|&bytes| bytes > 0).ok_or(shape.clone())?;
    let expected = row_bytes.checked_mul(out).ok_or(shape.clone())?;
    if gguf_bytes.len() != expected {
        return Err(PackError::Source { dtype, out, inputs: in_, expected, found: gguf_bytes.len() });
    }
    if panels.start > panels.end || panels.end > out.div_ceil(PANEL_ROWS) {
        return Err(PackError::Panels { panels, found: out.div_ceil(PANEL_ROWS) });
    }
    let expected = panel_bytes(dtype, in_).and_then(|bytes| bytes.checked_mul(panels.len())).ok_or(shape)?;
    if dst.len() != expected {
        return Err(PackError::Destination { expected, found: dst.len() });
    }
    let rows = panels.start * PANEL_ROWS..out.min(panels.end * PANEL_ROWS);
    let rows = gguf_bytes[rows.start * row_bytes..rows.end * row_bytes].chunks_exact(row_bytes);
    dst.fill(0);
    match dtype {
        DType::F32 => float::pack_rows::<4>(rows, dst),
        DType::F16 | DType::BF16 => float::pack_rows::<2>(rows, dst),
        DType::Q4_0 => pack_rows::<quant::BlockQ4_0>(rows, dst)?,
        DType::Q4_1 => pack_rows::<quant::BlockQ4_1>(rows, dst)?,
        DType::Q5_0 => pack_rows::<quant::BlockQ5_0>(rows, dst)?,
        DType::Q5_1 => pack_rows::<quant::BlockQ5_1>(rows, dst)?,
        DType::Q8_0 => pack_rows::<quant::BlockQ8_0>(rows, dst)?,
        DType::Q2_K => pack_rows::<quant::BlockQ2K>(rows, dst)?,
        DType::Q3_K => pack_rows::<quant::BlockQ3K>(rows, dst)?,
        DType::Q4_K => pack_rows::<quant::BlockQ4K>(rows, dst)?,
        DType::Q5_K => pack_rows::<quant::BlockQ5K>(rows, dst)?,
        DType::Q6_K => pack_rows::<quant::BlockQ6K>(rows, dst)?,
        DType::Q8_K => pack_rows::<quant::BlockQ8K>(rows, dst)?,
        DType::IQ4_NL => pack_rows::<quant::BlockIq4Nl>(rows, dst)?,
        DType::IQ4_XS => pack_rows::<quant::BlockIq4Xs>(rows, dst)?,
        DType::MXFP4 => pack_rows::<quant::BlockMxfp4>(rows, dst)?,
    }
    Ok(())
}

/// Bytes of a packed matrix `[out, in_]`; `None` where `in_` is not a whole number of blocks, or on overflow.
pub fn packed_bytes(dtype: DType, out: usize, in_: usize) -> Option<usize> {
    panel_bytes(dtype, in_)?.checked_mul(out.div_ceil(PANEL_ROWS))
}

/// Bytes of a panel of 16 rows of `in_` columns; `None` as in [`packed_bytes`].
pub fn panel_bytes(dtype: DType, in_: usize) -> Option<usize> {
    let layout = layout(dtype);
    in_.is_multiple_of(layout.block).then(|| (in_ / layout.block).checked_mul(layout.block_bytes))?
}

/// The Rust type of the packed format, in `device::matrix::format`: for generated code.
pub fn format_type_name(dtype: DType) -> &'static str {
    layout(dtype).name
}

struct Layout {
    name: &'static str,
    block: usize,
    block_bytes: usize,
}

fn layout(dtype: DType) -> Layout {
    fn of<F: Format>() -> Layout {
        Layout { name: F::NAME, block: F::BLOCK, block_bytes: F::BLOCK_BYTES }
    }
    match dtype {
        DType::F32 => of::<format::F32>(),
        DType::F16 => of::<format::F16>(),
        DType::BF16 => of::<format::BF16>(),
        DType::Q4_0 => of::<format::Q4_0>(),
        DType::Q4_1 => of::<format::Q4_1>(),
        DType::Q5_0 => of::<format::Q5_0>(),
        DType::Q5_1 => of::<format::Q5_1>(),
        DType::Q8_0 => of::<format::Q8_0>(),
        DType::Q2_K => of::<format::Q2_K>(),
        DType::Q3_K => of::<format::Q3_K>(),
        DType::Q4_K => of::<format::Q4_K>(),
        DType::Q5_K => of::<format::Q5_K>(),
        DType::Q6_K => of::<format::Q6_K>(),
        DType::Q8_K => of::<format::Q8_K>(),
        DType::IQ4_NL => of::<format::IQ4_NL>(),
        DType::IQ4_XS => of::<format::IQ4_XS>(),
        DType::MXFP4 => of::<format::MXFP4>(),
    }
}

/// A GGUF block that can be written into a block of a panel.
trait PackBlock: Block {
    /// The packed format.
    type Format: Format;

    /// Writes this block as row `lane` into the zeroed block of a panel.
    fn pack(&self, lane: usize, block: &mut [u8]);
}

fn pack_rows<'a, B: PackBlock>(
    mut rows: impl Iterator<Item = &'a [u8]>,
    dst: &mut [u8],
) -> Result<(), PackError> {
    let block_bytes = <B::Format as Format>::BLOCK_BYTES;
    let Some(first) = rows.next() else { return Ok(()) };
    let panel_bytes = first.len() / size_of::<B>() * block_bytes;
    let rows = std::iter::once(first).chain(rows);
    for (row, bytes) in rows.enumerate() {
        let blocks: &[B] = bytemuck::try_cast_slice(bytes)?;
        let panel = &mut dst[row / PANEL_ROWS * panel_bytes..][..panel_bytes];
        for (block, packed) in blocks.iter().zip(panel.chunks_exact_mut(block_bytes)) {
            block.pack(row % PANEL_ROWS, packed);
        }
    }
    Ok(())
}

/// A matrix that cannot be packed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// The rows are no whole number of blocks, or the matrix is larger than memory can be.
    #[error("a matrix of {out} x {inputs} cannot be stored as {dtype}: its rows are not whole blocks")]
    Shape {
        /// Tensor type.
        dtype: DType,
        /// Rows.
        out: usize,
        /// Columns.
        inputs: usize,
    },
    /// The source does not have the bytes of the matrix.
    #[error("a {dtype} matrix of {out} x {inputs} takes {expected} bytes, but {found} were given")]
    Source {
        /// Tensor type.
        dtype: DType,
        /// Rows.
        out: usize,
        /// Columns.
        inputs: usize,
        /// Bytes needed.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// The panels asked for are not in the matrix.
    #[error("panels {panels:?} were asked for of a matrix of {found}")]
    Panels {
        /// Panels asked for.
        panels: Range<usize>,
        /// Panels there are.
        found: usize,
    },
    /// The destination does not have the length of the panels.
    #[error("the packed panels take {expected} bytes, but there is room for {found}")]
    Destination {
        /// Bytes needed.
        expected: usize,
        /// Bytes there are.
        found: usize,
    },
    /// A row is not a slice of blocks.
    #[error("a row cannot be read as blocks: {0}")]
    Blocks(PodCastError),
}

impl From<PodCastError> for PackError {
    fn from(error: PodCastError) -> Self {
        PackError::Blocks(error)
    }
}
