//! Model files with random weights: every feature of an architecture in a file of a few hundred kilobytes
//! for tests, and the shapes of well-known models for benchmarks.
//!
//! A synthetic file has all the metadata of a real one, with a working tokenizer, so that whatever runs the
//! real model runs it.

mod model;
mod shape;
mod vocabulary;

use std::path::Path;

pub use shape::{SHAPES, Shape, UnknownShape};

use crate::checkpoint::Metadata;
use crate::checkpoint::gguf::{GgufWriteError, GgufWriter, TensorSpec};
use crate::ir::DType;
use crate::quant::{self, QuantError};

/// A synthetic file that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SynthError {
    /// The file could not be written.
    #[error(transparent)]
    Write(#[from] GgufWriteError),
    /// No weights of the type can be made.
    #[error("tensor `{tensor}`: {source}")]
    Weights {
        /// The tensor.
        tensor: String,
        /// Why.
        source: QuantError,
    },
}

/// Writes a model of `shape` with random weights to `path`. The same `seed` gives the same file.
///
/// Matrices are stored as `dtype`, norms and biases as F32. Where the rows of a matrix are no multiple of
/// `dtype`'s block, it gets the type that llama.cpp's quantiser falls back to (Q4_K to Q5_0, Q5_K to Q5_1,
/// Q6_K and Q8_K to Q8_0, the others to IQ4_NL), as in real files.
///
/// `progress` gets the bytes written and their total, about once a megabyte. Memory stays at a few
/// megabytes (and the vocabulary) whatever the shape.
///
/// # Errors
///
/// The file cannot be written; nothing is left of it then.
pub fn write(
    shape: &Shape,
    dtype: DType,
    seed: u64,
    path: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), SynthError> {
    write_with(GgufWriter::create, shape, dtype, seed, path, progress)
}

/// As [`write()`], to a `path` that is a temporary one of the caller, who removes it when the process is
/// interrupted. It must not exist.
///
/// # Errors
///
/// Those of [`write()`].
pub fn write_in_place(
    shape: &Shape,
    dtype: DType,
    seed: u64,
    path: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), SynthError> {
    write_with(GgufWriter::create_in_place, shape, dtype, seed, path, progress)
}

fn write_with<'a>(
    create: impl FnOnce(&'a Path, &Metadata, &[TensorSpec]) -> Result<GgufWriter, GgufWriteError>,
    shape: &Shape,
    dtype: DType,
    seed: u64,
    path: &'a Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), SynthError> {
    const CHUNK_BYTES: usize = 1 << 20;
    let tensors = model::tensors(shape, dtype);
    let total = tensors.iter().map(model::Tensor::bytes).sum();
    let specs: Vec<_> = tensors.iter().map(|tensor| tensor.spec.clone()).collect();
    let mut writer = create(path, &model::metadata(shape, dtype), &specs)?;
    let mut done = 0;
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    for (index, tensor) in tensors.iter().enumerate() {
        let stored = tensor.spec.dtype;
        let failed = |source| SynthError::Weights { tensor: tensor.spec.name.clone(), source };
        let mut random = generator(seed, index as u64);
        let mut blocks = tensor.blocks();
        while blocks > 0 {
            let part = blocks.min(CHUNK_BYTES / stored.block_bytes());
            chunk.clear();
            match &tensor.content {
                model::Content::Random { sigma } => {
                    quant::random_blocks(stored, part, *sigma, &mut random, &mut chunk).map_err(failed)?;
                }
                model::Content::Near { mean, sigma } => {
                    quant::random_blocks(stored, part, *sigma, &mut random, &mut chunk).map_err(failed)?;
                    shift(&mut chunk, *mean);
                }
                model::Content::Given(values) => {
                    chunk.extend(values.iter().flat_map(|value| value.to_le_bytes()));
                }
            }
            writer.write(&chunk)?;
            blocks -= part;
            done += chunk.len() as u64;
            progress(done, total);
        }
    }
    writer.finish()?;
    Ok(())
}

/// Adds `mean` to F32 data.
fn shift(bytes: &mut [u8], mean: f32) {
    for element in bytes.as_chunks_mut::<4>().0 {
        *element = (f32::from_le_bytes(*element) + mean).to_le_bytes();
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014), started apart for every stream.
fn generator(seed: u64, stream: u64) -> impl FnMut() -> u64 {
    let mut state = mix(seed ^ mix(stream.wrapping_add(GOLDEN)));
    move || {
        state = state.wrapping_add(GOLDEN);
        mix(state)
    }
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
