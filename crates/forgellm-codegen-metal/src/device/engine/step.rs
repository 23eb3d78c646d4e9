//! One step: from checked rows to results.

use std::cell::{Cell, RefCell};

use super::{MetalEngine, Model};
use crate::device::attention::{RowRun, row_runs};
use crate::device::head::{MAX_TOP, NAN_ID, top};
use crate::device::memory::{read, write};
use crate::device::record;
use crate::device::run::{Run, WANTED_ROWS};
use crate::gpu::Buffer;
use crate::runtime::engine::{EngineError, Row, RowResult, SequenceId, Want};
use crate::runtime::step::{Checked, Limits, check};

/// A wanted row of a step.
struct Wanted {
    row: usize,
    want: Want,
}

impl<M: Model> MetalEngine<M> {
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
        let counts = checked.sequences.iter().map(|(sequence, rows)| (*sequence, rows.len())).collect();
        let appending = self.pages.plan_append(counts)?;
        // All memory is taken before anything changes.
        for (group, pages) in appending.pages_used.iter().enumerate() {
            self.caches.grow(group, *pages).map_err(|_| EngineError::NoFreePage)?;
        }
        for copy in self.pages.append(&appending) {
            self.caches.copy(copy);
        }
        let wanted: Vec<Wanted> = rows
            .iter()
            .enumerate()
            .filter(|(_, row)| row.want != Want::Nothing)
            .map(|(row, Row { want, .. })| Wanted { row, want: *want })
            .collect();
        let runs = row_runs(rows.iter().zip(&checked.sequence_of).map(|(row, slot)| (row.position, *slot)));
        let results = self.upload(rows, &checked, &wanted).and_then(|()| self.run_rows(&runs, rows, &wanted));
        let results = results.map_err(|reason| {
            self.lost = Some(reason.clone());
            EngineError::DeviceLost(reason)
        })?;
        self.pages.slide();
        Ok(results)
    }

    /// Puts the step's rows and page tables where the kernels read them.
    fn upload(&self, rows: &[Row], checked: &Checked, wanted: &[Wanted]) -> Result<(), String> {
        let (buffer, layout) = (&self.step_rows.buffer, &self.step_rows.layout);
        let put = |offset: usize, values: &[u32]| {
            write(buffer, offset, values).ok_or_else(|| "the step's rows do not fit".to_owned())
        };
        let numbers =
            |values: &mut dyn Iterator<Item = usize>| values.map(|value| value as u32).collect::<Vec<_>>();
        put(layout.tokens, &checked.tokens)?;
        put(layout.positions, &numbers(&mut rows.iter().map(|row| row.position)))?;
        put(layout.slots, &numbers(&mut checked.sequence_of.iter().copied()))?;
        put(layout.wanted, &numbers(&mut wanted.iter().map(|wanted| wanted.row)))?;
        for (slot, (sequence, _)) in checked.sequences.iter().enumerate() {
            for group in 0..self.caches.windows().count() {
                put(layout.table(group, slot), &self.page_numbers(*sequence, group))?;
            }
        }
        Ok(())
    }

    /// A sequence's page table; pages that left the window are page 0, which nobody reads there.
    fn page_numbers(&self, sequence: SequenceId, group: usize) -> Vec<u32> {
        let Some(table) = self.pages.table(sequence, group) else { return Vec::new() };
        (0..table.indices().end).map(|index| table.page(index).unwrap_or(0)).collect()
    }

    /// Encodes, runs and reads: the layers with the first wanted rows in one command buffer, further wanted rows in one each.
    fn run_rows(
        &mut self,
        runs: &[RowRun],
        rows: &[Row],
        wanted: &[Wanted],
    ) -> Result<Vec<RowResult>, String> {
        let mut results = vec![RowResult::Nothing; rows.len()];
        let mut best = vec![None; rows.len()];
        let mut first = 0;
        loop {
            let group = &wanted[first..wanted.len().min(first + WANTED_ROWS)];
            let kept = group.iter().map(|wanted| kept(wanted.want)).max().unwrap_or(0).min(self.spec.vocab);
            let top_results = self.encode(rows.len(), runs, first, group.len(), kept)?;
            for (index, wanted) in group.iter().enumerate() {
                let (result, most_likely) = self.result(index, wanted.want, kept, top_results.as_ref())?;
                results[wanted.row] = result;
                best[wanted.row] = most_likely;
            }
            first += group.len();
            if first >= wanted.len() {
                break;
            }
        }
        self.best = best;
        Ok(results)
    }

    /// Runs the layers, if this is the first group of wanted rows, and the head; gives the buffer with the `kept` best tokens of each row.
    fn encode(
        &mut self,
        rows: usize,
        row_runs: &[RowRun],
        first: usize,
        count: usize,
        kept: usize,
    ) -> Result<Option<Buffer>, String> {
        let run = Run {
            device: &self.device,
            kernels: &self.kernels,
            recorded: RefCell::default(),
            weights: &self.weights,
            rows_arena: &self.rows_arena,
            wanted_arena: &self.wanted_arena,
            step: &self.step_rows,
            caches: &self.caches,
            scratch: &self.scratch,
            rows,
            wanted: (first, count),
            row_runs,
            scratch_used: Cell::default(),
            failed: RefCell::default(),
        };
        if first == 0 {
            self.model.layers(&run);
        }
        let mut results = None;
        if count > 0 {
            run.barrier();
            self.model.head(&run);
            if kept > 0 {
                run.barrier();
                results = top(&run, self.spec.logits, kept);
            }
        }
        let (failed, items) = (run.failed.take(), run.recorded.take());
        if let Some(error) = failed {
            return Err(error);
        }
        match (&mut self.checker, &mut self.profile) {
            (Some(checker), _) => checker.run(&self.queue, &items),
            (None, Some(profile)) => profile.run(&self.queue, &items),
            (None, None) => record::run(&self.queue, &items),
        }
        .map_err(|error| error.to_string())?;
        self.scratch.free_retired();
        Ok(results)
    }

    /// The result of wanted row `index` of the group that was just run, and its most likely token.
    fn result(
        &self,
        index: usize,
        want: Want,
        kept: usize,
        top_results: Option<&Buffer>,
    ) -> Result<(RowResult, Option<u32>), String> {
        let outside = || "a result lies outside of its buffer".to_owned();
        let row = |place| self.wanted_arena.row(place, index).ok_or_else(outside);
        let mut best: Vec<(u32, f32)> = Vec::new();
        if let Some(buffer) = top_results {
            let pairs: Vec<u32> =
                read(buffer, index * kept * 2 * size_of::<u32>(), kept * 2).ok_or_else(outside)?;
            best = pairs.chunks_exact(2).map(|pair| (pair[0], f32::from_bits(pair[1]))).collect();
            if best.first().is_some_and(|(id, _)| *id == NAN_ID) {
                return Err("a logit is not a number: the weights file is damaged, or the model is".into());
            }
        }
        let most_likely = best.first().map(|(id, _)| *id);
        Ok(match want {
            Want::Nothing => (RowResult::Nothing, None),
            Want::Top(count) if count <= MAX_TOP => {
                best.truncate(count);
                (RowResult::Top(best), most_likely)
            }
            Want::Top(count) => (RowResult::Top(best_of(&row(self.spec.logits)?, count)), most_likely),
            Want::Logits => (RowResult::Logits(row(self.spec.logits)?), most_likely),
            Want::Hidden => {
                let hidden = self.spec.hidden.ok_or_else(|| "this model keeps no hidden state".to_owned())?;
                (RowResult::Hidden(row(hidden)?), most_likely)
            }
        })
    }
}

/// How many of the most likely tokens the GPU looks for: at least the one with which the next step may continue.
fn kept(want: Want) -> usize {
    match want {
        Want::Nothing | Want::Hidden => 0,
        Want::Top(count) => count.clamp(1, MAX_TOP),
        Want::Logits => 1,
    }
}

/// More of the best logits than the GPU's kernel gives; equal ones in the order of their ids.
fn best_of(logits: &[f32], count: usize) -> Vec<(u32, f32)> {
    let mut order: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    order.truncate(count);
    order
}
