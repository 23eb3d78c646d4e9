//! Watches one dispatch.

use std::cell::RefCell;
use std::ops::Range;

use super::cells::{Cells, Order, Record, Relation};
use super::counts::{BufferCounts, Counts, Touched};
use super::interval::{Binding, Interval};
use super::{FindingKind, Memory};
use crate::sim::abi::{KIND_LOAD, KIND_STORE, LANES, MEM_DEVICE, MEM_THREADGROUP, Thread};
use crate::sim::exec::{Access, AccessKind, Scene, Watch};
use crate::sim::module::Module;

/// An access this far from all buffers is not blamed on one of them.
const NEAR: usize = 1 << 20;

/// Watches one dispatch.
pub(in crate::sim) struct Monitor<'i, 'a> {
    state: RefCell<State<'i, 'a>>,
}

struct State<'i, 'a> {
    interval: &'i mut Interval<'a>,
    /// The number of the dispatch in its interval.
    dispatch: usize,
    module: &'a Module,
    sanitize: bool,
    bindings: Vec<Bound>,
    /// The binding of the last access: mostly the next one's too.
    last: usize,
    group: Group,
    /// Threadgroup memory: accesses, and for each byte the last threadgroup that wrote it.
    cells: Cells,
    writer: Vec<u32>,
    counts: Counts,
}

/// A binding and what is known of it.
struct Bound {
    binding: Binding,
    /// Where its memory stands in `Interval::written`.
    written: Option<usize>,
    /// The bytes that were loaded and stored, if that is to be counted.
    touched: Option<[Touched; 2]>,
}

/// The threadgroup that runs.
#[derive(Default)]
struct Group {
    /// From 1.
    number: u32,
    /// The number of its first thread in the interval, and its threads.
    first: u64,
    threads: u64,
    /// Barriers so far, and one.
    clock: u32,
    /// The clock behind the last barrier for device and for threadgroup memory.
    barrier: [u32; 2],
    /// Likewise for each simdgroup.
    simdgroup_barriers: Vec<[u32; 2]>,
}

const DEVICE: usize = 0;
const THREADGROUP: usize = 1;

impl<'i, 'a> Monitor<'i, 'a> {
    /// Watches the next dispatch of `interval`. `counts` holds the names.
    pub(in crate::sim) fn new(
        interval: &'i mut Interval<'a>,
        module: &'a Module,
        (threadgroups, threads): ([u32; 3], [u32; 3]),
        bindings: Vec<Binding>,
        counts: Counts,
        (sanitize, count): (bool, bool),
    ) -> Self {
        let dispatch = interval.begin(&counts.kernel, module, threadgroups, threads);
        let bound = |binding: Binding| Bound {
            written: interval.written.iter().position(|(range, _)| *range == binding.whole),
            touched: count.then(|| [(); 2].map(|()| Touched::new(binding.bound.len()))),
            binding,
        };
        let bindings = bindings.into_iter().map(bound).collect();
        let state = State {
            interval,
            dispatch,
            module,
            sanitize,
            bindings,
            last: 0,
            group: Group::default(),
            cells: Cells::new(0),
            writer: Vec::new(),
            counts,
        };
        Self { state: RefCell::new(state) }
    }

    /// The number of the dispatch in its interval, and the counts.
    pub(in crate::sim) fn finish(self) -> (usize, Counts) {
        let state = self.state.into_inner();
        let mut counts = state.counts;
        counts.buffers.extend(state.bindings.iter().filter_map(|bound| {
            let [loaded, stored] = bound.touched.as_ref()?;
            let (bytes_loaded, distinct_bytes_loaded) = loaded.counts();
            let (bytes_stored, distinct_bytes_stored) = stored.counts();
            let (index, label) = (bound.binding.index, bound.binding.label.clone());
            Some(BufferCounts {
                index,
                label,
                bytes_loaded,
                bytes_stored,
                distinct_bytes_loaded,
                distinct_bytes_stored,
            })
        }));
        (state.dispatch, counts)
    }
}

impl Watch for Monitor<'_, '_> {
    fn begin_threadgroup(&self, position: [u32; 3]) {
        let state = &mut *self.state.borrow_mut();
        let dispatched = &state.interval.dispatches[state.dispatch];
        let [x, y, z] = position.map(u64::from);
        let [width, height, _] = dispatched.threadgroups.map(u64::from);
        let threads = dispatched.threads_per_threadgroup();
        let first = dispatched.first + ((z * height + y) * width + x) * threads;
        let simdgroups = threads.div_ceil(LANES as u64) as usize;
        let group = &mut state.group;
        group.number += 1;
        (group.first, group.threads) = (first, threads);
        (group.clock, group.barrier) = (1, [0; 2]);
        group.simdgroup_barriers.clear();
        group.simdgroup_barriers.resize(simdgroups, [0; 2]);
    }

    fn access(&self, scene: &Scene<'_>, access: Access) -> bool {
        self.state.borrow_mut().access(scene, access)
    }

    fn barrier(&self, simdgroup: Option<u32>, flags: u32) {
        let state = &mut *self.state.borrow_mut();
        let group = &mut state.group;
        group.clock += 1;
        let clock = group.clock;
        let last = match simdgroup {
            Some(index) => {
                state.counts.simdgroup_barriers += 1;
                group.simdgroup_barriers.get_mut(index as usize)
            }
            None => {
                state.counts.threadgroup_barriers += 1;
                Some(&mut group.barrier)
            }
        };
        let Some(last) = last else { return };
        for (space, flag) in [(DEVICE, MEM_DEVICE), (THREADGROUP, MEM_THREADGROUP)] {
            if flags & flag != 0 {
                last[space] = clock;
            }
        }
    }

    fn matrix(&self, kind: u32) {
        let counts = &mut self.state.borrow_mut().counts;
        match kind {
            KIND_LOAD => counts.matrix_loads += 1,
            KIND_STORE => counts.matrix_stores += 1,
            _ => counts.matrix_multiplies += 1,
        }
    }
}

impl State<'_, '_> {
    fn access(&mut self, scene: &Scene<'_>, access: Access) -> bool {
        if access.bytes == 0 {
            return true;
        }
        let stores = !matches!(access.kind, AccessKind::Load | AccessKind::AtomicLoad);
        if let Some(index) = self.binding(access.address, access.bytes, stores) {
            return self.buffer(scene.thread, access, index, stores);
        }
        if scene.memory.range().contains(&access.address) {
            return self.threadgroup(scene, access, stores);
        }
        let known = || scene.lent.iter().any(|range| range.contains(&access.address));
        if !self.sanitize || self.module.owns(access.address) || known() {
            return true;
        }
        self.stray(scene, access);
        false
    }

    /// The binding that holds an access; for a store, one that may be written, if there is such a one.
    fn binding(&mut self, address: usize, bytes: usize, stores: bool) -> Option<usize> {
        let holds = |bound: &Bound| {
            let range = &bound.binding.bound;
            address >= range.start && address < range.end && bytes <= range.end - address
        };
        let allows = |bound: &Bound| holds(bound) && (!stores || bound.binding.read_only.is_none());
        if self.bindings.get(self.last).is_none_or(|bound| !allows(bound)) {
            let found = self.bindings.iter().position(allows);
            self.last = found.or_else(|| self.bindings.iter().position(holds))?;
        }
        Some(self.last)
    }

    fn buffer(&mut self, thread: &Thread, access: Access, index: usize, stores: bool) -> bool {
        let bound = &mut self.bindings[index];
        let offset = access.address - bound.binding.bound.start;
        let loads = !matches!(access.kind, AccessKind::Store | AccessKind::AtomicStore);
        if let Some([loaded, stored]) = &mut bound.touched {
            if loads {
                loaded.add(offset, access.bytes);
                self.counts.device_bytes_loaded += access.bytes as u64;
            }
            if stores {
                stored.add(offset, access.bytes);
                self.counts.device_bytes_stored += access.bytes as u64;
            }
        }
        if !self.sanitize {
            return true;
        }
        let record = self.record(thread, access);
        let binding = &self.bindings[index].binding;
        if let (true, Some(why)) = (stores, binding.read_only) {
            let (why, memory) = (why.to_owned(), place(binding, access.address));
            self.interval.found(FindingKind::ReadOnlyStore, (record.pc(), index), |interval| {
                (interval.describe(record), None, Some(memory), why)
            });
            return false;
        }
        if !access.address.is_multiple_of(access.alignment) {
            let memory = place(binding, access.address);
            self.misaligned(access, record, memory);
            return false;
        }
        let Some(written) = self.bindings[index].written else { return true };
        let order = self.order(thread, DEVICE);
        let (range, cells) = &mut self.interval.written[written];
        let race = cells.access(access.address - range.start, access.bytes, record, &order);
        if let Some((past, at)) = race {
            let memory = place(&self.bindings[index].binding, range.start + at);
            self.race(record, past, memory);
        }
        true
    }

    fn threadgroup(&mut self, scene: &Scene<'_>, access: Access, stores: bool) -> bool {
        let loads = !matches!(access.kind, AccessKind::Store | AccessKind::AtomicStore);
        if loads {
            self.counts.threadgroup_bytes_loaded += access.bytes as u64;
        }
        if stores {
            self.counts.threadgroup_bytes_stored += access.bytes as u64;
        }
        if !self.sanitize {
            return true;
        }
        let record = self.record(scene.thread, access);
        let range = scene.memory.range();
        if self.writer.len() != range.len() {
            self.writer = vec![0; range.len()];
            self.cells = Cells::new(range.len());
        }
        let allocations = scene.memory.allocations();
        let distance = |start: usize, bytes: usize| {
            start
                .saturating_sub(access.address)
                .max((access.address + access.bytes).saturating_sub(start + bytes))
        };
        let nearest = allocations.iter().min_by_key(|piece| distance(piece.address, piece.bytes));
        let Some(nearest) = nearest else {
            self.stray(scene, access);
            return false;
        };
        let memory = |address: usize| Memory::Threadgroup {
            name: nearest.name(),
            offset: address as i64 - nearest.address as i64,
            length: nearest.bytes,
        };
        if distance(nearest.address, nearest.bytes) != 0 {
            let memory = memory(access.address);
            self.interval.found(FindingKind::OutOfBounds, (record.pc(), nearest.site as usize), |interval| {
                (interval.describe(record), None, Some(memory), String::new())
            });
            return false;
        }
        let offset = access.address - range.start;
        let number = self.group.number;
        let bytes = offset..offset + access.bytes;
        if loads && let Some(unwritten) = bytes.clone().find(|&at| self.writer[at] != number) {
            let memory = memory(range.start + unwritten);
            self.interval.found(
                FindingKind::UninitialisedThreadgroupMemory,
                (record.pc(), nearest.site as usize),
                |interval| (interval.describe(record), None, Some(memory), String::new()),
            );
        }
        if stores {
            self.writer[bytes].fill(number);
        }
        if !access.address.is_multiple_of(access.alignment) {
            self.misaligned(access, record, memory(access.address));
            return false;
        }
        let order = self.order(scene.thread, THREADGROUP);
        if let Some((past, at)) = self.cells.access(offset, access.bytes, record, &order) {
            self.race(record, past, memory(range.start + at));
        }
        true
    }

    /// An access that no buffer and no threadgroup memory holds.
    fn stray(&mut self, scene: &Scene<'_>, access: Access) {
        let record = self.record(scene.thread, access);
        let distance = |range: &Range<usize>| {
            range
                .start
                .saturating_sub(access.address)
                .max((access.address + access.bytes).saturating_sub(range.end))
        };
        let near =
            self.bindings.iter().map(|bound| &bound.binding).min_by_key(|binding| distance(&binding.bound));
        let near = near
            .filter(|binding| distance(&binding.bound) <= NEAR || binding.whole.contains(&access.address));
        let below = scene.stack.start.wrapping_sub(access.address) < NEAR;
        let (kind, memory) = match near {
            Some(binding) => (FindingKind::OutOfBounds, place(binding, access.address)),
            None => {
                let kind = if below { FindingKind::StackOverflow } else { FindingKind::WildAccess };
                (kind, Memory::Unknown { address: access.address as u64 })
            }
        };
        self.interval.found(kind, (record.pc(), 0), |interval| {
            (interval.describe(record), None, Some(memory), String::new())
        });
    }

    /// An access whose address is not what its type asks for. The processor may refuse it.
    fn misaligned(&mut self, access: Access, record: Record, memory: Memory) {
        let detail = format!("its type asks for a multiple of {}", access.alignment);
        self.interval.found(FindingKind::Misaligned, (record.pc(), 0), |interval| {
            (interval.describe(record), None, Some(memory), detail)
        });
    }

    fn race(&mut self, now: Record, past: Record, memory: Memory) {
        self.interval.found(FindingKind::DataRace, (now.pc(), past.pc()), |interval| {
            (interval.describe(now), Some(interval.describe(past)), Some(memory), String::new())
        });
    }

    fn record(&self, thread: &Thread, access: Access) -> Record {
        let number = self.group.first + u64::from(thread.index_in_threadgroup);
        let pc = access.pc.wrapping_sub(self.module.base());
        Record::new(number, self.group.clock, pc, access.kind, access.bytes)
    }

    fn order(&self, thread: &Thread, space: usize) -> Now {
        let group = &self.group;
        let simdgroup = group.simdgroup_barriers.get(thread.simdgroup as usize).map_or(0, |last| last[space]);
        Now {
            thread: group.first + u64::from(thread.index_in_threadgroup),
            group: group.first..group.first + group.threads,
            barrier: group.barrier[space],
            simdgroup_barrier: simdgroup.max(group.barrier[space]),
            transient: space == THREADGROUP,
        }
    }
}

fn place(binding: &Binding, address: usize) -> Memory {
    Memory::Buffer {
        index: binding.index,
        label: binding.label.clone(),
        offset: address as i64 - binding.bound.start as i64,
        length: binding.bound.len(),
    }
}

/// The current thread, and what is ordered before it.
struct Now {
    thread: u64,
    /// The threads of its threadgroup.
    group: Range<u64>,
    /// The clock behind the last barrier of the threadgroup, for the memory in question.
    barrier: u32,
    /// The clock behind the last barrier that its simdgroup passed, alone or with the threadgroup.
    simdgroup_barrier: u32,
    /// The memory ends with the threadgroup.
    transient: bool,
}

impl Order for Now {
    fn relation(&self, record: Record) -> Option<Relation> {
        if record.thread == self.thread {
            return Some(Relation::Same);
        }
        if !self.group.contains(&record.thread) {
            return (!self.transient).then_some(Relation::Strangers);
        }
        let simdgroup = |thread: u64| (thread - self.group.start) / LANES as u64;
        let same = simdgroup(record.thread) == simdgroup(self.thread);
        Some(if same { Relation::Simdgroup } else { Relation::Threadgroup })
    }

    fn before(&self, record: Record) -> bool {
        match self.relation(record) {
            Some(Relation::Same) => true,
            Some(Relation::Simdgroup) => record.clock < self.simdgroup_barrier,
            Some(Relation::Threadgroup) => record.clock < self.barrier,
            Some(Relation::Strangers) | None => false,
        }
    }

    fn close(&self, a: Record, b: Record) -> bool {
        let simdgroup = |record: Record| {
            let known = self.group.contains(&record.thread);
            known.then(|| (record.thread - self.group.start) / LANES as u64)
        };
        // Of two strangers it is not known; to keep both would do no harm, to keep the current one is safe.
        simdgroup(a) == simdgroup(b)
    }
}
