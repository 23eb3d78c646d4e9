//! Qwen 2 and 2.5: llama's layers with biased query, key and value projections and half-split rope.

use super::builder::Builder;
use super::llama::build_pre_norm;
use super::{Checkpoint, ImportError, Registration};
use crate::ir::{Architecture, ModelConfig, RopeStyle};

pub(super) const REGISTRATION: Registration = Registration::new(Architecture::Qwen2, "qwen2", config, build);

fn config(checkpoint: &Checkpoint<'_>) -> Result<ModelConfig, ImportError> {
    Ok(ModelConfig { qkv_bias: true, ..checkpoint.common_config(Architecture::Qwen2)? })
}

fn build(b: &mut Builder<'_>) -> Result<(), ImportError> {
    build_pre_norm(b, RopeStyle::HalfSplit)
}
