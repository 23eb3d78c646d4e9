//! The engine contract on a Metal GPU: which sequences there are, what a step runs, what it gives.

mod step;

use std::collections::VecDeque;
use std::sync::Arc;

use super::buckets::Bucket;
use super::cache::{CacheMemory, PAGE};
use super::kernels::Kernels;
use super::kv_format::KvFormat;
use super::memory::{Arena, Scratch, StepLayout, StepRows};
use super::record::Profile;
use super::run::{Run, WANTED_ROWS};
use super::selfcheck::{Checker, steps};
use super::weights::Weights;
use crate::gpu::{Device, GpuError, Library, Queue};
use crate::runtime::buffer::AnyBuffer;
use crate::runtime::engine::{
    Capacity, CheckEntry, Engine, EngineError, EngineMemory, ProfileEntry, Row, RowResult, RunAhead,
    SequenceId,
};
use crate::runtime::open::{OpenError, OpenOptions};
use crate::runtime::pages::{GroupCapacity, PagedCache, PagedCapacity, Window};
use crate::runtime::weights::Weights as WeightsFile;

/// A compiled model: it encodes its operations.
pub trait Model {
    /// Sizes.
    fn spec(&self) -> ModelSpec;

    /// From the tokens to the last layer's result, over all rows of the step.
    fn layers(&self, run: &Run<'_>);

    /// From the last layer's result to the hidden state and the logits, over the wanted rows. Encoded once per [`WANTED_ROWS`] of them,
    /// so it must leave the buffers of all rows as they are.
    fn head(&self, run: &Run<'_>);
}

/// Steps that may be under way: while the GPU runs one, the host encodes the next.
const STEPS: usize = 2;

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
    /// The kernels of projections.
    pub projections: &'static [Bucket],
    /// The KV caches, by the index that the operations use.
    pub caches: &'static [CacheSpec],
    /// The wanted buffer that holds the hidden state after the final norm once `head` has run.
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

/// How a [`MetalEngine`] is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetalOptions {
    /// Sequences that may exist at a time.
    pub sequences: usize,
    /// Positions that a sequence may hold; `None`: what the model was made for.
    pub positions: Option<usize>,
    /// Rows of one step.
    pub rows: usize,
    /// How keys and values are stored.
    pub kv: KvFormat,
    /// Whether to measure each kernel by itself, which takes longer.
    pub profile: bool,
}

impl Default for MetalOptions {
    /// One sequence of the model's length, 512 rows a step, f16 in the cache, no profile.
    fn default() -> MetalOptions {
        MetalOptions { sequences: 1, positions: None, rows: 512, kv: KvFormat::F16, profile: false }
    }
}

impl MetalOptions {
    /// What a program was told, which is refused where it has no meaning.
    pub fn of_program(options: &OpenOptions) -> Result<MetalOptions, OpenError> {
        if options.threads.is_some() {
            let reason = "it computes on the GPU; leave the option out";
            return Err(OpenError::Option { option: "--threads", reason });
        }
        Ok(MetalOptions {
            sequences: options.sequences,
            positions: Some(options.context),
            kv: options.kv_cache.unwrap_or_default(),
            profile: options.profile,
            ..MetalOptions::default()
        })
    }
}

/// A model, opened on a GPU.
pub struct MetalEngine<M> {
    model: M,
    spec: ModelSpec,
    capacity: Capacity,
    device: Device,
    queue: Queue,
    kernels: Kernels,
    weights: Weights,
    pages: PagedCache,
    caches: CacheMemory,
    rows_arena: Arena,
    wanted_arena: Arena,
    step_rows: [StepRows; STEPS],
    /// Which of `step_rows` the last step uses.
    last_memory: usize,
    /// Wanted rows of the last step's last group, and most likely tokens of each.
    last_results: (usize, usize),
    /// Steps that were submitted and not collected. Only the last may still run when another one is encoded.
    steps: VecDeque<step::Step>,
    scratch: Scratch,
    profile: Option<Profile>,
    /// While the kernels are checked.
    checker: Option<Checker>,
    /// Most likely token after each row of the last step, or what stands for it while the step runs.
    best: Vec<Option<u32>>,
    /// Why no step can be run any more.
    lost: Option<String>,
}

impl<M: Model> MetalEngine<M> {
    /// Opens the model that `bind` finds in the weights: the weights are used where the file is mapped, kernels come from `library`.
    pub fn open(
        device: Device,
        library: Library,
        file: Arc<WeightsFile>,
        bind: impl FnOnce(&Weights) -> Result<M, OpenError>,
        options: &MetalOptions,
    ) -> Result<MetalEngine<M>, OpenError> {
        let gpu = |error: GpuError| OpenError::Device(error.to_string());
        let weights = Weights::open(&device, file).map_err(gpu)?;
        let model = bind(&weights)?;
        let spec = model.spec();
        let positions = options.positions.unwrap_or(spec.positions);
        if positions > spec.positions {
            return Err(OpenError::Device(format!(
                "this model takes contexts of at most {} positions, not {positions}: ask for fewer",
                spec.positions
            )));
        }
        if positions == 0 || options.sequences == 0 || options.rows == 0 {
            return Err(OpenError::Device("an engine needs at least one position, sequence and row".into()));
        }
        let capacity = Capacity { sequences: options.sequences, positions, rows: options.rows };
        let caches = CacheMemory::new(device.clone(), spec.caches, positions, options.kv)?;
        let pages = PagedCache::new(paged_capacity(capacity, &caches));
        let groups = caches.windows().count();
        let layout = StepLayout::new(options.rows, options.sequences, groups, positions.div_ceil(PAGE));
        Ok(MetalEngine {
            rows_arena: Arena::new(&device, options.rows, spec.row_arena, "activations").map_err(gpu)?,
            wanted_arena: Arena::new(&device, WANTED_ROWS, spec.wanted_arena, "wanted rows").map_err(gpu)?,
            step_rows: [
                StepRows::new(&device, layout).map_err(gpu)?,
                StepRows::new(&device, layout).map_err(gpu)?,
            ],
            last_memory: 0,
            last_results: (0, 0),
            steps: VecDeque::new(),
            scratch: Scratch::default(),
            profile: options.profile.then(Profile::default),
            checker: None,
            queue: device.queue().map_err(gpu)?,
            kernels: Kernels::new(device.clone(), library),
            device,
            model,
            spec,
            capacity,
            weights,
            pages,
            caches,
            best: Vec::new(),
            lost: None,
        })
    }
}

impl<M: Model> MetalEngine<M> {
    /// Measures what `work` runs, kernel by kernel.
    pub(crate) fn profiled<T>(
        &mut self,
        work: impl FnOnce(&mut MetalEngine<M>) -> Result<T, EngineError>,
    ) -> Result<Vec<ProfileEntry>, EngineError> {
        let before = self.profile.replace(Profile::default());
        let result = work(self);
        let measured = std::mem::replace(&mut self.profile, before);
        result?;
        Ok(measured.as_ref().map(Profile::entries).unwrap_or_default())
    }

    /// Compares what `work` runs with its references, kernel by kernel, and gives the checker back.
    pub(crate) fn checked<T>(
        &mut self,
        checker: Checker,
        work: impl FnOnce(&mut MetalEngine<M>) -> T,
    ) -> (T, Checker) {
        self.checker = Some(checker);
        let result = work(self);
        (result, self.checker.take().unwrap_or_default())
    }

    /// The windows of the layers' caches that can be felt.
    pub(crate) fn windows(&self) -> impl Iterator<Item = usize> {
        self.caches.windows().flatten()
    }

    /// Whether [`Want::Hidden`](crate::runtime::engine::Want) can be answered.
    pub(crate) fn has_hidden_state(&self) -> bool {
        self.spec.hidden.is_some()
    }
}

impl<M: Model> Engine for MetalEngine<M> {
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
        self.submit_step(rows)?;
        self.collect_last()
    }

    fn reserve(&mut self) -> Result<(), EngineError> {
        // Keys and values that are there move to larger buffers.
        self.finish_all()?;
        for (group, capacity) in paged_capacity(self.capacity, &self.caches).groups.iter().enumerate() {
            self.caches.grow(group, capacity.pages).map_err(|_| EngineError::NoFreePage)?;
        }
        Ok(())
    }

    fn memory(&self) -> Option<EngineMemory> {
        let groups = paged_capacity(self.capacity, &self.caches).groups;
        let of_group =
            |(group, capacity): (usize, &GroupCapacity)| self.caches.bytes_of(group, capacity.pages) as u64;
        let cache = groups.iter().enumerate().map(of_group).fold(0, u64::saturating_add);
        let rows: usize = self.step_rows.iter().map(|rows| rows.buffer.len()).sum();
        let step = rows + self.rows_arena.bytes() + self.wanted_arena.bytes();
        Some(EngineMemory { cache, step: step as u64 })
    }

    fn cache_bytes_read(&self, position: usize) -> Option<u64> {
        Some(self.caches.bytes_read(position) as u64)
    }

    fn run_ahead(&mut self) -> Option<&mut dyn RunAhead> {
        Some(self)
    }

    fn profile(&self) -> Vec<ProfileEntry> {
        self.profile.as_ref().map(Profile::entries).unwrap_or_default()
    }

    fn self_check(
        &mut self,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Option<Vec<CheckEntry>>, EngineError> {
        steps::check(self, progress).map(Some)
    }
}

impl<M: Model> RunAhead for MetalEngine<M> {
    fn submit(&mut self, rows: &[Row]) -> Result<(), EngineError> {
        self.submit_step(rows)
    }

    fn collect(&mut self) -> Result<Option<Vec<RowResult>>, EngineError> {
        self.collect_step()
    }
}

/// By so many positions a sequence can be cut back in layers with a window.
const SLACK: usize = 256;

/// Pages for all sequences at their full length.
fn paged_capacity(capacity: Capacity, caches: &CacheMemory) -> PagedCapacity {
    let Capacity { sequences, positions, rows } = capacity;
    let groups = caches
        .windows()
        .map(|window| {
            let window = window.map(|window| Window { positions: window.max(1), slack: SLACK });
            GroupCapacity::ample(window, sequences, positions, PAGE, rows)
        })
        .collect();
    PagedCapacity { sequences, positions, page: PAGE, groups }
}
