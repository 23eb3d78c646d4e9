//! Which pages of a KV cache belong to which sequence.
//!
//! A page holds a fixed number of positions. Sequences that were forked share pages; a page that several sequences share is copied before
//! one of them writes to it. Layers that see only a window of the context form a group of their own, whose pages are given back when they
//! have left the window. This module knows numbers of pages only; their memory is the device layer's.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use crate::runtime::engine::{EngineError, SequenceId};

/// The sequences of an engine and the pages that they hold.
#[derive(Debug, Clone)]
pub struct PagedCache {
    capacity: PagedCapacity,
    groups: Vec<Group>,
    sequences: BTreeMap<SequenceId, Sequence>,
    next: u32,
}

/// Sizes of a [`PagedCache`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PagedCapacity {
    /// Sequences that may exist at a time.
    pub sequences: usize,
    /// Positions that one sequence may hold.
    pub positions: usize,
    /// Positions of a page; not 0.
    pub page: usize,
    /// The groups of layers.
    pub groups: Vec<GroupCapacity>,
}

/// Sizes of the pages of layers with the same window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupCapacity {
    /// Pages that there are.
    pub pages: usize,
    /// How much of a sequence is kept; `None`: all of it.
    pub window: Option<Window>,
}

/// How much of a sequence its layers need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// A row sees so many positions, its own among them; not 0.
    pub positions: usize,
    /// By so many positions a sequence can always be cut back.
    pub slack: usize,
}

impl GroupCapacity {
    /// Pages with which no sequence can run out: for sequences that hold `positions`, in steps of at most `rows`.
    pub fn ample(
        window: Option<Window>,
        sequences: usize,
        positions: usize,
        page: usize,
        rows: usize,
    ) -> GroupCapacity {
        let whole = positions.div_ceil(page);
        let each = match window {
            None => whole,
            // The kept positions may start and end within a page.
            Some(window) => {
                let kept = window.positions.saturating_add(window.slack).saturating_add(rows);
                whole.min(kept.div_ceil(page).saturating_add(1))
            }
        };
        GroupCapacity { pages: sequences.saturating_mul(each), window }
    }
}

/// The pages of a sequence in one group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PageTable {
    first: usize,
    pages: VecDeque<u32>,
}

impl PageTable {
    /// The page that holds the positions `index · page .. (index + 1) · page`, if it is still or already there.
    pub fn page(&self, index: usize) -> Option<u32> {
        self.pages.get(index.checked_sub(self.first)?).copied()
    }

    /// Which indices have a page.
    pub fn indices(&self) -> Range<usize> {
        self.first..self.first + self.pages.len()
    }
}

/// The start of a page that the device must copy before the step's rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageCopy {
    /// The group, in all layers of which the page is to be copied.
    pub group: usize,
    /// From this page.
    pub from: u32,
    /// To this page.
    pub to: u32,
    /// So many of its positions.
    pub positions: usize,
}

/// What an [`PagedCache::append`] will take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appending {
    rows: Vec<(SequenceId, usize)>,
    /// For each group, how many of its pages will ever have been used: memory for those below is needed.
    pub pages_used: Vec<usize>,
}

impl PagedCache {
    /// An empty cache.
    pub fn new(capacity: PagedCapacity) -> PagedCache {
        let groups = capacity.groups.iter().map(|group| Group::new(*group)).collect();
        PagedCache { capacity, groups, sequences: BTreeMap::new(), next: 0 }
    }

    /// Starts an empty sequence.
    pub fn begin(&mut self) -> Result<SequenceId, EngineError> {
        let tables = vec![PageTable::default(); self.groups.len()];
        self.insert(Sequence { positions: 0, tables })
    }

    /// Starts a sequence that shares the first `positions` positions of `parent`.
    ///
    /// [`EngineError::CannotTruncate`] if the parent does not hold them any more.
    pub fn fork(&mut self, parent: SequenceId, positions: usize) -> Result<SequenceId, EngineError> {
        let source = self.cuttable(parent, positions)?;
        let mut copy = source.clone();
        if self.sequences.len() >= self.capacity.sequences {
            return Err(EngineError::TooManySequences(self.capacity.sequences));
        }
        copy.positions = positions;
        for (group, table) in self.groups.iter_mut().zip(&mut copy.tables) {
            table.pages.truncate(pages_up_to(table, positions, self.capacity.page));
            for page in &table.pages {
                group.share(*page);
            }
        }
        self.insert(copy)
    }

    /// Forgets everything of a sequence from `positions` on.
    pub fn truncate(&mut self, sequence: SequenceId, positions: usize) -> Result<(), EngineError> {
        self.cuttable(sequence, positions)?;
        let held = self.sequences.get_mut(&sequence).ok_or(EngineError::UnknownSequence(sequence))?;
        held.positions = positions;
        for (group, table) in self.groups.iter_mut().zip(&mut held.tables) {
            let keep = pages_up_to(table, positions, self.capacity.page);
            while table.pages.len() > keep {
                if let Some(page) = table.pages.pop_back() {
                    group.release(page);
                }
            }
        }
        Ok(())
    }

    /// Ends a sequence and gives back its pages.
    pub fn end(&mut self, sequence: SequenceId) -> Result<(), EngineError> {
        let ended = self.sequences.remove(&sequence).ok_or(EngineError::UnknownSequence(sequence))?;
        for (group, table) in self.groups.iter_mut().zip(ended.tables) {
            for page in table.pages {
                group.release(page);
            }
        }
        Ok(())
    }

    /// Positions that a sequence holds.
    pub fn positions(&self, sequence: SequenceId) -> Result<usize, EngineError> {
        Ok(self.get(sequence)?.positions)
    }

    /// The pages of a sequence in a group; `None` if there is no such sequence or group.
    pub fn table(&self, sequence: SequenceId, group: usize) -> Option<&PageTable> {
        self.sequences.get(&sequence)?.tables.get(group)
    }

    /// Pages of a group that no sequence holds.
    pub fn free_pages(&self, group: usize) -> usize {
        self.groups.get(group).map_or(0, |group| group.free.len() + group.capacity.pages - group.counts.len())
    }

    /// Whether each of `(sequence, rows)` can take so many more positions, and what that needs. A sequence stands in the list once.
    pub fn plan_append(&self, rows: Vec<(SequenceId, usize)>) -> Result<Appending, EngineError> {
        for (id, count) in &rows {
            let sequence = self.get(*id)?;
            if *count > self.capacity.positions.saturating_sub(sequence.positions) {
                return Err(EngineError::ContextFull { sequence: *id, positions: self.capacity.positions });
            }
        }
        let mut pages_used = Vec::with_capacity(self.groups.len());
        for (index, group) in self.groups.iter().enumerate() {
            let mut needed = 0;
            let mut given_up: BTreeMap<u32, u32> = BTreeMap::new();
            for (id, count) in &rows {
                let sequence = self.get(*id)?;
                let Some(table) = sequence.tables.get(index) else { continue };
                needed += (sequence.positions + count).div_ceil(self.capacity.page)
                    - sequence.positions.div_ceil(self.capacity.page);
                if let Some(page) = partly_filled(sequence, table, *count, self.capacity.page) {
                    let gone = given_up.entry(page).or_default();
                    if group.count(page) > *gone + 1 {
                        needed += 1;
                        *gone += 1;
                    }
                }
            }
            let fresh = needed.saturating_sub(group.free.len());
            let used = group.counts.len() + fresh;
            if used > group.capacity.pages {
                return Err(EngineError::NoFreePage);
            }
            pages_used.push(used);
        }
        Ok(Appending { rows, pages_used })
    }

    /// Gives the sequences the positions that were planned, right after [`PagedCache::plan_append`], and says which pages the device must
    /// copy first.
    pub fn append(&mut self, appending: &Appending) -> Vec<PageCopy> {
        let page_positions = self.capacity.page;
        let mut copies = Vec::new();
        for (id, count) in &appending.rows {
            let Some(sequence) = self.sequences.get_mut(id) else { continue };
            for (index, group) in self.groups.iter_mut().enumerate() {
                let Some(table) = sequence.tables.get(index) else { continue };
                let shared = partly_filled(sequence, table, *count, page_positions)
                    .filter(|page| group.count(*page) > 1);
                if let Some(from) = shared {
                    let to = group.take();
                    group.release(from);
                    let positions = sequence.positions % page_positions;
                    copies.push(PageCopy { group: index, from, to, positions });
                    if let Some(last) = sequence.tables[index].pages.back_mut() {
                        *last = to;
                    }
                }
                let table = &mut sequence.tables[index];
                let end = (sequence.positions + count).div_ceil(page_positions);
                while table.first + table.pages.len() < end {
                    table.pages.push_back(group.take());
                }
            }
            sequence.positions += count;
        }
        copies
    }

    /// Gives back the pages that have left their windows. Called after a step.
    pub fn slide(&mut self) {
        for sequence in self.sequences.values_mut() {
            for (group, table) in self.groups.iter_mut().zip(&mut sequence.tables) {
                let Some(window) = group.capacity.window else { continue };
                let needed = oldest_needed(sequence.positions.saturating_sub(window.slack), window);
                while (table.first + 1) * self.capacity.page <= needed {
                    let Some(page) = table.pages.pop_front() else { break };
                    group.release(page);
                    table.first += 1;
                }
            }
        }
    }

    fn insert(&mut self, sequence: Sequence) -> Result<SequenceId, EngineError> {
        if self.sequences.len() >= self.capacity.sequences {
            return Err(EngineError::TooManySequences(self.capacity.sequences));
        }
        while self.sequences.contains_key(&SequenceId(self.next)) {
            self.next = self.next.wrapping_add(1);
        }
        let id = SequenceId(self.next);
        self.next = self.next.wrapping_add(1);
        self.sequences.insert(id, sequence);
        Ok(id)
    }

    fn get(&self, id: SequenceId) -> Result<&Sequence, EngineError> {
        self.sequences.get(&id).ok_or(EngineError::UnknownSequence(id))
    }

    /// The sequence, if everything that a row at `positions` sees is still there.
    fn cuttable(&self, id: SequenceId, positions: usize) -> Result<&Sequence, EngineError> {
        let sequence = self.get(id)?;
        let refuse = |reason| EngineError::CannotTruncate { sequence: id, positions, reason };
        if positions > sequence.positions {
            return Err(refuse("it does not hold so many"));
        }
        for (group, table) in self.groups.iter().zip(&sequence.tables) {
            let Some(window) = group.capacity.window else { continue };
            if oldest_needed(positions, window) < table.first * self.capacity.page {
                return Err(refuse(
                    "the sliding window has moved on; begin a new sequence and give it its tokens again",
                ));
            }
        }
        Ok(sequence)
    }
}

#[derive(Debug, Clone)]
struct Sequence {
    positions: usize,
    /// One per group.
    tables: Vec<PageTable>,
}

#[derive(Debug, Clone)]
struct Group {
    capacity: GroupCapacity,
    /// How many tables hold each page that was ever used.
    counts: Vec<u32>,
    /// Used before and held by nobody.
    free: Vec<u32>,
}

impl Group {
    fn new(capacity: GroupCapacity) -> Group {
        Group { capacity, counts: Vec::new(), free: Vec::new() }
    }

    fn count(&self, page: u32) -> u32 {
        self.counts.get(page as usize).copied().unwrap_or(0)
    }

    fn share(&mut self, page: u32) {
        if let Some(count) = self.counts.get_mut(page as usize) {
            *count += 1;
        }
    }

    fn take(&mut self) -> u32 {
        if let Some(page) = self.free.pop() {
            self.share(page);
            return page;
        }
        self.counts.push(1);
        (self.counts.len() - 1) as u32
    }

    fn release(&mut self, page: u32) {
        let Some(count) = self.counts.get_mut(page as usize) else { return };
        *count -= 1;
        if *count == 0 {
            self.free.push(page);
        }
    }
}

/// The oldest position that a row at `position` sees.
fn oldest_needed(position: usize, window: Window) -> usize {
    (position + 1).saturating_sub(window.positions)
}

/// How many of a table's pages hold the positions before `positions`.
fn pages_up_to(table: &PageTable, positions: usize, page: usize) -> usize {
    positions.div_ceil(page).saturating_sub(table.first)
}

/// The last page, if `count` more positions start within it.
fn partly_filled(sequence: &Sequence, table: &PageTable, count: usize, page: usize) -> Option<u32> {
    if count == 0 || sequence.positions.is_multiple_of(page) {
        return None;
    }
    table.page(sequence.positions / page)
}
