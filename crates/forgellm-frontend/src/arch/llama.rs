//! Llama 2 and 3 and their kin (SmolLM, Mistral): pre-norm layers, grouped-query attention, a SiLU gate.
//!
//! GGUF files of this family have their query and key rows permuted for interleaved rope (llama.cpp, `convert_hf_to_gguf.py`, `LlamaModel.permute`).

use super::builder::Builder;
use super::{Checkpoint, ImportError, Registration};
use crate::ir::{Architecture, HiddenActivation, ModelConfig, RopeStyle};

pub(super) const REGISTRATION: Registration = Registration::new(Architecture::Llama, "llama", config, build);

fn config(checkpoint: &Checkpoint<'_>) -> Result<ModelConfig, ImportError> {
    let mut config = checkpoint.common_config(Architecture::Llama)?;
    config.qkv_bias = checkpoint.has_tensor("blk.0.attn_q.bias");
    Ok(config)
}

fn build(b: &mut Builder<'_>) -> Result<(), ImportError> {
    build_pre_norm(b, RopeStyle::Interleaved)
}

/// The layers that llama and qwen2 share; they differ in rope style and biases.
pub(super) fn build_pre_norm(b: &mut Builder<'_>, style: RopeStyle) -> Result<(), ImportError> {
    let config = b.config.clone();
    let hidden = config.hidden_size;
    let (q_width, kv_width) =
        (config.num_attention_heads * config.head_dim, config.num_kv_heads * config.head_dim);
    let mut x = b.embed(1.0)?;
    for layer in 0..config.num_layers {
        b.enter_layer(layer);
        let normed = b.rms_norm("attn_norm", x, hidden)?;
        let q = b.linear("attn_q", normed, q_width, config.qkv_bias)?;
        let k = b.linear("attn_k", normed, kv_width, config.qkv_bias)?;
        let v = b.linear("attn_v", normed, kv_width, config.qkv_bias)?;
        let rope = b.layer_rope(style, true)?;
        let q = b.rope("q_rope", q, rope.clone());
        let k = b.rope("k_rope", k, rope);
        let attended = b.attention(q, k, v);
        let projected = b.linear("attn_output", attended, hidden, false)?;
        x = b.add("attn_residual", projected, x);
        let normed = b.rms_norm("ffn_norm", x, hidden)?;
        let down = b.gated_mlp(normed, HiddenActivation::Silu)?;
        x = b.add("ffn_residual", down, x);
    }
    b.head(x, None)
}
