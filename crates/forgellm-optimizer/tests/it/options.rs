//! Stopping, skipping and the log.

use std::collections::BTreeSet;

use forgellm_frontend::ir::{Architecture, Graph};
use forgellm_optimizer::{Applied, OptimizeError, Options, optimize, rewrites};

use crate::architectures::model;

fn skipping(names: &[&str]) -> Options {
    Options { skip: names.iter().map(|name| name.to_string()).collect(), ..Options::default() }
}

#[test]
fn stopping_gives_a_prefix_of_the_log() {
    let graph = model(Architecture::Gemma3, 2);
    let all = optimize(graph.clone(), &Options::default()).unwrap();
    for limit in 0..=all.log.len() + 1 {
        let options = Options { stop_after: Some(limit), ..Options::default() };
        let some = optimize(graph.clone(), &options).unwrap();
        assert_eq!(some.log, all.log[..limit.min(all.log.len())]);
        assert_eq!(*some.graph == *all.graph, limit >= all.log.len(), "limit {limit}");
    }
}

#[test]
fn a_skipped_rewrite_is_not_applied() {
    for rewrite in rewrites() {
        let optimized = optimize(model(Architecture::Gemma3, 2), &skipping(&[rewrite.name])).unwrap();
        let applied: BTreeSet<&str> = optimized.log.iter().map(|applied| applied.rewrite).collect();
        assert!(!applied.contains(rewrite.name) && !applied.is_empty(), "{}: {applied:?}", rewrite.name);
    }
}

#[test]
fn with_every_rewrite_skipped_the_graph_stays() {
    let graph = model(Architecture::Qwen2, 2);
    let names: Vec<&str> = rewrites().iter().map(|rewrite| rewrite.name).collect();
    let optimized = optimize(graph.clone(), &skipping(&names)).unwrap();
    assert_eq!((&*optimized.graph, optimized.log.len()), (&*graph, 0));
}

#[test]
fn an_unknown_name_is_refused_with_the_known_ones() {
    let error = optimize(model(Architecture::Llama, 1), &skipping(&["fuse_norm", "fuse_nrom"])).unwrap_err();
    assert!(matches!(&error, OptimizeError::UnknownRewrite(name) if name == "fuse_nrom"), "{error:?}");
    assert_eq!(
        error.to_string(),
        "there is no rewrite `fuse_nrom` to skip; there are: fuse_qkv, fuse_gate_up, fuse_norm, fuse_residual, fuse_qkv_rope, fuse_qkv_projection, fuse_norm_residual"
    );
}

#[test]
fn the_log_reads() {
    let log = optimize(model(Architecture::Llama, 1), &Options::default()).unwrap().log;
    let lines: Vec<String> = log.iter().map(Applied::to_string).collect();
    assert_eq!(
        lines,
        [
            "1 fuse_qkv layer 0: attn_q (linear), attn_k (linear), attn_v (linear) → qkv (linear), q (slice), k (slice), v (slice)",
            "2 fuse_gate_up layer 0: ffn_gate (linear), ffn_up (linear), ffn_activation (activation), ffn_product (mul) → gated (linear)",
            "3 fuse_norm layer 0: attn_norm (rms_norm), qkv (linear) → qkv (linear)",
            "4 fuse_norm layer 0: ffn_norm (rms_norm), gated (linear) → gated (linear)",
            "5 fuse_residual layer 0: attn_output (linear), attn_residual (add) → attn_output (linear)",
            "6 fuse_residual layer 0: ffn_down (linear), ffn_residual (add) → ffn_down (linear)",
            "7 fuse_qkv_rope layer 0: q (slice), k (slice), v (slice), q_rope (rope), k_rope (rope), kv_write (kv_write) → q (qkv_rope)",
            "8 fuse_qkv_projection layer 0: qkv (linear), q (qkv_rope) → q (qkv_rope)",
        ]
    );
}

#[test]
fn no_value_is_left_over_and_layers_stay_together() {
    for architecture in [Architecture::Llama, Architecture::Gemma3] {
        let graph = optimize(model(architecture, 4), &Options::default()).unwrap().graph;
        let graph: &Graph = &graph;
        let given: BTreeSet<_> = graph.nodes().iter().flat_map(|node| &node.outputs).collect();
        assert_eq!(given.len(), graph.values().len());
        let mut layers: Vec<_> = graph.nodes().iter().map(|node| node.layer).collect();
        layers.dedup();
        assert_eq!(layers, [None, Some(0), Some(1), Some(2), Some(3), None]);
    }
}
