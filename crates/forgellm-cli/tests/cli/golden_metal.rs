//! Real models through the emitted Metal kernels and the emitted host code, on the simulated GPU, against an independent implementation
//! (`tests/golden/make_golden.py`).

use serde_json::Value;

use crate::forge::outcome;
use crate::golden::{Golden, ids};

/// What the models are compiled for.
const TARGET: &str = "metal-sim";

/// Steps of a greedy answer that the larger models run: a simulated GPU is slow.
const FEW_STEPS: usize = 16;

#[test]
fn golden_metal_smollm2() {
    let model = Golden::new("smollm2.gguf", "smollm2-135m.json");
    model.check_perplexity(TARGET);
    check_logits(&model);
    for case in model.data["greedy"].as_array().unwrap() {
        model.check_greedy(TARGET, case, usize::MAX);
    }
}

#[test]
fn golden_metal_gemma3() {
    let model = Golden::new("gemma3.gguf", "gemma3-270m.json");
    check_logits(&model);
    model.check_greedy(TARGET, &model.data["greedy"][0], FEW_STEPS);
}

#[test]
fn golden_metal_qwen2() {
    let model = Golden::new("qwen.gguf", "qwen2.5-coder-0.5b.json");
    check_logits(&model);
    model.check_greedy(TARGET, &model.data["greedy"][0], FEW_STEPS);
}

/// Prompts of a few tokens to a few tens: both the kernels of few rows and those of many.
fn check_logits(model: &Golden) {
    let vocab = "1000000";
    for case in model.data["logits"].as_array().unwrap() {
        let prompt = ids(&case["ids"]);
        let found = model.json(&[
            "eval",
            "logits",
            &model.model,
            "--ids",
            &prompt,
            "--top",
            vocab,
            "--target",
            TARGET,
            "--json",
        ]);
        for expected in case["positions"].as_array().unwrap() {
            let position = expected["position"].as_u64().unwrap() as usize;
            let error = nmse(&found["positions"][position], expected);
            let logsumexp = |of: &Value| of["logsumexp"].as_f64().unwrap();
            let off = (logsumexp(&found["positions"][position]) - logsumexp(expected)).abs();
            println!("{} at {position}: NMSE {error:.1e}, logsumexp off by {off:.1e}", case["text"]);
            assert!(error <= 1e-3, "{} at {position}: NMSE {error:.1e}", case["text"]);
        }
    }
}

/// A cache of 8 bits is near the golden logits, and not what the other cache gives. Threads mean nothing to a GPU.
#[test]
fn golden_metal_options() {
    let model = Golden::new("smollm2.gguf", "smollm2-135m.json");
    let case = &model.data["logits"][0];
    let prompt = ids(&case["ids"]);
    let logits = |more: &[&str]| {
        let all = [
            "eval",
            "logits",
            &model.model,
            "--ids",
            &prompt,
            "--top",
            "1000000",
            "--target",
            TARGET,
            "--json",
        ];
        model.json(&[&all, more].concat())
    };
    let (half, small) = (logits(&["--kv-cache", "f16"]), logits(&["--kv-cache", "q8_0"]));
    let expected = case["positions"].as_array().unwrap().last().unwrap();
    let position = expected["position"].as_u64().unwrap() as usize;
    let error = |found: &Value| nmse(&found["positions"][position], expected);
    println!("cache of 8 bits, at {position}: NMSE {:.1e}, of 16: {:.1e}", error(&small), error(&half));
    assert!(error(&half) < error(&small) && error(&small) < 1e-3);
    let threads = ["eval", "logits", &model.model, "--ids", "1", "--target", TARGET, "--threads", "2"];
    outcome(&mut model.place.building(&threads)).failed(2, &["--threads", "on the GPU"]);
}

/// Over the golden logits of a position.
fn nmse(found: &Value, expected: &Value) -> f64 {
    let mut logits = vec![f64::NAN; found["ids"].as_array().unwrap().len()];
    for (id, logit) in found["ids"].as_array().unwrap().iter().zip(found["logits"].as_array().unwrap()) {
        logits[id.as_u64().unwrap() as usize] = logit.as_f64().unwrap();
    }
    let (mut error, mut power) = (0.0, 0.0);
    for (id, logit) in expected["ids"].as_array().unwrap().iter().zip(expected["logits"].as_array().unwrap())
    {
        let logit = logit.as_f64().unwrap();
        error += (logits[id.as_u64().unwrap() as usize] - logit).powi(2);
        power += logit * logit;
    }
    error / power
}
