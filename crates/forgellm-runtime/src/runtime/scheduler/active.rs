//! An answer that is being worked on.

use std::ops::ControlFlow;
use std::time::Instant;

use crate::runtime::engine::{Row, RowResult, SequenceId, Token, Want};
use crate::runtime::generate::{FinishReason, GenerateError, choose};
use crate::runtime::guide::{Guide, GuideError, Next};
use crate::runtime::sampling::{Sampler, SamplingError, TokenLogprobs, token_logprobs};
use crate::runtime::scheduler::pool::Pool;
use crate::runtime::scheduler::queue::{Chosen, Finished, Job, Listener};

/// An answer between its job and its end.
pub(super) struct Active {
    /// None until it is known what of the prompt another sequence holds.
    pub sequence: Option<SequenceId>,
    /// Prompt and answer. The sequence holds the first [`Active::held`] of them; the rest is still to be run.
    pub tokens: Vec<u32>,
    pub held: usize,
    /// Tokens of the prompt that did not have to be run.
    pub reused: usize,
    /// How it ended; it is then taken out before the next step.
    pub outcome: Option<Result<FinishReason, GenerateError>>,
    prompt: usize,
    max_tokens: usize,
    end_ids: Vec<u32>,
    /// Of so many tokens beside the chosen one the log-probabilities are wanted.
    logprobs: Option<usize>,
    guide: Option<Guide>,
    /// Logits of which the guide has ruled some out.
    guided: Vec<f32>,
    /// Where hidden states are gathered, if they are wanted instead of an answer.
    pool: Option<Pool>,
    sampler: Sampler,
    listener: Box<dyn Listener>,
}

impl Active {
    /// Starts a job whose prompt was checked. The listener is told of an error.
    pub fn new(job: Job) -> Option<Active> {
        let Job { prompt, max_tokens, sampling, logit_bias, logprobs, guide, embeds, end_ids, listener } =
            job;
        let sampler = match Sampler::new(sampling) {
            Ok(sampler) => sampler.with_bias(logit_bias),
            Err(error) => {
                listener.end(Err(error.into()));
                return None;
            }
        };
        Some(Active {
            sequence: None,
            prompt: prompt.len(),
            tokens: prompt,
            held: 0,
            reused: 0,
            outcome: None,
            max_tokens,
            end_ids,
            logprobs,
            guide,
            guided: Vec::new(),
            pool: embeds.then(Pool::default),
            sampler,
            listener,
        })
    }

    /// The prompt.
    pub fn prompt(&self) -> &[u32] {
        &self.tokens[..self.prompt]
    }

    /// The answer up to now.
    pub fn answer(&self) -> &[u32] {
        &self.tokens[self.prompt..]
    }

    /// Tokens that are to be run before the next token can be chosen.
    pub fn pending(&self) -> usize {
        self.tokens.len() - self.held
    }

    /// Tokens that the answer may still get.
    pub fn left(&self) -> usize {
        self.max_tokens.saturating_sub(self.answer().len())
    }

    pub fn is_gone(&self) -> bool {
        self.listener.is_gone()
    }

    /// Whether the next token is the most likely one, and nothing else about it is wanted.
    pub fn is_greedy(&self) -> bool {
        let is_more_wanted = self.logprobs.is_some() || self.guide.is_some() || self.embeds();
        self.sampler.is_plain_greedy() && !is_more_wanted
    }

    /// Whether the hidden state of every row is wanted, so that none can be taken from another sequence.
    pub fn embeds(&self) -> bool {
        self.pool.is_some()
    }

    /// The next `count` rows.
    pub fn rows(&self, sequence: SequenceId, count: usize) -> impl Iterator<Item = Row> {
        let want = if self.is_greedy() { Want::Top(1) } else { Want::Logits };
        let (of_last, of_others) =
            if self.embeds() { (Want::Hidden, Want::Hidden) } else { (want, Want::Nothing) };
        let last = self.pending() - 1;
        self.tokens[self.held..].iter().take(count).enumerate().map(move |(index, &id)| Row {
            token: Token::Id(id),
            position: self.held + index,
            sequence,
            want: if index == last { of_last } else { of_others },
        })
    }

    /// Takes note that rows were run, which gave `results`; a sequence holds up to `room` positions.
    pub fn advance(&mut self, results: &[RowResult], room: usize) {
        let Some(last) = results.last() else { return };
        self.held += results.len();
        if self.embeds() {
            self.outcome = self.gather(results).transpose();
        } else if self.pending() == 0 {
            self.outcome = self.choose(last, room).transpose();
        }
    }

    /// Adds hidden states; the mean goes to the listener when the prompt is done.
    fn gather(&mut self, results: &[RowResult]) -> Result<Option<FinishReason>, GenerateError> {
        let is_done = self.pending() == 0;
        let Some(pool) = &mut self.pool else { return Ok(None) };
        results.iter().try_for_each(|result| pool.add(result))?;
        if is_done {
            self.listener.embedding(pool.mean());
        }
        Ok(is_done.then_some(FinishReason::End))
    }

    /// Chooses the next token; gives the reason if the answer ends with it.
    fn choose(&mut self, result: &RowResult, room: usize) -> Result<Option<FinishReason>, GenerateError> {
        if self.left() == 0 {
            return Ok(Some(FinishReason::Length));
        }
        let (prompt, answer) = self.tokens.split_at(self.prompt);
        let token = match (&mut self.guide, result) {
            (Some(guide), RowResult::Logits(logits)) => {
                self.guided.clear();
                self.guided.extend_from_slice(logits);
                if guide.restrict(&mut self.guided, &self.end_ids)? == Next::End {
                    return Ok(Some(FinishReason::End));
                }
                match self.sampler.sample(&self.guided, prompt, answer) {
                    Err(SamplingError::NoCandidate) => return Err(GuideError::RuledOut.into()),
                    sampled => sampled?,
                }
            }
            _ => choose(&mut self.sampler, result, prompt, answer)?,
        };
        if self.end_ids.contains(&token) {
            return Ok(Some(FinishReason::End));
        }
        let is_complete = match &mut self.guide {
            Some(guide) => guide.accept(token).map(|()| guide.is_complete())?,
            None => false,
        };
        let chosen = Chosen { token, logprobs: self.logprobs(result, token)?, at: Instant::now() };
        self.tokens.push(token);
        Ok(match self.listener.token(chosen) {
            ControlFlow::Break(()) => Some(FinishReason::Stop),
            ControlFlow::Continue(()) if is_complete => Some(FinishReason::End),
            ControlFlow::Continue(()) if self.left() == 0 => Some(FinishReason::Length),
            ControlFlow::Continue(()) if self.held >= room => Some(FinishReason::Context),
            ControlFlow::Continue(()) => None,
        })
    }

    /// How likely the chosen token was, in the model's own distribution.
    fn logprobs(&self, result: &RowResult, token: u32) -> Result<Option<TokenLogprobs>, GenerateError> {
        match (self.logprobs, result) {
            (Some(top), RowResult::Logits(logits)) => Ok(Some(token_logprobs(logits, token, top)?)),
            _ => Ok(None),
        }
    }

    /// Tells the listener, and gives the tokens that the sequence holds.
    pub fn finish(mut self, outcome: Result<FinishReason, GenerateError>) -> Vec<u32> {
        let finished = outcome.map(|reason| Finished {
            reason,
            prompt_tokens: self.prompt,
            reused_tokens: self.reused,
            generated_tokens: self.answer().len(),
            seed: self.sampler.seed(),
        });
        self.listener.end(finished);
        self.tokens.truncate(self.held);
        self.tokens
    }
}
