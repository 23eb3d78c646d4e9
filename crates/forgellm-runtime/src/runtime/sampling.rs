//! From the logits of one row to the next token.
//!
//! The stages, in this order (that of Hugging Face transformers, so that the values a model's authors recommend mean here what
//! they mean there):
//!
//! 1. repetition penalty over the last tokens of prompt and answer;
//! 2. temperature: 0 takes the most likely token and ends here, otherwise logits are divided by it;
//! 3. top-k: the `k` most likely tokens stay;
//! 4. top-p: of those, the fewest most likely tokens whose probabilities reach `p` stay, the one that crosses `p` included;
//! 5. min-p: tokens less likely than `min_p` times the most likely one go;
//! 6. one draw from what is left.
//!
//! Equal logits stand in the order of their ids, so a seed gives the same tokens everywhere.

mod stages;

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

pub use stages::{Candidate, keep_min_p, keep_top_k, keep_top_p, penalize_repetition};

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
    /// Divides (positive) or multiplies (negative) the logits of tokens that occurred lately; 1 changes nothing.
    pub repetition_penalty: f32,
    /// How many of the last tokens the penalty looks at.
    pub repetition_window: usize,
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
        repetition_penalty: 1.0,
        repetition_window: 64,
        seed: None,
    };

    /// Whether the next token is the most likely one as the model gives it, so that no other logits are needed.
    pub fn is_plain_greedy(&self) -> bool {
        self.temperature == 0.0 && !self.penalizes()
    }

    fn penalizes(&self) -> bool {
        self.repetition_penalty != 1.0 && self.repetition_window > 0
    }

    /// Checks every value against its range.
    pub fn validate(&self) -> Result<(), SamplingError> {
        let check = |name, value: f32, holds: bool, range| {
            if holds { Ok(()) } else { Err(SamplingError::OutOfRange { name, value, range }) }
        };
        let (temperature, penalty) = (self.temperature, self.repetition_penalty);
        check("temperature", temperature, temperature.is_finite() && temperature >= 0.0, "0 or more")?;
        check("top-p", self.top_p, self.top_p > 0.0 && self.top_p <= 1.0, "above 0, at most 1")?;
        check("min-p", self.min_p, (0.0..=1.0).contains(&self.min_p), "from 0 to 1")?;
        check("repetition penalty", penalty, penalty.is_finite() && penalty > 0.0, "above 0")
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
        /// The parameter.
        name: &'static str,
        /// Its value.
        value: f32,
        /// What is allowed.
        range: &'static str,
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
    #[error("no token is possible: all logits are minus infinity")]
    NoCandidate,
}

/// Chooses tokens; one for each sequence, as it holds the state of the random numbers.
#[derive(Debug, Clone)]
pub struct Sampler {
    params: SamplingParams,
    seed: u64,
    random: Pcg64Mcg,
    candidates: Vec<Candidate>,
}

impl Sampler {
    /// A sampler at the start of its random numbers.
    pub fn new(params: SamplingParams) -> Result<Sampler, SamplingError> {
        params.validate()?;
        let seed = params.seed.unwrap_or_else(fresh_seed);
        Ok(Sampler { params, seed, random: Pcg64Mcg::seed_from_u64(seed), candidates: Vec::new() })
    }

    /// The seed in use, given or drawn.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The parameters.
    pub fn params(&self) -> &SamplingParams {
        &self.params
    }

    /// The next token. `logits` has one value per vocabulary entry (minus infinity rules a token out), `history` is the prompt and
    /// the answer up to here.
    pub fn sample(&mut self, logits: &[f32], history: &[u32]) -> Result<u32, SamplingError> {
        self.candidates.clear();
        for (token, &logit) in logits.iter().enumerate() {
            check_logit(token as u32, logit)?;
            self.candidates.push(Candidate { token: token as u32, logit });
        }
        let params = &self.params;
        if params.penalizes() {
            let window = history.len().saturating_sub(params.repetition_window);
            let recent = history.get(window..).unwrap_or_default();
            penalize_repetition(&mut self.candidates, recent, params.repetition_penalty);
        }
        self.candidates.retain(|candidate| candidate.logit != f32::NEG_INFINITY);
        let best =
            self.candidates.iter().copied().reduce(stages::likelier).ok_or(SamplingError::NoCandidate)?;
        if params.temperature == 0.0 {
            return Ok(best.token);
        }
        for candidate in &mut self.candidates {
            // Differences to the best logit cannot overflow to infinity, however small the temperature.
            candidate.logit = (candidate.logit - best.logit) / params.temperature;
        }
        keep_top_k(&mut self.candidates, params.top_k);
        keep_top_p(&mut self.candidates, params.top_p);
        keep_min_p(&mut self.candidates, params.min_p);
        Ok(stages::draw(&self.candidates, unit(&mut self.random)).unwrap_or(best.token))
    }
}

/// Fails for a logit that no model may give; minus infinity stands for a token that is ruled out.
pub fn check_logit(token: u32, logit: f32) -> Result<(), SamplingError> {
    if logit.is_nan() || logit == f32::INFINITY {
        return Err(SamplingError::NotFinite { token, value: logit });
    }
    Ok(())
}

/// A number in [0, 1) with 53 random bits.
fn unit(random: &mut Pcg64Mcg) -> f64 {
    (random.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// A seed that differs between runs: the standard library's hash maps are keyed from the system's random numbers.
fn fresh_seed() -> u64 {
    use std::hash::BuildHasher;
    std::hash::RandomState::new().hash_one(std::process::id())
}

#[cfg(test)]
mod tests;
