//! The loop from a prompt to an answer, over any engine.

mod decode;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::runtime::engine::{Engine, EngineError, Row, RowResult, SequenceId, Token, Want};
use crate::runtime::guide::GuideError;
use crate::runtime::sampling::{
    LogitBias, Sampler, SamplingError, SamplingParams, TokenLogprobs, check_logit, token_logprobs,
};
pub(in crate::runtime) use decode::Decoder;

/// What to continue, and how.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Token ids that the sequence holds already, where penalties are to know of them.
    pub held: &'a [u32],
    /// Token ids that come next in the sequence; at least one.
    pub prompt: &'a [u32],
    /// The answer ends after this many tokens.
    pub max_tokens: usize,
    /// How tokens are chosen.
    pub sampling: SamplingParams,
    /// What is added to the logits of single tokens.
    pub logit_bias: Option<&'a LogitBias>,
    /// Whether log-probabilities of the answer's tokens are wanted, and of how many of the most likely ones beside each.
    pub logprobs: Option<usize>,
    /// Ids that end an answer; they do not belong to it. Without any, it goes on through the model's end tokens.
    pub end_ids: &'a [u32],
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Generation {
    /// Its tokens, without the end token.
    pub ids: Vec<u32>,
    /// The log-probabilities of each of its tokens; empty unless they were asked for.
    pub logprobs: Vec<TokenLogprobs>,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// The seed that gives it again.
    pub seed: u64,
    /// What it took.
    pub stats: Stats,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FinishReason {
    /// The model ended it.
    End,
    /// A stop string appeared.
    Stop,
    /// It has as many tokens as were asked for.
    Length,
    /// The context is full.
    Context,
    /// The user interrupted it.
    Interrupted,
}

/// Counts and times of one answer.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Stats {
    /// Tokens of the prompt that were run.
    pub prompt_tokens: usize,
    /// Tokens of the answer.
    pub generated_tokens: usize,
    /// Time of the prompt's forward passes.
    pub prompt_time: Duration,
    /// Time from the start to the first token.
    pub time_to_first_token: Duration,
    /// Time from the first token to the last.
    pub generation_time: Duration,
}

impl Stats {
    /// Tokens of the prompt per second.
    pub fn prompt_speed(&self) -> f64 {
        per_second(self.prompt_tokens, self.prompt_time)
    }

    /// Tokens per second after the first, which belongs to the prompt's pass.
    pub fn generation_speed(&self) -> f64 {
        per_second(self.generated_tokens.saturating_sub(1), self.generation_time)
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GenerateError {
    /// Nothing to continue.
    #[error("the prompt is empty, and this model has no token to start with; give it some text")]
    EmptyPrompt,
    /// The prompt alone is more than the context.
    #[error("the prompt has {tokens} tokens, only {room} fit the context; shorten it or raise --context")]
    PromptTooLong {
        /// Tokens of the prompt.
        tokens: usize,
        /// Positions left.
        room: usize,
    },
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// No token could be chosen.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// The answer cannot be led any further.
    #[error(transparent)]
    Guide(#[from] GuideError),
    /// The engine broke its contract.
    #[error("the engine gave {got} where {wanted} was due; this is a bug in its device layer")]
    Contract {
        /// What was asked for.
        wanted: &'static str,
        /// What came.
        got: &'static str,
    },
    /// The user interrupted it before there was a result.
    #[error("interrupted")]
    Interrupted,
}

/// Continues `sequence` by the prompt and an answer, and calls `on_token` for each token of it; `Break` ends it with
/// [`FinishReason::Stop`]. The sequence stays, holding everything but the last token chosen.
pub fn generate<E: Engine>(
    engine: &mut E,
    sequence: SequenceId,
    request: &Request<'_>,
    interrupted: &AtomicBool,
    mut on_token: impl FnMut(u32) -> ControlFlow<()>,
) -> Result<Generation, GenerateError> {
    let start = Instant::now();
    let bias = request.logit_bias.cloned().unwrap_or_default();
    let mut sampler = Sampler::new(request.sampling)?.with_bias(bias);
    let only_best = sampler.is_plain_greedy() && request.logprobs.is_none();
    let want = if only_best { Want::Top(1) } else { Want::Logits };
    let known = [request.held, request.prompt].concat();
    let mut ids = Vec::new();
    let mut logprobs = Vec::new();
    let mut stats = Stats { prompt_tokens: request.prompt.len(), ..Stats::default() };
    let mut first_token = start;

    let mut next = match prefill(engine, sequence, request.prompt, want, interrupted) {
        Err(GenerateError::Interrupted) => None,
        result => Some(result?),
    };
    stats.prompt_time = start.elapsed();
    let mut decoder = Decoder::new(engine, vec![sequence], want);
    let decoded = (|| loop {
        let Some(result) = next.take().filter(|_| !interrupted.load(Ordering::Relaxed)) else {
            return Ok(FinishReason::Interrupted);
        };
        if ids.len() >= request.max_tokens {
            return Ok(FinishReason::Length);
        }
        let token = choose(&mut sampler, &result, &known, &ids)?;
        if stats.generated_tokens == 0 {
            stats.time_to_first_token = start.elapsed();
            first_token = Instant::now();
        }
        stats.generation_time = first_token.elapsed();
        if request.end_ids.contains(&token) {
            return Ok(FinishReason::End);
        }
        ids.push(token);
        if let (Some(top), RowResult::Logits(logits)) = (request.logprobs, &result) {
            logprobs.push(token_logprobs(logits, token, top)?);
        }
        stats.generated_tokens = ids.len();
        if on_token(token).is_break() {
            return Ok(FinishReason::Stop);
        }
        if ids.len() >= request.max_tokens {
            return Ok(FinishReason::Length);
        }
        let ahead = only_best && ids.len() + 1 < request.max_tokens;
        let Some(results) = decoder.next(&[token], ahead)? else {
            return Ok(FinishReason::Context);
        };
        next = Some(only_result(results)?);
    })();
    let finished = decoder.finish();
    let finish_reason =
        decoded.and_then(|reason: FinishReason| finished.map(|()| reason).map_err(GenerateError::from))?;
    Ok(Generation { ids, logprobs, finish_reason, seed: sampler.seed(), stats })
}

/// Runs `prompt` as the next rows of `sequence`, in as many steps as the engine needs; gives what `want` asks of the last row.
pub fn prefill<E: Engine>(
    engine: &mut E,
    sequence: SequenceId,
    prompt: &[u32],
    want: Want,
    interrupted: &AtomicBool,
) -> Result<RowResult, GenerateError> {
    let capacity = engine.capacity();
    let mut position = engine.positions(sequence)?;
    let room = capacity.positions.saturating_sub(position);
    if prompt.len() > room {
        return Err(GenerateError::PromptTooLong { tokens: prompt.len(), room });
    }
    let mut left = prompt;
    loop {
        let (chunk, rest) = left.split_at(left.len().min(capacity.rows.max(1)));
        let Some(last) = chunk.len().checked_sub(1) else {
            return Err(GenerateError::EmptyPrompt);
        };
        if interrupted.load(Ordering::Relaxed) {
            return Err(GenerateError::Interrupted);
        }
        let row = |(index, &id): (usize, &u32)| Row {
            token: Token::Id(id),
            position: position + index,
            sequence,
            want: if rest.is_empty() && index == last { want } else { Want::Nothing },
        };
        let rows: Vec<Row> = chunk.iter().enumerate().map(row).collect();
        let mut results = engine.step(&rows)?;
        position += chunk.len();
        left = rest;
        if left.is_empty() {
            return results.pop().ok_or(GenerateError::Contract { wanted: "a result", got: "nothing" });
        }
    }
}

/// The best token of a greedy row, or a sampled one of a row with logits.
pub(in crate::runtime) fn choose(
    sampler: &mut Sampler,
    result: &RowResult,
    prompt: &[u32],
    answer: &[u32],
) -> Result<u32, GenerateError> {
    match result {
        RowResult::Top(top) => best(top),
        RowResult::Logits(logits) => Ok(sampler.sample(logits, prompt, answer)?),
        RowResult::Nothing => Err(GenerateError::Contract { wanted: "logits", got: "nothing" }),
        RowResult::Hidden(_) => Err(GenerateError::Contract { wanted: "logits", got: "a hidden state" }),
    }
}

/// The most likely token of a row of which nothing else is wanted.
pub(in crate::runtime) fn best_of(result: &RowResult) -> Result<u32, GenerateError> {
    match result {
        RowResult::Top(top) => best(top),
        _ => Err(GenerateError::Contract { wanted: "a most likely token", got: "another result" }),
    }
}

/// The first of the most likely tokens.
fn best(top: &[(u32, f32)]) -> Result<u32, GenerateError> {
    let &(token, logit) =
        top.first().ok_or(GenerateError::Contract { wanted: "a most likely token", got: "none" })?;
    check_logit(token, logit)?;
    Ok(token)
}

fn only_result(mut results: Vec<RowResult>) -> Result<RowResult, GenerateError> {
    results.pop().ok_or(GenerateError::Contract { wanted: "a result", got: "nothing" })
}

/// Continues each prompt in a sequence of its own, greedily, by exactly `tokens` tokens; end tokens do not end them.
///
/// All sequences share steps: each step takes the next row of every sequence, then the one after that, as long as the engine takes
/// more rows, so that a long prompt is still on its way while others already generate. Shows that sequences do not influence each
/// other.
pub fn generate_together<E: Engine>(
    engine: &mut E,
    prompts: &[&[u32]],
    tokens: usize,
    interrupted: &AtomicBool,
) -> Result<Vec<Vec<u32>>, GenerateError> {
    let room = engine.capacity().positions;
    for prompt in prompts {
        if prompt.is_empty() {
            return Err(GenerateError::EmptyPrompt);
        }
        if prompt.len().saturating_add(tokens.saturating_sub(1)) > room {
            let room = room.saturating_sub(tokens);
            return Err(GenerateError::PromptTooLong { tokens: prompt.len(), room });
        }
    }
    let sequences = prompts.iter().map(|_| engine.begin()).collect::<Result<Vec<_>, _>>()?;
    let mut positions = vec![0; prompts.len()];
    let mut answers = vec![Vec::with_capacity(tokens); prompts.len()];
    // What is still to be run of each sequence.
    let mut tails: Vec<VecDeque<u32>> =
        prompts.iter().map(|prompt| prompt.iter().copied().collect()).collect();
    while answers.iter().any(|answer| answer.len() < tokens) {
        if interrupted.load(Ordering::Relaxed) {
            return Err(GenerateError::Interrupted);
        }
        let (rows, of) = rows_together(&sequences, &tails, &positions, engine.capacity().rows.max(1));
        let results = engine.step(&rows)?;
        if results.len() != rows.len() {
            return Err(GenerateError::Contract { wanted: "one result a row", got: "another number" });
        }
        for (index, result) in of.into_iter().zip(results) {
            positions[index] += 1;
            tails[index].pop_front();
            if !tails[index].is_empty() {
                continue;
            }
            answers[index].push(best_of(&result)?);
            if answers[index].len() < tokens {
                tails[index].extend(answers[index].last());
            }
        }
        let alike = answers.iter().all(|answer| !answer.is_empty() && answer.len() == answers[0].len());
        if alike && prompts.len() <= engine.capacity().rows {
            break;
        }
    }
    // From here on all do the same, so that the device need not wait for the host.
    let mut decoder = Decoder::new(engine, sequences.clone(), Want::Top(1));
    let decoded = (|| {
        while let Some(length) = answers.first().map(Vec::len).filter(|length| *length < tokens) {
            if interrupted.load(Ordering::Relaxed) {
                return Err(GenerateError::Interrupted);
            }
            let last: Vec<u32> = answers.iter().filter_map(|answer| answer.last().copied()).collect();
            let results = decoder.next(&last, length + 1 < tokens)?;
            let results = results.filter(|results| results.len() == answers.len());
            let wanted = "one result a row";
            for (answer, result) in answers
                .iter_mut()
                .zip(results.ok_or(GenerateError::Contract { wanted, got: "another number" })?)
            {
                answer.push(best_of(&result)?);
            }
        }
        Ok(())
    })();
    let finished = decoder.finish();
    decoded?;
    finished?;
    for sequence in sequences {
        engine.end(sequence)?;
    }
    Ok(answers)
}

/// The rows of a step that takes up to `most`, and the sequence of each: first of all sequences the next one, and so on.
fn rows_together(
    sequences: &[SequenceId],
    tails: &[VecDeque<u32>],
    positions: &[usize],
    most: usize,
) -> (Vec<Row>, Vec<usize>) {
    let longest = tails.iter().map(VecDeque::len).max().unwrap_or(0);
    let next = (0..longest).flat_map(|ahead| (0..tails.len()).map(move |index| (ahead, index)));
    let row = |(ahead, index): (usize, usize)| {
        let tail = &tails[index];
        let token = Token::Id(*tail.get(ahead)?);
        let want = if ahead + 1 == tail.len() { Want::Top(1) } else { Want::Nothing };
        Some((Row { token, position: positions[index] + ahead, sequence: sequences[index], want }, index))
    };
    next.filter_map(row).take(most).unzip()
}

/// `count` per second; 0 if no time passed.
pub fn per_second(count: usize, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}

#[cfg(test)]
mod tests;
