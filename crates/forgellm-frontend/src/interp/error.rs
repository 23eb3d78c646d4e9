//! Errors of this module.

use super::WeightError;
use crate::ir::DType;
use crate::quant::QuantError;

/// Why a graph could not be run.
#[derive(Debug, thiserror::Error)]
pub enum InterpError {
    /// A row's token is not in the vocabulary.
    #[error("token {token} is not in the vocabulary, which has {vocab} entries")]
    UnknownToken {
        /// The token.
        token: u32,
        /// Entries of the embedding table.
        vocab: usize,
    },
    /// A row does not continue its sequence.
    #[error("a row of sequence {sequence} is at position {position}, the sequence goes on at {expected}")]
    PositionGap {
        /// The sequence.
        sequence: usize,
        /// The row's position.
        position: usize,
        /// The position that follows the ones there are.
        expected: usize,
    },
    /// A weight could not be had.
    #[error("weight `{name}`: {source}")]
    Weight {
        /// Its name.
        name: String,
        /// Why not.
        source: WeightError,
    },
    /// A weight has another size than the graph says.
    #[error(
        "weight `{name}` has {found} bytes, {dtype} {shape:?} needs {expected}; is this the graph's file?"
    )]
    WeightSize {
        /// Its name.
        name: String,
        /// Its type.
        dtype: DType,
        /// Its shape.
        shape: Vec<usize>,
        /// Bytes that this takes.
        expected: usize,
        /// Bytes there are.
        found: usize,
    },
    /// A weight could not be turned into f32.
    #[error("weight `{name}`: {source}")]
    Quant {
        /// Its name.
        name: String,
        /// Why not.
        source: QuantError,
    },
}
