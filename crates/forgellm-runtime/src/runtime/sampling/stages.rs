//! The truncations and the draw, each over what the stage before left.

use std::cmp::Ordering;

use super::mass::{BLOCK, Scale, exp};

/// Logits that are looked at together while the most likely ones are searched.
const LANES: usize = 16;
/// Tokens that top-p and typical sampling sort at first, since those suffice for most distributions.
const HEAD: usize = 64;

/// A token that may come next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Its id.
    pub token: u32,
    /// Its logit. Behind the temperature it is a difference to the best one, so 0 or below.
    pub logit: f32,
}

/// Best first; equal logits in the order of their ids.
fn best_first(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.token.cmp(&b.token))
}

/// The `count` most likely tokens, best first; tokens that are ruled out are not among them.
///
/// One pass: whatever is not above the worst of `count` tokens seen before cannot be among the best.
pub fn most_likely(logits: &[f32], count: usize, candidates: &mut Vec<Candidate>) {
    candidates.clear();
    if count == 0 {
        return;
    }
    let limit = count.saturating_add(count.max(HEAD));
    let mut least = f32::NEG_INFINITY;
    for (start, chunk) in (0..).step_by(LANES).zip(logits.chunks(LANES)) {
        if !chunk.iter().fold(false, |any, &logit| any | (logit > least)) {
            continue;
        }
        for (token, &logit) in (start..).zip(chunk) {
            if logit > least {
                candidates.push(Candidate { token, logit });
            }
        }
        if candidates.len() >= limit {
            cut(candidates, count);
            least = candidates[count - 1].logit;
        }
    }
    cut(candidates, count);
    candidates.sort_unstable_by(best_first);
}

fn cut(candidates: &mut Vec<Candidate>, count: usize) {
    if count < candidates.len() {
        candidates.select_nth_unstable_by(count - 1, best_first);
        candidates.truncate(count);
    }
}

/// Top-p over a whole vocabulary, temperature included: the fewest most likely tokens whose masses reach `target`. They stand best first if they
/// are few, and otherwise in the order of ids.
pub(super) fn head_of_mass(logits: &[f32], scale: Scale, target: f64, candidates: &mut Vec<Candidate>) {
    // The kept tokens are few in nearly every distribution.
    for count in [HEAD, 8 * HEAD] {
        most_likely(logits, count, candidates);
        scale_all(candidates, scale);
        if let Some(kept) = reach(candidates, target) {
            candidates.truncate(kept);
            return;
        }
        if candidates.len() < count {
            return;
        }
    }
    // In a flat distribution they are many: the last of them is searched without sorting all.
    at_least(logits, scale, f32::NEG_INFINITY, candidates);
    if let Some(last) = crossing(candidates, target) {
        at_least(logits, scale, last.logit, candidates);
        candidates.retain(|candidate| best_first(candidate, &last) != Ordering::Greater);
    }
}

/// Min-p over a whole vocabulary, temperature included, in the order of ids; 0 keeps every possible token.
pub(super) fn likely_enough(logits: &[f32], scale: Scale, min_p: f32, candidates: &mut Vec<Candidate>) {
    at_least(logits, scale, min_p.ln(), candidates);
}

/// The possible tokens whose logits behind the temperature are at least `least`, in the order of ids.
fn at_least(logits: &[f32], scale: Scale, least: f32, candidates: &mut Vec<Candidate>) {
    candidates.clear();
    for (start, chunk) in (0..).step_by(LANES).zip(logits.chunks(LANES)) {
        if !chunk.iter().fold(false, |any, &logit| any | (scale.scaled(logit) >= least)) {
            continue;
        }
        for (token, &logit) in (start..).zip(chunk) {
            let scaled = scale.scaled(logit);
            if logit != f32::NEG_INFINITY && scaled >= least {
                candidates.push(Candidate { token, logit: scaled });
            }
        }
    }
}

/// The candidate with which the most likely ones reach `target`, or the least likely one if all together do not. Moves the candidates about.
fn crossing(candidates: &mut [Candidate], target: f64) -> Option<Candidate> {
    let mass = |candidate: &Candidate| f64::from(exp(candidate.logit));
    let (mut rest, mut left) = (candidates, target);
    while rest.len() > HEAD {
        let middle = rest.len() / 2;
        rest.select_nth_unstable_by(middle, best_first);
        let (upper, lower) = rest.split_at_mut(middle);
        let sum: f64 = upper.iter().map(mass).sum();
        (rest, left) = if sum >= left { (upper, left) } else { (lower, left - sum) };
    }
    rest.sort_unstable_by(best_first);
    let crosses = |candidate: &&Candidate| {
        left -= mass(candidate);
        left <= 0.0
    };
    rest.iter().find(crosses).or_else(|| rest.last()).copied()
}

/// Temperature, for candidates.
pub(super) fn scale_all(candidates: &mut [Candidate], scale: Scale) {
    for candidate in candidates {
        candidate.logit = scale.scaled(candidate.logit);
    }
}

/// Keeps the fewest most likely tokens whose probabilities sum to at least `p`: the token that crosses `p` stays, and so does
/// always the most likely one. 1 keeps all. `candidates` stand best first.
pub fn keep_top_p(candidates: &mut Vec<Candidate>, p: f32) {
    if p >= 1.0 {
        return;
    }
    let target = f64::from(p) * total(candidates);
    if let Some(kept) = reach(candidates, target) {
        candidates.truncate(kept);
    }
}

/// Drops tokens whose probability is under `min_p` times that of the most likely one.
pub fn keep_min_p(candidates: &mut Vec<Candidate>, min_p: f32) {
    if min_p > 0.0 {
        let least = highest(candidates) + min_p.ln();
        candidates.retain(|candidate| candidate.logit >= least);
    }
}

/// Locally typical sampling (Meister, Pimentel, Wiher and Cotterell, 2022): keeps the fewest tokens whose surprisal `-ln p` is closest to the
/// expected one, the entropy, and whose probabilities sum to at least `p`; the token that crosses `p` stays. 1 keeps all.
pub fn keep_typical(candidates: &mut Vec<Candidate>, p: f32) {
    if p >= 1.0 || candidates.is_empty() {
        return;
    }
    let best = highest(candidates);
    let mass = |candidate: &Candidate| f64::from(exp(candidate.logit - best));
    let (mut sum, mut weighted) = (0.0, 0.0);
    for candidate in candidates.iter() {
        let mass = mass(candidate);
        sum += mass;
        // A mass of 0 may belong to minus infinity.
        weighted += if mass > 0.0 { mass * f64::from(candidate.logit) } else { 0.0 };
    }
    // Surprisal is `ln sum - logit`, entropy is `ln sum - mean logit`: their difference needs no logarithm.
    let mean = weighted / sum;
    let distance = |candidate: &Candidate| (f64::from(candidate.logit) - mean).abs();
    let most_typical_first =
        |a: &Candidate, b: &Candidate| distance(a).total_cmp(&distance(b)).then(best_first(a, b));

    let target = f64::from(p) * sum;
    let (mut sorted, mut reached, mut head) = (0, 0.0, HEAD);
    while sorted < candidates.len() {
        let rest = &mut candidates[sorted..];
        let take = head.min(rest.len());
        if take < rest.len() {
            rest.select_nth_unstable_by(take - 1, most_typical_first);
        }
        rest[..take].sort_unstable_by(most_typical_first);
        for index in sorted..sorted + take {
            reached += mass(&candidates[index]);
            if reached >= target {
                candidates.truncate(index + 1);
                return;
            }
        }
        sorted += take;
        head = head.saturating_mul(8);
    }
}

fn highest(candidates: &[Candidate]) -> f32 {
    candidates.iter().fold(f32::NEG_INFINITY, |best, candidate| best.max(candidate.logit))
}

fn total(candidates: &[Candidate]) -> f64 {
    let best = highest(candidates);
    candidates.iter().map(|candidate| f64::from(exp(candidate.logit - best))).sum()
}

/// How many of the first candidates have this mass together, in units of the best one, which stands first; none if all have less.
fn reach(candidates: &[Candidate], target: f64) -> Option<usize> {
    let best = candidates.first()?.logit;
    let mut sum = 0.0;
    let crosses = |candidate: &Candidate| {
        sum += f64::from(exp(candidate.logit - best));
        sum >= target
    };
    candidates.iter().position(crosses).map(|index| index + 1)
}

/// The token at `point` (from [0, 1)) of the distribution; none if there are no candidates.
pub(super) fn draw(candidates: &[Candidate], point: f64) -> Option<u32> {
    let best = highest(candidates);
    let left = point * total(candidates);
    walk(candidates.iter().map(|candidate| (candidate.token, exp(candidate.logit - best))), left)
}

/// The token at `point` of a whole vocabulary, whose blocks have these masses.
pub(super) fn draw_of_all(logits: &[f32], scale: Scale, blocks: &[f64], point: f64) -> Option<u32> {
    let mut left = point * blocks.iter().sum::<f64>();
    let mut block = None;
    for (index, &mass) in blocks.iter().enumerate().filter(|(_, mass)| **mass > 0.0) {
        block = Some(index);
        if left < mass {
            break;
        }
        left -= mass;
    }
    let start = block? * BLOCK;
    let block = logits.get(start..)?.iter().take(BLOCK);
    walk((start as u32..).zip(block).map(|(token, &logit)| (token, exp(scale.scaled(logit)))), left)
}

/// The token whose mass covers `left`.
fn walk(masses: impl Iterator<Item = (u32, f32)>, mut left: f64) -> Option<u32> {
    let mut last = None;
    for (token, mass) in masses.filter(|(_, mass)| *mass > 0.0) {
        left -= f64::from(mass);
        last = Some(token);
        if left < 0.0 {
            break;
        }
    }
    // Only rounding leads behind the end, where the last of the possible tokens stands.
    last
}
