//! Who accessed each byte last: as much of it as is needed to find every race with a later access.
//!
//! Accesses are ordered by barriers, and order is transitive. So of plain stores the last one is enough: what races
//! with an earlier one races with it too, or was reported when it happened. Of loads two are kept that no single later
//! store can be ordered after by being the same thread or simdgroup, if there are such two; of
//! atomic accesses likewise.

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
    loads: [Record; 2],
    /// Atomic stores and updates.
    updates: [Record; 2],
    atomic_loads: [Record; 2],
}

impl Cell {
    const EMPTY: Self = Self {
        store: Record::NONE,
        loads: [Record::NONE; 2],
        updates: [Record::NONE; 2],
        atomic_loads: [Record::NONE; 2],
    };

    /// Notes an access; the past access that it races with, if any.
    pub(super) fn access(&mut self, now: Record, order: &impl Order) -> Option<Record> {
        let kind = now.kind();
        let races = |past: &Record| past.is_some() && order.relation(*past).is_some() && !order.before(*past);
        let store = [self.store];
        // What it conflicts with.
        let past: [&[Record]; 4] = match kind {
            AccessKind::Load => [&store, &self.updates, &[], &[]],
            AccessKind::Store => [&store, &self.loads, &self.updates, &self.atomic_loads],
            AccessKind::AtomicLoad => [&store, &[], &[], &[]],
            AccessKind::AtomicStore | AccessKind::AtomicUpdate => [&store, &self.loads, &[], &[]],
        };
        let race = past.into_iter().flatten().copied().find(races);
        match kind {
            AccessKind::Store => *self = Self { store: now, ..Self::EMPTY },
            AccessKind::Load => keep_two(&mut self.loads, now, order),
            AccessKind::AtomicLoad => keep_two(&mut self.atomic_loads, now, order),
            AccessKind::AtomicStore | AccessKind::AtomicUpdate => keep_two(&mut self.updates, now, order),
        }
        race
    }
}

/// Puts `now` among the two accesses that are kept of a kind.
fn keep_two(kept: &mut [Record; 2], now: Record, order: &impl Order) {
    // Whatever races with `past` will race with `now` as well.
    let covered = |past: Record| !past.is_some() || order.relation(past).is_none() || order.before(past);
    match (covered(kept[0]), covered(kept[1])) {
        (true, true) => *kept = [now, Record::NONE],
        (true, false) => kept[0] = now,
        (false, true) => kept[1] = now,
        (false, false) => {
            // Two of one simdgroup are worth less than two that are further apart.
            let far = order.relation(kept[0]) != Some(Relation::Simdgroup);
            if far && order.close(kept[0], kept[1]) {
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
            let coarse = at.is_multiple_of(4) && end.is_multiple_of(4);
            if !(page.fine || coarse) {
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

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [AccessKind; 5] = [
        AccessKind::Load,
        AccessKind::Store,
        AccessKind::AtomicLoad,
        AccessKind::AtomicStore,
        AccessKind::AtomicUpdate,
    ];

    /// Threadgroups of 6 threads in simdgroups of 3, one threadgroup after another.
    #[derive(Clone, Copy)]
    struct Now {
        thread: u64,
        barrier: u32,
        simdgroup_barriers: [u32; 2],
    }

    impl Order for Now {
        fn relation(&self, record: Record) -> Option<Relation> {
            Some(match () {
                () if record.thread == self.thread => Relation::Same,
                () if record.thread / 3 == self.thread / 3 => Relation::Simdgroup,
                () if record.thread / 6 == self.thread / 6 => Relation::Threadgroup,
                () => Relation::Strangers,
            })
        }

        fn before(&self, record: Record) -> bool {
            let own = self.simdgroup_barriers[(self.thread / 3 % 2) as usize].max(self.barrier);
            match self.relation(record) {
                Some(Relation::Same) => true,
                Some(Relation::Simdgroup) => record.clock < own,
                Some(Relation::Threadgroup) => record.clock < self.barrier,
                _ => false,
            }
        }

        fn close(&self, a: Record, b: Record) -> bool {
            let known = |record: Record| (record.thread / 6 == self.thread / 6).then_some(record.thread / 3);
            known(a) == known(b)
        }
    }

    fn conflict(a: AccessKind, b: AccessKind) -> bool {
        let atomic = |kind| !matches!(kind, AccessKind::Load | AccessKind::Store);
        let writes = |kind| !matches!(kind, AccessKind::Load | AccessKind::AtomicLoad);
        (writes(a) || writes(b)) && !(atomic(a) && atomic(b))
    }

    #[test]
    fn the_first_race_is_found_as_if_every_access_were_remembered() {
        let mut state = 1u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        let (mut races, mut clean) = (0, 0);
        for round in 0..20_000 {
            let mut cell = Cell::EMPTY;
            let mut all: Vec<Record> = Vec::new();
            let mut now = Now { thread: 0, barrier: 0, simdgroup_barriers: [0; 2] };
            let mut clock = 1;
            let mut group = 0;
            let mut raced = false;
            // Some rounds have few kinds of access, so that they get far before something races.
            let kinds: Vec<AccessKind> =
                (0..1 + random(3)).map(|_| KINDS[random(KINDS.len() as u64) as usize]).collect();
            for _ in 0..30 {
                match random(12) {
                    0 | 1 => {
                        clock += 1;
                        now.barrier = clock;
                    }
                    2 | 3 => {
                        clock += 1;
                        now.simdgroup_barriers[random(2) as usize] = clock;
                    }
                    4 if random(4) == 0 => {
                        group += 1;
                        (clock, now.barrier, now.simdgroup_barriers) = (1, 0, [0; 2]);
                    }
                    _ => {
                        now.thread = group * 6 + random(6);
                        let kind = kinds[random(kinds.len() as u64) as usize];
                        let record = Record::new(now.thread, clock, 0, kind, 4);
                        let expected =
                            all.iter().any(|past| conflict(past.kind(), kind) && !now.before(*past));
                        let found = cell.access(record, &now);
                        assert_eq!(found.is_some(), expected, "round {round}: {record:?} after {all:?}");
                        all.push(record);
                        if expected {
                            raced = true;
                            break;
                        }
                    }
                }
            }
            if raced { races += 1 } else { clean += 1 }
        }
        assert!(races > 2000 && clean > 2000, "{races} {clean}");
    }

    #[test]
    fn pages_become_fine_where_accesses_are_small() {
        let order = Now { thread: 1, barrier: 0, simdgroup_barriers: [0; 2] };
        let store = |thread| Record::new(thread, 1, 0, AccessKind::Store, 0);
        let mut cells = Cells::new(1000);
        assert!(cells.access(252, 8, store(0), &order).is_none());
        assert_eq!(cells.access(255, 1, store(1), &order).map(|(_, at)| at), Some(255));
        // The other bytes of the same word know their store too.
        assert_eq!(cells.access(253, 2, store(1), &order).map(|(_, at)| at), Some(253));
        assert_eq!(cells.access(256, 4, store(1), &order).map(|(_, at)| at), Some(256));
        assert!(cells.access(260, 4, store(1), &order).is_none());
    }
}
