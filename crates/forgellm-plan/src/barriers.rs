//! Puts a barrier before each step that depends on one since the last barrier.

use crate::{Buffer, Plan, Step};

/// What was touched since the last barrier.
#[derive(Default, Clone)]
pub(crate) struct Pending<'a> {
    reads: Vec<&'a Buffer>,
    writes: Vec<&'a Buffer>,
    cache_written: bool,
    cache_read: bool,
}

impl<'a> Pending<'a> {
    /// Whether `step` must wait: it reads what was written, or writes what was read or written.
    pub fn conflicts(&self, step: &Step, buffers: &[Buffer]) -> bool {
        let touches =
            |list: &[&Buffer], id: &crate::BufferId| list.iter().any(|other| other.overlaps(&buffers[id.0]));
        step.reads.iter().any(|id| touches(&self.writes, id))
            || step.writes.iter().any(|id| touches(&self.writes, id) || touches(&self.reads, id))
            || (step.op.cache().is_some() && self.cache_written)
            || (writes_cache(step) && self.cache_read)
    }

    pub fn add(&mut self, step: &Step, buffers: &'a [Buffer]) {
        self.reads.extend(step.reads.iter().map(|id| &buffers[id.0]));
        self.writes.extend(step.writes.iter().map(|id| &buffers[id.0]));
        self.cache_written |= writes_cache(step);
        self.cache_read |= step.op.cache().is_some();
    }
}

fn writes_cache(step: &Step) -> bool {
    use forgellm_frontend::ir::Op;
    matches!(step.op, Op::KvWrite { .. } | Op::QkvRope(_))
}

/// Marks the steps. A layer runs after any other, so its first step always waits.
pub(crate) fn place_barriers(plan: &mut Plan) {
    let buffers = &plan.buffers;
    let place = |steps: &mut [Step], wait_first: bool| {
        let mut pending = Pending::default();
        for (index, step) in steps.iter_mut().enumerate() {
            step.barrier = (index == 0 && wait_first) || pending.conflicts(step, buffers);
            if step.barrier {
                pending = Pending::default();
            }
            pending.add(step, buffers);
        }
    };
    place(&mut plan.prologue, false);
    for kind in &mut plan.kinds {
        place(&mut kind.steps, true);
    }
    place(&mut plan.epilogue, true);
    place(&mut plan.head, true);
}
