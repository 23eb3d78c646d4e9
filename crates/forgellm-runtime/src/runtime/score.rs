//! What a model thinks of given tokens: their perplexity, and the logits of every position.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::runtime::engine::{Engine, Row, RowResult, Token, Want};
use crate::runtime::generate::GenerateError;
use crate::runtime::sampling::{check_logits, log_sum_exp, most_likely};

/// Logits held at a time are at most about this many bytes.
const LOGITS_BYTES: usize = 32 << 20;

/// How well a model predicts a text.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Perplexity {
    /// Tokens scored: all but the first.
    pub tokens: usize,
    /// Mean negative log-likelihood of a token, in nats.
    pub mean_nll: f64,
    /// `exp(mean_nll)`.
    pub perplexity: f64,
}

/// The best logits of one position.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PositionLogits {
    /// The position; its logits are about the token that follows it.
    pub position: usize,
    /// The most likely tokens, best first; equal logits in the order of their ids.
    pub ids: Vec<u32>,
    /// Their logits.
    pub logits: Vec<f32>,
    /// Log of the sum of the exponentials of all logits.
    pub logsumexp: f64,
}

/// Scores `ids` as one sequence: every token after the first, given all before it. Needs at least two.
pub fn perplexity<E: Engine>(
    engine: &mut E,
    ids: &[u32],
    interrupted: &AtomicBool,
) -> Result<Perplexity, GenerateError> {
    let Some((_, targets)) = ids.split_first().filter(|(_, targets)| !targets.is_empty()) else {
        return Err(GenerateError::EmptyPrompt);
    };
    let mut sum = 0.0;
    for_each_position(engine, &ids[..targets.len()], interrupted, |position, logits| {
        let target = targets.get(position).and_then(|&target| logits.get(target as usize));
        let &target = target.ok_or(GenerateError::Contract { wanted: "all logits", got: "fewer" })?;
        sum += log_sum_exp(logits) - f64::from(target);
        Ok(())
    })?;
    let mean_nll = sum / targets.len() as f64;
    Ok(Perplexity { tokens: targets.len(), mean_nll, perplexity: mean_nll.exp() })
}

/// The `top` best logits after each of `ids`, run as one sequence.
pub fn logits<E: Engine>(
    engine: &mut E,
    ids: &[u32],
    top: usize,
    interrupted: &AtomicBool,
) -> Result<Vec<PositionLogits>, GenerateError> {
    if ids.is_empty() {
        return Err(GenerateError::EmptyPrompt);
    }
    let mut positions = Vec::with_capacity(ids.len());
    let mut best = Vec::new();
    for_each_position(engine, ids, interrupted, |position, logits| {
        most_likely(logits, top, &mut best);
        let (ids, best) = best.iter().map(|candidate| (candidate.token, candidate.logit)).unzip();
        positions.push(PositionLogits { position, ids, logits: best, logsumexp: log_sum_exp(logits) });
        Ok(())
    })?;
    Ok(positions)
}

/// Calls `visit` with the logits of each position, in order. Runs in steps small enough to bound the memory of the logits.
fn for_each_position<E: Engine>(
    engine: &mut E,
    ids: &[u32],
    interrupted: &AtomicBool,
    mut visit: impl FnMut(usize, &[f32]) -> Result<(), GenerateError>,
) -> Result<(), GenerateError> {
    let capacity = engine.capacity();
    if ids.len() > capacity.positions {
        return Err(GenerateError::PromptTooLong { tokens: ids.len(), room: capacity.positions });
    }
    let affordable = LOGITS_BYTES / (engine.vocab().max(1) * size_of::<f32>());
    let rows_a_step = affordable.min(capacity.rows).max(1);
    let sequence = engine.begin()?;
    let mut position = 0;
    for chunk in ids.chunks(rows_a_step) {
        if interrupted.load(Ordering::Relaxed) {
            engine.end(sequence)?;
            return Err(GenerateError::Interrupted);
        }
        let row = |(index, &id): (usize, &u32)| Row {
            token: Token::Id(id),
            position: position + index,
            sequence,
            want: Want::Logits,
        };
        let rows: Vec<Row> = chunk.iter().enumerate().map(row).collect();
        for result in engine.step(&rows)? {
            let RowResult::Logits(logits) = result else {
                return Err(GenerateError::Contract { wanted: "logits", got: "another result" });
            };
            check_logits(&logits)?;
            visit(position, &logits)?;
            position += 1;
        }
    }
    engine.end(sequence)?;
    Ok(())
}
