//! Log-probabilities of tokens.

use super::{SamplingError, check_logits, most_likely};

/// A token and the natural logarithm of its probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Logprob {
    /// The token.
    pub token: u32,
    /// Its log-probability, 0 or below; minus infinity if it was ruled out.
    pub logprob: f64,
}

/// How likely a chosen token was, and what else could have come.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprobs {
    /// The chosen token.
    pub chosen: Logprob,
    /// The most likely tokens, best first; equal ones in the order of their ids. The chosen one is among them only if it is one of the best. Tokens
    /// that are ruled out do not count, so there may be fewer than were asked for.
    pub top: Vec<Logprob>,
}

/// Log-probabilities in the model's distribution: the softmax of `logits` as they are, before bias, penalties, temperature and truncation. That is
/// what OpenAI's `logprobs` and `top_logprobs` mean and what vLLM gives unless told otherwise.
///
/// Where the caller has ruled tokens out by logits of minus infinity, the distribution is that of the rest.
pub fn token_logprobs(logits: &[f32], chosen: u32, top: usize) -> Result<TokenLogprobs, SamplingError> {
    check_logits(logits)?;
    let unknown = SamplingError::UnknownToken { token: chosen, vocab: logits.len() };
    let &logit = logits.get(chosen as usize).ok_or(unknown)?;
    let normalizer = log_sum_exp(logits);
    if normalizer == f64::NEG_INFINITY {
        return Err(SamplingError::NoCandidate);
    }
    let logprob = |token, logit: f32| Logprob { token, logprob: f64::from(logit) - normalizer };
    let mut candidates = Vec::new();
    most_likely(logits, top, &mut candidates);
    let top = candidates.iter().map(|candidate| logprob(candidate.token, candidate.logit)).collect();
    Ok(TokenLogprobs { chosen: logprob(chosen, logit), top })
}

/// Log of the sum of the exponentials, in f64.
pub fn log_sum_exp(logits: &[f32]) -> f64 {
    let best = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    if best == f64::NEG_INFINITY {
        return best;
    }
    best + logits.iter().map(|&logit| (f64::from(logit) - best).exp()).sum::<f64>().ln()
}
