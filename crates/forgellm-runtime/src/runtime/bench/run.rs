//! One case, again and again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::runtime::bench::BenchOptions;
use crate::runtime::engine::{Engine, EngineError, SequenceId, Want};
use crate::runtime::generate::{Decoder, GenerateError, best_of, prefill};

/// Runs of an engine, as the options say.
pub(super) struct Runs<'a, E> {
    pub engine: &'a mut E,
    pub options: &'a BenchOptions,
    pub interrupted: &'a AtomicBool,
    /// Called after each.
    pub progress: &'a mut dyn FnMut(),
}

impl<E: Engine> Runs<'_, E> {
    /// Times of a prompt of `tokens` tokens behind `depth` others.
    pub(super) fn prompt(&mut self, tokens: usize, depth: usize) -> Result<Vec<Duration>, GenerateError> {
        let ids = any_tokens(self.engine, depth..depth + tokens);
        let interrupted = self.interrupted;
        self.repeated(1, depth, |engine, sequences| {
            for &sequence in sequences {
                prefill(engine, sequence, &ids, Want::Top(1), interrupted)?;
            }
            Ok(())
        })
    }

    /// Times of generating in `batch` sequences that hold `depth` positions each.
    pub(super) fn generation(&mut self, batch: usize, depth: usize) -> Result<Vec<Duration>, GenerateError> {
        let (interrupted, generate) = (self.interrupted, self.options.generate);
        self.repeated(batch, depth, |engine, sequences| {
            // Different, so that the sequences are.
            let mut tokens = any_tokens(engine, 0..sequences.len());
            let mut decoder = Decoder::new(engine, sequences.to_vec(), Want::Top(1));
            for position in 0..generate {
                if interrupted.load(Ordering::Relaxed) {
                    return Err(GenerateError::Interrupted);
                }
                let results = decoder.next(&tokens, position + 1 < generate)?.unwrap_or_default();
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
    fn repeated(
        &mut self,
        batch: usize,
        depth: usize,
        mut work: impl FnMut(&mut E, &[SequenceId]) -> Result<(), GenerateError>,
    ) -> Result<Vec<Duration>, GenerateError> {
        let Runs { engine, options, interrupted, progress } = self;
        let mut sequences = Vec::new();
        for _ in 0..batch {
            sequences.push(filled(*engine, depth, interrupted)?);
        }
        let mut times = Vec::new();
        for run in 0..options.warmup + options.repeats {
            for sequence in &mut sequences {
                *sequence = cut_back(*engine, *sequence, depth, interrupted)?;
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
