//! One step: from checked rows to results.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use super::{CpuEngine, Model};
use crate::device::arena::Arena;
use crate::device::attention::partial_elements;
use crate::device::buffer::AnyBuffer;
use crate::device::pool::Barrier;
use crate::device::profile::{Profile, Stage};
use crate::device::run::{Run, Step, StepSequence, WANTED_ROWS};
use crate::device::top::{merge, top};
use crate::runtime::engine::{EngineError, Row, RowResult, Want};
use crate::runtime::step::{Checked, Limits, check};

impl<M: Model> CpuEngine<M> {
    pub(super) fn run_step(&mut self, rows: &[Row]) -> Result<Vec<RowResult>, EngineError> {
        if let Some(reason) = &self.lost {
            return Err(EngineError::DeviceLost(reason.clone()));
        }
        let limits = Limits {
            capacity: self.capacity,
            vocab: self.spec.vocab,
            has_hidden_state: self.spec.hidden.is_some(),
        };
        let checked = check(rows, limits, &self.pages, &self.best)?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let positions: Vec<usize> = rows.iter().map(|row| row.position).collect();
        let counts = checked.sequences.iter().map(|(sequence, rows)| (*sequence, rows.len())).collect();
        let appending = self.pages.plan_append(counts)?;
        // All memory is taken before anything changes.
        for (group, pages) in appending.pages_used.iter().enumerate() {
            self.caches.grow(group, *pages).ok_or(EngineError::NoFreePage)?;
        }
        let elements = partial_elements(&positions, self.caches.layers(), self.pool.threads());
        if elements > self.memory.partials.len() {
            self.memory.partials =
                Arena::new(1, elements.next_power_of_two()).ok_or(EngineError::NoFreePage)?;
        }
        for copy in self.pages.append(&appending) {
            self.caches.copy(copy);
        }

        let found: Vec<Found> = rows
            .iter()
            .enumerate()
            .filter(|(_, row)| row.want != Want::Nothing)
            .map(|(row, Row { want, .. })| Found {
                row,
                want: *want,
                best: Mutex::default(),
                values: Mutex::default(),
            })
            .collect();
        let ran = catch_unwind(AssertUnwindSafe(|| self.run_rows(checked, positions, &found)));
        if let Err(payload) = ran {
            let reason = message(&*payload);
            self.lost = Some(reason.clone());
            return Err(EngineError::DeviceLost(reason));
        }
        self.pages.slide();

        let mut results = vec![RowResult::Nothing; rows.len()];
        self.best.clear();
        self.best.resize(rows.len(), None);
        for found in found {
            let row = found.row;
            let (result, best) = found.result();
            results[row] = result;
            self.best[row] = best;
        }
        Ok(results)
    }

    fn run_rows(&mut self, checked: Checked, positions: Vec<usize>, found: &[Found]) {
        let groups = self.caches.windows.len();
        let Checked { tokens, sequence_of, sequences } = checked;
        let sequences = sequences
            .into_iter()
            .map(|(sequence, rows)| {
                let tables = (0..groups).filter_map(|group| self.pages.table(sequence, group)).collect();
                StepSequence { rows, tables }
            })
            .collect();
        let step = Step { tokens, positions, sequence_of, sequences };
        let wanted: Vec<usize> = found.iter().map(|found| found.row).collect();
        let (model, spec, threads) = (&self.model, &self.spec, self.pool.threads());
        let (memory, caches, isa) = (&self.memory, &self.caches, self.isa);
        let measured = self.profile.is_some().then(|| Mutex::new(Profile::default()));

        let work = |thread: usize, barrier: &Barrier| {
            let mut scratch = self.scratch[thread].lock().unwrap_or_else(PoisonError::into_inner);
            scratch.turns.clear();
            let measures = thread == 0 && measured.is_some();
            let mut run = Run {
                thread,
                threads,
                isa,
                barrier,
                step: &step,
                wanted: &[],
                memory,
                caches,
                scratch: RefCell::new(scratch),
                profile: measures.then(RefCell::default),
            };
            model.layers(&run);
            for (wanted, found) in wanted.chunks(WANTED_ROWS).zip(found.chunks(WANTED_ROWS)) {
                run.barrier();
                run.wanted = wanted;
                model.head(&run);
                run.barrier();
                take_results(&run, found, spec.logits, spec.hidden);
            }
            if let (Some(measured), Some(profile)) = (&measured, run.profile) {
                *measured.lock().unwrap_or_else(PoisonError::into_inner) = profile.into_inner();
            }
        };
        self.pool.run(work);
        if let (Some(profile), Some(measured)) = (&mut self.profile, measured) {
            profile.merge(&measured.into_inner().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

/// What a wanted row has given so far.
struct Found {
    row: usize,
    want: Want,
    /// The most likely tokens of each thread's part of the vocabulary.
    best: Mutex<Vec<(u32, f32)>>,
    /// All logits or the hidden state.
    values: Mutex<Vec<f32>>,
}

impl Found {
    /// The result, and the most likely token.
    fn result(self) -> (RowResult, Option<u32>) {
        let best = self.best.into_inner().unwrap_or_else(PoisonError::into_inner);
        let values = self.values.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut best = merge([best], kept(self.want));
        let most_likely = best.first().map(|(id, _)| *id);
        let result = match self.want {
            Want::Nothing => RowResult::Nothing,
            Want::Top(k) => {
                best.truncate(k);
                RowResult::Top(best)
            }
            Want::Logits => RowResult::Logits(values),
            Want::Hidden => RowResult::Hidden(values),
        };
        (result, most_likely)
    }
}

/// How many of the most likely tokens are looked for: at least the one with which the next step may continue.
fn kept(want: Want) -> usize {
    match want {
        Want::Nothing | Want::Hidden => 0,
        Want::Top(k) => k.max(1),
        Want::Logits => 1,
    }
}

/// Takes what the head has given for the wanted rows of `run`: each thread a part of the vocabulary.
fn take_results(run: &Run<'_>, found: &[Found], logits: AnyBuffer, hidden: Option<AnyBuffer>) {
    let _timer = run.time(Stage::Top);
    let whole_rows = run.share(found.len());
    for (row, found) in found.iter().enumerate() {
        let k = kept(found.want);
        if k > 0 {
            let vocab = run.share(logits.width);
            let first_id = vocab.start as u32;
            let best = top(run.isa, &run.wanted_row(logits, row)[vocab], first_id, k);
            found.best.lock().unwrap_or_else(PoisonError::into_inner).extend(best);
        }
        let values = match found.want {
            Want::Logits => Some(logits),
            // A row that wants what is not there was refused.
            Want::Hidden => hidden,
            Want::Nothing | Want::Top(_) => None,
        };
        let Some(values) = values else { continue };
        if whole_rows.contains(&row) {
            let mut place = found.values.lock().unwrap_or_else(PoisonError::into_inner);
            place.extend_from_slice(run.wanted_row(values, row));
        }
    }
}

/// What a panic said.
fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| text.to_string());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a thread panicked".into())
}
