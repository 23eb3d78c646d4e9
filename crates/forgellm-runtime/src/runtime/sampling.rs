//! From the logits of one row to the next token.
//!
//! The stages, in this order:
//!
//! 1. logit bias: added to the logits of single tokens; -100 rules a token out, 100 rules out all others;
//! 2. repetition penalty: over the last tokens of prompt and answer, each once however often it occurs;
//! 3. frequency and presence penalty: over the whole answer, without the prompt. The logit loses the frequency penalty as often as the token
//!    occurs, and the presence penalty once if it does;
//! 4. temperature: 0 takes the most likely token and ends here, otherwise logits are divided by it;
//! 5. top-k: the `k` most likely tokens stay;
//! 6. top-p: of those, the fewest most likely tokens whose probabilities reach `p` stay, the one that crosses `p` included;
//! 7. min-p: tokens less likely than `min_p` times the most likely one go;
//! 8. typical: of those, the fewest tokens stay whose surprisal is closest to the entropy and whose probabilities reach `typical_p`;
//! 9. one draw from what is left.
//!
//! Bias and penalties come first in Hugging Face transformers, vLLM and llama.cpp alike, and greedy decoding knows them too. What follows has
//! the order of transformers, temperature before truncation, because the values that a model's authors recommend are made with it; vLLM
//! has the temperature there too, and llama.cpp by default at the end. What counts for which penalty is as in vLLM, except that the repetition penalty
//! has a window, as in llama.cpp.
//!
//! Each truncation keeps the most likely token, except for typical sampling, which may well drop it. Probabilities are those among the tokens that the
//! stage before left. Equal logits stand in the order of their ids, and all that decides between tokens is computed the same way on every
//! machine, so a seed gives the same tokens everywhere.

mod adjust;
mod logprobs;
mod mass;
mod sampler;
mod stages;

use serde::{Deserialize, Serialize};

pub use adjust::LogitBias;
pub use logprobs::{Logprob, TokenLogprobs, log_sum_exp, token_logprobs};
pub use sampler::Sampler;
pub use stages::most_likely;

/// How the next token is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SamplingParams {
    /// Divides the logits; 0 always takes the most likely token.
    pub temperature: f32,
    /// Keeps this many of the most likely tokens; 0 keeps all.
    pub top_k: usize,
    /// Keeps the fewest most likely tokens that reach this probability together; 1 keeps all.
    pub top_p: f32,
    /// Drops tokens less likely than this share of the most likely one; 0 keeps all.
    pub min_p: f32,
    /// Keeps the fewest tokens of about the expected surprisal that reach this probability together; 1 keeps all.
    pub typical_p: f32,
    /// Divides (positive) or multiplies (negative) the logits of tokens that occurred lately; 1 changes nothing.
    pub repetition_penalty: f32,
    /// How many of the last tokens of prompt and answer the repetition penalty looks at.
    pub repetition_window: usize,
    /// Taken from the logits of tokens that occur in the answer; 0 changes nothing, and below 0 they become more likely.
    pub presence_penalty: f32,
    /// Taken from the logits of tokens as often as they occur in the answer; 0 changes nothing, and below 0 they become more likely.
    pub frequency_penalty: f32,
    /// Where the random numbers start; the same seed gives the same text. Without one, each run differs.
    pub seed: Option<u64>,
}

impl SamplingParams {
    /// Always the most likely token.
    pub const GREEDY: SamplingParams = SamplingParams {
        temperature: 0.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        typical_p: 1.0,
        repetition_penalty: 1.0,
        repetition_window: 64,
        presence_penalty: 0.0,
        frequency_penalty: 0.0,
        seed: None,
    };

    fn penalizes(&self) -> bool {
        (self.repetition_penalty != 1.0 && self.repetition_window > 0)
            || self.presence_penalty != 0.0
            || self.frequency_penalty != 0.0
    }

    /// Checks every value against its range.
    pub fn validate(&self) -> Result<(), SamplingError> {
        let check = |name, value: f32, holds: bool, range| {
            if holds { Ok(()) } else { Err(SamplingError::OutOfRange { name, value, range }) }
        };
        let at_least = |value: f32, least: f32| value.is_finite() && value >= least;
        let share = |value: f32| value > 0.0 && value <= 1.0;
        let two = |value: f32| (-2.0..=2.0).contains(&value);
        let repetition = self.repetition_penalty;
        check("temperature", self.temperature, at_least(self.temperature, 0.0), "0 or more")?;
        check("top_p", self.top_p, share(self.top_p), "above 0, at most 1")?;
        check("min_p", self.min_p, (0.0..=1.0).contains(&self.min_p), "from 0 to 1")?;
        check("typical_p", self.typical_p, share(self.typical_p), "above 0, at most 1")?;
        check("repetition_penalty", repetition, repetition.is_finite() && repetition > 0.0, "above 0")?;
        check("presence_penalty", self.presence_penalty, two(self.presence_penalty), "from -2 to 2")?;
        check("frequency_penalty", self.frequency_penalty, two(self.frequency_penalty), "from -2 to 2")
    }
}

impl Default for SamplingParams {
    fn default() -> Self {
        SamplingParams::GREEDY
    }
}

/// Why no token could be chosen.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SamplingError {
    /// A parameter is outside its range.
    #[error("{name} is {value}, it must be {range}")]
    OutOfRange {
        /// The parameter: the field of [`SamplingParams`].
        name: &'static str,
        /// Its value.
        value: f32,
        /// What is allowed.
        range: &'static str,
    },
    /// A bias is outside its range.
    #[error("logit_bias of token {token} is {value}, it must be from -100 to 100")]
    BiasOutOfRange {
        /// The token.
        token: u32,
        /// Its bias.
        value: f32,
    },
    /// A bias is for a token that there is not.
    #[error("logit_bias names token {token}, which is not in the vocabulary of {vocab} tokens")]
    BiasOfUnknownToken {
        /// The token.
        token: u32,
        /// The vocabulary's size.
        vocab: usize,
    },
    /// A token has two biases.
    #[error("logit_bias names token {token} twice; give it once")]
    BiasTwice {
        /// The token.
        token: u32,
    },
    /// The model gave a logit that is not a number.
    #[error("the model gave the logit {value} for token {token}; the weights file may be damaged")]
    NotFinite {
        /// The token.
        token: u32,
        /// Its logit.
        value: f32,
    },
    /// Every token is ruled out.
    #[error("no token is possible: all logits are minus infinity, by the model or by logit_bias")]
    NoCandidate,
    /// The probability of a token is asked for that there is not.
    #[error("token {token} is not in the vocabulary of {vocab} tokens, so it has no probability")]
    UnknownToken {
        /// The token.
        token: u32,
        /// The vocabulary's size.
        vocab: usize,
    },
}

impl SamplingError {
    /// The parameter that is to blame, under its name in requests; none if it is the model.
    pub fn parameter(&self) -> Option<&'static str> {
        match self {
            SamplingError::OutOfRange { name, .. } => Some(name),
            SamplingError::BiasOutOfRange { .. }
            | SamplingError::BiasOfUnknownToken { .. }
            | SamplingError::BiasTwice { .. } => Some("logit_bias"),
            SamplingError::NotFinite { .. }
            | SamplingError::NoCandidate
            | SamplingError::UnknownToken { .. } => None,
        }
    }
}

/// Fails for a logit that no model may give; minus infinity stands for a token that is ruled out.
pub fn check_logit(token: u32, logit: f32) -> Result<(), SamplingError> {
    check_logits(&[logit]).map_err(|_| SamplingError::NotFinite { token, value: logit })
}

/// [`check_logit`] for a whole vocabulary.
pub fn check_logits(logits: &[f32]) -> Result<(), SamplingError> {
    match mass::first_bad(logits) {
        Some((token, value)) => Err(SamplingError::NotFinite { token, value }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
