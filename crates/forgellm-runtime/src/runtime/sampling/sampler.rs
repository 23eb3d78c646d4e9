//! The pipeline from logits to a token.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};

use super::adjust::{Counts, LogitBias, adjust};
use super::logprobs::{TokenLogprobs, token_logprobs};
use super::mass::{self, Scale};
use super::stages::{self, Candidate};
use super::{SamplingError, SamplingParams, check_logits};

/// Chooses tokens; one for each sequence, as it holds the state of the random numbers and its memory is used again for each token.
#[derive(Debug, Clone)]
pub struct Sampler {
    params: SamplingParams,
    bias: LogitBias,
    seed: u64,
    random: Pcg64Mcg,
    counts: Counts,
    /// Logits with bias and penalties, where there are any.
    adjusted: Vec<f32>,
    /// What the truncations left.
    candidates: Vec<Candidate>,
    /// Masses of blocks of logits.
    blocks: Vec<f64>,
}

impl Sampler {
    /// A sampler at the start of its random numbers, without a bias.
    pub fn new(params: SamplingParams) -> Result<Sampler, SamplingError> {
        params.validate()?;
        let seed = params.seed.unwrap_or_else(fresh_seed);
        Ok(Sampler {
            params,
            bias: LogitBias::default(),
            seed,
            random: Pcg64Mcg::seed_from_u64(seed),
            counts: Counts::default(),
            adjusted: Vec::new(),
            candidates: Vec::new(),
            blocks: Vec::new(),
        })
    }

    /// The sampler with a bias.
    pub fn with_bias(self, bias: LogitBias) -> Sampler {
        Sampler { bias, ..self }
    }

    /// The seed in use, given or drawn.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The parameters.
    pub fn params(&self) -> &SamplingParams {
        &self.params
    }

    /// Whether the next token is always the most likely one as the model gives it, so that no other logits are needed.
    pub fn is_plain_greedy(&self) -> bool {
        self.params.temperature == 0.0 && !self.adjusts()
    }

    fn adjusts(&self) -> bool {
        !self.bias.is_empty() || self.params.penalizes()
    }

    /// The next token. `logits` has one value per vocabulary entry; minus infinity rules a token out.
    ///
    /// `answer` is what was generated behind `prompt` up to here. From call to call of one sampler it only grows; to begin another answer, make another
    /// sampler.
    pub fn sample(&mut self, logits: &[f32], prompt: &[u32], answer: &[u32]) -> Result<u32, SamplingError> {
        check_logits(logits)?;
        let mut adjusted = std::mem::take(&mut self.adjusted);
        let token = if self.adjusts() {
            let texts = [prompt, answer];
            adjust(&self.params, &self.bias, &mut self.counts, logits, texts, &mut adjusted);
            self.choose(&adjusted)
        } else {
            self.choose(logits)
        };
        self.adjusted = adjusted;
        token
    }

    /// [`Sampler::sample`], and how likely the token and the `top` most likely ones are: see [`token_logprobs`].
    pub fn sample_with_logprobs(
        &mut self,
        logits: &[f32],
        prompt: &[u32],
        answer: &[u32],
        top: usize,
    ) -> Result<TokenLogprobs, SamplingError> {
        let token = self.sample(logits, prompt, answer)?;
        token_logprobs(logits, token, top)
    }

    /// What the truncations of the last token left, if there were any.
    #[cfg(test)]
    pub(super) fn kept(&self) -> &[Candidate] {
        &self.candidates
    }

    /// Temperature, truncations and the draw.
    fn choose(&mut self, logits: &[f32]) -> Result<u32, SamplingError> {
        let (token, best) = mass::best(logits).ok_or(SamplingError::NoCandidate)?;
        if self.params.temperature == 0.0 {
            return Ok(token);
        }
        let scale = Scale::new(best, self.params.temperature);
        let is_truncated = self.truncate(logits, scale);
        let point = unit(&mut self.random);
        let drawn = if is_truncated {
            stages::draw(&self.candidates, point)
        } else {
            scale.masses(logits, &mut self.blocks);
            stages::draw_of_all(logits, scale, &self.blocks, point)
        };
        Ok(drawn.unwrap_or(token))
    }

    /// Fills the candidates with what the truncations leave; false if there are none, so that every token stays.
    ///
    /// The first truncation that there is works on the whole vocabulary, and the others on what it leaves, which is little.
    fn truncate(&mut self, logits: &[f32], scale: Scale) -> bool {
        let SamplingParams { top_k, top_p, min_p, typical_p, .. } = self.params;
        let candidates = &mut self.candidates;
        if top_k > 0 && top_k < logits.len() {
            stages::most_likely(logits, top_k, candidates);
            stages::scale_all(candidates, scale);
            stages::keep_top_p(candidates, top_p);
            stages::keep_min_p(candidates, min_p);
        } else if top_p < 1.0 {
            scale.masses(logits, &mut self.blocks);
            let target = f64::from(top_p) * self.blocks.iter().sum::<f64>();
            stages::head_of_mass(logits, scale, target, candidates);
            stages::keep_min_p(candidates, min_p);
        } else if min_p > 0.0 || typical_p < 1.0 {
            stages::likely_enough(logits, scale, min_p, candidates);
        } else {
            return false;
        }
        stages::keep_typical(candidates, typical_p);
        true
    }
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
