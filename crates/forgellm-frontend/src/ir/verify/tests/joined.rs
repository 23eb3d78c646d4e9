//! Sums in projections, and projections to queries, keys and values.

use super::{JOINED, check};
use crate::ir::Stage;

#[test]
fn each_rule_of_joined_projections_is_checked() {
    let cases = [
        // Sums.
        (
            "linear %4, %0 weight=@0.gate",
            "linear %4 weight=@0.gate",
            "#4 layer 0 gate_up (linear): has 1 inputs, it takes 2",
        ),
        (
            "linear %4, %0 weight=@0.gate",
            "linear %4, %0, %0 weight=@0.gate",
            "#4 layer 0 gate_up (linear): has 3 inputs, it takes 2",
        ),
        (
            "%5: [rows, 64], %6: [rows, 32] = linear",
            "%6: [rows, 32]\n  %5: [rows, 64] = linear",
            "#4 layer 0 gate_up (linear): has 1 results, it must have 2",
        ),
        (
            "%5: [rows, 64], %6: [rows, 32]",
            "%5: [rows, 64], %6: [rows, 31]",
            "#4 layer 0 gate_up (linear): %6 is declared as [rows, 31], its shape is [rows, 32]",
        ),
        (
            "linear %11, %10, %0",
            "linear %11, %5, %0",
            "#8 layer 1 o (linear): what is added is [rows, 64], the input is [rows, 32]",
        ),
        (
            "linear %11, %10, %0",
            "linear %11, %10, %5",
            "#8 layer 1 o (linear): the residual is [rows, 64], the result is [rows, 32]",
        ),
        (
            "linear %11, %10, %0",
            "linear %2, %10, %0",
            "#8 layer 1 o (linear): the input is [context, 32], it must be [rows, …] or [wanted, …]",
        ),
        (
            "norm=@1.ffn_norm eps=1e-5 residual",
            "residual",
            "#8 layer 1 o (linear): projects a sum without a norm of it",
        ),
        (
            "add=@1.post_norm",
            "add=@1.half",
            "#8 layer 1 o (linear): norm weight `1.half` has [16] elements, the rows of the sum have 32",
        ),
        (
            "add=@1.post_norm",
            "add=@1.o",
            "#8 layer 1 o (linear): norm weight `1.o` must have one dimension, it has [32, 32]",
        ),
        (
            "add_eps=0.0",
            "add_eps=-1.0",
            "#8 layer 1 o (linear): eps must be 0 or a positive number, it is -1",
        ),
        // Projections to queries, keys and values.
        (
            "weight=@0.v norm=@0.norm eps=1e-5",
            "weight=@0.v norm=@0.norm eps=1e-5 gate=silu",
            "#1 layer 0 q (qkv_rope): a projection to queries, keys and values has no gate and no residual",
        ),
        (
            "weight=@0.v norm=@0.norm eps=1e-5",
            "weight=@0.v norm=@0.norm eps=1e-5 residual",
            "#1 layer 0 q (qkv_rope): a projection to queries, keys and values has no gate and no residual",
        ),
        (
            "weight=@0.k weight=@0.v",
            "weight=@0.q",
            "#1 layer 0 q (qkv_rope): the parts must be queries, keys and values of 32, 16 and 16, there are parts of [32, 32]",
        ),
        (
            "weight=@0.k weight=@0.v",
            "weight=@0.down weight=@0.v",
            "#1 layer 0 q (qkv_rope): weight `0.down` takes rows of 64, the input has 32",
        ),
        ("qkv_rope %0 weight", "qkv_rope %0, %0 weight", "#1 layer 0 q (qkv_rope): has 2 inputs, it takes 1"),
        (
            "%9: [context, 32], %10: [rows, 32]",
            "%10: [context, 32], %9: [rows, 32]",
            "#7 layer 1 attention (attention): the cache is [rows, 32], 2 heads need [context, 32]",
        ),
        (
            "attention %8, %9",
            "attention %8, %2",
            "#7 layer 1 attention (attention): reads %2, but the cache of layer 1 is %9",
        ),
    ];
    check(JOINED, Stage::Fused, &cases);
}
