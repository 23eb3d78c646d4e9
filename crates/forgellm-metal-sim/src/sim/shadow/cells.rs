//! Who accessed each byte last: as much of it as is needed to find every race with a later access.
//!
//! Accesses are ordered by barriers, and order is transitive. So of plain stores the last one is enough: what races
//! with an earlier one races with it too, or was reported when it happened. Of loads two are kept that no single later
//! store can be ordered after by being the same thread or simdgroup, if there are such two; of atomic accesses likewise.

use crate::sim::exec::AccessKind;

/// An access in the past. Threads are numbered over all dispatches that run at the same time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    pub(super) thread: u64,
    /// The number of barriers that its threadgroup had passed, and one: 0 for no access.
    pub(super) clock: u32,
    /// Program counter from the object's start, then the size (its power of two, or 7), then the kind.
    place: u32,
}

const PC_BITS: u32 = 26;
const SIZE_BITS: u32 = 3;

impl Record {
    const NONE: Self = Self { thread: 0, clock: 0, place: 0 };

    pub(super) fn new(thread: u64, clock: u32, pc: usize, kind: AccessKind, bytes: usize) -> Self {
        let size = if bytes.is_power_of_two() { bytes.trailing_zeros().min(7) } else { 7 };
        let pc = pc as u32 & ((1 << PC_BITS) - 1);
        Self { thread, clock, place: pc | size << PC_BITS | (kind as u32) << (PC_BITS + SIZE_BITS) }
    }

    pub(super) fn pc(self) -> usize {
        (self.place & ((1 << PC_BITS) - 1)) as usize
    }

    /// 0 if it is no small power of two.
    pub(super) fn bytes(self) -> usize {
        match self.place >> PC_BITS & ((1 << SIZE_BITS) - 1) {
            7 => 0,
            size => 1 << size,
        }
    }

    pub(super) fn kind(self) -> AccessKind {
        match self.place >> (PC_BITS + SIZE_BITS) {
            0 => AccessKind::Load,
            1 => AccessKind::Store,
            2 => AccessKind::AtomicLoad,
            3 => AccessKind::AtomicStore,
            _ => AccessKind::AtomicUpdate,
        }
    }

    fn is_some(self) -> bool {
        self.clock != 0
    }
}

/// How two threads are related.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    Same,
    Simdgroup,
    Threadgroup,
    Strangers,
}

/// What decides whether a past access comes before the current one.
pub(super) trait Order {
    /// The relation of the thread of `record` to the current one. `None`: the record is of another life of this memory.
    fn relation(&self, record: Record) -> Option<Relation>;
    /// Whether a barrier, or being the same thread, puts `record` before now.
    fn before(&self, record: Record) -> bool;
    /// Whether two records may be of one simdgroup.
    fn close(&self, a: Record, b: Record) -> bool;
}

/// The accesses of one byte, or of four that were always accessed together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    store: Record,
    atomics: [Record; 2],
    loads: [Record; 2],
}

impl Cell {
    const EMPTY: Self = Self { store: Record::NONE, atomics: [Record::NONE; 2], loads: [Record::NONE; 2] };

    /// Notes an access; the past access that it races with, if any.
    pub(super) fn access(&mut self, now: Record, order: &impl Order) -> Option<Record> {
        let kind = now.kind();
        let races = |past: Record| past.is_some() && order.relation(past).is_some() && !order.before(past);
        let mut race = Some(self.store).filter(|past| races(*past));
        let atomic = !matches!(kind, AccessKind::Load | AccessKind::Store);
        if !atomic {
            let conflicts =
                |past: &Record| kind == AccessKind::Store || past.kind() != AccessKind::AtomicLoad;
            race = race.or_else(|| self.atomics.into_iter().find(|past| conflicts(past) && races(*past)));
        }
        if !matches!(kind, AccessKind::Load | AccessKind::AtomicLoad) {
            race = race.or_else(|| self.loads.into_iter().find(|past| races(*past)));
        }
        match kind {
            AccessKind::Store => *self = Self { store: now, ..Self::EMPTY },
            AccessKind::Load => keep_two(&mut self.loads, now, order),
            _ => keep_two(&mut self.atomics, now, order),
        }
        race
    }
}

/// Puts `now` among the two accesses that are kept of a kind.
fn keep_two(kept: &mut [Record; 2], now: Record, order: &impl Order) {
    // Whatever races with `past` will race with `now` as well. (An atomic load conflicts with less than an update.)
    let weaker = |past: Record| now.kind() == AccessKind::AtomicLoad && past.kind() != AccessKind::AtomicLoad;
    let covered = |past: Record| {
        !past.is_some() || order.relation(past).is_none() || order.before(past) && !weaker(past)
    };
    match (covered(kept[0]), covered(kept[1])) {
        (true, true) => *kept = [now, Record::NONE],
        (true, false) => kept[0] = now,
        (false, true) => kept[1] = now,
        (false, false) => {
            // Two of one simdgroup are worth less than two that are further apart.
            let far = order.relation(kept[0]) != Some(Relation::Simdgroup);
            if far && order.close(kept[0], kept[1]) && !weaker(kept[1]) {
                kept[1] = now;
            }
        }
    }
}

/// Bytes of a page.
const PAGE: usize = 256;

/// The cells of a page: one for four bytes until an access is smaller or lies across.
struct Page {
    fine: bool,
    cells: Vec<Cell>,
}

/// The cells of a piece of memory. Only what is accessed takes room.
pub(super) struct Cells {
    pages: Vec<Option<Box<Page>>>,
}

impl Cells {
    pub(super) fn new(length: usize) -> Self {
        Self { pages: (0..length.div_ceil(PAGE)).map(|_| None).collect() }
    }

    /// Notes an access to `bytes` bytes from `offset`; the first past access that it races with, and where.
    pub(super) fn access(
        &mut self,
        offset: usize,
        bytes: usize,
        now: Record,
        order: &impl Order,
    ) -> Option<(Record, usize)> {
        let mut race = None;
        let mut at = offset;
        while at < offset + bytes {
            let end = (offset + bytes).min((at / PAGE + 1) * PAGE);
            let Some(page) = self.pages.get_mut(at / PAGE) else { return race };
            let page = page
                .get_or_insert_with(|| Box::new(Page { fine: false, cells: vec![Cell::EMPTY; PAGE / 4] }));
            if !page.fine && !(at.is_multiple_of(4) && end.is_multiple_of(4)) {
                page.cells = page.cells.iter().flat_map(|cell| [*cell; 4]).collect();
                page.fine = true;
            }
            let unit = if page.fine { 1 } else { 4 };
            for (index, cell) in page.cells[at % PAGE / unit..].iter_mut().take((end - at) / unit).enumerate()
            {
                if let Some(past) = cell.access(now, order) {
                    race.get_or_insert((past, at + index * unit));
                }
            }
            at = end;
        }
        race
    }
}
