//! What becomes of a layer of each architecture.

use forgellm_frontend::arch;
use forgellm_frontend::ir::{
    Architecture, DType, Graph, HiddenActivation, ModelConfig, RopeScaling, Verified,
};
use forgellm_optimizer::{Optimized, Options, optimize};

use crate::sketch::operations;

/// A model of `layers` layers, all of them small.
pub fn model(architecture: Architecture, layers: usize) -> Verified<Graph> {
    let config = ModelConfig {
        architecture,
        hidden_size: 12,
        intermediate_size: 20,
        num_layers: layers,
        num_attention_heads: 4,
        num_kv_heads: 2,
        head_dim: 8,
        vocab_size: 50,
        max_seq_len: 64,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        dtype: DType::F32,
        sliding_window_size: (architecture == Architecture::Gemma3).then_some(16),
        sliding_window_pattern: (architecture == Architecture::Gemma3).then_some(6),
        rope_local_theta: None,
        rope_dim: 8,
        rope_scaling: RopeScaling::None,
        rope_freq_factors: false,
        qkv_bias: architecture == Architecture::Qwen2,
        tied_embeddings: true,
        hidden_activation: HiddenActivation::GeluTanh,
        attention_scale: None,
    };
    arch::complete(&Graph::new(format!("tiny {architecture}")).with_config(config))
        .unwrap_or_else(|error| panic!("{error}"))
}

/// What a target gets that projects, then turns, and sums, then projects.
fn fused(architecture: Architecture, layers: usize) -> Verified<Graph> {
    let skip = ["fuse_qkv_projection", "fuse_norm_residual"].map(str::to_owned).into();
    optimized(architecture, layers, &Options { skip, ..Options::default() }).graph
}

/// What a target gets that can do all at once.
fn joined(architecture: Architecture, layers: usize) -> Verified<Graph> {
    optimized(architecture, layers, &Options::default()).graph
}

fn optimized(architecture: Architecture, layers: usize, options: &Options) -> Optimized {
    optimize(model(architecture, layers), options).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_layer_of_llama_and_qwen2_is_six_nodes() {
    for architecture in [Architecture::Llama, Architecture::Qwen2] {
        let graph = fused(architecture, 3);
        for layer in 0..3 {
            assert_eq!(
                operations(&graph, Some(layer)),
                [
                    "qkv: linear norm 3 parts",
                    "q: qkv_rope",
                    "attention: attention",
                    "attn_output: linear residual",
                    "gated: linear norm 2 parts gate",
                    "ffn_down: linear residual",
                ],
                "{architecture}"
            );
        }
    }
}

#[test]
fn a_layer_of_gemma3_is_eight_nodes() {
    let graph = fused(Architecture::Gemma3, 3);
    for layer in 0..3 {
        assert_eq!(
            operations(&graph, Some(layer)),
            [
                "qkv: linear norm 3 parts",
                "q: qkv_rope q_norm k_norm",
                "attention: attention",
                "attn_output: linear",
                "post_attention_norm: rms_norm residual",
                "gated: linear norm 2 parts gate",
                "ffn_down: linear",
                "post_ffw_norm: rms_norm residual",
            ]
        );
    }
}

/// Attention is two dispatches, so none has more than six.
#[test]
fn a_layer_of_joined_projections_is_five_nodes() {
    for architecture in [Architecture::Llama, Architecture::Qwen2] {
        let graph = joined(architecture, 3);
        for layer in 0..3 {
            assert_eq!(
                operations(&graph, Some(layer)),
                [
                    "q: qkv_rope norm 3 parts",
                    "attention: attention",
                    "attn_output: linear residual",
                    "gated: linear norm 2 parts gate",
                    "ffn_down: linear residual",
                ],
                "{architecture}"
            );
        }
    }
    let graph = joined(Architecture::Gemma3, 3);
    for layer in 0..3 {
        let sum = if layer == 0 { "" } else { " sum" };
        assert_eq!(
            operations(&graph, Some(layer)),
            [
                &*format!("q: qkv_rope{sum} norm 3 parts q_norm k_norm"),
                "attention: attention",
                "attn_output: linear",
                "gated: linear sum norm 2 parts gate",
                "ffn_down: linear",
            ]
        );
    }
    assert_eq!(
        operations(&graph, None),
        [
            "embed: embed",
            "post_ffw_norm: rms_norm residual",
            "select_wanted: select_wanted",
            "output_norm: rms_norm",
            "output: linear"
        ]
    );
}

/// There is no layer whose sum it could take: the norm stays in its own.
#[test]
fn the_norm_of_a_single_layer_stays_in_it() {
    let graph = joined(Architecture::Gemma3, 1);
    assert_eq!(
        operations(&graph, Some(0)).last().map(String::as_str),
        Some("post_ffw_norm: rms_norm residual")
    );
}

#[test]
fn outside_of_layers_the_hidden_state_stays() {
    for architecture in [Architecture::Llama, Architecture::Qwen2, Architecture::Gemma3] {
        assert_eq!(
            operations(&fused(architecture, 2), None),
            ["embed: embed", "select_wanted: select_wanted", "output_norm: rms_norm", "output: linear"]
        );
    }
}

/// The whole graph after the pipeline, in text.
#[test]
fn fused_graphs_in_text() {
    for architecture in [Architecture::Llama, Architecture::Qwen2, Architecture::Gemma3] {
        insta::assert_snapshot!(format!("{architecture}"), fused(architecture, 1).to_string());
        insta::assert_snapshot!(format!("{architecture}_joined"), joined(architecture, 2).to_string());
    }
}
