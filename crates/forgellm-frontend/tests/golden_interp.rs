//! The interpreter on real models against an independent implementation (`tests/golden/make_golden.py`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use forgellm_frontend::arch;
use forgellm_frontend::checkpoint::gguf::GgufFile;
use forgellm_frontend::interp::{Interpreter, Row, log_sum_exp};
use forgellm_frontend::ir::{Graph, Verified};
use serde_json::Value;

#[test]
fn smollm2_equals_golden() {
    check("smollm2.gguf", "smollm2-135m.json");
}

#[test]
fn gemma3_equals_golden() {
    check("gemma3.gguf", "gemma3-270m.json");
}

#[test]
fn qwen2_equals_golden() {
    check("qwen.gguf", "qwen2.5-coder-0.5b.json");
}

fn check(model: &str, golden: &str) {
    let file = open(model);
    let graph = arch::import(&file).unwrap();
    let golden = read_golden(golden);
    for case in golden["logits"].as_array().unwrap() {
        check_logits(&graph, &file, case);
    }
    for case in golden["perplexity"].as_array().unwrap() {
        check_perplexity(&graph, &file, case);
    }
}

fn check_logits(graph: &Verified<Graph>, file: &GgufFile, case: &Value) {
    let ids = ids(&case["ids"]);
    let expected: BTreeMap<usize, &Value> = case["positions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| (p["position"].as_u64().unwrap() as usize, p))
        .collect();
    let mut interpreter = Interpreter::new(graph, file).unwrap();
    let outputs = interpreter.step(&rows(&ids, 0, |position| expected.contains_key(&position))).unwrap();
    let (mut error, mut power) = (0.0, 0.0);
    for ((position, expected), output) in expected.iter().zip(&outputs) {
        for (id, logit) in self::ids(&expected["ids"]).iter().zip(expected["logits"].as_array().unwrap()) {
            let logit = logit.as_f64().unwrap();
            error += (f64::from(output.logits[*id as usize]) - logit).powi(2);
            power += logit * logit;
        }
        let difference = (log_sum_exp(&output.logits) - expected["logsumexp"].as_f64().unwrap()).abs();
        assert!(difference <= 2e-3, "position {position}: logsumexp is off by {difference}");
    }
    println!("normalised mean square error of {} logits: {:.2e}", outputs.len() * 32, error / power);
    assert!(error / power <= 1e-6, "normalised mean square error {:.2e}", error / power);
}

fn check_perplexity(graph: &Verified<Graph>, file: &GgufFile, case: &Value) {
    let ids = ids(&case["ids"]);
    let mut interpreter = Interpreter::new(graph, file).unwrap();
    let mut nll = 0.0;
    // In pieces, so that the logits of a large vocabulary fit in memory.
    for start in (0..ids.len()).step_by(64) {
        let piece = &ids[start..ids.len().min(start + 64)];
        let outputs = interpreter.step(&rows(piece, start, |position| position + 1 < ids.len())).unwrap();
        for (position, output) in outputs.iter().enumerate() {
            nll += log_sum_exp(&output.logits) - f64::from(output.logits[ids[start + position + 1] as usize]);
        }
    }
    let perplexity = (nll / (ids.len() - 1) as f64).exp();
    let expected = case["perplexity"].as_f64().unwrap();
    println!("perplexity {perplexity:.5}, golden {expected}");
    assert!((perplexity / expected - 1.0).abs() <= 1e-3, "perplexity {perplexity}, golden {expected}");
}

fn rows(ids: &[u32], start: usize, want: impl Fn(usize) -> bool) -> Vec<Row> {
    let row = |(index, token): (usize, &u32)| {
        let position = start + index;
        Row { token: *token, position, sequence: 0, want: want(position) }
    };
    ids.iter().enumerate().map(row).collect()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn open(model: &str) -> GgufFile {
    let folder =
        std::env::var_os("FORGELLM_MODELS").map_or_else(|| workspace().join("models"), PathBuf::from);
    let path = folder.join(model);
    assert!(path.exists(), "{} is missing: run `cargo xtask models`", path.display());
    GgufFile::open(&path).unwrap()
}

fn read_golden(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(workspace().join("tests/golden").join(name)).unwrap()).unwrap()
}
