//! The engine contract on the CPU: which sequences there are, what a step runs, what it gives.

mod step;

use std::num::NonZeroUsize;
use std::sync::Mutex;

use super::arena::Arena;
use super::attention::CHUNK;
use super::buffer::AnyBuffer;
use super::cache::{CacheMemory, PAGE};
use super::linear::SharedInputs;
use super::matrix::{Isa, IsaError};
use super::pool::Pool;
use super::profile::Profile;
use super::run::{Run, Scratch, StepMemory, WANTED_ROWS};
use crate::runtime::engine::{Capacity, Engine, EngineError, EngineMemory, Row, RowResult, SequenceId};
use crate::runtime::open::{self, KvFormat, OpenOptions};
use crate::runtime::pages::{GroupCapacity, PagedCache, PagedCapacity, Window};

/// A compiled model.
///
/// # Safety
///
/// `layers` and `head` are called by all threads at once with the same step, and all must call the same operations in the same order.
/// Between an operation that writes a buffer or a cache and another that touches the same they must call [`Run::barrier`], and so between
/// any two calls of [`attention`](super::attention()). No two buffers that hold values at the same time may overlap.
pub unsafe trait Model: Sync {
    /// Sizes.
    fn spec(&self) -> ModelSpec;

    /// From the tokens to the last layer's result, over all rows of the step.
    fn layers(&self, run: &Run<'_>);

    /// From the last layer's result to the hidden state and the logits, over the wanted rows. Called once per [`WANTED_ROWS`] of them,
    /// so it must leave the buffers of all rows as they are.
    fn head(&self, run: &Run<'_>);
}

/// What an engine must know of its model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ModelSpec {
    /// Entries of the vocabulary.
    pub vocab: usize,
    /// Positions that the model was made for.
    pub positions: usize,
    /// Elements of the arena per row.
    pub row_arena: usize,
    /// Elements of the arena per wanted row.
    pub wanted_arena: usize,
    /// Elements of the widest row that a projection reads.
    pub widest_input: usize,
    /// The KV caches, by the index that the operations use.
    pub caches: &'static [CacheSpec],
    /// The wanted buffer that holds the hidden state after the final norm once `head` has run; `None` where it is never in memory, and
    /// rows that want it are refused.
    pub hidden: Option<AnyBuffer>,
    /// The wanted buffer that holds the logits once `head` has run.
    pub logits: AnyBuffer,
}

/// The KV cache of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheSpec {
    /// Query heads that read it: a multiple of kv_heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// A row sees only the last so many positions, its own among them.
    pub window: Option<usize>,
}

/// How a [`CpuEngine`] is opened.
#[derive(Debug, Clone)]
pub struct CpuOptions {
    /// Threads that work on a step; 0: as many as the machine runs at a time.
    pub threads: usize,
    /// Sequences that may exist at a time.
    pub sequences: usize,
    /// Positions that a sequence may hold; `None`: what the model was made for.
    pub positions: Option<usize>,
    /// Rows of one step.
    pub rows: usize,
    /// The instruction set; `None`: the best one.
    pub isa: Option<Isa>,
    /// Whether to measure where the time goes.
    pub profile: bool,
}

impl Default for CpuOptions {
    /// All threads, one sequence of the model's length, 512 rows a step, the best instructions, no profile.
    fn default() -> CpuOptions {
        CpuOptions { threads: 0, sequences: 1, positions: None, rows: 512, isa: None, profile: false }
    }
}

impl CpuOptions {
    /// What a program was told, which is refused where it has no meaning.
    pub fn of_program(options: &OpenOptions) -> Result<CpuOptions, open::OpenError> {
        if options.kv_cache.is_some_and(|format| format != KvFormat::F16) {
            let reason = "on a CPU keys and values are kept in f16; leave the option out";
            return Err(open::OpenError::Option { option: "--kv-cache", reason });
        }
        Ok(CpuOptions {
            threads: options.threads.unwrap_or(0),
            sequences: options.sequences,
            positions: Some(options.context),
            profile: options.profile,
            ..CpuOptions::default()
        })
    }
}

/// Why an engine could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// More positions than the model was made for.
    #[error("this model takes contexts of at most {model} positions, not {asked}: ask for fewer")]
    TooManyPositions {
        /// Positions asked for.
        asked: usize,
        /// Positions of the model.
        model: usize,
    },
    /// A capacity of nothing.
    #[error("an engine needs at least one {0}: ask for more")]
    Empty(&'static str),
    /// The buffers of a step do not fit into memory.
    #[error("no memory is left for the buffers of {rows} rows a step: ask for fewer")]
    NoMemory {
        /// Rows of a step.
        rows: usize,
    },
    /// A thread could not be started.
    #[error("could not start thread {0}: ask for fewer threads")]
    Thread(usize),
    /// The instruction set cannot be used.
    #[error(transparent)]
    Isa(#[from] IsaError),
}

/// A model, opened on this machine's CPU.
pub struct CpuEngine<M> {
    model: M,
    spec: ModelSpec,
    capacity: Capacity,
    isa: Isa,
    pages: PagedCache,
    caches: CacheMemory,
    memory: StepMemory,
    pool: Pool,
    scratch: Vec<Mutex<Scratch>>,
    profile: Option<Profile>,
    /// Most likely token after each row of the last step.
    best: Vec<Option<u32>>,
    /// Why no step can be run any more.
    lost: Option<String>,
}

impl<M: Model> CpuEngine<M> {
    /// Starts the threads and takes the memory of a step. Cache memory is taken as it is used.
    pub fn open(model: M, options: &CpuOptions) -> Result<CpuEngine<M>, OpenError> {
        let spec = model.spec();
        let positions = options.positions.unwrap_or(spec.positions);
        if positions > spec.positions {
            return Err(OpenError::TooManyPositions { asked: positions, model: spec.positions });
        }
        for (count, what) in
            [(positions, "position"), (options.sequences, "sequence"), (options.rows, "row a step")]
        {
            if count == 0 {
                return Err(OpenError::Empty(what));
            }
        }
        let isa = match options.isa {
            Some(isa) => isa,
            None => Isa::detect()?,
        };
        let threads = NonZeroUsize::new(options.threads)
            .or_else(|| std::thread::available_parallelism().ok())
            .unwrap_or(NonZeroUsize::MIN);
        let capacity = Capacity { sequences: options.sequences, positions, rows: options.rows };
        let caches = CacheMemory::new(spec.caches, positions);
        let no_memory = || OpenError::NoMemory { rows: options.rows };
        let memory = StepMemory {
            rows: Arena::new(options.rows, spec.row_arena).ok_or_else(no_memory)?,
            wanted: Arena::new(WANTED_ROWS, spec.wanted_arena).ok_or_else(no_memory)?,
            inputs: SharedInputs::new(options.rows.max(WANTED_ROWS), spec.widest_input)
                .ok_or_else(no_memory)?,
            partials: Arena::new(1, 0).ok_or_else(no_memory)?,
        };
        let pool = Pool::new(threads).map_err(OpenError::Thread)?;
        Ok(CpuEngine {
            model,
            spec,
            capacity,
            isa,
            pages: PagedCache::new(paged_capacity(capacity, &caches)),
            caches,
            memory,
            scratch: (0..pool.threads()).map(|_| Mutex::default()).collect(),
            pool,
            profile: options.profile.then(Profile::default),
            best: Vec::new(),
            lost: None,
        })
    }

    /// Where the time went; all zero unless asked for in the options.
    pub fn profile(&self) -> Profile {
        self.profile.unwrap_or_default()
    }

    /// Threads that work on a step.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// The instruction set in use.
    pub fn isa(&self) -> Isa {
        self.isa
    }
}

impl<M: Model> Engine for CpuEngine<M> {
    fn capacity(&self) -> Capacity {
        self.capacity
    }

    fn vocab(&self) -> usize {
        self.spec.vocab
    }

    fn begin(&mut self) -> Result<SequenceId, EngineError> {
        self.pages.begin()
    }

    fn fork(&mut self, parent: SequenceId, positions: usize) -> Result<SequenceId, EngineError> {
        self.pages.fork(parent, positions)
    }

    fn truncate(&mut self, sequence: SequenceId, positions: usize) -> Result<(), EngineError> {
        self.pages.truncate(sequence, positions)
    }

    fn end(&mut self, sequence: SequenceId) -> Result<(), EngineError> {
        self.pages.end(sequence)
    }

    fn positions(&self, sequence: SequenceId) -> Result<usize, EngineError> {
        self.pages.positions(sequence)
    }

    fn step(&mut self, rows: &[Row]) -> Result<Vec<RowResult>, EngineError> {
        self.run_step(rows)
    }

    fn reserve(&mut self) -> Result<(), EngineError> {
        for (group, capacity) in paged_capacity(self.capacity, &self.caches).groups.iter().enumerate() {
            self.caches.reserve(group, capacity.pages).ok_or(EngineError::NoFreePage)?;
        }
        Ok(())
    }

    fn memory(&self) -> Option<EngineMemory> {
        let groups = paged_capacity(self.capacity, &self.caches).groups;
        let of_group = |(group, capacity): (usize, &GroupCapacity)| {
            capacity.pages.saturating_mul(self.caches.page_bytes(group)) as u64
        };
        let cache = groups.iter().enumerate().map(of_group).fold(0, u64::saturating_add);
        Some(EngineMemory { cache, step: self.memory.bytes() as u64 })
    }

    fn cache_bytes_read(&self, position: usize) -> Option<u64> {
        Some(self.caches.bytes_read(position) as u64)
    }
}

/// By so many positions a sequence can be cut back in layers with a window.
const SLACK: usize = CHUNK;

/// Pages for all sequences at their full length.
fn paged_capacity(capacity: Capacity, caches: &CacheMemory) -> PagedCapacity {
    let Capacity { sequences, positions, rows } = capacity;
    let groups = caches
        .windows
        .iter()
        .map(|window| {
            let window = window.map(|window| Window { positions: window.max(1), slack: SLACK });
            GroupCapacity::ample(window, sequences, positions, PAGE, rows)
        })
        .collect();
    PagedCapacity { sequences, positions, page: PAGE, groups }
}
