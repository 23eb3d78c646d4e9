use std::hint::black_box;
use std::time::Instant;

use super::*;

/// Logits of about the shape that language models give: normal, with a few likely tokens.
fn logits(vocab: usize) -> Vec<f32> {
    let mut state = 1u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let mut logits: Vec<f32> =
        (0..vocab).map(|_| ((0..12).map(|_| uniform()).sum::<f32>() - 6.0) * 2.5).collect();
    for rank in 0..200 {
        logits[(rank * 7919) % vocab] = 18.0 - 2.0 * (1.0 + rank as f32).ln();
    }
    logits
}

/// Prints what a token costs: `cargo test --release -p forgellm-runtime sampling::tests::speed -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, to be run by hand in a release build"]
fn nanoseconds_a_token() {
    let all = SamplingParams { top_k: 40, top_p: 0.95, min_p: 0.05, typical_p: 0.9, ..SAMPLED };
    let penalties =
        SamplingParams { repetition_penalty: 1.1, frequency_penalty: 0.5, ..SamplingParams::GREEDY };
    let cases = [
        ("plain", SAMPLED, false),
        ("top_k 40, top_p 0.95", SamplingParams { top_k: 40, top_p: 0.95, ..SAMPLED }, false),
        ("top_p 0.95", SamplingParams { top_p: 0.95, ..SAMPLED }, false),
        ("top_p 0.95, temperature 3", SamplingParams { top_p: 0.95, temperature: 3.0, ..SAMPLED }, false),
        ("min_p 0.05", SamplingParams { min_p: 0.05, ..SAMPLED }, false),
        ("typical_p 0.9", SamplingParams { typical_p: 0.9, ..SAMPLED }, false),
        ("all truncations", all, false),
        ("greedy with penalties", penalties, false),
        ("top_k 40, 20 logprobs", SamplingParams { top_k: 40, ..SAMPLED }, true),
    ];
    let answer: Vec<u32> = (0..1000).map(|i| i * 37 % 400).collect();
    for vocab in [49_152, 151_936, 262_144] {
        let logits = logits(vocab);
        for (name, params, with_logprobs) in cases {
            let mut sampler = Sampler::new(params).unwrap();
            let mut times = Vec::new();
            for _ in 0..60 {
                let start = Instant::now();
                let logits = black_box(&logits);
                if with_logprobs {
                    black_box(sampler.sample_with_logprobs(logits, &[], &answer, 20).unwrap());
                } else {
                    black_box(sampler.sample(logits, &[], &answer).unwrap());
                }
                times.push(start.elapsed().as_nanos());
            }
            times.sort_unstable();
            println!("vocabulary {vocab:>7}, {name:<26} {:>8} ns", times[times.len() / 2]);
        }
    }
}
