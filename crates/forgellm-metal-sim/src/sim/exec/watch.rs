//! What a traced build tells while it runs.

use std::ops::Range;

use super::ThreadgroupMemory;
use crate::sim::abi::Thread;

/// What a memory access does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum AccessKind {
    Load,
    Store,
    AtomicLoad,
    AtomicStore,
    AtomicUpdate,
}

/// A memory access that is about to happen.
#[derive(Debug, Clone, Copy)]
pub struct Access {
    pub(in crate::sim) kind: AccessKind,
    pub(in crate::sim) address: usize,
    pub(in crate::sim) bytes: usize,
    pub(in crate::sim) pc: usize,
    /// What the address must be a multiple of.
    pub(in crate::sim) alignment: usize,
}

/// Who accesses, and which memory is its own.
pub struct Scene<'a> {
    pub(in crate::sim) thread: &'a Thread,
    /// Its private memory. Accesses to it are not told.
    pub(in crate::sim) stack: &'a Range<usize>,
    /// What the simulator itself lends to kernels.
    pub(in crate::sim) lent: [Range<usize>; 4],
    pub(in crate::sim) memory: &'a ThreadgroupMemory,
}

/// Is told of all that a dispatch does. One OS thread calls it.
pub trait Watch {
    /// The threadgroup at this position in the grid begins.
    fn begin_threadgroup(&self, position: [u32; 3]);
    /// An access is about to happen. `false`: it must not, and the dispatch ends.
    fn access(&self, scene: &Scene<'_>, access: Access) -> bool;
    /// All threads of a simdgroup, or of the threadgroup (`None`), met at a barrier with these `mem_flags`.
    fn barrier(&self, simdgroup: Option<u32>, flags: u32);
    /// A simdgroup did a matrix operation.
    fn matrix(&self, kind: u32);
}
