//! What a step dispatches: recorded first, so that it can be encoded at once or, for a profile or a check, one kernel at a time.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::gpu::{Buffer, Constant, Encoder, GpuError, Pending, Pipeline, Queue, Timing};
use crate::runtime::engine::ProfileEntry;

/// A part of a step.
pub(crate) enum Item {
    /// A kernel.
    Dispatch(Recorded),
    /// What stands before is done before what stands after.
    Barrier,
}

/// A dispatch with all that it needs.
pub(crate) struct Recorded {
    /// The kernel, for profile and check.
    pub(crate) function: String,
    pub(crate) pipeline: Rc<Pipeline>,
    /// What the pipeline is specialised by, for the check.
    pub(crate) constants: Vec<Constant>,
    /// Index, buffer, offset.
    pub(crate) buffers: Vec<(usize, Buffer, usize)>,
    /// Index and small data.
    pub(crate) bytes: Vec<(usize, Vec<u8>)>,
    pub(crate) threadgroups: [usize; 3],
    pub(crate) threads: [usize; 3],
}

impl Recorded {
    fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.pipeline(&self.pipeline);
        for (index, buffer, offset) in &self.buffers {
            encoder.buffer(*index, buffer, *offset);
        }
        for (index, bytes) in &self.bytes {
            encoder.bytes(*index, bytes);
        }
        encoder.dispatch(self.threadgroups, self.threads);
    }

    /// Runs it in a command buffer of its own, and waits for it.
    pub(crate) fn run_alone(&self, queue: &Queue) -> Result<Timing, GpuError> {
        let mut commands = queue.commands(&self.function)?;
        self.encode(&mut commands.encoder(false, &self.function));
        commands.commit().wait()
    }
}

/// Hands everything to the GPU in one command buffer.
pub(crate) fn commit(queue: &Queue, items: &[Item]) -> Result<Pending, GpuError> {
    let mut commands = queue.commands("step")?;
    let mut encoder = commands.encoder(true, "step");
    for item in items {
        match item {
            Item::Dispatch(recorded) => recorded.encode(&mut encoder),
            Item::Barrier => encoder.barrier(),
        }
    }
    drop(encoder);
    Ok(commands.commit())
}

/// GPU time by kernel.
#[derive(Debug, Default)]
pub(crate) struct Profile(BTreeMap<String, (u64, Duration)>);

impl Profile {
    /// Runs one kernel after the other, each in a command buffer of its own, and adds their times.
    pub(crate) fn run(&mut self, queue: &Queue, items: &[Item]) -> Result<(), GpuError> {
        for item in items {
            let Item::Dispatch(recorded) = item else { continue };
            let timing = recorded.run_alone(queue)?;
            let (calls, time) = self.0.entry(recorded.function.clone()).or_default();
            *calls += 1;
            *time += Duration::from_secs_f64(timing.gpu_seconds.max(0.0));
        }
        Ok(())
    }

    /// The times, dearest first.
    pub(crate) fn entries(&self) -> Vec<ProfileEntry> {
        let entry = |(name, (calls, time)): (&String, &(u64, Duration))| ProfileEntry {
            name: name.clone(),
            calls: *calls,
            time: *time,
        };
        let mut entries: Vec<_> = self.0.iter().map(entry).collect();
        entries.sort_by(|a, b| b.time.cmp(&a.time).then_with(|| a.name.cmp(&b.name)));
        entries
    }
}
