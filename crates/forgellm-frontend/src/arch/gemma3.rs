//! Gemma 3 (text): norms before and after each half of a layer, per-head norms of q and k, five sliding-window layers to one
//! global one with another rope base, a scaled embedding, a GELU gate (Gemma Team 2025, arXiv 2503.19786).
//!
//! GGUF files hold the norm weights with their offset of 1 added.

use super::builder::Builder;
use super::{Checkpoint, ImportError, Registration};
use crate::ir::{Architecture, HiddenActivation, ModelConfig, RopeStyle};

pub(super) const REGISTRATION: Registration =
    Registration::new(Architecture::Gemma3, "gemma3", config, build);

/// Every sixth layer is global; files name no pattern.
const WINDOW_PATTERN: usize = 6;
/// Rope base of sliding-window layers; only newer files name it.
const LOCAL_THETA: f32 = 10_000.0;
/// The 27B model alone scales its scores by the width of the residual stream per head; this is how many layers it has.
const LAYERS_27B: usize = 62;

fn config(checkpoint: &Checkpoint<'_>) -> Result<ModelConfig, ImportError> {
    let common = checkpoint.common_config(Architecture::Gemma3)?;
    let attention_scale = (common.num_layers == LAYERS_27B && common.num_attention_heads > 0)
        .then(|| (common.hidden_size as f64 / common.num_attention_heads as f64).sqrt().recip() as f32);
    checkpoint.refuse_unless("final_logit_softcapping", 0.0, "capped logits are not part of Gemma 3")?;
    Ok(ModelConfig {
        sliding_window_pattern: Some(checkpoint.size_or("attention.sliding_window_pattern", WINDOW_PATTERN)?),
        rope_local_theta: Some(checkpoint.number_or("rope.freq_base_swa", LOCAL_THETA)?),
        hidden_activation: HiddenActivation::GeluTanh,
        attention_scale,
        ..common
    })
}

fn build(b: &mut Builder<'_>) -> Result<(), ImportError> {
    let config = b.config.clone();
    let hidden = config.hidden_size;
    let (q_width, kv_width) =
        (config.num_attention_heads * config.head_dim, config.num_kv_heads * config.head_dim);
    let mut x = b.embed((hidden as f64).sqrt() as f32)?;
    for layer in 0..config.num_layers {
        b.enter_layer(layer);
        let normed = b.rms_norm("attn_norm", x, hidden)?;
        let q = b.linear("attn_q", normed, q_width, false)?;
        let k = b.linear("attn_k", normed, kv_width, false)?;
        let v = b.linear("attn_v", normed, kv_width, false)?;
        let q = b.rms_norm("attn_q_norm", q, config.head_dim)?;
        let k = b.rms_norm("attn_k_norm", k, config.head_dim)?;
        let rope = b.layer_rope(RopeStyle::HalfSplit, config.window(layer).is_none())?;
        let q = b.rope("q_rope", q, rope.clone());
        let k = b.rope("k_rope", k, rope);
        let attended = b.attention(q, k, v);
        let projected = b.linear("attn_output", attended, hidden, false)?;
        let normed = b.rms_norm("post_attention_norm", projected, hidden)?;
        x = b.add("attn_residual", normed, x);
        let normed = b.rms_norm("ffn_norm", x, hidden)?;
        let down = b.gated_mlp(normed, config.hidden_activation)?;
        let normed = b.rms_norm("post_ffw_norm", down, hidden)?;
        x = b.add("ffn_residual", normed, x);
    }
    b.head(x, None)
}
