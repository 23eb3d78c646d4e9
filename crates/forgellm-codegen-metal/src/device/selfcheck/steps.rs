//! The steps of a self-check: row counts on both sides of each limit at which an operation takes another kernel.

use super::Checker;
use crate::device::engine::{MetalEngine, Model};
use crate::runtime::engine::{CheckEntry, Engine, EngineError, Row, SequenceId, Token, Want};

/// Windows up to so many positions are passed.
const LONGEST_WINDOW: usize = 1024;

/// A step: rows of each of two sequences, and what is wanted of all of them but the last, and of the last.
#[derive(Clone, Copy)]
struct Step([usize; 2], Want, Want);

/// What is checked, in this order. Rows decide between mat-vec (1, 2, 4, 8 rows at once) and GEMM (tiles of 16, 32, 64 rows), positions whether
/// attention is split (from 257 on), wanted rows which kernels the head takes, and entries of a top-k how long its lists are.
const STEPS: &[Step] = &[
    Step([70, 0], Want::Nothing, Want::Top(1)),
    Step([1, 0], Want::Nothing, Want::Top(1)),
    Step([2, 0], Want::Top(33), Want::Top(40)),
    Step([3, 0], Want::Top(1), Want::Top(100)),
    Step([8, 0], Want::Top(1), Want::Top(256)),
    Step([9, 0], Want::Logits, Want::Logits),
    Step([16, 0], Want::Hidden, Want::Hidden),
    Step([17, 5], Want::Top(2), Want::Top(2)),
    Step([1, 1], Want::Top(1), Want::Top(1)),
    Step([64, 0], Want::Nothing, Want::Hidden),
    Step([100, 0], Want::Nothing, Want::Top(1)),
    Step([1, 1], Want::Top(1), Want::Top(1)),
    Step([3, 2], Want::Top(1), Want::Top(1)),
];

/// Runs all steps in two sequences of the engine, or one if there is no other, which are ended again. `progress` hears how many steps are done, and says whether to go on.
///
/// What the engine has no room for is left out. An error is given if no kernel is to blame for it.
pub(crate) fn check<M: Model>(
    engine: &mut MetalEngine<M>,
    progress: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Vec<CheckEntry>, EngineError> {
    let first = engine.begin()?;
    let second = engine.begin().ok();
    let mut rows = Rows { engine, sequences: [Some(first), second], given: 0, continued: None };
    let (result, entries) = rows.run(progress);
    for sequence in [Some(first), second].into_iter().flatten() {
        engine.end(sequence)?;
    }
    match result {
        Err(error) if entries.iter().all(|entry| entry.failure.is_none()) => Err(error),
        _ => Ok(entries),
    }
}

struct Rows<'e, M> {
    engine: &'e mut MetalEngine<M>,
    sequences: [Option<SequenceId>; 2],
    /// Tokens that were given so far.
    given: usize,
    /// The row of the step before that has a most likely token.
    continued: Option<usize>,
}

impl<M: Model> Rows<'_, M> {
    fn run(
        &mut self,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> (Result<(), EngineError>, Vec<CheckEntry>) {
        let mut checker = Checker::default();
        let total = STEPS.len() as u64 + 2;
        for done in 0..total {
            if !progress(done, total) {
                break;
            }
            let step = STEPS.get(done as usize).copied().unwrap_or_else(|| self.past_windows());
            let rows = match self.rows(&step) {
                Ok(rows) => rows,
                Err(error) => return (Err(error), checker.entries()),
            };
            let (result, so_far) = self.engine.checked(checker, |engine| engine.step(&rows));
            checker = so_far;
            if let Err(error) = result {
                return (Err(error), checker.entries());
            }
        }
        (Ok(()), checker.entries())
    }

    /// Rows up to a position from which on no window shows the beginning; one row where that is passed already.
    fn past_windows(&self) -> Step {
        let positions =
            self.sequences[0].and_then(|sequence| self.engine.positions(sequence).ok()).unwrap_or(0);
        let window = self.engine.windows().filter(|window| *window <= LONGEST_WINDOW).max().unwrap_or(0);
        Step([(window + 8).saturating_sub(positions).max(1), 0], Want::Nothing, Want::Top(1))
    }

    /// The rows of a step, as far as there is room for them.
    fn rows(&mut self, step: &Step) -> Result<Vec<Row>, EngineError> {
        let Step(counts, want, want_last) = step;
        let capacity = self.engine.capacity();
        let mut rows: Vec<Row> = Vec::new();
        for (sequence, count) in self.sequences.into_iter().zip(counts) {
            let Some(sequence) = sequence else { continue };
            let first = self.engine.positions(sequence)?;
            let count = (*count).min(capacity.rows - rows.len()).min(capacity.positions - first);
            for position in first..first + count {
                let continued = if counts[0] == 1 { self.continued.take() } else { None };
                let token = continued.map_or_else(|| Token::Id(self.token()), Token::ArgmaxOfRow);
                rows.push(Row { token, position, sequence, want: self.possible(*want) });
            }
        }
        if let Some(last) = rows.last_mut() {
            last.want = self.possible(*want_last);
        }
        let likely = rows.last().is_some_and(|last| matches!(last.want, Want::Top(_) | Want::Logits));
        self.continued = likely.then(|| rows.len() - 1);
        Ok(rows)
    }

    /// Tokens from all over the vocabulary, the last and the first among them.
    fn token(&mut self) -> u32 {
        let vocab = self.engine.vocab();
        let token = match self.given {
            0 => vocab - 1,
            number => (number - 1) * 7919 % vocab,
        };
        self.given += 1;
        token as u32
    }

    /// Logits where the model gives no hidden state.
    fn possible(&self, want: Want) -> Want {
        if want == Want::Hidden && !self.engine.has_hidden_state() { Want::Logits } else { want }
    }
}
