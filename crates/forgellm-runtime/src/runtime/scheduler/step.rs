//! What a step holds, and what becomes of its results.

use crate::runtime::engine::{Engine, EngineError, Row, RowResult, SequenceId, Want};
use crate::runtime::generate::{Decoder, GenerateError};
use crate::runtime::scheduler::Scheduler;

/// Rows of prompts in a step that also holds rows of answers: more would make those wait too long.
const PROMPT_ROWS_BESIDE_ANSWERS: usize = 128;

/// The part of an answer, by its index, in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Share {
    index: usize,
    sequence: SequenceId,
    rows: usize,
}

impl<E: Engine> Scheduler<'_, E> {
    /// Runs one step.
    pub(super) fn step(&mut self) -> Result<(), EngineError> {
        let shares = self.shares();
        if shares.is_empty() {
            return Ok(());
        }
        match self.run_shares(&shares) {
            Ok(()) => Ok(()),
            Err(error @ EngineError::DeviceLost(_)) => Err(error),
            // Whose rows are to blame shows when each runs alone.
            Err(_) => shares.iter().try_for_each(|share| match self.run_shares(&[*share]) {
                Ok(()) => Ok(()),
                Err(error @ EngineError::DeviceLost(_)) => Err(error),
                Err(error) => {
                    self.active[share.index].outcome = Some(Err(error.into()));
                    Ok(())
                }
            }),
        }
    }

    /// Divides a step: a row for each answer, then what is left among prompts, evenly.
    fn shares(&mut self) -> Vec<Share> {
        let most = self.engine.capacity().rows.max(1);
        let has_sequence = |(index, active): (usize, &super::Active)| {
            active.sequence.map(|sequence| Share { index, sequence, rows: active.pending() })
        };
        let all = self.active.iter().enumerate().filter_map(has_sequence);
        let (mut shares, mut prompts): (Vec<Share>, Vec<Share>) = all.partition(|share| share.rows == 1);
        // Not even more answers than rows keep a prompt from going on.
        let room = if prompts.is_empty() { most } else { (most - 1).max(1) };
        if shares.len() > room {
            let start = self.rotation % shares.len();
            shares.rotate_left(start);
            shares.truncate(room);
            self.rotation = self.rotation.wrapping_add(room);
        }
        let mut left = most - shares.len();
        if !shares.is_empty() {
            left = left.min(PROMPT_ROWS_BESIDE_ANSWERS);
        }
        // The shortest first: what it does not need of its part goes to the others.
        prompts.sort_by_key(|share| share.rows);
        let count = prompts.len();
        for (index, mut share) in prompts.into_iter().enumerate() {
            share.rows = share.rows.min(left.div_ceil(count - index));
            left -= share.rows;
            if share.rows > 0 {
                shares.push(share);
            }
        }
        shares
    }

    fn run_shares(&mut self, shares: &[Share]) -> Result<(), EngineError> {
        let rows: Vec<Row> = shares
            .iter()
            .flat_map(|share| self.active[share.index].rows(share.sequence, share.rows))
            .collect();
        let results = loop {
            match self.engine.step(&rows) {
                Err(EngineError::NoFreePage) => match self.kept.take_oldest(None) {
                    Some(entry) => self.engine.end(entry.sequence)?,
                    None => return Err(EngineError::NoFreePage),
                },
                results => break results?,
            }
        };
        self.counters.steps.add(1);
        self.counters.rows.add(rows.len());
        let room = self.engine.capacity().positions;
        let mut end = 0;
        for share in shares {
            let start = end;
            end += share.rows;
            let active = &mut self.active[share.index];
            match results.get(start..end) {
                Some(results) => active.advance(results, room),
                None => active.outcome = Some(Err(missing_result())),
            }
        }
        Ok(())
    }

    /// Whether all that is to be done is to go on with greedy answers, and the engine can start a step before the one before is done.
    pub(super) fn can_run_ahead(&mut self) -> bool {
        let rows = self.engine.capacity().rows;
        self.engine.run_ahead().is_some()
            && self.active.len() <= rows
            && self.active.iter().all(|active| {
                active.sequence.is_some() && active.pending() == 1 && active.is_greedy() && active.left() > 0
            })
    }

    /// Runs steps, each started before the one before is done, until an answer ends or a job comes.
    pub(super) fn decode_ahead(&mut self) -> Result<(), EngineError> {
        let room = self.engine.capacity().positions;
        let sequences: Vec<SequenceId> = self.active.iter().filter_map(|active| active.sequence).collect();
        let mut decoder = Decoder::new(&mut *self.engine, sequences, Want::Top(1));
        let mut failure = None;
        while self.active.iter().all(|active| active.outcome.is_none() && !active.is_gone()) {
            let last: Vec<u32> =
                self.active.iter().filter_map(|active| active.tokens.last().copied()).collect();
            let waits = !self.queue.is_empty() || self.queue.is_aborted();
            let ahead = !waits && self.active.iter().all(|active| active.left() > 1);
            let results: Vec<RowResult> = match decoder.next(&last, ahead) {
                Ok(results) => results.unwrap_or_default(),
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            };
            self.counters.steps.add(1);
            self.counters.rows.add(last.len());
            for (index, active) in self.active.iter_mut().enumerate() {
                match results.get(index..=index) {
                    Some(results) => active.advance(results, room),
                    None => active.outcome = Some(Err(missing_result())),
                }
            }
            if waits {
                break;
            }
        }
        decoder.finish()?;
        match failure {
            None => Ok(()),
            Some(error @ EngineError::DeviceLost(_)) => Err(error),
            // A plain step finds out whose rows are to blame.
            Some(_) => self.step(),
        }
    }
}

fn missing_result() -> GenerateError {
    GenerateError::Contract { wanted: "one result a row", got: "another number" }
}
