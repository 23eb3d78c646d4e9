//! What the scheduler did so far.

use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers that only grow, and numbers of the moment; any thread may read them.
#[derive(Debug, Default)]
pub struct Counters {
    /// Answers that came to an end by themselves: end token, stop string, length, full context.
    pub finished: Count,
    /// Answers that were begun and that nobody waited for any more.
    pub cancelled: Count,
    /// Answers that ended with an error or were interrupted.
    pub failed: Count,
    /// Tokens of prompts, whether run or reused.
    pub prompt_tokens: Count,
    /// Tokens of answers.
    pub generated_tokens: Count,
    /// Answers that reused a part of their prompt.
    pub prefix_hits: Count,
    /// Answers that had to run their whole prompt.
    pub prefix_misses: Count,
    /// Tokens of prompts that another sequence had run already.
    pub reused_tokens: Count,
    /// Forward passes.
    pub steps: Count,
    /// Rows of all forward passes.
    pub rows: Count,
    /// Answers being worked on now.
    pub running: Count,
    /// Sequences kept now for what may come.
    pub kept: Count,
}

/// One number.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, more: usize) {
        self.0.fetch_add(more as u64, Ordering::Relaxed);
    }

    pub(super) fn set(&self, value: usize) {
        self.0.store(value as u64, Ordering::Relaxed);
    }
}
