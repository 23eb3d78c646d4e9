//! What is the same for all dispatches that run at the same time: those of a concurrent encoder between two barriers, or
//! a single one.

use std::collections::HashMap;
use std::ops::Range;

use super::cells::{Cells, Record};
use super::{Access, Finding, FindingKind, Memory, Operation, Report};
use crate::sim::exec::{AccessKind, Divergence, Position};
use crate::sim::module::Module;

/// More findings than this help nobody.
const MOST_FINDINGS: usize = 50;

/// A bound buffer, or bytes that a command carries.
#[derive(Debug, Clone)]
pub(in crate::sim) struct Binding {
    pub(in crate::sim) index: usize,
    pub(in crate::sim) label: String,
    /// The addresses that the kernel may use.
    pub(in crate::sim) bound: Range<usize>,
    /// The whole buffer.
    pub(in crate::sim) whole: Range<usize>,
    /// Why it must not be written; `None`: it may.
    pub(in crate::sim) read_only: Option<&'static str>,
}

/// A dispatch of the interval.
pub(super) struct Dispatched<'a> {
    kernel: String,
    module: &'a Module,
    /// The number of its first thread.
    pub(super) first: u64,
    pub(super) threads: [u32; 3],
    pub(super) threadgroups: [u32; 3],
}

impl Dispatched<'_> {
    pub(super) fn threads_per_threadgroup(&self) -> u64 {
        self.threads.iter().map(|&size| u64::from(size)).product()
    }
}

/// The state of an interval.
pub(in crate::sim) struct Interval<'a> {
    pub(super) dispatches: Vec<Dispatched<'a>>,
    next_thread: u64,
    /// Memory that some dispatch may write: its addresses and the accesses to it.
    pub(super) written: Vec<(Range<usize>, Cells)>,
    findings: Vec<Finding>,
    /// Where a finding stands in `findings`, by its kind and the two places of the program.
    known: HashMap<(FindingKind, usize, usize), usize>,
}

impl<'a> Interval<'a> {
    /// An interval in which the buffers at these addresses may be written.
    pub(in crate::sim) fn new(written: &[Range<usize>]) -> Self {
        let mut ranges: Vec<Range<usize>> = written.to_vec();
        ranges.sort_by_key(|range| range.start);
        ranges.dedup();
        Self {
            dispatches: Vec::new(),
            next_thread: 0,
            written: ranges.into_iter().map(|range| (range.clone(), Cells::new(range.len()))).collect(),
            findings: Vec::new(),
            known: HashMap::new(),
        }
    }

    /// Another dispatch begins. Its number.
    pub(super) fn begin(
        &mut self,
        kernel: &str,
        module: &'a Module,
        threadgroups: [u32; 3],
        threads: [u32; 3],
    ) -> usize {
        let first = self.next_thread;
        let dispatched = Dispatched { kernel: kernel.to_owned(), module, first, threads, threadgroups };
        let groups: u64 = threadgroups.iter().map(|&size| u64::from(size)).product();
        self.next_thread += groups * dispatched.threads_per_threadgroup();
        self.dispatches.push(dispatched);
        self.dispatches.len() - 1
    }

    /// The dispatch of a thread.
    pub(super) fn dispatch_of(&self, thread: u64) -> &Dispatched<'a> {
        let after = self.dispatches.partition_point(|dispatched| dispatched.first <= thread);
        &self.dispatches[after.saturating_sub(1)]
    }

    /// What a past access was, to be reported.
    pub(super) fn describe(&self, record: Record) -> Access {
        let dispatched = self.dispatch_of(record.thread);
        let within = record.thread - dispatched.first;
        let each = dispatched.threads_per_threadgroup();
        let spread = |index: u64, size: [u32; 3]| {
            let [x, y] = [u64::from(size[0]), u64::from(size[1])];
            [(index % x) as u32, (index / x % y) as u32, (index / x / y) as u32]
        };
        let index = (within % each) as u32;
        let thread = Position {
            threadgroup: spread(within / each, dispatched.threadgroups),
            thread: spread(within % each, dispatched.threads),
            simdgroup: index / 32,
            lane: index % 32,
        };
        let operation = match record.kind() {
            AccessKind::Load => Operation::Load,
            AccessKind::Store => Operation::Store,
            AccessKind::AtomicLoad => Operation::AtomicLoad,
            AccessKind::AtomicStore => Operation::AtomicStore,
            AccessKind::AtomicUpdate => Operation::AtomicUpdate,
        };
        self.access(dispatched, operation, record.bytes(), thread, dispatched.module.base() + record.pc())
    }

    fn access(
        &self,
        dispatched: &Dispatched<'_>,
        operation: Operation,
        bytes: usize,
        thread: Position,
        pc: usize,
    ) -> Access {
        let place = dispatched.module.place(pc);
        let frame = place.user_frame();
        Access {
            kernel: dispatched.kernel.clone(),
            operation,
            bytes,
            thread,
            file: frame.map(|frame| frame.file.clone()).unwrap_or_default(),
            line: frame.map_or(0, |frame| frame.line),
            column: frame.map_or(0, |frame| frame.column),
        }
    }

    /// Adds a finding, or counts it if the same is known. `places` tell findings of a kind apart.
    pub(super) fn found(
        &mut self,
        kind: FindingKind,
        places: (usize, usize),
        finding: impl FnOnce(&Self) -> (Access, Option<Access>, Option<Memory>, String),
    ) {
        if let Some(&index) = self.known.get(&(kind, places.0, places.1)) {
            self.findings[index].repeats += 1;
            return;
        }
        if self.findings.len() >= MOST_FINDINGS {
            return;
        }
        let (access, other, memory, detail) = finding(self);
        self.known.insert((kind, places.0, places.1), self.findings.len());
        self.findings.push(Finding { kind, access, other, memory, detail, repeats: 0 });
    }

    /// Threads of a dispatch that can never meet.
    pub(in crate::sim) fn diverged(&mut self, dispatch: usize, divergence: &Divergence) {
        let (position, pc) = divergence.waits;
        let (absent, elsewhere) = divergence.absent;
        let matrix = divergence.matrix;
        let kind = if matrix { FindingKind::DivergentMatrixOperation } else { FindingKind::DivergentBarrier };
        self.found(kind, (pc, elsewhere), |interval| {
            let dispatched = &interval.dispatches[dispatch];
            let (first, second) = match (matrix, elsewhere) {
                (true, _) => (Operation::Matrix, Operation::Skip),
                (false, 0) => (Operation::Wait, Operation::End),
                (false, _) => (Operation::Wait, Operation::Wait),
            };
            let access = interval.access(dispatched, first, 0, position, pc);
            let other = interval.access(dispatched, second, 0, absent, elsewhere);
            (access, Some(other), None, divergence.what.to_owned())
        });
    }

    /// All findings.
    pub(in crate::sim) fn report(self) -> Option<Report> {
        (!self.findings.is_empty()).then_some(Report { findings: self.findings })
    }
}
