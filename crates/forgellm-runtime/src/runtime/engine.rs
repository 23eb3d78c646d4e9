//! What a device layer offers to the program: steps over rows of any mix of sequences.

use std::fmt;
use std::time::Duration;

/// One token to process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Which token.
    pub token: Token,
    /// Its position in its sequence, from 0. A sequence's rows come in order, without gaps.
    pub position: usize,
    /// The sequence it belongs to.
    pub sequence: SequenceId,
    /// What is wanted of this row after the last layer.
    pub want: Want,
}

/// The token of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// A token id.
    Id(u32),
    /// The most likely token of this row of the step before, so that a GPU can run ahead of the host: see [`RunAhead`].
    ArgmaxOfRow(usize),
}

/// What is wanted of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Nothing: the row only fills the cache.
    Nothing,
    /// The most likely tokens with their logits, best first.
    Top(usize),
    /// All logits.
    Logits,
    /// The hidden state after the final norm.
    Hidden,
}

/// What a row gave; the variant follows its [`Want`].
#[derive(Debug, Clone, PartialEq)]
pub enum RowResult {
    /// Nothing was wanted.
    Nothing,
    /// `(id, logit)`, best first; equal logits in the order of their ids. NaN stands before all others: no engine hides it.
    Top(Vec<(u32, f32)>),
    /// One logit per vocabulary entry.
    Logits(Vec<f32>),
    /// The hidden state.
    Hidden(Vec<f32>),
}

/// A sequence of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(pub u32);

impl fmt::Display for SequenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What an engine was opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Sequences that may exist at a time.
    pub sequences: usize,
    /// Positions that one sequence may hold.
    pub positions: usize,
    /// Rows of one step.
    pub rows: usize,
}

/// Why an engine did not do what it was asked. The engine stays usable, but for [`EngineError::DeviceLost`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// A row's position is past the sequence's capacity.
    #[error("the context is full: sequence {sequence} holds at most {positions} positions")]
    ContextFull {
        /// The sequence.
        sequence: SequenceId,
        /// Its capacity.
        positions: usize,
    },
    /// All sequences are taken.
    #[error("all {0} sequences are in use")]
    TooManySequences(usize),
    /// No page of the cache is left.
    #[error("no memory is left for the KV cache")]
    NoFreePage,
    /// The step has more rows than the engine takes.
    #[error("a step takes at most {capacity} rows, this one has {rows}")]
    TooManyRows {
        /// Rows given.
        rows: usize,
        /// Rows possible.
        capacity: usize,
    },
    /// No such sequence.
    #[error("there is no sequence {0}")]
    UnknownSequence(SequenceId),
    /// A row does not continue its sequence.
    #[error(
        "sequence {sequence} holds {expected} positions, so its next row cannot be at position {position}"
    )]
    PositionGap {
        /// The sequence.
        sequence: SequenceId,
        /// The position that comes next.
        expected: usize,
        /// The position given.
        position: usize,
    },
    /// A token id is not in the vocabulary.
    #[error("token {token} is not in the vocabulary of {vocab} tokens")]
    UnknownToken {
        /// The id.
        token: u32,
        /// The vocabulary's size.
        vocab: usize,
    },
    /// A row refers to a row of the step before that is not there, or wanted no result.
    #[error("row {0} of the step before has no most likely token to continue with")]
    NoArgmax(usize),
    /// The hidden state is wanted of a model that does not give it.
    #[error("this model was compiled without its hidden state as an output; only logits can be wanted of it")]
    NoHiddenState,
    /// The positions asked for are gone or were never there.
    #[error("sequence {sequence} cannot be cut to {positions} positions: {reason}")]
    CannotTruncate {
        /// The sequence.
        sequence: SequenceId,
        /// The length asked for.
        positions: usize,
        /// Why not.
        reason: &'static str,
    },
    /// The device failed; open the engine anew.
    #[error("the device failed: {0}")]
    DeviceLost(String),
}

/// A compiled model, opened on its device.
pub trait Engine {
    /// Limits of this engine.
    fn capacity(&self) -> Capacity;

    /// Entries of the vocabulary (logits per row).
    fn vocab(&self) -> usize;

    /// Starts an empty sequence.
    fn begin(&mut self) -> Result<SequenceId, EngineError>;

    /// Starts a sequence that shares the first `positions` positions of `parent`.
    fn fork(&mut self, parent: SequenceId, positions: usize) -> Result<SequenceId, EngineError>;

    /// Forgets everything from `positions` on.
    fn truncate(&mut self, sequence: SequenceId, positions: usize) -> Result<(), EngineError>;

    /// Ends a sequence and frees its memory.
    fn end(&mut self, sequence: SequenceId) -> Result<(), EngineError>;

    /// Positions that the sequence holds.
    fn positions(&self, sequence: SequenceId) -> Result<usize, EngineError>;

    /// Runs one forward over `rows` and gives one result per row, in order.
    ///
    /// Rows of one sequence must continue it and stand in the order of their positions; rows of different sequences mix freely. On an
    /// error nothing was run and no sequence has changed.
    fn step(&mut self, rows: &[Row]) -> Result<Vec<RowResult>, EngineError>;

    /// Takes the memory for all sequences at their full length, so that no step has to. A system may only give it out once it is written to.
    ///
    /// # Errors
    /// [`EngineError::NoFreePage`] if there is not so much.
    fn reserve(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    /// Memory that the engine takes beside the weights; `None` if it cannot tell.
    fn memory(&self) -> Option<EngineMemory> {
        None
    }

    /// Bytes of keys and values that a row at `position` reads, in all layers; `None` if the engine cannot tell.
    fn cache_bytes_read(&self, _position: usize) -> Option<u64> {
        None
    }

    /// The way to submit a step before the results of the one before are there, on a device that works while the host does something else.
    fn run_ahead(&mut self) -> Option<&mut dyn RunAhead> {
        None
    }

    /// Where the time of all steps up to now went, dearest first; empty unless the engine was opened for profiling.
    fn profile(&self) -> Vec<ProfileEntry> {
        Vec::new()
    }

    /// Compares what the device computes with references, kernel by kernel; `None` if this device layer has no such check.
    ///
    /// It takes up to two sequences of the engine, and ends them again. `progress` hears how much of how much is done, and says whether to go on; what
    /// was found out until then is given in any case. A device that fails is an error only if no entry says why.
    fn self_check(
        &mut self,
        _progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Option<Vec<CheckEntry>>, EngineError> {
        Ok(None)
    }
}

/// Memory of an engine beside the weights, in bytes. The system may give it only as it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineMemory {
    /// The KV cache, once all sequences hold all their positions.
    pub cache: u64,
    /// What a step works with: activations, logits, page tables.
    pub step: u64,
}

/// What a self-check found out about one kernel.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CheckEntry {
    /// The kernel.
    pub name: String,
    /// How often it was run and compared.
    pub calls: u64,
    /// Results that were compared.
    pub values: u64,
    /// How far the result that is worst, measured by its tolerance, is from what it must be; infinite if it is not a number.
    pub error: f64,
    /// How far it may be.
    pub tolerance: f64,
    /// What is wrong with it, of its first wrong result; none if it is right.
    pub failure: Option<String>,
}

/// Steps whose results are asked for later.
///
/// Rows may continue with [`Token::ArgmaxOfRow`] of a step that is still under way, so that the device need not wait for the host. Steps run
/// in the order in which they were submitted; sequences hold a step's rows from its submission on.
pub trait RunAhead {
    /// Starts a step; see [`Engine::step`]. It may wait for those before.
    fn submit(&mut self, rows: &[Row]) -> Result<(), EngineError>;

    /// The results of the oldest step that were not collected yet; `None` if there is none.
    fn collect(&mut self) -> Result<Option<Vec<RowResult>>, EngineError>;
}

/// Time spent in one kind of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileEntry {
    /// The work: a kernel, a part of the forward pass.
    pub name: String,
    /// How often it was done.
    pub calls: u64,
    /// The time it took altogether.
    pub time: Duration,
}
