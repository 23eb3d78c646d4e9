//! Command buffers and their encoders: they note what is to be done, checked as it is noted.

use std::sync::Arc;

use super::device::Shared;
use super::encode::{Bound, Encoded, Place};
use super::queue::{Event, Job, Pending};
use super::{ArgumentProblem, Buffer, GpuError, Pipeline};
use crate::sim::abi::BUFFERS;

/// Commands of one queue, to be committed together.
pub struct Commands {
    device: Arc<Shared>,
    queue: usize,
    label: String,
    steps: Vec<Step>,
    /// The first mistake. Waiting for the commands gives it, and none of them runs.
    mistake: Option<GpuError>,
}

/// What commands do, in order.
pub(super) enum Step {
    Begin { concurrent: bool },
    Dispatch(Box<Encoded>),
    Barrier,
    Signal(Event, u64),
    WaitFor(Event, u64),
}

impl Commands {
    pub(super) fn new(device: &Arc<Shared>, queue: usize, label: &str) -> Self {
        Self { device: Arc::clone(device), queue, label: label.to_owned(), steps: Vec::new(), mistake: None }
    }

    /// Dispatches are encoded with it. Those of a serial encoder run one after another; those of a concurrent one at
    /// the same time, unless there is a [`barrier`](Encoder::barrier) between them. Encoders run one after another.
    pub fn encoder(&mut self, concurrent: bool, label: &str) -> Encoder<'_> {
        self.steps.push(Step::Begin { concurrent });
        Encoder {
            commands: self,
            next: Place { encoder: label.to_owned(), concurrent, number: 0, barriers_before: 0 },
            pipeline: None,
            buffers: [const { None }; BUFFERS],
            threadgroup_memory: [0; BUFFERS],
        }
    }

    /// After all commands so far: the event reaches `value`.
    pub fn signal(&mut self, event: &Event, value: u64) {
        self.steps.push(Step::Signal(event.clone(), value));
    }

    /// The commands after this one run when the event has reached `value`.
    pub fn wait_for(&mut self, event: &Event, value: u64) {
        self.steps.push(Step::WaitFor(event.clone(), value));
    }

    /// Hands the commands to the queue.
    pub fn commit(self) -> Pending {
        let job = Job::new(self.label, self.steps, self.mistake);
        Pending::commit(self.device, self.queue, job)
    }
}

/// Encodes dispatches. What is bound stays bound for the next dispatch of the same encoder. Dropping it ends it.
pub struct Encoder<'c> {
    commands: &'c mut Commands,
    /// Of the next dispatch.
    next: Place,
    pipeline: Option<Pipeline>,
    buffers: [Option<Bound>; BUFFERS],
    threadgroup_memory: [usize; BUFFERS],
}

impl Encoder<'_> {
    /// The kernel of the next dispatches.
    pub fn pipeline(&mut self, pipeline: &Pipeline) {
        self.pipeline = Some(pipeline.clone());
    }

    /// Binds a buffer from `offset` bytes on.
    pub fn buffer(&mut self, index: usize, buffer: &Buffer, offset: usize) {
        if offset >= buffer.len() {
            let (label, length) = (buffer.label().to_owned(), buffer.len());
            self.mistake(ArgumentProblem::OffsetPastEnd { index, label, offset, length });
        }
        self.bind(index, Bound::Buffer(buffer.clone(), offset));
    }

    /// Binds a few bytes, which are copied.
    pub fn bytes(&mut self, index: usize, bytes: &[u8]) {
        if bytes.is_empty() || bytes.len() > 4096 {
            self.mistake(ArgumentProblem::BytesLength { index, length: bytes.len() });
        } else {
            self.bind(index, Bound::bytes(bytes));
        }
    }

    fn bind(&mut self, index: usize, bound: Bound) {
        match self.buffers.get_mut(index) {
            Some(slot) => *slot = Some(bound),
            None => self.mistake(ArgumentProblem::Index { index }),
        }
    }

    /// Gives the threadgroup argument `index` that many bytes, a multiple of 16.
    pub fn threadgroup_memory(&mut self, index: usize, bytes: usize) {
        if !bytes.is_multiple_of(16) {
            self.mistake(ArgumentProblem::ThreadgroupAlignment { index, bytes });
        }
        match self.threadgroup_memory.get_mut(index) {
            Some(slot) => *slot = bytes,
            None => self.mistake(ArgumentProblem::Index { index }),
        }
    }

    /// Runs the pipeline over `threadgroups` of `threads` each.
    pub fn dispatch(&mut self, threadgroups: [usize; 3], threads: [usize; 3]) {
        let Some(pipeline) = &self.pipeline else {
            return self.mistake(ArgumentProblem::NoPipeline);
        };
        let encoded = Encoded::new(
            &self.next,
            pipeline,
            &self.buffers,
            &self.threadgroup_memory,
            threadgroups,
            threads,
        );
        match encoded {
            Ok(encoded) => {
                self.commands.steps.push(Step::Dispatch(Box::new(encoded)));
                self.next.number += 1;
                self.next.barriers_before = 0;
            }
            Err(problem) => self.mistake(problem),
        }
    }

    /// Dispatches after it see what those before it wrote (`memoryBarrierWithScope`, buffers).
    pub fn barrier(&mut self) {
        self.commands.steps.push(Step::Barrier);
        self.next.barriers_before += 1;
    }

    fn mistake(&mut self, problem: ArgumentProblem) {
        let kernel = self.pipeline.as_ref().map(|pipeline| pipeline.function().to_owned());
        self.commands.mistake.get_or_insert_with(|| GpuError::Argument {
            commands: self.commands.label.clone(),
            encoder: self.next.encoder.clone(),
            kernel: kernel.unwrap_or_else(|| "(none yet)".to_owned()),
            problem: Box::new(problem),
        });
    }
}
