//! Measures the speed of prompts and of generation, and what of the memory's speed generation reaches.

mod bandwidth;
mod memory;
mod run;
mod speed;

use std::sync::atomic::AtomicBool;

use serde::Serialize;

use crate::runtime::engine::Engine;
use crate::runtime::generate::GenerateError;
pub use bandwidth::{BandwidthError, bandwidth};
pub use memory::Memory;
use run::Runs;
pub use speed::Speed;

/// What to measure: prompts of each length at each depth, and generation at each depth with each number of sequences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BenchOptions {
    /// Tokens of the prompts.
    pub prompt_tokens: Vec<usize>,
    /// Tokens to generate in each sequence.
    pub generate: usize,
    /// Positions that a sequence holds before.
    pub depths: Vec<usize>,
    /// Sequences that are continued together.
    pub batches: Vec<usize>,
    /// Runs that count.
    pub repeats: usize,
    /// Runs before that do not.
    pub warmup: usize,
}

impl BenchOptions {
    /// Positions that the longest sequence takes.
    pub fn positions(&self) -> usize {
        let longest = self.prompt_tokens.iter().copied().fold(self.generate, usize::max);
        longest.saturating_add(self.depths.iter().copied().max().unwrap_or(0))
    }

    /// The most sequences at a time.
    pub fn sequences(&self) -> usize {
        self.batches.iter().copied().fold(1, usize::max)
    }

    /// Runs altogether, those that do not count included.
    pub fn runs(&self) -> usize {
        let cases = self.prompt_tokens.len() * self.depths.len() + self.depths.len() * self.batches.len();
        cases * (self.repeats + self.warmup)
    }
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BenchResult {
    /// The prompts, by length, then by depth.
    pub prompts: Vec<PromptCase>,
    /// Generation, by depth, then by the number of sequences.
    pub generations: Vec<GenerationCase>,
    /// Memory after the last run.
    pub memory: Option<Memory>,
}

/// How fast a prompt is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PromptCase {
    /// Positions that the sequence held before.
    pub depth: usize,
    /// Tokens of the prompt per second.
    #[serde(flatten)]
    pub speed: Speed,
}

/// How fast sequences are continued together, a token of each in a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct GenerationCase {
    /// Positions that each sequence held before.
    pub depth: usize,
    /// Sequences.
    pub batch: usize,
    /// Tokens per second, those of all sequences together.
    #[serde(flatten)]
    pub speed: Speed,
    /// Bytes that memory has to give for a token: weights, shared by the sequences of a step, keys and values. None if the engine cannot tell.
    pub bytes_a_token: Option<u64>,
}

/// What a machine's memory allows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Roof {
    /// Tokens per second if reading memory were all that takes time.
    pub tokens_a_second: f64,
    /// Which share of it was reached.
    pub reached: f64,
}

impl GenerationCase {
    /// Compares with a memory that gives so many bytes per second.
    pub fn roof(&self, bandwidth: f64) -> Option<Roof> {
        let tokens_a_second = bandwidth / self.bytes_a_token.filter(|bytes| *bytes > 0)? as f64;
        Some(Roof { tokens_a_second, reached: self.speed.median / tokens_a_second })
    }
}

/// Measures; `weight_bytes` are those that a step reads however few rows it has. `progress` is called after each run.
///
/// # Errors
/// When the engine cannot hold [`BenchOptions::positions`] or [`BenchOptions::sequences`], or fails.
pub fn bench<E: Engine>(
    engine: &mut E,
    options: &BenchOptions,
    weight_bytes: u64,
    interrupted: &AtomicBool,
    progress: &mut dyn FnMut(),
) -> Result<BenchResult, GenerateError> {
    let (tokens, room) = (options.positions(), engine.capacity().positions);
    if tokens > room {
        return Err(GenerateError::PromptTooLong { tokens, room });
    }
    let mut runs = Runs { engine, options, interrupted, progress };
    let mut prompts = Vec::new();
    for &tokens in &options.prompt_tokens {
        for &depth in &options.depths {
            let times = runs.prompt(tokens, depth)?;
            prompts.push(PromptCase { depth, speed: Speed::of(tokens, &times) });
        }
    }
    let mut generations = Vec::new();
    for &depth in &options.depths {
        for &batch in &options.batches {
            let times = runs.generation(batch, depth)?;
            let speed = Speed::of(options.generate * batch, &times);
            let bytes_a_token = runs
                .engine
                .cache_bytes_read(depth + options.generate / 2)
                .map(|cache| weight_bytes / batch as u64 + cache);
            let speed = Speed { tokens: options.generate, ..speed };
            generations.push(GenerationCase { depth, batch, speed, bytes_a_token });
        }
    }
    Ok(BenchResult { prompts, generations, memory: Memory::of_this_process() })
}
