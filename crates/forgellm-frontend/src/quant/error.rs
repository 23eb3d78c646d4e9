//! Errors of this module.

use crate::ir::DType;

/// Why tensor data could not be dequantised or generated.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum QuantError {
    /// The data are no whole number of blocks.
    #[error(
        "{bytes} bytes of {dtype} data are no whole number of blocks of {block} bytes; \
         check the tensor's shape and offset (the file may be cut short)",
        block = .dtype.block_bytes()
    )]
    PartialBlock {
        /// Type of the data.
        dtype: DType,
        /// Length of the data.
        bytes: usize,
    },
    /// The output has another number of elements than the data.
    #[error(
        "{blocks} blocks of {dtype} hold {block} elements each, but the output has room for \
         {elements}; pass an output of exactly the data's length",
        block = .dtype.block_elements()
    )]
    OutputLength {
        /// Type of the data.
        dtype: DType,
        /// Blocks in the data.
        blocks: usize,
        /// Elements of the output.
        elements: usize,
    },
    /// A standard deviation that no finite data have.
    #[error("standard deviation {0} is not a finite number above or equal to 0; pass one, e.g. 0.02")]
    Sigma(f32),
    /// More data than memory addresses.
    #[error("{blocks} blocks of {dtype} exceed the address space; generate the tensor in parts")]
    TooLarge {
        /// Type of the data.
        dtype: DType,
        /// Blocks asked for.
        blocks: usize,
    },
}
