//! Checks a plan by walking it as a program would run it.

use std::collections::BTreeSet;

use forgellm_frontend::ir::{Dim, Op, Shape, Verified, Verify};

use crate::barriers::Pending;
use crate::in_place::in_place_inputs;
use crate::{Buffer, BufferId, Plan, Step};

/// Why a plan is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the plan is wrong at {place}: {problem}")]
pub struct VerifyPlanError {
    /// The step, or the part of the plan.
    pub place: String,
    /// What does not hold.
    pub problem: String,
}

pub(crate) fn verify_plan(plan: Plan) -> Result<Verified<Plan>, VerifyPlanError> {
    Verified::new(plan, ())
}

impl Verify for Plan {
    type Stage = ();
    type Error = VerifyPlanError;

    fn verify(&self, (): &()) -> Result<(), VerifyPlanError> {
        let fail = |place: &str, problem: String| Err(VerifyPlanError { place: place.to_owned(), problem });
        if self.caches.len() != self.layers.len() {
            return fail(
                "the caches",
                format!("{} layers have {} caches", self.layers.len(), self.caches.len()),
            );
        }
        let limits: Vec<usize> =
            self.projections.iter().map(|bucket| bucket.most_rows.unwrap_or(usize::MAX)).collect();
        if !limits.is_sorted_by(|a, b| a < b) || limits.last().is_some_and(|last| *last != usize::MAX) {
            return fail("the projections", "their rows do not rise to a bucket without a limit".into());
        }
        for buffer in &self.buffers {
            let elements = match buffer.shape.rows {
                Dim::Rows => self.row_elements,
                Dim::Wanted => self.wanted_elements,
                _ => 0,
            };
            if buffer.end() > elements {
                return fail(&buffer.name, format!("it ends at {} of {elements} elements", buffer.end()));
            }
        }
        for (number, layer) in self.layers.iter().enumerate() {
            let place = format!("layer {number}");
            let Some(kind) = self.kinds.get(layer.kind) else {
                return fail(&place, format!("there is no kind {}", layer.kind));
            };
            if kind.slots.len() != layer.weights.len() {
                return fail(
                    &place,
                    format!("{} weights for {} slots", layer.weights.len(), kind.slots.len()),
                );
            }
            for (slot, weight) in kind.slots.iter().zip(&layer.weights) {
                match self.weights.get(weight.0) {
                    Some(weight)
                        if weight.dtype == slot.dtype
                            && weight.shape == slot.shape
                            && weight.layout == slot.layout => {}
                    _ => {
                        return fail(
                            &place,
                            format!("slot {} is filled with another kind of weight", slot.name),
                        );
                    }
                }
            }
        }
        for (number, kind) in self.kinds.iter().enumerate() {
            let mut names = BTreeSet::new();
            if let Some(slot) = kind.slots.iter().find(|slot| !names.insert(&slot.name)) {
                return fail(&format!("kind {number}"), format!("two slots are called {}", slot.name));
            }
        }
        let mut walk = Walk { plan: self, held: Vec::new() };
        walk.steps("prologue", &self.prologue, self.weights.len())?;
        for (number, layer) in self.layers.iter().enumerate() {
            let kind = &self.kinds[layer.kind];
            walk.steps(&format!("layer {number}"), &kind.steps, kind.slots.len())?;
        }
        walk.steps("epilogue", &self.epilogue, self.weights.len())?;
        walk.steps("head", &self.head, self.weights.len())?;
        self.head_repeats()?;
        walk.result("the logits", self.logits, self.vocab)?;
        self.hidden_state.map_or(Ok(()), |hidden| walk.result("the hidden state", hidden, self.hidden))
    }
}

impl Plan {
    /// The head runs once per group of wanted rows: were a buffer of all rows written there, the next group would read something else.
    fn head_repeats(&self) -> Result<(), VerifyPlanError> {
        let of_all_rows = |id: &BufferId| self.buffers[id.0].shape.rows != Dim::Wanted;
        for step in &self.head {
            if let Some(id) = step.writes.iter().find(|id| of_all_rows(id)) {
                return Err(VerifyPlanError {
                    place: format!("head {} ({})", step.label, step.kernel),
                    problem: format!("it writes `{}`, which holds all rows", self.buffers[id.0].name),
                });
            }
        }
        Ok(())
    }
}

/// The buffers whose content is whole at a point of the program.
struct Walk<'a> {
    plan: &'a Plan,
    held: Vec<BufferId>,
}

impl<'a> Walk<'a> {
    fn steps(&mut self, part: &str, steps: &'a [Step], weights: usize) -> Result<(), VerifyPlanError> {
        let buffers: &'a [Buffer] = &self.plan.buffers;
        let mut pending = Pending::default();
        for (index, step) in steps.iter().enumerate() {
            let place = format!("{part} {} ({})", step.label, step.kernel);
            let fail = |problem: String| Err(VerifyPlanError { place: place.clone(), problem });
            if step.barrier {
                pending = Pending::default();
            } else if pending.conflicts(step, buffers) || (index == 0 && part != "prologue") {
                return fail("it depends on a step before it, with no barrier between".into());
            }
            if let Some(weight) =
                step.op.weights().iter().chain(&step.tables).find(|weight| weight.0 >= weights)
            {
                return fail(format!("there is no weight {}", weight.0));
            }
            if matches!(step.op, Op::Rope(_) | Op::QkvRope(_)) && step.tables.len() != 1 {
                return fail("rope needs a table of frequencies".into());
            }
            for read in &step.reads {
                self.holds(&place, *read)?;
            }
            self.overwrites(&place, step)?;
            for write in &step.writes {
                self.held.retain(|held| !buffers[held.0].overlaps(&buffers[write.0]));
                self.held.push(*write);
            }
            pending.add(step, buffers);
        }
        Ok(())
    }

    /// No result lies over an input or another result, but over an input that is read element by element, and then on exactly that.
    fn overwrites(&self, place: &str, step: &Step) -> Result<(), VerifyPlanError> {
        let fail = |problem: String| Err(VerifyPlanError { place: place.to_owned(), problem });
        let buffer = |id: &BufferId| self.plan.buffers.get(id.0);
        for (output, write) in step.writes.iter().enumerate() {
            let Some(written) = buffer(write) else { return fail("it writes to no buffer".into()) };
            let allowed = in_place_inputs(&step.op, output);
            for (input, read) in step.reads.iter().enumerate() {
                let Some(read) = buffer(read).filter(|read| read.overlaps(written)) else { continue };
                let same = (read.shape, read.offset) == (written.shape, written.offset);
                if !same || !allowed.contains(&input) {
                    let (written, read) = (&written.name, &read.name);
                    return fail(format!("it writes `{written}` over `{read}`, which it still reads"));
                }
            }
            for other in step.writes[..output].iter().filter_map(buffer) {
                if other.overlaps(written) {
                    return fail(format!("its results `{}` and `{}` overlap", other.name, written.name));
                }
            }
        }
        Ok(())
    }

    fn result(&self, place: &str, id: BufferId, width: usize) -> Result<(), VerifyPlanError> {
        self.holds(place, id)?;
        let shape = self.plan.buffers[id.0].shape;
        match shape == Shape::wanted(width) {
            true => Ok(()),
            false => Err(VerifyPlanError {
                place: place.to_owned(),
                problem: format!("they are {shape} instead of {}", Shape::wanted(width)),
            }),
        }
    }

    fn holds(&self, place: &str, id: BufferId) -> Result<(), VerifyPlanError> {
        if self.held.contains(&id) {
            return Ok(());
        }
        let name = self.plan.buffers.get(id.0).map_or("?", |buffer| &buffer.name);
        Err(VerifyPlanError {
            place: place.to_owned(),
            problem: format!("it reads `{name}`, which was never written or was overwritten"),
        })
    }
}
