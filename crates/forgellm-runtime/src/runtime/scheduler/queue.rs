//! The way of requests to the engine's thread.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::runtime::engine::EngineError;
use crate::runtime::generate::{FinishReason, GenerateError};
use crate::runtime::guide::Guide;
use crate::runtime::sampling::{LogitBias, SamplingParams, TokenLogprobs};

/// One answer that is asked for.
pub struct Job {
    /// Token ids that the answer continues; at least one.
    pub prompt: Vec<u32>,
    /// The answer ends after this many tokens.
    pub max_tokens: usize,
    /// How tokens are chosen.
    pub sampling: SamplingParams,
    /// What is added to the logits of single tokens.
    pub logit_bias: LogitBias,
    /// Whether log-probabilities are wanted, and of how many of the most likely tokens beside each chosen one.
    pub logprobs: Option<usize>,
    /// What the answer must follow, at its beginning.
    pub guide: Option<Guide>,
    /// Whether, instead of an answer, the mean hidden state of the prompt is wanted.
    pub embeds: bool,
    /// Ids that end the answer; they do not belong to it.
    pub end_ids: Vec<u32>,
    /// Who hears of it.
    pub listener: Box<dyn Listener>,
}

/// Who waits for an answer. Called on the engine's thread, so it must never wait for anything.
pub trait Listener: Send {
    /// The next token of the answer; `Break` ends the answer with [`FinishReason::Stop`].
    fn token(&mut self, chosen: Chosen) -> ControlFlow<()>;

    /// The mean hidden state of the prompt, of a job that wants it; then comes the end.
    fn embedding(&mut self, _embedding: Vec<f32>) {}

    /// The end, called once, but for a listener that is gone.
    fn end(self: Box<Self>, outcome: Result<Finished, GenerateError>);

    /// Whether nobody waits any more; the answer is then dropped before the next step.
    fn is_gone(&self) -> bool;
}

/// A token of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// Its id.
    pub token: u32,
    /// How likely it was, if the job asks for that.
    pub logprobs: Option<TokenLogprobs>,
    /// When it was chosen.
    pub at: Instant,
}

/// An answer that came to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// Why.
    pub reason: FinishReason,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Those of them that another sequence had already run.
    pub reused_tokens: usize,
    /// Tokens of the answer, without the end token.
    pub generated_tokens: usize,
    /// The seed that gives the answer again.
    pub seed: u64,
}

/// Why a request was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Too many wait already.
    #[error("{capacity} requests are waiting already; try again later")]
    Full {
        /// How many may wait.
        capacity: usize,
    },
    /// No more requests are taken.
    #[error("the server is shutting down")]
    Closed,
    /// The engine is gone.
    #[error(transparent)]
    Lost(EngineError),
}

/// Jobs that wait for the engine, in the order in which they came. Those whose listeners are gone do not count.
pub struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    capacity: usize,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    phase: Phase,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Phase {
    /// Jobs are taken.
    #[default]
    Open,
    /// What was taken is brought to an end.
    Closed,
    /// What is not finished ends where it is.
    Aborted,
    /// The engine failed.
    Lost(EngineError),
}

impl Queue {
    /// A queue in which at most `capacity` jobs wait.
    pub fn new(capacity: usize) -> Queue {
        Queue { state: Mutex::default(), changed: Condvar::new(), capacity }
    }

    /// How many jobs may wait.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many jobs wait.
    pub fn len(&self) -> usize {
        let mut state = self.lock();
        state.drop_gone();
        state.waiting.len()
    }

    /// Whether no job waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts all of `jobs` behind those that wait, or none of them.
    pub fn submit(&self, jobs: Vec<Job>) -> Result<(), SubmitError> {
        let mut state = self.lock();
        match &state.phase {
            Phase::Open => {}
            Phase::Closed | Phase::Aborted => return Err(SubmitError::Closed),
            Phase::Lost(error) => return Err(SubmitError::Lost(error.clone())),
        }
        state.drop_gone();
        if state.waiting.len().saturating_add(jobs.len()) > self.capacity {
            return Err(SubmitError::Full { capacity: self.capacity });
        }
        state.waiting.extend(jobs);
        self.changed.notify_all();
        Ok(())
    }

    /// Whether jobs are taken; if not, why.
    pub fn check(&self) -> Result<(), SubmitError> {
        match &self.lock().phase {
            Phase::Open => Ok(()),
            Phase::Closed | Phase::Aborted => Err(SubmitError::Closed),
            Phase::Lost(error) => Err(SubmitError::Lost(error.clone())),
        }
    }

    /// Takes no more jobs; what was taken is brought to an end, and then the engine's loop ends.
    pub fn close(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Closed;
        }
        self.changed.notify_all();
    }

    /// Ends everything where it is, with [`FinishReason::Interrupted`].
    pub fn abort(&self) {
        let mut state = self.lock();
        if !matches!(state.phase, Phase::Lost(_)) {
            state.phase = Phase::Aborted;
        }
        self.changed.notify_all();
    }

    pub(super) fn is_aborted(&self) -> bool {
        self.lock().phase == Phase::Aborted
    }

    /// Up to `most` of the jobs that wait longest.
    pub(super) fn take(&self, most: usize) -> Vec<Job> {
        let mut state = self.lock();
        state.drop_gone();
        let count = most.min(state.waiting.len());
        state.waiting.drain(..count).collect()
    }

    /// Waits for a job; `false` if none will ever come.
    pub(super) fn wait(&self) -> bool {
        let mut state = self.lock();
        while state.waiting.is_empty() {
            if state.phase != Phase::Open {
                return false;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        true
    }

    /// Takes no more jobs, since the engine failed; gives those that wait.
    pub(super) fn fail(&self, error: &EngineError) -> Vec<Job> {
        let mut state = self.lock();
        state.phase = Phase::Lost(error.clone());
        state.waiting.drain(..).collect()
    }

    /// No step changes the state halfway, so one that a panic left behind is sound.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn drop_gone(&mut self) {
        self.waiting.retain(|job| !job.listener.is_gone());
    }
}
