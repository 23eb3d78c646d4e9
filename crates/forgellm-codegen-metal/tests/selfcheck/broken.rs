//! Wrong kernels, one text at a time.

use std::collections::BTreeSet;

use forgellm_runtime::runtime::engine::{Engine, EngineError};

use crate::model::{engine, source};
use crate::right::{check, options};

/// The kernels' text with one thing in it replaced, wherever it stands.
fn with(right: &str, wrong: &str) -> String {
    let text = source();
    assert!(text.contains(right), "`{right}` is not in the kernels");
    text.replace(right, wrong)
}

/// Checks that exactly the kernels whose names begin like this fail.
#[track_caller]
fn fails(right: &str, wrong: &str, kernels: &[&str]) {
    let entries = check(&mut engine(&with(right, wrong), &options()));
    let fits = |name: &str| kernels.iter().any(|kernel| name.starts_with(kernel));
    let named: BTreeSet<&str> =
        entries.iter().map(|entry| entry.name.as_str()).filter(|name| fits(name)).collect();
    let failed = entries.iter().filter(|entry| entry.failure.is_some());
    let failed: BTreeSet<&str> = failed.map(|entry| entry.name.as_str()).collect();
    assert!(!named.is_empty(), "{kernels:?}");
    assert_eq!(failed, named, "`{wrong}` instead of `{right}`");
}

#[test]
fn a_wrong_projection() {
    fails("float result = factor * sums.of[r][m]", "float result = -factor * sums.of[r][m]", &["mat_vec_"]);
    fails("k < TILE_INPUTS / 8; k++", "k < TILE_INPUTS / 8 - 1; k++", &["gemm_"]);
    // The last row is not written.
    fails("first_row + row >= rows ||", "first_row + row + 1 >= rows ||", &["gemm_"]);
    fails(
        "inputs.sum + row + input) = values",
        "inputs.sum + row + input) = 1.001f * values",
        &["mat_vec_q4_0", "qkv_q8_0"],
    );
}

/// One format, wherever it is read.
#[test]
fn a_wrong_format() {
    fails("-32.0f * part.scale[span]", "-31.0f * part.scale[span]", &["embed_", "mat_vec_q6_k", "gemm_q6_k"]);
}

#[test]
fn a_wrong_attention() {
    fails(" * SCALE;", " * (1.02f * SCALE);", &["attention_1x", "attention_2x", "attention_4x"]);
    fails(
        "query_position + 1 - WINDOW",
        "query_position + 2 - WINDOW",
        &["attention_1x", "attention_2x", "attention_4x"],
    );
    fails("= sums[c] / weight_sum", "= sums[c] / (1.0001f * weight_sum)", &["attention_combine"]);
}

#[test]
fn a_wrong_way_to_attention() {
    fails("x.x * c - x.y * s", "x.x * c + x.y * s", &["rope", "qkv_"]);
    fails("half4(to_cache(x.x), to_cache(x.y)", "half4(to_cache(x.y), to_cache(x.x)", &["kv_write"]);
    fails("to[elements.x] = to_cache(value.x)", "to[elements.x] = to_cache(1.01f * value.x)", &["qkv_q8_0"]);
}

#[test]
fn a_wrong_norm_or_embedding() {
    fails("vectors[i] * factor * weights[i]", "vectors[i] * weights[i]", &["rms_norm"]);
    fails("EMBED_SCALE * values[q];", "values[q];", &["embed_"]);
}

#[test]
fn a_wrong_small_operation() {
    fails("precise::tanh(a / cap)", "a / cap", &["element_softcap"]);
    fails(
        "x += (ulong)wanted[position.y] * ROW_WIDTH",
        "x += (ulong)position.y * ROW_WIDTH",
        &["select_wanted"],
    );
    fails("first + i, nan)", "first + i + 1, nan)", &["top_lists_"]);
    fails("logit_of(merged.entries[r])", "-logit_of(merged.entries[r])", &["top_merge_"]);
}

/// What comes after it cannot be told to be right; the first in the report is the one.
#[test]
fn a_result_that_is_not_a_number() {
    let entries = check(&mut engine(&with("return factor * a;", "return factor * a * NAN;"), &options()));
    let failed: Vec<_> = entries.iter().filter(|entry| entry.failure.is_some()).collect();
    assert_eq!(failed[0].name, "element_scale");
    assert_eq!(failed[0].error, f64::INFINITY);
    assert!(failed[1].failure.as_ref().unwrap().contains("inputs are not finite"), "{:?}", failed[1]);
    assert!(entries.iter().any(|entry| entry.failure.is_none()));
}

#[test]
fn a_kernel_that_is_not_there() {
    let mut engine = engine(&with("host_name(\"top_merge_8\")", "host_name(\"another\")"), &options());
    match engine.self_check(&mut |_, _| true) {
        Err(EngineError::DeviceLost(reason)) => assert!(reason.contains("top_merge_8"), "{reason}"),
        other => panic!("{other:?}"),
    }
}
