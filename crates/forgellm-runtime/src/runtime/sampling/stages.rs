//! The single stages of sampling, each over the candidates that the stage before left.

use std::cmp::Ordering;

/// A token that may come next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Its id.
    pub token: u32,
    /// Its logit: finite, or minus infinity.
    pub logit: f32,
}

/// Best first; equal logits in the order of their ids.
fn best_first(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.token.cmp(&b.token))
}

/// The one that stands first.
pub(super) fn likelier(a: Candidate, b: Candidate) -> Candidate {
    if best_first(&a, &b) == Ordering::Greater { b } else { a }
}

/// Makes each token of `recent` less likely, once, however often it occurs (Keskar et al., "CTRL", 2019, section 4.1).
///
/// `candidates` holds the whole vocabulary in the order of ids.
pub fn penalize_repetition(candidates: &mut [Candidate], recent: &[u32], penalty: f32) {
    let mut seen: Vec<u32> = recent.to_vec();
    seen.sort_unstable();
    seen.dedup();
    for token in seen {
        if let Some(candidate) = candidates.get_mut(token as usize) {
            let logit = candidate.logit;
            let penalized = if logit > 0.0 { logit / penalty } else { logit * penalty };
            // A penalty far below 1 must not make a logit infinite.
            candidate.logit = penalized.min(f32::MAX);
        }
    }
}

/// Keeps the `k` most likely, best first; 0 keeps all, in their order.
pub fn keep_top_k(candidates: &mut Vec<Candidate>, k: usize) {
    if k > 0 && k < candidates.len() {
        candidates.select_nth_unstable_by(k - 1, best_first);
        candidates.truncate(k);
        candidates.sort_unstable_by(best_first);
    }
}

/// Keeps the fewest most likely tokens whose probabilities sum to at least `p`: the token that crosses `p` stays, and so does
/// always the most likely one. 1 keeps all.
pub fn keep_top_p(candidates: &mut Vec<Candidate>, p: f32) {
    if p >= 1.0 || candidates.is_empty() {
        return;
    }
    let best = candidates.iter().fold(f32::NEG_INFINITY, |best, candidate| best.max(candidate.logit));
    let weight = |candidate: &Candidate| f64::from(candidate.logit - best).exp();
    let total: f64 = candidates.iter().map(weight).sum();
    let target = f64::from(p) * total;

    // The kept tokens are few in nearly every distribution: sort a growing head instead of the whole vocabulary.
    let mut sorted = 0;
    let mut sum = 0.0;
    let mut head = 64;
    while sorted < candidates.len() {
        let rest = &mut candidates[sorted..];
        let take = head.min(rest.len());
        if take < rest.len() {
            rest.select_nth_unstable_by(take - 1, best_first);
        }
        rest[..take].sort_unstable_by(best_first);
        for index in sorted..sorted + take {
            sum += weight(&candidates[index]);
            if sum >= target {
                candidates.truncate(index + 1);
                return;
            }
        }
        sorted += take;
        head = head.saturating_mul(4);
    }
}

/// Drops tokens whose probability is under `min_p` times that of the most likely one.
pub fn keep_min_p(candidates: &mut Vec<Candidate>, min_p: f32) {
    if min_p <= 0.0 {
        return;
    }
    let best = candidates.iter().fold(f32::NEG_INFINITY, |best, candidate| best.max(candidate.logit));
    let least = best + min_p.ln();
    candidates.retain(|candidate| candidate.logit >= least);
}

/// The token at `point` (from [0, 1)) of the distribution; none if there are no candidates.
pub(super) fn draw(candidates: &[Candidate], point: f64) -> Option<u32> {
    let best = candidates.iter().fold(f32::NEG_INFINITY, |best, candidate| best.max(candidate.logit));
    let weight = |candidate: &Candidate| f64::from(candidate.logit - best).exp();
    let total: f64 = candidates.iter().map(weight).sum();
    let mut left = point * total;
    for candidate in candidates {
        left -= weight(candidate);
        if left < 0.0 {
            return Some(candidate.token);
        }
    }
    // Only rounding leads here, and it leaves the last of the possible tokens.
    candidates.last().map(|candidate| candidate.token)
}
