//! One case, again and again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::runtime::bench::BenchOptions;
use crate::runtime::engine::{Engine, EngineError, SequenceId, Want};
use crate::runtime::generate::{Decoder, GenerateError, best_of, prefill};

/// Times of a prompt of `tokens` tokens behind `depth` others.
pub(super) fn prompt<E: Engine>(
    engine: &mut E,
    tokens: usize,
    depth: usize,
    options: &BenchOptions,
    interrupted: &AtomicBool,
    progress: &mut dyn FnMut(),
) -> Result<Vec<Duration>, GenerateError> {
    let ids = any_tokens(engine, depth..depth + tokens);
    repeated(engine, 1, depth, options, interrupted, progress, |engine, sequences| {
        for &sequence in sequences {
            prefill(engine, sequence, &ids, Want::Top(1), interrupted)?;
        }
        Ok(())
    })
}

/// Times of generating in `batch` sequences that hold `depth` positions each.
pub(super) fn generation<E: Engine>(
    engine: &mut E,
    batch: usize,
    depth: usize,
    options: &BenchOptions,
    interrupted: &AtomicBool,
    progress: &mut dyn FnMut(),
) -> Result<Vec<Duration>, GenerateError> {
    repeated(engine, batch, depth, options, interrupted, progress, |engine, sequences| {
        // Different, so that the sequences are.
        let mut tokens = any_tokens(engine, 0..sequences.len());
        let mut decoder = Decoder::new(engine, sequences.to_vec(), Want::Top(1));
        for position in 0..options.generate {
            if interrupted.load(Ordering::Relaxed) {
                return Err(GenerateError::Interrupted);
            }
            let results = decoder.next(&tokens, position + 1 < options.generate)?.unwrap_or_default();
            if results.len() != tokens.len() {
                let wanted = "one result a row";
                return Err(GenerateError::Contract { wanted, got: "another number" });
            }
            tokens = results.iter().map(best_of).collect::<Result<_, _>>()?;
        }
        Ok(decoder.finish()?)
    })
}

/// Times `work` on sequences of this depth, as often as the options say.
fn repeated<E: Engine>(
    engine: &mut E,
    batch: usize,
    depth: usize,
    options: &BenchOptions,
    interrupted: &AtomicBool,
    progress: &mut dyn FnMut(),
    mut work: impl FnMut(&mut E, &[SequenceId]) -> Result<(), GenerateError>,
) -> Result<Vec<Duration>, GenerateError> {
    let mut sequences = Vec::new();
    for _ in 0..batch {
        sequences.push(filled(engine, depth, interrupted)?);
    }
    let mut times = Vec::new();
    for run in 0..options.warmup + options.repeats {
        for sequence in &mut sequences {
            *sequence = cut_back(engine, *sequence, depth, interrupted)?;
        }
        let start = Instant::now();
        work(engine, &sequences)?;
        let time = start.elapsed();
        if run >= options.warmup {
            times.push(time);
        }
        progress();
    }
    for sequence in sequences {
        engine.end(sequence)?;
    }
    Ok(times)
}

/// A sequence that holds `depth` positions.
fn filled<E: Engine>(
    engine: &mut E,
    depth: usize,
    interrupted: &AtomicBool,
) -> Result<SequenceId, GenerateError> {
    let sequence = engine.begin()?;
    if depth > 0 {
        let ids = any_tokens(engine, 0..depth);
        prefill(engine, sequence, &ids, Want::Nothing, interrupted)?;
    }
    Ok(sequence)
}

/// The sequence as it was, or another one like it where too much has left a window.
fn cut_back<E: Engine>(
    engine: &mut E,
    sequence: SequenceId,
    depth: usize,
    interrupted: &AtomicBool,
) -> Result<SequenceId, GenerateError> {
    match engine.truncate(sequence, depth) {
        Ok(()) => Ok(sequence),
        Err(EngineError::CannotTruncate { .. }) => {
            engine.end(sequence)?;
            filled(engine, depth, interrupted)
        }
        Err(error) => Err(error.into()),
    }
}

/// Tokens all over the vocabulary.
fn any_tokens<E: Engine>(engine: &E, positions: std::ops::Range<usize>) -> Vec<u32> {
    let vocab = engine.vocab().max(1);
    positions.map(|position| (position % vocab * 7919 % vocab) as u32).collect()
}
