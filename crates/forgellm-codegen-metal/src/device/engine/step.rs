//! One step: from checked rows to results.

use std::cell::{Cell, RefCell};

use super::{MetalEngine, Model, STEPS};
use crate::device::attention::{RowRun, row_runs};
use crate::device::embed::EARLIER_RESULT;
use crate::device::head::{MAX_TOP, NAN_ID, top};
use crate::device::memory::{read, write};
use crate::device::record;
use crate::device::run::{Earlier, Run, WANTED_ROWS};
use crate::gpu::Pending;
use crate::runtime::engine::{EngineError, Row, RowResult, SequenceId, Want};
use crate::runtime::step::{Checked, Limits, check};

/// A step that was submitted.
pub(super) struct Step {
    /// Which of the engine's [`STEPS`] memories holds its rows and results.
    memory: usize,
    results: Vec<RowResult>,
    /// The wanted rows whose results were not read yet, and the work that gives them; no work if it is done.
    running: Option<(Group, Option<Pending>)>,
}

/// Wanted rows that go through the head together.
struct Group {
    /// The first of them among the step's wanted rows.
    first: usize,
    rows: Vec<Wanted>,
    /// How many of the most likely tokens the GPU gives of each.
    kept: usize,
}

/// A wanted row of a step.
#[derive(Clone, Copy)]
struct Wanted {
    row: usize,
    want: Want,
}

impl<M: Model> MetalEngine<M> {
    /// Starts a step, behind those under way. On an error in `rows` nothing was run and nothing has changed.
    pub(super) fn submit_step(&mut self, rows: &[Row]) -> Result<(), EngineError> {
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
            self.steps.push_back(Step { memory: self.last_memory, results: Vec::new(), running: None });
            return Ok(());
        }
        let counts = checked.sequences.iter().map(|(sequence, rows)| (*sequence, rows.len())).collect();
        let appending = self.pages.plan_append(counts)?;
        let wanted: Vec<Wanted> = rows
            .iter()
            .enumerate()
            .filter(|(_, row)| row.want != Want::Nothing)
            .map(|(row, Row { want, .. })| Wanted { row, want: *want })
            .collect();
        self.make_way(appending.pages_used.iter().copied().enumerate())?;
        // All memory is taken before anything changes.
        for (group, pages) in appending.pages_used.iter().enumerate() {
            self.caches.grow(group, *pages).map_err(|_| EngineError::NoFreePage)?;
        }
        let copies = self.pages.append(&appending);
        if !copies.is_empty() {
            self.finish_all()?;
        }
        for copy in copies {
            self.caches.copy(copy);
        }
        let runs = row_runs(rows.iter().zip(&checked.sequence_of).map(|(row, slot)| (row.position, *slot)));
        let started = self.start(rows, &checked, &runs, &wanted);
        started.map_err(|reason| self.lose(reason))?;
        self.pages.slide();
        Ok(())
    }

    /// The results of the oldest step that were not collected.
    pub(super) fn collect_step(&mut self) -> Result<Option<Vec<RowResult>>, EngineError> {
        if let Some(reason) = &self.lost {
            return Err(EngineError::DeviceLost(reason.clone()));
        }
        if self.steps.is_empty() {
            return Ok(None);
        }
        self.finish(0)?;
        Ok(self.steps.pop_front().map(|step| step.results))
    }

    /// The results of the step that was submitted last.
    pub(super) fn collect_last(&mut self) -> Result<Vec<RowResult>, EngineError> {
        self.finish_all()?;
        Ok(self.steps.pop_back().map(|step| step.results).unwrap_or_default())
    }

    /// Waits for all steps under way.
    pub(super) fn finish_all(&mut self) -> Result<(), EngineError> {
        (0..self.steps.len()).try_for_each(|index| self.finish(index))
    }

    /// Waits for what the next step, which uses so many pages of each group, would disturb: the memory of rows is there for [`STEPS`] steps, that
    /// of logits and hidden states for one, and the cache cannot grow under a step.
    fn make_way(&mut self, mut pages: impl Iterator<Item = (usize, usize)>) -> Result<(), EngineError> {
        let reads_logits = |step: &Step| {
            step.running.iter().flat_map(|(group, _)| &group.rows).any(|wanted| !in_results(wanted.want))
        };
        let grows = pages.any(|(group, pages)| self.caches.has_to_grow(group, pages));
        if self.profile.is_some() || self.checker.is_some() || grows || self.steps.iter().any(reads_logits) {
            return self.finish_all();
        }
        let running = self.steps.len().saturating_sub(STEPS - 1);
        (0..running).try_for_each(|index| self.finish(index))
    }

    /// Waits for a step of those that were not collected, and reads its results.
    fn finish(&mut self, index: usize) -> Result<(), EngineError> {
        let Some((group, pending)) = self.steps.get_mut(index).and_then(|step| step.running.take()) else {
            return Ok(());
        };
        let memory = self.steps[index].memory;
        let results = wait(pending).and_then(|()| self.results(memory, &group));
        let results = results.map_err(|reason| self.lose(reason))?;
        let is_last = index + 1 == self.steps.len();
        for (wanted, (result, most_likely)) in group.rows.iter().zip(results) {
            self.steps[index].results[wanted.row] = result;
            if is_last {
                self.best[wanted.row] = most_likely;
            }
        }
        Ok(())
    }

    /// Ends it all: what was submitted and is not done never will be.
    fn lose(&mut self, reason: String) -> EngineError {
        self.steps.clear();
        self.lost = Some(reason.clone());
        EngineError::DeviceLost(reason)
    }

    /// Encodes and starts: the layers with the first wanted rows in one command buffer, further wanted rows in one each, when those before
    /// were read.
    fn start(
        &mut self,
        rows: &[Row],
        checked: &Checked,
        runs: &[RowRun],
        wanted: &[Wanted],
    ) -> Result<(), String> {
        let before = self.last_memory;
        let memory = (before + 1) % STEPS;
        self.upload(memory, rows, checked, wanted)?;
        let mut step = Step { memory, results: vec![RowResult::Nothing; rows.len()], running: None };
        self.best = vec![None; rows.len()];
        let mut groups: Vec<Group> =
            wanted.chunks(WANTED_ROWS).enumerate().map(|(number, rows)| self.group(number, rows)).collect();
        let last = groups.pop().unwrap_or(Group { first: 0, rows: Vec::new(), kept: 0 });
        for group in groups {
            wait(self.encode(memory, rows.len(), runs, &group)?)?;
            for (wanted, (result, most_likely)) in group.rows.iter().zip(self.results(memory, &group)?) {
                step.results[wanted.row] = result;
                self.best[wanted.row] = most_likely;
            }
        }
        let pending = self.encode(memory, rows.len(), runs, &last)?;
        if last.kept > 0 {
            for (number, wanted) in (0..).zip(&last.rows) {
                self.best[wanted.row] = Some(EARLIER_RESULT | number);
            }
        }
        self.last_results = (last.rows.len(), last.kept);
        self.last_memory = memory;
        step.running = Some((last, pending));
        self.steps.push_back(step);
        Ok(())
    }

    fn group(&self, number: usize, rows: &[Wanted]) -> Group {
        let kept = rows.iter().map(|wanted| kept(wanted.want)).max().unwrap_or(0).min(self.spec.vocab);
        Group { first: number * WANTED_ROWS, rows: rows.to_vec(), kept }
    }

    /// Puts the step's rows and page tables where the kernels read them.
    fn upload(
        &self,
        memory: usize,
        rows: &[Row],
        checked: &Checked,
        wanted: &[Wanted],
    ) -> Result<(), String> {
        let (buffer, layout) = (&self.step_rows[memory].buffer, &self.step_rows[memory].layout);
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

    /// Starts the layers, if this is the first group of wanted rows, and the head.
    fn encode(
        &mut self,
        memory: usize,
        rows: usize,
        row_runs: &[RowRun],
        group: &Group,
    ) -> Result<Option<Pending>, String> {
        let before = &self.step_rows[self.last_memory];
        let (earlier_rows, kept) = self.last_results;
        let run = Run {
            device: &self.device,
            kernels: &self.kernels,
            recorded: RefCell::default(),
            weights: &self.weights,
            rows_arena: &self.rows_arena,
            wanted_arena: &self.wanted_arena,
            step: &self.step_rows[memory],
            earlier: Earlier { results: before.at(before.layout.results), rows: earlier_rows, kept },
            caches: &self.caches,
            scratch: &self.scratch,
            projections: self.spec.projections,
            rows,
            wanted: (group.first, group.rows.len()),
            row_runs,
            scratch_used: Cell::default(),
            failed: RefCell::default(),
        };
        if group.first == 0 {
            self.model.layers(&run);
        }
        if !group.rows.is_empty() {
            run.barrier();
            self.model.head(&run);
            if group.kept > 0 {
                run.barrier();
                top(&run, self.spec.logits, group.kept);
            }
        }
        let (failed, items) = (run.failed.take(), run.recorded.take());
        if let Some(error) = failed {
            return Err(error);
        }
        let pending = match (&mut self.checker, &mut self.profile) {
            (Some(checker), _) => checker.run(&self.queue, &items).map(|()| None),
            (None, Some(profile)) => profile.run(&self.queue, &items).map(|()| None),
            (None, None) => record::commit(&self.queue, &items).map(Some),
        };
        self.scratch.free_retired();
        pending.map_err(|error| error.to_string())
    }

    /// The results of wanted rows that were just run, each with its most likely token.
    fn results(&self, memory: usize, group: &Group) -> Result<Vec<(RowResult, Option<u32>)>, String> {
        group
            .rows
            .iter()
            .enumerate()
            .map(|(index, wanted)| self.result(memory, index, wanted.want, group.kept))
            .collect()
    }

    fn result(
        &self,
        memory: usize,
        index: usize,
        want: Want,
        kept: usize,
    ) -> Result<(RowResult, Option<u32>), String> {
        let outside = || "a result lies outside of its buffer".to_owned();
        let row = |place| self.wanted_arena.row(place, index).ok_or_else(outside);
        let mut best: Vec<(u32, f32)> = Vec::new();
        if kept > 0 {
            let step = &self.step_rows[memory];
            let first = step.layout.results + index * kept * 2 * size_of::<u32>();
            let pairs: Vec<u32> = read(&step.buffer, first, kept * 2).ok_or_else(outside)?;
            best = pairs.chunks_exact(2).map(|pair| (pair[0], f32::from_bits(pair[1]))).collect();
            if best.first().is_some_and(|(id, _)| *id == NAN_ID) {
                return Err("a logit is not a number: the weights file is damaged, or the model is".into());
            }
        }
        let most_likely = best.first().map(|(id, _)| *id);
        Ok(match want {
            Want::Nothing => (RowResult::Nothing, None),
            Want::Top(count) if in_results(want) => {
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

fn wait(work: Option<Pending>) -> Result<(), String> {
    work.map_or(Ok(()), |pending| pending.wait().map(drop).map_err(|error| error.to_string()))
}

/// How many of the most likely tokens the GPU looks for: at least the one with which the next step may continue.
fn kept(want: Want) -> usize {
    match want {
        Want::Nothing | Want::Hidden => 0,
        Want::Top(count) => count.clamp(1, MAX_TOP),
        Want::Logits => 1,
    }
}

/// Whether what is wanted is among the step's results, and not read from logits or hidden states.
fn in_results(want: Want) -> bool {
    match want {
        Want::Nothing => true,
        Want::Top(count) => count <= MAX_TOP,
        Want::Logits | Want::Hidden => false,
    }
}

/// More of the best logits than the GPU's kernel gives; equal ones in the order of their ids.
fn best_of(logits: &[f32], count: usize) -> Vec<(u32, f32)> {
    let mut order: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    order.truncate(count);
    order
}
