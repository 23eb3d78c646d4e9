//! Findings, as values and as text.

use std::fmt;

use serde::Serialize;

use crate::sim::exec::Position;

/// All that the sanitizers found in one dispatch, or in dispatches that run at the same time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// In the order in which they were found; at least one.
    pub findings: Vec<Finding>,
}

/// One kind of mistake at one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What is wrong.
    pub kind: FindingKind,
    /// The access, or the thread that waits.
    pub access: Access,
    /// The other access of a race, or the thread that does not come.
    pub other: Option<Access>,
    /// The memory that it is about.
    pub memory: Option<Memory>,
    /// More about it, where the kind does not say all.
    pub detail: String,
    /// How often the same happened again at the same place.
    pub repeats: u64,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// An access outside a buffer or a piece of threadgroup memory.
    OutOfBounds,
    /// An access to an address that belongs to nothing that the kernel knows.
    WildAccess,
    /// A thread's private memory is full.
    StackOverflow,
    /// A store to a buffer that is not to be written.
    ReadOnlyStore,
    /// A load of threadgroup memory that no thread of the threadgroup has written.
    UninitialisedThreadgroupMemory,
    /// Two accesses, one of which writes, that nothing orders.
    DataRace,
    /// An address that is no multiple of what the accessed type asks for.
    Misaligned,
    /// A barrier that not all threads reach.
    DivergentBarrier,
    /// A simdgroup-matrix operation that not all lanes do.
    DivergentMatrixOperation,
    /// What a dispatch writes depends on the order of its threads.
    OrderDependent,
}

impl FindingKind {
    fn text(self) -> &'static str {
        match self {
            Self::OutOfBounds => "out of bounds",
            Self::WildAccess => "access to unknown memory",
            Self::StackOverflow => "a thread's private memory is full",
            Self::ReadOnlyStore => "store to read-only memory",
            Self::UninitialisedThreadgroupMemory => "load of threadgroup memory that nobody wrote",
            Self::DataRace => "data race",
            Self::Misaligned => "misaligned access",
            Self::DivergentBarrier => "divergent barrier",
            Self::DivergentMatrixOperation => "divergent simdgroup matrix operation",
            Self::OrderDependent => "the result depends on the order of threads",
        }
    }
}

/// What a thread does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Operation {
    Load,
    Store,
    AtomicLoad,
    AtomicStore,
    AtomicUpdate,
    /// Waits at a barrier or for other lanes.
    Wait,
    /// Has ended.
    End,
    /// A simdgroup-matrix operation.
    Matrix,
    /// Does not do what the other thread does.
    Skip,
    /// Has run to its end, as all others.
    Run,
}

impl Operation {
    fn text(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Store => "store",
            Self::AtomicLoad => "atomic load",
            Self::AtomicStore => "atomic store",
            Self::AtomicUpdate => "atomic update",
            Self::Wait => "waits",
            Self::End => "has ended",
            Self::Matrix => "done",
            Self::Skip => "left out",
            Self::Run => "run",
        }
    }
}

/// Who did what where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Access {
    /// The kernel.
    pub kernel: String,
    /// What it does.
    pub operation: Operation,
    /// Bytes of a memory access, else 0.
    pub bytes: usize,
    /// The thread.
    pub thread: Position,
    /// The file in the Metal Shading Language; empty if unknown.
    pub file: String,
    /// Its line; 0 if unknown.
    pub line: u32,
    /// The column, in the translated text; 0 if unknown.
    pub column: u32,
}

/// A place in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "space")]
pub enum Memory {
    /// A device or constant buffer.
    Buffer {
        /// Its index in the dispatch.
        index: usize,
        /// Its label.
        label: String,
        /// Bytes from where it is bound; negative before it.
        offset: i64,
        /// Bytes that are bound.
        length: usize,
    },
    /// Threadgroup memory.
    Threadgroup {
        /// The variable, or the argument.
        name: String,
        /// Bytes from its start; negative before it.
        offset: i64,
        /// Its bytes.
        length: usize,
    },
    /// An address that belongs to nothing.
    Unknown {
        /// The address.
        address: u64,
    },
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Buffer { index, label, offset, length } => {
                write!(f, "byte {offset} of buffer {index} '{label}', which has {length} bytes")
            }
            Self::Threadgroup { name, offset, length } => {
                write!(f, "byte {offset} of threadgroup memory '{name}', which has {length} bytes")
            }
            Self::Unknown { address } if *address < 4096 => write!(f, "address {address:#x}, a null pointer"),
            Self::Unknown { address } => write!(f, "address {address:#x}"),
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.operation == Operation::Run {
            return write!(f, "kernel '{}'", self.kernel);
        }
        if self.line == 0 {
            write!(f, "(unknown line): ")?;
        } else {
            write!(f, "{}:{}: ", self.file, self.line)?;
        }
        write!(f, "{}", self.operation.text())?;
        if self.bytes != 0 {
            write!(f, " of {} bytes", self.bytes)?;
        }
        write!(f, " by {} in kernel '{}'", self.thread, self.kernel)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind.text())?;
        if let Some(memory) = &self.memory {
            write!(f, ": {memory}")?;
        }
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        write!(f, "\n  {}", self.access)?;
        if let Some(other) = &self.other {
            write!(f, "\n  {other}")?;
        }
        if self.repeats != 0 {
            write!(f, "\n  and {} more times", self.repeats)?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.findings.iter().enumerate() {
            if index != 0 {
                writeln!(f)?;
            }
            write!(f, "{finding}")?;
        }
        Ok(())
    }
}
