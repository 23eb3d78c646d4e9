mod joined;

use crate::ir::{Graph, Stage, verify};

const MODEL: &str = include_str!("../../../tests/fixtures/graph/model.graph");
const FUSED: &str = include_str!("../../../tests/fixtures/graph/fused.graph");
const JOINED: &str = include_str!("../../../tests/fixtures/graph/joined.graph");

#[test]
fn the_fixtures_hold_together() {
    for (text, stage) in
        [(MODEL, Stage::Model), (MODEL, Stage::Fused), (FUSED, Stage::Fused), (JOINED, Stage::Fused)]
    {
        verify(text.parse().unwrap(), stage).unwrap();
    }
}

/// Every rule, broken once: what is replaced by what, and the error.
#[test]
fn each_rule_is_checked() {
    const NORM_WEIGHT: &str = "@0.norm: F32 [32]";
    let cases = [
        // Weights.
        (NORM_WEIGHT, "@\"\": F32 [32]\n  @0.norm: F32 [32]", "weight @1 ``: it has no name"),
        (NORM_WEIGHT, "@0.norm: F32 [0]", "weight @1 `0.norm`: its shape [0] holds no element"),
        (NORM_WEIGHT, "@0.norm: F32 []", "weight @1 `0.norm`: its shape [] holds no element"),
        (
            NORM_WEIGHT,
            "@0.norm: F32 [4294967296, 4294967296, 2]",
            "weight @1 `0.norm`: its shape [4294967296, 4294967296, 2] has more elements than can be addressed",
        ),
        (
            "@0.q: Q4_0 [32, 32]",
            "@0.q: Q4_K [32, 32]",
            "weight @2 `0.q`: rows of 32 elements are not whole Q4_K blocks of 256",
        ),
        // Order and layers.
        (
            "= rms_norm %0 weight=@0.norm",
            "= rms_norm %1 weight=@0.norm",
            "#1 layer 0 attn_norm (rms_norm): reads %1 before any node gives it",
        ),
        (
            "layer=1 \"attn_norm\"",
            "layer=2 \"attn_norm\"",
            "#22 layer 1 qkv (linear): belongs to layer 1, but stands after a node of layer 2",
        ),
        (
            "layer=0 \"ffn_norm\"",
            "\"ffn_norm\"",
            "#14 layer 0 gate (linear): belongs to layer 0, but stands after a node behind the last layer",
        ),
        // Inputs, results and shapes.
        ("= add %11, %0", "= add %11", "#12 layer 0 (add): has 1 inputs, it takes 2"),
        (
            "%12: [rows, 32] = add",
            "%12: [rows, 32], %44: [rows, 32] = add",
            "#12 layer 0 (add): has 2 results, it must have 1",
        ),
        (
            "%12: [rows, 32] = add",
            "%12: [rows, 33] = add",
            "#12 layer 0 (add): %12 is declared as [rows, 33], its shape is [rows, 32]",
        ),
        (
            "= add %11, %0",
            "= add %11, %3",
            "#12 layer 0 (add): the second input is [rows, 16], the first is [rows, 32]",
        ),
        (
            "= mul %15, %16",
            "= mul %15, %0",
            "#17 layer 0 (mul): the second input is [rows, 32], the first is [rows, 64]",
        ),
        (
            "= add %11, %0",
            "= add %9, %9",
            "#12 layer 0 (add): the input is [context, 32], it must be [rows, …] or [wanted, …]",
        ),
        (
            "= select_wanted %38",
            "= select_wanted %28",
            "#39 (select_wanted): the input is [context, 32], it must be [rows, …]",
        ),
        (
            "= scale %41 factor=0.5",
            "= scale %41 factor=inf",
            "#42 (scale): factor must be a finite number, it is inf",
        ),
        ("cap=30.0", "cap=0.0", "#43 (softcap): cap must be a positive number, it is 0"),
        // Embedding.
        (
            "embed table=@embed scale=2.0",
            "embed table=@0.norm scale=2.0",
            "#0 embed (embed): table `0.norm` must be a matrix, it is [32]",
        ),
        ("scale=2.0", "scale=NaN", "#0 embed (embed): scale must be a finite number, it is NaN"),
        // Norm.
        (
            "weight=@0.norm eps=1e-5",
            "weight=@0.norm eps=-1.0",
            "#1 layer 0 attn_norm (rms_norm): eps must be 0 or a positive number, it is -1",
        ),
        (
            "weight=@0.norm eps",
            "weight=@0.q eps",
            "#1 layer 0 attn_norm (rms_norm): norm weight `0.q` must have one dimension, it has [32, 32]",
        ),
        (
            NORM_WEIGHT,
            "@0.norm: F32 [24]",
            "#1 layer 0 attn_norm (rms_norm): norm weight `0.norm` has 24 elements, which do not divide 32",
        ),
        (
            NORM_WEIGHT,
            "@0.norm: Q8_0 [32]",
            "#1 layer 0 attn_norm (rms_norm): `0.norm` is Q8_0; only matrices may be quantised",
        ),
        // Projection.
        ("weight=@0.o", "", "#11 layer 0 o (linear): has no part"),
        (
            "weight=@0.o",
            "weight=@0.down",
            "#11 layer 0 o (linear): weight `0.down` takes rows of 64, the input has 32",
        ),
        ("weight=@0.o", "weight=@norm", "#11 layer 0 o (linear): weight `norm` must be a matrix, it is [32]"),
        (
            "bias=@0.q_bias",
            "bias=@0.k_bias",
            "#2 layer 0 q (linear): bias `0.k_bias` must be [32], it is [16]",
        ),
        (
            "@0.q_bias: F32 [32]",
            "@0.q_bias: Q8_0 [32]",
            "#2 layer 0 q (linear): `0.q_bias` is Q8_0; only matrices may be quantised",
        ),
        // Slice.
        (
            "slice %22 start=48 len=16",
            "slice %22 start=49 len=16",
            "#25 layer 1 v (slice): takes 16 columns from 49 on of a value with 64",
        ),
        (
            "slice %22 start=48 len=16",
            "slice %22 start=48 len=0",
            "#25 layer 1 v (slice): takes 0 columns from 48 on of a value with 64",
        ),
        (
            "start=48 len=16",
            "start=18446744073709551615 len=16",
            "#25 layer 1 v (slice): takes 16 columns from 18446744073709551615 on of a value with 64",
        ),
        // Rope.
        (
            "head_dim=8 rotary_dim=8",
            "head_dim=8 rotary_dim=7",
            "#7 layer 0 q_rope (rope): turns 7 of 8 elements; it must be an even number of them",
        ),
        (
            "head_dim=8 rotary_dim=8",
            "head_dim=8 rotary_dim=10",
            "#7 layer 0 q_rope (rope): turns 10 of 8 elements; it must be an even number of them",
        ),
        (
            "head_dim=8 rotary_dim=8",
            "head_dim=8 rotary_dim=0",
            "#7 layer 0 q_rope (rope): turns 0 of 8 elements; it must be an even number of them",
        ),
        (
            "head_dim=8 rotary_dim=8",
            "head_dim=12 rotary_dim=8",
            "#7 layer 0 q_rope (rope): turns heads of 12, but rows have 32 elements",
        ),
        (
            "theta=10000.0",
            "theta=-1.0",
            "#7 layer 0 q_rope (rope): theta must be a positive number, it is -1",
        ),
        (
            "freq_factors=@rope_freqs",
            "freq_factors=@0.k_norm",
            "#7 layer 0 q_rope (rope): freq_factors `0.k_norm` must be [4], it is [8]",
        ),
        (
            "factor=4.0",
            "factor=0.0",
            "#26 layer 1 q_rope (rope): the rope factor must be a positive number, it is 0",
        ),
        (
            "beta_fast=32.0",
            "beta_fast=0.0",
            "#26 layer 1 q_rope (rope): beta_fast must be a positive number, it is 0",
        ),
        (
            "beta_slow=1.0",
            "beta_slow=NaN",
            "#26 layer 1 q_rope (rope): beta_slow must be a positive number, it is NaN",
        ),
        (
            "original_context=16",
            "original_context=0",
            "#26 layer 1 q_rope (rope): the original context of yarn must not be 0",
        ),
        // Caches.
        (
            "kv_write %8, %4 cache=0",
            "kv_write %8, %4 cache=1",
            "#9 layer 0 kv (kv_write): uses the cache of layer 1, which is not its own",
        ),
        ("kv_write %8, %4", "kv_write %8, %9", "#9 layer 0 kv (kv_write): reads %9 before any node gives it"),
        (
            "= kv_write %27, %25",
            "= kv_write %27, %9",
            "#28 layer 1 kv (kv_write): the value is [context, 32], it must be [rows, …]",
        ),
        (
            "attention %26, %28 cache=1",
            "attention %26, %28 cache=0",
            "#29 layer 1 attention (attention): uses the cache of layer 0, which is not its own",
        ),
        (
            "attention %26, %28 cache=1",
            "attention %26, %9 cache=1",
            "#29 layer 1 attention (attention): reads %9, but the cache of layer 1 is %28",
        ),
        (
            "  %29: [rows, 32]",
            "  %44: [context, 32] = kv_write %27, %25 cache=1 layer=1\n  %29: [rows, 32]",
            "#29 layer 1 (kv_write): writes the cache of layer 1 a second time",
        ),
        // Attention.
        (
            "attention %7, %9",
            "attention %9, %9",
            "#10 layer 0 attention (attention): the query is [context, 32], it must be [rows, …]",
        ),
        (
            "attention %7, %9",
            "attention %7, %7",
            "#10 layer 0 attention (attention): the cache is [rows, 32], 2 heads need [context, 32]",
        ),
        (
            "heads=4 kv_heads=2 head_dim=8 scale=0.35355338",
            "heads=3 kv_heads=2 head_dim=8 scale=0.35355338",
            "#10 layer 0 attention (attention): 3 heads are no multiple of 2 kv_heads",
        ),
        (
            "heads=4 kv_heads=2 head_dim=8 scale=0.35355338",
            "heads=4 kv_heads=0 head_dim=8 scale=0.35355338",
            "#10 layer 0 attention (attention): 4 heads, 0 kv_heads of 8 elements: none may be 0",
        ),
        (
            "heads=4 kv_heads=2 head_dim=8 scale=0.35355338",
            "heads=2 kv_heads=2 head_dim=8 scale=0.35355338",
            "#10 layer 0 attention (attention): 2 heads of 8 are 16 wide, the query is 32",
        ),
        (
            "heads=4 kv_heads=2 head_dim=8 scale=0.35355338",
            "heads=4 kv_heads=1 head_dim=8 scale=0.35355338",
            "#10 layer 0 attention (attention): the cache is [context, 32], 1 heads need [context, 16]",
        ),
        (
            "heads=4 kv_heads=2 head_dim=8 scale=0.35355338",
            "heads=18446744073709551614 kv_heads=2 head_dim=8 scale=0.35355338",
            "#10 layer 0 attention (attention): the heads are too wide",
        ),
        (
            "scale=0.35355338",
            "scale=NaN",
            "#10 layer 0 attention (attention): scale must be a finite number, it is NaN",
        ),
        (
            "softcap=5.0",
            "softcap=-5.0",
            "#10 layer 0 attention (attention): softcap must be a positive number, it is -5",
        ),
        (
            "window=3",
            "window=0",
            "#10 layer 0 attention (attention): a window of 0 leaves nothing to attend to",
        ),
        (
            "sinks=@0.sinks",
            "sinks=@0.k_norm",
            "#10 layer 0 attention (attention): sinks `0.k_norm` must be [4], it is [8]",
        ),
        // Results of the graph.
        ("logits %43\n", "", "graph outputs: there are no logits"),
        ("logits %43", "logits %43\n  logits %42", "graph outputs: Logits is given twice"),
        (
            "logits %43",
            "logits %38",
            "graph outputs: Logits is %38, of shape [rows, 32]; outputs are [wanted, …]",
        ),
        (
            "outputs\n  logits %43",
            "  %44: [wanted, 48]\noutputs\n  logits %44",
            "graph outputs: no node gives %44, the Logits output",
        ),
        (
            "\noutputs",
            "  %44: [wanted, 48] = scale %43 factor=2.0\noutputs",
            "#44 (scale): nothing reads its result",
        ),
    ];
    check(MODEL, Stage::Model, &cases);
}

#[test]
fn each_rule_of_fused_nodes_is_checked() {
    let cases = [
        (
            "rms_norm %7, %5",
            "rms_norm %7, %6",
            "#7 layer 0 post_norm (rms_norm): the residual is [rows, 64], the input is [rows, 32]",
        ),
        (
            "linear %4, %0 weight=@0.o residual",
            "linear %4, %1 weight=@0.o residual",
            "#4 layer 0 o (linear): the residual is [rows, 64], the result is [rows, 32]",
        ),
        (
            "linear %4, %0 weight=@0.o residual",
            "linear %4 weight=@0.o residual",
            "#4 layer 0 o (linear): has 1 inputs, it takes 2",
        ),
        (
            "linear %4, %0 weight=@0.o residual",
            "linear %4, %0 weight=@0.o",
            "#4 layer 0 o (linear): has 2 inputs, it takes 1",
        ),
        (
            "weight=@0.gate weight=@0.up",
            "weight=@0.gate weight=@0.k",
            "#5 layer 0 gate_up (linear): a gate needs two parts of the same size, there are parts of [64, 16]",
        ),
        (
            "weight=@0.gate weight=@0.up",
            "weight=@0.gate weight=@0.up weight=@0.up",
            "#5 layer 0 gate_up (linear): a gate needs two parts of the same size, there are parts of [64, 64, 64]",
        ),
        (
            "norm=@0.ffn_norm eps=1e-5",
            "norm=@0.q eps=1e-5",
            "#5 layer 0 gate_up (linear): norm weight `0.q` must have one dimension, it has [32, 32]",
        ),
        (
            "q_norm=@0.q_norm",
            "q_norm=@0.norm",
            "#2 layer 0 (qkv_rope): norm weight `0.norm` has 32 elements, which do not divide 8",
        ),
        (
            "heads=4 kv_heads=2 q_norm",
            "heads=2 kv_heads=2 q_norm",
            "#2 layer 0 (qkv_rope): 2 + 2 · 2 heads of 8 are not 64 wide",
        ),
        (
            "qkv_rope %1 cache=0",
            "qkv_rope %1 cache=1",
            "#2 layer 0 (qkv_rope): uses the cache of layer 1, which is not its own",
        ),
        (
            "attention %2, %3 cache=0",
            "attention %2, %2 cache=0",
            "#3 layer 0 attention (attention): the cache is [rows, 32], 2 heads need [context, 32]",
        ),
    ];
    check(FUSED, Stage::Fused, &cases);
}

#[test]
fn a_model_graph_holds_nothing_fused() {
    let joint = "linear %0 weight=@0.q bias=@0.q_bias weight=@0.k bias=@0.k_bias weight=@0.v bias=@0.v_bias norm=@0.norm eps=1e-5";
    let plain = "linear %0 weight=@1.qkv";
    let model = FUSED.replace(joint, plain);
    check(
        FUSED,
        Stage::Model,
        &[("", "", "#1 layer 0 qkv (linear): a norm in a projection is for fused graphs, not for a model's")],
    );
    let cases = [
        (
            "",
            "",
            "#2 layer 0 (qkv_rope): a fused rope and cache write is for fused graphs, not for a model's",
        ),
        (
            plain,
            "linear %0 weight=@0.q weight=@0.q",
            "#1 layer 0 qkv (linear): a projection of several parts is for fused graphs, not for a model's",
        ),
        (
            plain,
            "linear %0 weight=@1.qkv gate=silu",
            "#1 layer 0 qkv (linear): a gate in a projection is for fused graphs, not for a model's",
        ),
        (
            plain,
            "linear %0, %0 weight=@1.qkv residual",
            "#1 layer 0 qkv (linear): a residual in a projection is for fused graphs, not for a model's",
        ),
        (
            "%1: [rows, 64] = linear %0 weight=@1.qkv",
            "%1: [rows, 64], %22: [rows, 32] = linear %0, %0 weight=@1.qkv add=@0.norm add_eps=0.0 norm=@0.norm eps=0.0",
            "#1 layer 0 qkv (linear): a sum in a projection is for fused graphs, not for a model's",
        ),
        (
            plain,
            "rms_norm %0, %0 weight=@0.norm eps=0.0 residual",
            "#1 layer 0 qkv (rms_norm): a residual in a norm is for fused graphs, not for a model's",
        ),
    ];
    check(&model, Stage::Model, &cases);
}

fn check(text: &str, stage: Stage, cases: &[(&str, &str, &str)]) {
    let mut wrong = Vec::new();
    for (from, to, expected) in cases {
        assert!(text.contains(from), "{from}");
        let graph: Graph = text.replacen(from, to, 1).parse().unwrap_or_else(|error| panic!("{to}: {error}"));
        let found = match verify(graph, stage) {
            Ok(_) => "no error".to_owned(),
            Err(error) => error.to_string(),
        };
        if found != *expected {
            wrong.push(format!("{from:?} -> {to:?}\n  gives {found}\n  not   {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
