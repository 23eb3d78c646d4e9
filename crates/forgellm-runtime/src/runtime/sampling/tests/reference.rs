//! The pipeline again: slow, obvious, in f64, over the whole vocabulary at each stage.

use super::*;

/// What the stages before the draw leave: tokens with their probabilities, in the order of ids.
///
/// `None` if that hangs on less than rounding of f32 can move, so that either result is right, or on tokens too unlikely for an f64.
pub(super) fn kept(
    params: &SamplingParams,
    bias: &[(u32, f32)],
    logits: &[f32],
    [prompt, answer]: [&[u32]; 2],
) -> Option<Vec<(u32, f64)>> {
    let mut logits: Vec<f64> = logits.iter().copied().map(f64::from).collect();
    let bias_of =
        |token: usize| bias.iter().find(|(id, _)| *id as usize == token).map_or(0.0, |(_, bias)| *bias);
    let is_forced = (0..logits.len()).any(|token| bias_of(token) == 100.0 && logits[token].is_finite());
    let both = [prompt, answer].concat();
    let recent = &both[both.len().saturating_sub(params.repetition_window)..];
    for (token, logit) in logits.iter_mut().enumerate() {
        let bias = bias_of(token);
        if bias == -100.0 || (is_forced && bias != 100.0) {
            *logit = f64::NEG_INFINITY;
        }
        *logit += f64::from(bias);
        let count = |text: &[u32]| text.iter().filter(|id| **id as usize == token).count() as f64;
        if count(recent) > 0.0 {
            let penalty = f64::from(params.repetition_penalty);
            *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
        }
        *logit -= f64::from(params.frequency_penalty) * count(answer);
        *logit -= f64::from(params.presence_penalty) * count(answer).min(1.0);
    }
    let best = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut kept: Vec<(u32, f64)> = (0..)
        .zip(&logits)
        .filter(|(_, logit)| logit.is_finite())
        .map(|(token, logit)| (token, ((logit - best) / f64::from(params.temperature)).exp()))
        .collect();
    if kept.iter().any(|(_, p)| *p == 0.0) {
        return None;
    }
    let by_likelihood = |a: &(u32, f64), b: &(u32, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));

    kept.sort_by(by_likelihood);
    if params.top_k > 0 {
        kept = cut(kept, params.top_k, |pair| pair[0].1 / pair[1].1)?;
    }
    normalize(&mut kept);
    if params.top_p < 1.0 {
        let count = reach(&kept, params.top_p)?;
        kept = cut(kept, count, |pair| pair[0].1 / pair[1].1)?;
    }
    normalize(&mut kept);
    let least = kept.first().map_or(0.0, |best| best.1 * f64::from(params.min_p));
    if kept.iter().any(|(_, p)| (p / least - 1.0).abs() < 1e-5) {
        return None;
    }
    kept.retain(|(_, p)| *p >= least);
    normalize(&mut kept);
    if params.typical_p < 1.0 {
        let entropy: f64 = kept.iter().map(|(_, p)| -p * p.ln()).sum();
        let distance = |p: f64| (-p.ln() - entropy).abs();
        kept.sort_by(|a, b| distance(a.1).total_cmp(&distance(b.1)).then(by_likelihood(a, b)));
        let are_near = |pair: &[(u32, f64)]| {
            pair[0].1 != pair[1].1 && (distance(pair[0].1) - distance(pair[1].1)).abs() < 1e-4
        };
        if kept.windows(2).any(are_near) {
            return None;
        }
        let count = reach(&kept, params.typical_p)?;
        kept.truncate(count);
    }
    normalize(&mut kept);
    kept.sort_by_key(|(token, _)| *token);
    Some(kept)
}

fn normalize(kept: &mut [(u32, f64)]) {
    let sum: f64 = kept.iter().map(|(_, p)| p).sum();
    kept.iter_mut().for_each(|(_, p)| *p /= sum);
}

/// The first `count`; none if the next one is nearly, but not exactly, as likely.
fn cut(
    mut kept: Vec<(u32, f64)>,
    count: usize,
    ratio: impl Fn(&[(u32, f64)]) -> f64,
) -> Option<Vec<(u32, f64)>> {
    if let Some(pair) = kept.get(count.wrapping_sub(1)..=count) {
        let ratio = ratio(pair);
        if ratio != 1.0 && ratio < 1.0 + 1e-5 {
            return None;
        }
    }
    kept.truncate(count);
    Some(kept)
}

/// How many reach `p`; none if it is a matter of rounding.
fn reach(kept: &[(u32, f64)], p: f32) -> Option<usize> {
    let mut sum = 0.0;
    for (index, (_, probability)) in kept.iter().enumerate() {
        sum += probability;
        if (sum - f64::from(p)).abs() < 1e-5 {
            return None;
        }
        if sum > f64::from(p) {
            return Some(index + 1);
        }
    }
    Some(kept.len())
}
