//! Tests of sampling: single stages, the pipeline on distributions with known answers, and against a slow and obvious one.

mod logprobs;
mod pipeline;
mod properties;
mod reference;
mod speed;
mod stages;

use super::stages::Candidate;
use super::*;

const SAMPLED: SamplingParams = SamplingParams { temperature: 1.0, seed: Some(7), ..SamplingParams::GREEDY };

/// Logits of these probabilities, shifted, since a shift of all logits must not matter.
fn logits(probabilities: &[f32]) -> Vec<f32> {
    probabilities.iter().map(|p| p.ln() + 3.5).collect()
}

/// Candidates behind the temperature, with the tokens 0, 1, … and these probabilities, best first.
fn candidates(probabilities: &[f32]) -> Vec<Candidate> {
    let best = probabilities.iter().copied().fold(0.0, f32::max);
    let all = (0..).zip(probabilities).map(|(token, p)| Candidate { token, logit: (p / best).ln() });
    let mut all: Vec<Candidate> = all.collect();
    all.sort_by(|a, b| b.logit.total_cmp(&a.logit).then(a.token.cmp(&b.token)));
    all
}

fn tokens(candidates: &[Candidate]) -> Vec<u32> {
    let mut tokens: Vec<u32> = candidates.iter().map(|candidate| candidate.token).collect();
    tokens.sort_unstable();
    tokens
}
