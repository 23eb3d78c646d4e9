//! Repacking of GGUF matrices into the planes that the Metal kernels read ([`crate::device::format`]).
//!
//! Done once, at compile time; the packed bytes go to the weights file as they are.

mod codes;
mod k_quants;
mod simple;
mod table;

use std::thread;

use bytemuck::PodCastError;
use forgellm_frontend::ir::DType;
use forgellm_frontend::quant::{self, Block};

use crate::device::format::{self, Format, FormatInfo, MAX_PLANES, PlaneLayout};

/// Packs a whole matrix `[outputs, inputs]` of `dtype`, on all cores: `gguf` are its rows as they lie in the file, `packed` is
/// [`packed_bytes`] long.
pub fn pack(
    dtype: DType,
    outputs: usize,
    inputs: usize,
    gguf: &[u8],
    packed: &mut [u8],
) -> Result<(), PackError> {
    let shape = PackError::Shape { dtype, outputs, inputs };
    let layout = format_of(dtype).layout(outputs, inputs).ok_or(shape.clone())?;
    let row_bytes = dtype.row_bytes(inputs).filter(|&bytes| bytes > 0).ok_or(shape.clone())?;
    let expected = row_bytes.checked_mul(outputs).ok_or(shape)?;
    if gguf.len() != expected {
        return Err(PackError::Source { dtype, outputs, inputs, expected, found: gguf.len() });
    }
    if packed.len() != layout.bytes {
        return Err(PackError::Destination { expected: layout.bytes, found: packed.len() });
    }
    packed.fill(0);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let share = outputs.div_ceil(workers).max(1);
    let mut rest = split_planes(packed, &layout);
    thread::scope(|scope| {
        let mut running = Vec::with_capacity(workers);
        for rows in gguf.chunks(share * row_bytes) {
            let mut planes: BlockPlanes<'_> = Default::default();
            for ((plane, rest), bytes) in planes.iter_mut().zip(&mut rest).zip(layout.row_bytes) {
                (*plane, *rest) = std::mem::take(rest).split_at_mut(rows.len() / row_bytes * bytes);
            }
            let worker = Rows { gguf: rows, row_bytes, plane_row_bytes: layout.row_bytes };
            running.push(scope.spawn(move || worker.pack(dtype, planes)));
        }
        for worker in running {
            worker.join().map_err(|_| PackError::Worker)??;
        }
        Ok(())
    })
}

/// Bytes of a packed matrix `[outputs, inputs]`; `None` where the rows are not whole blocks or the matrix is too large.
pub fn packed_bytes(dtype: DType, outputs: usize, inputs: usize) -> Option<usize> {
    format_of(dtype).bytes(outputs, inputs)
}

/// How matrices of this type are stored.
pub fn format_of(dtype: DType) -> &'static FormatInfo {
    match dtype {
        DType::F32 => format::F32::INFO,
        DType::F16 => format::F16::INFO,
        DType::BF16 => format::BF16::INFO,
        DType::Q4_0 => format::Q4_0::INFO,
        DType::Q4_1 => format::Q4_1::INFO,
        DType::Q5_0 => format::Q5_0::INFO,
        DType::Q5_1 => format::Q5_1::INFO,
        DType::Q8_0 => format::Q8_0::INFO,
        DType::Q2_K => format::Q2_K::INFO,
        DType::Q3_K => format::Q3_K::INFO,
        DType::Q4_K => format::Q4_K::INFO,
        DType::Q5_K => format::Q5_K::INFO,
        DType::Q6_K => format::Q6_K::INFO,
        DType::Q8_K => format::Q8_K::INFO,
        DType::IQ4_NL => format::IQ4_NL::INFO,
        DType::IQ4_XS => format::IQ4_XS::INFO,
        DType::MXFP4 => format::MXFP4::INFO,
    }
}

/// The bytes that some elements have in each plane; those of planes that the format does not have are empty.
type BlockPlanes<'a> = [&'a mut [u8]; MAX_PLANES];

/// A GGUF block that can be written into planes.
trait PackBlock: Block {
    /// Writes this block into its bytes of each plane.
    fn pack(&self, planes: BlockPlanes<'_>);
}

/// Rows of a matrix as they lie in a GGUF file.
struct Rows<'a> {
    gguf: &'a [u8],
    row_bytes: usize,
    plane_row_bytes: [usize; MAX_PLANES],
}

impl Rows<'_> {
    /// Packs them into their bytes of each plane.
    fn pack(&self, dtype: DType, planes: BlockPlanes<'_>) -> Result<(), PackError> {
        match dtype {
            DType::F32 | DType::F16 | DType::BF16 => {
                self.copy(planes);
                Ok(())
            }
            DType::Q4_0 => self.pack_blocks::<quant::BlockQ4_0>(planes),
            DType::Q4_1 => self.pack_blocks::<quant::BlockQ4_1>(planes),
            DType::Q5_0 => self.pack_blocks::<quant::BlockQ5_0>(planes),
            DType::Q5_1 => self.pack_blocks::<quant::BlockQ5_1>(planes),
            DType::Q8_0 => self.pack_blocks::<quant::BlockQ8_0>(planes),
            DType::Q2_K => self.pack_blocks::<quant::BlockQ2K>(planes),
            DType::Q3_K => self.pack_blocks::<quant::BlockQ3K>(planes),
            DType::Q4_K => self.pack_blocks::<quant::BlockQ4K>(planes),
            DType::Q5_K => self.pack_blocks::<quant::BlockQ5K>(planes),
            DType::Q6_K => self.pack_blocks::<quant::BlockQ6K>(planes),
            DType::Q8_K => self.pack_blocks::<quant::BlockQ8K>(planes),
            DType::IQ4_NL => self.pack_blocks::<quant::BlockIq4Nl>(planes),
            DType::IQ4_XS => self.pack_blocks::<quant::BlockIq4Xs>(planes),
            DType::MXFP4 => self.pack_blocks::<quant::BlockMxfp4>(planes),
        }
    }

    /// Floats stay as they are; the padding of the rows is zero already.
    fn copy(&self, [values, ..]: BlockPlanes<'_>) {
        let rows = self.gguf.chunks_exact(self.row_bytes);
        for (row, packed) in rows.zip(values.chunks_exact_mut(self.plane_row_bytes[0])) {
            packed[..row.len()].copy_from_slice(row);
        }
    }

    /// Rows of blocks are never padded, so block after block goes to the next bytes of each plane.
    fn pack_blocks<B: PackBlock>(&self, mut planes: BlockPlanes<'_>) -> Result<(), PackError> {
        let blocks: &[B] = bytemuck::try_cast_slice(self.gguf)?;
        let blocks_per_row = self.row_bytes / size_of::<B>();
        for block in blocks {
            let mut parts: BlockPlanes<'_> = Default::default();
            for ((part, plane), bytes) in parts.iter_mut().zip(&mut planes).zip(self.plane_row_bytes) {
                (*part, *plane) = std::mem::take(plane).split_at_mut(bytes / blocks_per_row);
            }
            block.pack(parts);
        }
        Ok(())
    }
}

/// The bytes of each plane, with what lies before the next one.
fn split_planes<'a>(mut packed: &'a mut [u8], layout: &PlaneLayout) -> BlockPlanes<'a> {
    let mut planes: BlockPlanes<'_> = Default::default();
    // From the last plane back, so that each begins at its offset; planes that the format lacks have no bytes in a row.
    for (plane, (offset, row_bytes)) in
        planes.iter_mut().zip(layout.offsets.into_iter().zip(layout.row_bytes)).rev()
    {
        if row_bytes > 0 {
            (packed, *plane) = packed.split_at_mut(offset);
        }
    }
    planes
}

/// A matrix that cannot be packed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// The rows are no whole number of blocks, or the matrix is larger than the kernels can count.
    #[error(
        "a matrix of {outputs} x {inputs} cannot be stored as {dtype}: its rows are not whole blocks, or it is too large"
    )]
    Shape {
        /// Tensor type.
        dtype: DType,
        /// Rows.
        outputs: usize,
        /// Columns.
        inputs: usize,
    },
    /// The source does not have the bytes of the matrix.
    #[error("a {dtype} matrix of {outputs} x {inputs} takes {expected} bytes, but {found} were given")]
    Source {
        /// Tensor type.
        dtype: DType,
        /// Rows.
        outputs: usize,
        /// Columns.
        inputs: usize,
        /// Bytes needed.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// The destination does not have the length of the packed matrix.
    #[error("the packed matrix takes {expected} bytes, but there is room for {found}")]
    Destination {
        /// Bytes needed.
        expected: usize,
        /// Bytes there are.
        found: usize,
    },
    /// A row is not a slice of blocks.
    #[error("a row cannot be read as blocks: {0}")]
    Blocks(PodCastError),
    /// A thread that packs ended early.
    #[error("a packing thread ended without a result")]
    Worker,
}

impl From<PodCastError> for PackError {
    fn from(error: PodCastError) -> Self {
        PackError::Blocks(error)
    }
}
