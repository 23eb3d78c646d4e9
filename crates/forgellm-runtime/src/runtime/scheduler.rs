//! Continuous batching: one thread owns the engine, and works on many answers at a time.
//!
//! Jobs come over a bounded [`Queue`] and join between steps. A step holds the next row of every answer that is being generated, and
//! chunks of prompts in what room is left, so that a long prompt never keeps answers waiting for more than one step. What one answer
//! gets does not depend on the others: each has a sequence and a sampler of its own, and ends alone, with its own reason.
//!
//! A prompt that begins like a sequence that is there, running or kept idle, starts from what that one holds (`prefix`).

mod active;
mod counters;
mod kept;
mod pool;
mod prefix;
mod queue;
mod step;

use std::sync::Arc;

use crate::runtime::engine::{Engine, EngineError, SequenceId};
use crate::runtime::generate::{FinishReason, GenerateError};
use active::Active;
pub use counters::Counters;
pub(in crate::runtime) use kept::common_prefix;
use kept::{Entry, Kept};
pub use queue::{Chosen, Finished, Job, Listener, Queue, SubmitError};

/// The engine's thread, from the queue to the listeners.
pub struct Scheduler<'e, E> {
    engine: &'e mut E,
    queue: Arc<Queue>,
    counters: Arc<Counters>,
    /// Answers that are worked on at a time.
    parallel: usize,
    active: Vec<Active>,
    kept: Kept,
    /// Where the next step begins among answers that do not fit into one.
    rotation: usize,
}

impl<'e, E: Engine> Scheduler<'e, E> {
    /// Works on up to `parallel` answers at a time, as far as the engine has sequences. The engine's other sequences, which must all be
    /// free, are used to keep prefixes.
    pub fn new(
        engine: &'e mut E,
        queue: Arc<Queue>,
        counters: Arc<Counters>,
        parallel: usize,
    ) -> Scheduler<'e, E> {
        let parallel = parallel.min(engine.capacity().sequences).max(1);
        Scheduler {
            engine,
            queue,
            counters,
            parallel,
            active: Vec::new(),
            kept: Kept::default(),
            rotation: 0,
        }
    }

    /// Works until the queue was closed and everything in it is done. All sequences are ended then.
    ///
    /// # Errors
    /// When the device is lost. Every answer was ended with that error, and the queue takes no more jobs.
    pub fn run(mut self) -> Result<(), EngineError> {
        let result = self.work();
        if let Err(error) = &result {
            let waiting = self.queue.fail(error);
            self.counters.failed.add(self.active.len() + waiting.len());
            for active in self.active.drain(..) {
                active.finish(Err(error.clone().into()));
            }
            for job in waiting {
                job.listener.end(Err(error.clone().into()));
            }
        } else {
            while let Some(entry) = self.kept.take_oldest(None) {
                self.engine.end(entry.sequence)?;
            }
        }
        self.tell_gauges();
        result
    }

    fn work(&mut self) -> Result<(), EngineError> {
        loop {
            if self.queue.is_aborted() {
                self.interrupt()?;
            }
            self.admit();
            self.drop_gone()?;
            self.tell_gauges();
            if self.active.is_empty() {
                if self.queue.wait() {
                    continue;
                }
                return Ok(());
            }
            self.attach_all()?;
            if self.can_run_ahead() {
                self.decode_ahead()?;
            } else {
                self.step()?;
            }
            self.take_out_finished()?;
        }
    }

    /// Starts jobs for which there is room.
    fn admit(&mut self) {
        let room = self.engine.capacity().positions;
        for job in self.queue.take(self.parallel.saturating_sub(self.active.len())) {
            let vocab = self.engine.vocab();
            let unknown = job.prompt.iter().find(|&&token| token as usize >= vocab);
            let wrong = match unknown {
                _ if job.prompt.is_empty() => Some(GenerateError::EmptyPrompt),
                _ if job.prompt.len() > room => {
                    Some(GenerateError::PromptTooLong { tokens: job.prompt.len(), room })
                }
                Some(&token) => Some(EngineError::UnknownToken { token, vocab }.into()),
                None => None,
            };
            let started = match wrong {
                None => Active::new(job),
                Some(error) => {
                    job.listener.end(Err(error));
                    None
                }
            };
            match started {
                Some(active) => {
                    self.counters.prompt_tokens.add(active.prompt().len());
                    self.active.push(active);
                }
                None => self.counters.failed.add(1),
            }
        }
    }

    /// Ends what is running and what waits.
    fn interrupt(&mut self) -> Result<(), EngineError> {
        for active in &mut self.active {
            active.outcome.get_or_insert(Ok(FinishReason::Interrupted));
        }
        self.take_out_finished()?;
        for job in self.queue.take(usize::MAX) {
            self.counters.failed.add(1);
            job.listener.end(Err(GenerateError::Interrupted));
        }
        Ok(())
    }

    /// Drops the answers that nobody waits for.
    fn drop_gone(&mut self) -> Result<(), EngineError> {
        for index in (0..self.active.len()).rev() {
            if self.active[index].is_gone() {
                self.counters.cancelled.add(1);
                let gone = self.active.remove(index);
                self.counters.generated_tokens.add(gone.answer().len());
                gone.sequence.map_or(Ok(()), |sequence| self.engine.end(sequence))?;
            }
        }
        Ok(())
    }

    /// Takes out the answers that have ended. The sequences of whole answers are kept: the next prompt of the same chat begins like them.
    fn take_out_finished(&mut self) -> Result<(), EngineError> {
        for index in (0..self.active.len()).rev() {
            let Some(outcome) = self.active[index].outcome.take() else { continue };
            let ended = self.active.remove(index);
            let sequence = ended.sequence;
            self.counters.generated_tokens.add(ended.answer().len());
            let is_whole = !matches!(outcome, Err(_) | Ok(FinishReason::Interrupted));
            if is_whole { &self.counters.finished } else { &self.counters.failed }.add(1);
            let tokens = ended.finish(outcome);
            if let Some(sequence) = sequence {
                if is_whole && !self.kept.holds(&tokens) {
                    self.kept.push(Entry { sequence, tokens });
                } else {
                    self.engine.end(sequence)?;
                }
            }
        }
        Ok(())
    }

    fn tell_gauges(&self) {
        self.counters.running.set(self.active.len());
        self.counters.kept.set(self.kept.len());
    }

    /// Sequences that exist.
    fn sequences(&self) -> usize {
        self.kept.len() + self.active.iter().filter(|active| active.sequence.is_some()).count()
    }

    /// Sees to it that one more sequence can begin, if need be by dropping the kept one that was not used for longest, but not `except`;
    /// `false` if there is no other.
    fn make_room(&mut self, except: Option<SequenceId>) -> Result<bool, EngineError> {
        if self.sequences() < self.engine.capacity().sequences {
            return Ok(true);
        }
        match self.kept.take_oldest(except) {
            Some(entry) => self.engine.end(entry.sequence).map(|()| true),
            None => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests;
