//! Queues, what waits in them, and events between them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::commands::{Commands, Step};
use super::device::{Shared, lock};
use super::{GpuError, run};

/// Runs commands in the order in which they are committed. Queues of one device know nothing of each other.
pub struct Queue {
    device: Arc<Shared>,
    number: usize,
}

impl Queue {
    pub(super) fn new(device: &Arc<Shared>) -> Self {
        let mut queues = lock(&device.queues);
        queues.waiting.push(VecDeque::new());
        Self { device: Arc::clone(device), number: queues.waiting.len() - 1 }
    }

    /// A new command buffer for this queue.
    pub fn commands(&self, label: &str) -> Result<Commands, GpuError> {
        Ok(Commands::new(&self.device, self.number, label))
    }
}

/// A counter that orders commands of different queues. Clones are the same event.
#[derive(Clone)]
pub struct Event {
    value: Arc<AtomicU64>,
}

impl Event {
    pub(super) fn new() -> Self {
        Self { value: Arc::new(AtomicU64::new(0)) }
    }

    /// The value that was signalled last; 0 at first.
    pub fn value(&self) -> u64 {
        self.value.load(Ordering::Acquire)
    }

    fn signal(&self, value: u64) {
        self.value.fetch_max(value, Ordering::AcqRel);
    }
}

/// How long commands took.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Timing {
    /// Seconds between the start of the first and the end of the last command.
    pub gpu_seconds: f64,
}

/// All that is committed and has not run.
#[derive(Default)]
pub(super) struct Queues {
    waiting: Vec<VecDeque<Job>>,
    /// Somebody runs commands.
    running: bool,
    /// Waits so far.
    waits: u64,
}

/// Committed commands.
pub(super) struct Job {
    label: String,
    steps: VecDeque<Step>,
    seconds: f64,
    failure: Option<GpuError>,
    done: Done,
}

type Done = Arc<Mutex<Option<Result<Timing, GpuError>>>>;

impl Job {
    pub(super) fn new(label: String, steps: Vec<Step>, mistake: Option<GpuError>) -> Self {
        Self { label, steps: steps.into(), seconds: 0.0, failure: mistake, done: Done::default() }
    }

    /// The event that it waits for before its next step, if that has not come.
    fn blocked(&self) -> Option<(&Event, u64)> {
        match self.steps.front() {
            Some(Step::WaitFor(event, value)) if event.value() < *value => Some((event, *value)),
            _ => None,
        }
    }

    /// Runs steps until the end or until an event must come. After a failure only events are still signalled, so that
    /// nobody waits for ever.
    fn run(&mut self, device: &Shared) {
        let start = Instant::now();
        while self.blocked().is_none() && !self.steps.is_empty() {
            let events = |step: &Step| matches!(step, Step::WaitFor(..) | Step::Signal(..));
            let count = self.steps.iter().take_while(|step| !events(step)).count();
            let work: Vec<Step> = self.steps.drain(..count).collect();
            if self.failure.is_none() && !work.is_empty() {
                self.failure = run::run(device, &self.label, &work).err();
            }
            match self.steps.front() {
                Some(Step::Signal(event, value)) => event.signal(*value),
                _ if self.blocked().is_some() => break,
                _ => {}
            }
            self.steps.pop_front();
        }
        self.seconds += start.elapsed().as_secs_f64();
    }
}

impl Queues {
    /// A queue whose first commands can go on.
    fn ready(&self) -> Option<usize> {
        let ready = |queue: &VecDeque<Job>| queue.front().is_some_and(|job| job.blocked().is_none());
        self.waiting.iter().position(ready)
    }
}

/// Commands that were committed.
pub struct Pending {
    device: Arc<Shared>,
    queue: usize,
    label: String,
    done: Done,
}

impl Pending {
    pub(super) fn commit(device: Arc<Shared>, queue: usize, job: Job) -> Self {
        let (label, done) = (job.label.clone(), Arc::clone(&job.done));
        lock(&device.queues).waiting[queue].push_back(job);
        device.changed.notify_all();
        Self { device, queue, label, done }
    }

    /// Waits until the commands have run. The commands of the same queue that were committed before run first.
    ///
    /// # Errors
    /// A mistake in encoding them, a kernel that refused to go on, a finding of a sanitizer, or an event that never comes.
    pub fn wait(self) -> Result<Timing, GpuError> {
        let device = &*self.device;
        let mut queues = lock(&device.queues);
        // A device may be further than whoever waits: under a seed every other wait lets it run all that it can.
        let all = device.options.seed.is_some_and(|seed| (seed ^ queues.waits) & 1 == 0);
        queues.waits += 1;
        loop {
            let ready = if queues.running { None } else { queues.ready() };
            if (!all || ready.is_none())
                && let Some(result) = lock(&self.done).take()
            {
                return result;
            }
            if let Some(index) = ready
                && let Some(mut job) = queues.waiting[index].pop_front()
            {
                queues.running = true;
                drop(queues);
                job.run(device);
                queues = lock(&device.queues);
                queues.running = false;
                if job.steps.is_empty() {
                    let timing = Timing { gpu_seconds: job.seconds };
                    *lock(&job.done) = Some(job.failure.map_or(Ok(timing), Err));
                } else {
                    queues.waiting[index].push_front(job);
                }
                device.changed.notify_all();
                continue;
            }
            let patience = device.options.patience;
            let (guard, waited) = device
                .changed
                .wait_timeout(queues, patience)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            queues = guard;
            if waited.timed_out() && !queues.running && queues.ready().is_none() {
                let first = queues.waiting[self.queue].front();
                let blocked = first.and_then(|job| Some((job.label.clone(), job.blocked()?)));
                if let Some((waiting, (event, value))) = blocked {
                    let reached = event.value();
                    return Err(GpuError::Event { commands: self.label, waiting, value, reached });
                }
            }
        }
    }
}
