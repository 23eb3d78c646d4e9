//! From a graph to a schedule for one target: kernels, buffers, barriers, weight layout; layers of a kind share one schedule.

mod barriers;
mod buffers;
mod build;
mod error;
mod in_place;
mod target;
mod text;
mod verify;

pub use build::plan;
pub use error::{PlanError, Refusal};
pub use target::{Bucket, Layout, Target};
pub use verify::VerifyPlanError;

use forgellm_frontend::ir::{Op, Rope, Shape};

/// A model, scheduled for one target.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Name of the model.
    pub model: String,
    /// Name of the target.
    pub target: &'static str,
    /// Version of the target's weight layouts.
    pub layout_version: u32,
    /// Entries of the vocabulary.
    pub vocab: usize,
    /// Width of the hidden state.
    pub hidden: usize,
    /// Positions that the model was trained for; no limit of the plan.
    pub positions: usize,
    /// What the weights file holds, in the order of first use.
    pub weights: Vec<PlannedWeight>,
    /// The kernels of projections by the rows of a step, the fewest rows first; empty where the target has one for all.
    pub projections: Vec<Bucket>,
    /// One key-value cache per layer.
    pub caches: Vec<CacheSpec>,
    /// Regions of the arena.
    pub buffers: Vec<Buffer>,
    /// Elements of the arena per row of a step.
    pub row_elements: usize,
    /// Elements of the arena per row of which something is wanted.
    pub wanted_elements: usize,
    /// What runs before the layers; its weights are numbers in [`Plan::weights`].
    pub prologue: Vec<Step>,
    /// The distinct layers.
    pub kinds: Vec<LayerKind>,
    /// The layers, in order.
    pub layers: Vec<LayerUse>,
    /// What else runs once, after the layers; its weights are numbers in [`Plan::weights`].
    pub epilogue: Vec<Step>,
    /// What runs for the wanted rows, a group of them at a time: it leaves the buffers of all rows as they are. Its weights are numbers in
    /// [`Plan::weights`].
    pub head: Vec<Step>,
    /// Where the logits are.
    pub logits: BufferId,
    /// Where the hidden state after the final norm is; `None` where it is never in memory.
    pub hidden_state: Option<BufferId>,
}

/// Number of a buffer of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub usize);

/// Number of a weight: in [`Plan::weights`], or in [`LayerKind::slots`] inside a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WeightRef(pub usize);

/// A region of the arena.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buffer {
    /// Name, unique in the plan.
    pub name: String,
    /// `[rows, width]` or `[wanted, width]`: the two lie in arenas of their own.
    pub shape: Shape,
    /// First element, per row.
    pub offset: usize,
}

impl Buffer {
    /// One past the last element, per row.
    pub fn end(&self) -> usize {
        self.offset + self.shape.width
    }

    /// Whether both occupy an element of the same arena.
    pub fn overlaps(&self, other: &Buffer) -> bool {
        self.shape.rows == other.shape.rows && self.offset < other.end() && other.offset < self.end()
    }
}

/// A tensor of the weights file.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedWeight {
    /// Its name in the weights file.
    pub name: String,
    /// What it is made from.
    pub source: WeightSource,
    /// Type of the source's elements.
    pub dtype: forgellm_frontend::ir::DType,
    /// Shape of the source, outermost dimension first.
    pub shape: Vec<usize>,
    /// How the target wants it.
    pub layout: Layout,
}

impl Plan {
    /// Bytes of weights that a step reads however few rows it has: all of them but tables of which it only looks up rows.
    pub fn weight_bytes_a_step(&self) -> usize {
        let own = self.prologue.iter().chain(&self.epilogue).chain(&self.head);
        let is_lookup = |step: &&Step| matches!(step.op, Op::Embed { .. });
        let (lookups, others): (Vec<&Step>, Vec<&Step>) = own.partition(is_lookup);
        let used =
            |steps: &[&Step]| -> Vec<WeightRef> { steps.iter().flat_map(|step| step.op.weights()).collect() };
        let (looked_up, read) = (used(&lookups), used(&others));
        let only_looked_up = |number: usize| {
            looked_up.iter().any(|weight| weight.0 == number) && read.iter().all(|weight| weight.0 != number)
        };
        let weights = self.weights.iter().enumerate().filter(|(number, _)| !only_looked_up(*number));
        weights.map(|(_, weight)| weight.layout.bytes).sum()
    }
}

/// What a planned weight is made from.
#[derive(Debug, Clone, PartialEq)]
pub enum WeightSource {
    /// The tensor of the model file that has the same name.
    Tensor,
    /// The frequencies of this rope, computed by the compiler; `freq_factors` names a tensor of the model file.
    RopeFrequencies(Rope<String>),
}

/// A layer's key-value cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheSpec {
    /// Query heads that read it.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Rows see only the last so many positions, their own among them.
    pub window: Option<usize>,
}

/// Layers that run the same steps on weights of the same types and shapes.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerKind {
    /// Their steps; weights are numbers in `slots`.
    pub steps: Vec<Step>,
    /// What each layer's table of weights holds.
    pub slots: Vec<Slot>,
}

/// An entry of a layer's table of weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Name of the field: the weight's name without its layer.
    pub name: String,
    /// Type of its source's elements.
    pub dtype: forgellm_frontend::ir::DType,
    /// Shape of its source.
    pub shape: Vec<usize>,
    /// How the target wants it.
    pub layout: Layout,
}

/// One layer of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerUse {
    /// Which kind it is.
    pub kind: usize,
    /// Its weights by slot, as numbers in [`Plan::weights`].
    pub weights: Vec<WeightRef>,
}

/// One kernel call.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What it is in the model, for people.
    pub label: String,
    /// What it computes. Inside a layer its cache is number 0: the layer's own.
    pub op: Op<WeightRef>,
    /// Name of the target's kernel.
    pub kernel: &'static str,
    /// Tables that the compiler computed for it: for operations with rope, the frequencies.
    pub tables: Vec<WeightRef>,
    /// Buffers read. The cache is not one: see [`Op::cache`].
    pub reads: Vec<BufferId>,
    /// Buffers written.
    pub writes: Vec<BufferId>,
    /// Whether everything before must be done first.
    pub barrier: bool,
}
