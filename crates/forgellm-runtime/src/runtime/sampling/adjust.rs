//! The stages that change single logits: bias and penalties.

use super::{SamplingError, SamplingParams};

/// The bias that rules a token out.
pub const BAN: f32 = -100.0;
/// The bias that rules out every token without it.
pub const FORCE: f32 = 100.0;

/// What is added to the logits of some tokens, as OpenAI's `logit_bias`: from -100, which rules a token out, to 100, which rules out all others.
///
/// These two hold exactly, whatever the logits. Several tokens with 100 compete as the model sees them; if the caller of a sampler has ruled
/// them all out (logits of minus infinity), the others stay.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogitBias {
    /// In the order of ids, each once.
    entries: Vec<(u32, f32)>,
}

impl LogitBias {
    /// Checks that each token is one of `vocab`, is named once, and has a bias from -100 to 100.
    pub fn new(
        entries: impl IntoIterator<Item = (u32, f32)>,
        vocab: usize,
    ) -> Result<LogitBias, SamplingError> {
        let mut entries: Vec<(u32, f32)> = entries.into_iter().collect();
        entries.sort_by_key(|(token, _)| *token);
        for &(token, value) in &entries {
            if token as usize >= vocab {
                return Err(SamplingError::BiasOfUnknownToken { token, vocab });
            }
            if !(BAN..=FORCE).contains(&value) {
                return Err(SamplingError::BiasOutOfRange { token, value });
            }
        }
        match entries.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => Err(SamplingError::BiasTwice { token: pair[0].0 }),
            None => Ok(LogitBias { entries }),
        }
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn of(&self, token: u32) -> Option<f32> {
        let index = self.entries.binary_search_by_key(&token, |(token, _)| *token).ok()?;
        self.entries.get(index).map(|(_, bias)| *bias)
    }

    /// Whether a token is forced that the logits allow.
    fn forces(&self, logits: &[f32]) -> bool {
        let is_possible = |token: u32| logits.get(token as usize).is_some_and(|l| *l != f32::NEG_INFINITY);
        self.entries.iter().any(|&(token, bias)| bias == FORCE && is_possible(token))
    }
}

/// How often each token occurs in an answer; counts only what has come since it was last looked at.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    /// In the order of ids.
    counts: Vec<(u32, u32)>,
    /// Tokens of the answer that are counted.
    counted: usize,
}

impl Counts {
    fn update(&mut self, answer: &[u32]) {
        if answer.len() < self.counted {
            *self = Counts::default();
        }
        for &token in answer.get(self.counted..).unwrap_or_default() {
            match self.counts.binary_search_by_key(&token, |(token, _)| *token) {
                Ok(index) => self.counts[index].1 = self.counts[index].1.saturating_add(1),
                Err(index) => self.counts.insert(index, (token, 1)),
            }
        }
        self.counted = answer.len();
    }
}

/// Writes `logits` with bias and penalties to `adjusted`. No finite logit becomes infinite, but for those that the bias rules out.
pub(super) fn adjust(
    params: &SamplingParams,
    bias: &LogitBias,
    counts: &mut Counts,
    logits: &[f32],
    [prompt, answer]: [&[u32]; 2],
    adjusted: &mut Vec<f32>,
) {
    adjusted.clear();
    let is_forced = bias.forces(logits);
    let biased = |token: u32, logit: f32| match bias.of(token) {
        Some(FORCE) => changed(logit, logit + FORCE),
        _ if is_forced => f32::NEG_INFINITY,
        Some(BAN) => f32::NEG_INFINITY,
        Some(bias) => changed(logit, logit + bias),
        None => logit,
    };
    if is_forced {
        adjusted.resize(logits.len(), f32::NEG_INFINITY);
    } else {
        adjusted.extend_from_slice(logits);
    }
    for &(token, _) in &bias.entries {
        if let (Some(slot), Some(&logit)) = (adjusted.get_mut(token as usize), logits.get(token as usize)) {
            *slot = biased(token, logit);
        }
    }
    if params.repetition_penalty != 1.0 {
        let of_answer = answer.len().min(params.repetition_window);
        let of_prompt = prompt.len().min(params.repetition_window - of_answer);
        for &token in prompt[prompt.len() - of_prompt..].iter().chain(&answer[answer.len() - of_answer..]) {
            if let (Some(slot), Some(&logit)) = (adjusted.get_mut(token as usize), logits.get(token as usize))
            {
                // From the logit before the penalty, so that a token that occurs often is penalized once.
                *slot = repeated(biased(token, logit), params.repetition_penalty);
            }
        }
    }
    if params.frequency_penalty != 0.0 || params.presence_penalty != 0.0 {
        counts.update(answer);
        for &(token, count) in &counts.counts {
            if let Some(slot) = adjusted.get_mut(token as usize) {
                let penalty = params.frequency_penalty * count as f32 + params.presence_penalty;
                *slot = changed(*slot, *slot - penalty);
            }
        }
    }
}

/// A logit with the repetition penalty (Keskar et al., "CTRL", 2019, section 4.1; for negative logits the other way round).
fn repeated(logit: f32, penalty: f32) -> f32 {
    changed(logit, if logit > 0.0 { logit / penalty } else { logit * penalty })
}

/// `after`, kept from overflowing to an infinity; a token that was ruled out `before` stays so.
fn changed(before: f32, after: f32) -> f32 {
    if before == f32::NEG_INFINITY { before } else { after.clamp(f32::MIN, f32::MAX) }
}
