//! Sanitizers and counters: what a traced build tells, checked and added up.
//!
//! A `Monitor` watches one dispatch. It knows which addresses belong to what (a bound buffer, threadgroup memory,
//! the thread's own stack), and for memory that may be written it keeps, per byte, who accessed it last: two accesses
//! race if one of them writes and nothing orders them. What orders accesses is in `interval`; which accesses have to
//! be remembered, in `cells`.

mod cells;
mod counts;
mod interval;
mod monitor;
mod report;

pub use counts::{BufferCounts, Counts};
pub use report::{Access, Finding, FindingKind, Memory, Operation, Report};

pub(super) use interval::{Binding, Interval};
pub(super) use monitor::Monitor;
