//! The device: a CPU that pretends to be a GPU.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::environment;
use super::queue::Queues;
use super::{Buffer, Constant, Event, GpuError, Library, Memory, Pipeline, Queue, library};
use crate::sim::exec::{Executor, THREADGROUP_MEMORY};
use crate::sim::shadow::Counts;

/// How a device runs kernels.
#[derive(Debug, Clone)]
pub struct Options {
    /// Checks every memory access and every barrier.
    pub sanitize: bool,
    /// Counts what kernels load, store and do. See [`Device::counters`].
    pub count: bool,
    /// Shuffles the order of threads, simdgroups, threadgroups and concurrent dispatches, and lets command buffers run before somebody waits for
    /// them. `None`: ascending, and as late as can be.
    pub seed: Option<u64>,
    /// Runs each dispatch under this many further orders and compares what it wrote, byte by byte.
    pub orders: u32,
    /// OS threads for runs without sanitizers and counts.
    pub threads: usize,
    /// Folders in which kernels' `#include`s are looked for.
    pub include: Vec<PathBuf>,
    /// The kernels that libraries compile, for texts that take long; the others are listed and cannot be run. Empty: all.
    pub only: Vec<String>,
    /// The folder for compiled kernels. It may be shared and deleted.
    pub cache: PathBuf,
    /// How long a wait lasts for an event that nothing committed will signal.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sanitize: false,
            count: false,
            seed: None,
            orders: 0,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            include: Vec::new(),
            only: Vec::new(),
            cache: library::default_cache(),
            patience: Duration::from_secs(10),
        }
    }
}

/// A device. Clones are the same device.
#[derive(Clone)]
pub struct Device {
    shared: Arc<Shared>,
}

/// What all that belongs to a device knows of it.
pub(super) struct Shared {
    pub(super) options: Options,
    /// Where the counts go when the device is gone.
    report: Option<PathBuf>,
    pub(super) queues: Mutex<Queues>,
    /// Something was committed or has run.
    pub(super) changed: Condvar,
    pub(super) executor: Mutex<Executor>,
    pub(super) counts: Mutex<Vec<Counts>>,
    pub(super) warnings: Mutex<Vec<String>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        let Some(file) = &self.report else { return };
        let counts = self.counts.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = environment::write(file, counts) {
            eprintln!("cannot write the counts to {}: {error}", file.display());
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Device {
    /// The device with the options that the variable `METAL_SIM` asks for; without it fast, unchecked, all cores.
    pub fn open() -> Result<Self, GpuError> {
        let text = std::env::var(environment::VARIABLE).unwrap_or_default();
        let (options, report) = environment::options(&text)?;
        Self::reporting(options, report)
    }

    /// A device with options.
    pub fn with(options: Options) -> Result<Self, GpuError> {
        Self::reporting(options, None)
    }

    fn reporting(options: Options, report: Option<PathBuf>) -> Result<Self, GpuError> {
        let threads = if options.sanitize || options.count { 1 } else { options.threads };
        Ok(Self {
            shared: Arc::new(Shared {
                options,
                report,
                queues: Mutex::default(),
                changed: Condvar::new(),
                executor: Mutex::new(Executor::new(threads)),
                counts: Mutex::default(),
                warnings: Mutex::default(),
            }),
        })
    }

    /// Its name.
    pub fn name(&self) -> String {
        "Metal simulator".to_owned()
    }

    /// The recommended working set in bytes: the most that all buffers should take together.
    pub fn memory(&self) -> u64 {
        16 << 30
    }

    /// Threadgroup memory of one threadgroup, in bytes.
    pub fn threadgroup_memory(&self) -> usize {
        THREADGROUP_MEMORY
    }

    /// Whether kernels may use `bfloat`.
    pub fn supports_bfloat(&self) -> bool {
        true
    }

    /// Zeroed memory that kernels and the program share.
    pub fn buffer(&self, bytes: usize, label: &str) -> Result<Buffer, GpuError> {
        // A sanitizer can blame a buffer for an access that misses it by less than the guard.
        let guard = if self.shared.options.sanitize { 1 << 20 } else { 4096 };
        Buffer::zeroed(bytes, label, guard)
    }

    /// A buffer over memory of the program, without a copy. Kernels must not write it.
    pub fn buffer_over(&self, memory: &Arc<dyn Memory>, label: &str) -> Result<Buffer, GpuError> {
        Buffer::over(memory, label)
    }

    /// Compiles a text in the Metal Shading Language. `label` is its file name in messages; if there is such a file,
    /// `#include`s are looked for beside it.
    pub fn library(&self, source: &str, label: &str) -> Result<Library, GpuError> {
        Library::new(source, label, &self.shared.options)
    }

    /// Specialises a kernel of a library.
    pub fn pipeline(
        &self,
        library: &Library,
        function: &str,
        constants: &[Constant],
    ) -> Result<Pipeline, GpuError> {
        Pipeline::new(library, function, constants, &mut |warning| lock(&self.shared.warnings).push(warning))
    }

    /// A queue.
    pub fn queue(&self) -> Result<Queue, GpuError> {
        Ok(Queue::new(&self.shared))
    }

    /// What the dispatches since the last call did, in the order in which they ran. Empty unless [`Options::count`].
    pub fn counters(&self) -> Vec<Counts> {
        std::mem::take(&mut lock(&self.shared.counts))
    }

    /// What is suspicious but no error, since the last call: buffers that are bound and that the kernel does not have, function constants
    /// without a value that a kernel may use.
    pub fn warnings(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.shared.warnings))
    }

    /// An event at 0.
    pub fn event(&self) -> Result<Event, GpuError> {
        Ok(Event::new())
    }
}
