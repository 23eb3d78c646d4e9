//! Measures the speed of prompt and generation.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::runtime::engine::{Engine, RowResult, Want};
use crate::runtime::generate::{Decoder, GenerateError, best_of, per_second, prefill};

/// What to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BenchOptions {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens to generate, in a sequence of their own.
    pub max_tokens: usize,
    /// Runs that count, after one that does not.
    pub repetitions: usize,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BenchResult {
    /// Prompt tokens per second, from an empty sequence.
    pub prompt: Speed,
    /// Tokens per second of one sequence, one token a step, from an empty sequence.
    pub generation: Speed,
    /// Memory after the last run.
    pub memory: Option<Memory>,
}

/// Tokens per second over several runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Speed {
    /// Tokens of each run.
    pub tokens: usize,
    /// The middle run (the mean of the two middle ones).
    pub median: f64,
    /// The slowest run.
    pub min: f64,
    /// The fastest run.
    pub max: f64,
}

/// Memory of this process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Resident now, pages of the mapped weights included.
    pub resident: u64,
    /// Of these, pages that belong to no file.
    pub anonymous: u64,
    /// Resident at most up to now.
    pub peak: u64,
}

/// Measures; the engine must hold `max(prompt_tokens, max_tokens)` positions.
pub fn bench<E: Engine>(
    engine: &mut E,
    options: &BenchOptions,
    interrupted: &AtomicBool,
) -> Result<BenchResult, GenerateError> {
    let (tokens, room) = (options.prompt_tokens.max(options.max_tokens), engine.capacity().positions);
    if tokens > room {
        return Err(GenerateError::PromptTooLong { tokens, room });
    }
    let vocab = engine.vocab().max(1);
    let prompt: Vec<u32> = (0..options.prompt_tokens).map(|index| (index * 7919 % vocab) as u32).collect();
    let mut prompt_speeds = Vec::new();
    let mut generation_speeds = Vec::new();
    for run in 0..=options.repetitions {
        let prompt_time = time_prompt(engine, &prompt, interrupted)?;
        let generation_time = time_generation(engine, options.max_tokens, interrupted)?;
        if run > 0 {
            prompt_speeds.push(per_second(options.prompt_tokens, prompt_time));
            generation_speeds.push(per_second(options.max_tokens, generation_time));
        }
    }
    Ok(BenchResult {
        prompt: Speed::of(options.prompt_tokens, prompt_speeds),
        generation: Speed::of(options.max_tokens, generation_speeds),
        memory: Memory::of_this_process(),
    })
}

fn time_prompt<E: Engine>(
    engine: &mut E,
    prompt: &[u32],
    interrupted: &AtomicBool,
) -> Result<Duration, GenerateError> {
    let sequence = engine.begin()?;
    let start = Instant::now();
    prefill(engine, sequence, prompt, Want::Top(1), interrupted)?;
    let time = start.elapsed();
    engine.end(sequence)?;
    Ok(time)
}

fn time_generation<E: Engine>(
    engine: &mut E,
    tokens: usize,
    interrupted: &AtomicBool,
) -> Result<Duration, GenerateError> {
    let sequence = engine.begin()?;
    let start = Instant::now();
    let mut token = 0;
    let mut decoder = Decoder::new(engine, vec![sequence], Want::Top(1));
    for position in 0..tokens {
        if interrupted.load(Ordering::Relaxed) {
            return Err(GenerateError::Interrupted);
        }
        let results = decoder.next(&[token], position + 1 < tokens)?.unwrap_or_default();
        token = best_of(results.first().unwrap_or(&RowResult::Nothing))?;
    }
    decoder.finish()?;
    let time = start.elapsed();
    engine.end(sequence)?;
    Ok(time)
}

impl Speed {
    fn of(tokens: usize, mut speeds: Vec<f64>) -> Speed {
        speeds.sort_by(f64::total_cmp);
        let at = |index: usize| speeds.get(index).copied().unwrap_or(0.0);
        let count = speeds.len();
        Speed {
            tokens,
            median: (at(count.saturating_sub(1) / 2) + at(count / 2)) / 2.0,
            min: at(0),
            max: at(count.saturating_sub(1)),
        }
    }
}

impl Memory {
    /// What Linux says about this process; nothing on other systems.
    pub fn of_this_process() -> Option<Memory> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let bytes = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            let kib: u64 = line.trim_start_matches(':').trim().strip_suffix("kB")?.trim().parse().ok()?;
            kib.checked_mul(1024)
        };
        Some(Memory { resident: bytes("VmRSS")?, anonymous: bytes("RssAnon")?, peak: bytes("VmHWM")? })
    }
}
