//! Real models through the emitted Metal kernels and the emitted host code, on the simulated GPU, against an independent implementation
//! (`tests/golden/make_golden.py`).

use std::fs;

use serde_json::Value;

use crate::golden::{Golden, SURE_MARGIN, ids};

/// Steps of a greedy answer that the larger models run: a simulated GPU is slow.
const FEW_STEPS: usize = 16;

#[test]
fn golden_metal_smollm2() {
    let model = Golden::new("smollm2.gguf", "smollm2-135m.json");
    check_perplexity(&model);
    check_logits(&model);
    for case in model.data["greedy"].as_array().unwrap() {
        check_greedy(&model, case, usize::MAX);
    }
}

#[test]
fn golden_metal_gemma3() {
    let model = Golden::new("gemma3.gguf", "gemma3-270m.json");
    check_logits(&model);
    check_greedy(&model, &model.data["greedy"][0], FEW_STEPS);
}

#[test]
fn golden_metal_qwen2() {
    let model = Golden::new("qwen.gguf", "qwen2.5-coder-0.5b.json");
    check_logits(&model);
    check_greedy(&model, &model.data["greedy"][0], FEW_STEPS);
}

fn check_perplexity(model: &Golden) {
    let golden = &model.data["perplexity"][0];
    let text = model.place.path("text");
    fs::write(&text, golden["text"].as_str().unwrap()).unwrap();
    let text = text.to_str().unwrap();
    let score =
        model.json(&["eval", "perplexity", &model.model, "--text", text, "--target", "metal-sim", "--json"]);
    assert_eq!(score["tokens"], golden["tokens_scored"]);
    let ratio = score["perplexity"].as_f64().unwrap() / golden["perplexity"].as_f64().unwrap();
    println!("perplexity {} of golden {}: {ratio:.5}", score["perplexity"], golden["perplexity"]);
    assert!((ratio - 1.0).abs() <= 0.005, "{score} instead of {}", golden["perplexity"]);
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
            "metal-sim",
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

fn check_greedy(model: &Golden, case: &Value, steps: usize) {
    let expected = case["continuation"].as_array().unwrap();
    let expected = &expected[..steps.min(expected.len())];
    let count = expected.len().to_string();
    let prompt = ids(&case["ids"]);
    let program = ["generate-ids", "--ids", &prompt, "--max-tokens", &count];
    let run = model.json(&[&["run", "--target", "metal-sim", &model.model, "--json"], &program[..]].concat());
    let margins = case["margins"].as_array().unwrap();
    let unsure = margins.iter().position(|margin| margin.as_f64().unwrap() < SURE_MARGIN);
    let sure = unsure.unwrap_or(expected.len()).min(expected.len());
    println!("{}: {sure} of {} steps are sure", case["text"], expected.len());
    let found = run["sequences"][0].as_array().unwrap();
    assert_eq!(found[..sure], expected[..sure], "{}", case["text"]);
}
