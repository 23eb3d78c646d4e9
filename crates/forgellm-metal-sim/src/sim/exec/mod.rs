//! Executes kernels: threadgroups over OS threads, and within a threadgroup one coroutine per GPU thread.
//!
//! A thread runs until it waits: for the lanes of its simdgroup (an exchange, a simdgroup barrier) or for its
//! threadgroup. Nothing is queued and nothing is locked: a simdgroup is a few masks of 32 bits, and the scheduler
//! goes through their bits. A thread that never waits costs a function call.

use std::sync::atomic::AtomicU32;

use super::abi::{BUFFERS, Thread};
use super::module::{Module, Place};

#[cfg(target_os = "linux")]
mod crash;
mod fiber;
mod hooks;
mod meeting;
mod memory;
mod order;
mod pool;
mod simdgroup;
mod watch;
mod worker;

pub use memory::ThreadgroupMemory;
pub(super) use order::Order;
pub use pool::Executor;
pub use watch::{Access, AccessKind, Scene, Watch};

pub(super) use hooks::HOST;

/// The function of a kernel in a shared object.
pub type Entry = unsafe extern "C" fn(*const Thread);

/// Most threads of a threadgroup.
pub const MAX_THREADS: u32 = 1024;
/// Most threadgroup memory, declared and passed, in bytes.
pub const THREADGROUP_MEMORY: usize = 32 << 10;

/// One kernel over a grid.
pub struct Dispatch<'a> {
    /// The function.
    pub entry: Entry,
    /// The object that holds it, to find source lines.
    pub module: &'a Module,
    /// Threadgroups of the grid.
    pub threadgroups: [u32; 3],
    /// Threads of each threadgroup.
    pub threads: [u32; 3],
    /// Addresses of buffers by index.
    pub buffers: [*mut u8; BUFFERS],
    /// Threadgroup memory that is passed: index and bytes.
    pub threadgroup_memory: &'a [(u32, usize)],
    /// Shuffles the order of threads, simdgroups and threadgroups. `None`: ascending order.
    pub seed: Option<u64>,
    /// Watches a traced build. Such a dispatch runs on one OS thread.
    pub watch: Option<&'a dyn Watch>,
}

/// A dispatch as workers share it.
struct Shared<'a> {
    dispatch: &'a Dispatch<'a>,
    /// The next threadgroup that nobody has taken.
    next: AtomicU32,
    /// Set when a worker stopped, so that the others stop too.
    stopped: std::sync::atomic::AtomicBool,
}

// SAFETY: the pointers in a dispatch are to memory that kernels share; what they do to it is theirs to order, as on
// a GPU. The watch is used by one OS thread only.
unsafe impl Sync for Shared<'_> {}

/// Where a thread stands in its dispatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Position {
    /// `threadgroup_position_in_grid`.
    pub threadgroup: [u32; 3],
    /// `thread_position_in_threadgroup`.
    pub thread: [u32; 3],
    /// `simdgroup_index_in_threadgroup`.
    pub simdgroup: u32,
    /// `thread_index_in_simdgroup`.
    pub lane: u32,
}

impl Position {
    fn of(thread: &Thread) -> Self {
        Self {
            threadgroup: thread.threadgroup_position,
            thread: thread.position_in_threadgroup,
            simdgroup: thread.simdgroup,
            lane: thread.lane,
        }
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ([gx, gy, gz], [x, y, z]) = (self.threadgroup, self.thread);
        write!(f, "thread ({x}, {y}, {z}) of threadgroup ({gx}, {gy}, {gz})")
    }
}

/// Why a dispatch ended early.
#[derive(Debug, Clone)]
pub enum Stop {
    /// The kernel did what the simulator or the language refuses.
    Refused {
        /// What.
        message: String,
        /// Who.
        position: Position,
        /// Where; 0 if unknown.
        pc: usize,
    },
    /// Threads that can never meet.
    Divergent(Divergence),
    /// The watch has the reason.
    Finding,
    /// The operating system gave no memory for threads.
    Memory(String),
}

/// A barrier that not all threads reach.
#[derive(Debug, Clone)]
pub struct Divergence {
    /// It is a simdgroup-matrix operation rather than a barrier.
    pub matrix: bool,
    /// Its name.
    pub what: &'static str,
    /// A thread that waits.
    pub waits: (Position, usize),
    /// A thread that does not come: where it waits instead, or 0 when it has ended.
    pub absent: (Position, usize),
}

/// Whether two program counters are the same place in the source. The compiler may have made several copies of it.
fn same_place(module: &Module, a: usize, b: usize) -> bool {
    a == b || {
        let (a, b) = (module.place(a), module.place(b));
        !a.frames.is_empty() && a == b
    }
}

/// Orders places as the source does, so that threads that are behind go first and meet the others again.
fn source_order(a: &Place, b: &Place) -> std::cmp::Ordering {
    let key = |place: &Place| -> Vec<(u32, u32)> {
        place.frames.iter().rev().map(|frame| (frame.line, frame.column)).collect()
    };
    key(a).cmp(&key(b))
}
