//! The page allocator against a model that keeps a copy of everything.

use std::collections::{BTreeMap, BTreeSet};

use forgellm_runtime::runtime::engine::{EngineError, SequenceId};
use forgellm_runtime::runtime::pages::{GroupCapacity, PagedCache, PagedCapacity, Window};

const PAGE: usize = 4;

/// A cache with memory behind it, and what each sequence should hold.
struct Pair {
    cache: PagedCache,
    capacity: PagedCapacity,
    /// What was written to each place of each page of each group.
    memory: BTreeMap<(usize, u32), [u64; PAGE]>,
    expected: BTreeMap<SequenceId, Vec<u64>>,
    written: u64,
}

impl Pair {
    fn new(capacity: PagedCapacity) -> Pair {
        Pair {
            cache: PagedCache::new(capacity.clone()),
            capacity,
            memory: BTreeMap::new(),
            expected: BTreeMap::new(),
            written: 0,
        }
    }

    fn begin(&mut self) -> Result<SequenceId, EngineError> {
        let id = self.cache.begin()?;
        assert!(self.expected.insert(id, Vec::new()).is_none(), "ids of living sequences differ");
        Ok(id)
    }

    fn append(&mut self, rows: &[(SequenceId, usize)]) -> Result<(), EngineError> {
        let before = format!("{:?}", self.cache);
        let plan = self.cache.plan_append(rows.to_vec());
        assert_eq!(before, format!("{:?}", self.cache), "planning changes nothing");
        let plan = plan?;
        for copy in self.cache.append(&plan) {
            assert!(copy.from != copy.to && (1..PAGE).contains(&copy.positions));
            let mut page = self.memory[&(copy.group, copy.from)];
            page[copy.positions..].fill(0);
            self.memory.insert((copy.group, copy.to), page);
        }
        for (id, count) in rows {
            for _ in 0..*count {
                self.written += 1;
                let position = self.expected[id].len();
                self.expected.get_mut(id).expect("a sequence").push(self.written);
                for group in 0..self.capacity.groups.len() {
                    let table = self.cache.table(*id, group).expect("a table");
                    let page = table.page(position / PAGE).expect("a page for every new position");
                    assert!((page as usize) < plan.pages_used[group], "memory for the page was asked for");
                    self.memory.entry((group, page)).or_default()[position % PAGE] = self.written;
                }
            }
        }
        // During a step, each of its rows sees its window.
        self.check(rows);
        self.cache.slide();
        self.check(&[]);
        Ok(())
    }

    /// `fork` or `truncate` to `positions` may be refused only if something of the window is gone.
    fn may_refuse(&self, id: SequenceId, positions: usize) -> bool {
        let held = &self.expected[&id];
        positions > held.len()
            || self
                .capacity
                .groups
                .iter()
                .any(|group| group.window.is_some_and(|window| positions + window.slack < held.len()))
    }

    /// Compares all that can be seen.
    fn check(&self, just_added: &[(SequenceId, usize)]) {
        for (id, expected) in &self.expected {
            assert_eq!(self.cache.positions(*id), Ok(expected.len()));
            let added = just_added.iter().find(|(added, _)| added == id).map_or(0, |(_, count)| *count);
            for (group, capacity) in self.capacity.groups.iter().enumerate() {
                let table = self.cache.table(*id, group).expect("a table");
                let next = expected.len() - added;
                let oldest = capacity.window.map_or(0, |window| (next + 1).saturating_sub(window.positions));
                for (position, value) in expected.iter().enumerate().skip(oldest) {
                    let page = table.page(position / PAGE).expect("a page of the window");
                    assert_eq!(
                        self.memory[&(group, page)][position % PAGE],
                        *value,
                        "position {position} of {id}"
                    );
                }
            }
        }
        for (group, capacity) in self.capacity.groups.iter().enumerate() {
            let held: BTreeSet<u32> = self
                .expected
                .keys()
                .filter_map(|id| self.cache.table(*id, group))
                .flat_map(|table| table.indices().filter_map(|index| table.page(index)))
                .collect();
            assert_eq!(self.cache.free_pages(group), capacity.pages - held.len(), "no page is lost");
        }
    }
}

fn capacity(pages: Option<usize>, windows: &[Option<Window>]) -> PagedCapacity {
    let (sequences, positions) = (4, 60);
    let groups = windows
        .iter()
        .map(|window| {
            let ample = GroupCapacity::ample(*window, sequences, positions, PAGE, 9);
            GroupCapacity { pages: pages.unwrap_or(ample.pages), ..ample }
        })
        .collect();
    PagedCapacity { sequences, positions, page: PAGE, groups }
}

/// Numbers below `bound` (xorshift).
fn random(state: &mut u64, bound: usize) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 20) as usize % bound
}

/// Random operations; counts those that were refused for lack of pages.
fn random_operations(capacity: PagedCapacity, seed: u64) -> usize {
    let mut pair = Pair::new(capacity);
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut no_page = 0;
    for _ in 0..600 {
        let ids: Vec<SequenceId> = pair.expected.keys().copied().collect();
        let operation = if ids.is_empty() { 0 } else { random(&mut state, 12) };
        match operation {
            0 => match pair.begin() {
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error, EngineError::TooManySequences(4));
                    assert_eq!(ids.len(), 4);
                }
            },
            1 => {
                let id = ids[random(&mut state, ids.len())];
                pair.cache.end(id).expect("a living sequence ends");
                pair.expected.remove(&id);
                assert_eq!(pair.cache.positions(id), Err(EngineError::UnknownSequence(id)));
            }
            2 | 3 => {
                let parent = ids[random(&mut state, ids.len())];
                let positions = random(&mut state, pair.expected[&parent].len() + 2);
                match pair.cache.fork(parent, positions) {
                    Ok(child) => {
                        let shared = pair.expected[&parent][..positions].to_vec();
                        assert!(pair.expected.insert(child, shared).is_none());
                    }
                    Err(EngineError::TooManySequences(4)) => assert_eq!(ids.len(), 4),
                    Err(EngineError::CannotTruncate { .. }) => assert!(pair.may_refuse(parent, positions)),
                    Err(error) => panic!("{error}"),
                }
            }
            4 => {
                let id = ids[random(&mut state, ids.len())];
                let positions = random(&mut state, pair.expected[&id].len() + 2);
                match pair.cache.truncate(id, positions) {
                    Ok(()) => pair.expected.get_mut(&id).expect("a sequence").truncate(positions),
                    Err(EngineError::CannotTruncate { .. }) => assert!(pair.may_refuse(id, positions)),
                    Err(error) => panic!("{error}"),
                }
            }
            _ => {
                let mut left = 9;
                let mut rows = Vec::new();
                for id in ids {
                    let count = random(&mut state, left + 1);
                    left -= count;
                    if count > 0 {
                        rows.push((id, count));
                    }
                }
                match pair.append(&rows) {
                    Ok(()) => {}
                    Err(EngineError::ContextFull { sequence, positions: 60 }) => {
                        let added = rows.iter().find(|(id, _)| *id == sequence).expect("one of the rows").1;
                        assert!(pair.expected[&sequence].len() + added > 60);
                    }
                    Err(EngineError::NoFreePage) => no_page += 1,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        pair.check(&[]);
    }
    no_page
}

const WINDOWS: [Option<Window>; 3] =
    [None, Some(Window { positions: 6, slack: 3 }), Some(Window { positions: 1, slack: 0 })];

#[test]
fn random_operations_with_ample_pages_never_run_out() {
    for seed in 0..60 {
        assert_eq!(random_operations(capacity(None, &WINDOWS), seed), 0, "seed {seed}");
    }
}

#[test]
fn random_operations_with_few_pages_are_refused_whole() {
    let refused: usize = (0..60).map(|seed| random_operations(capacity(Some(11), &WINDOWS), seed)).sum();
    assert!(refused > 0);
}

#[test]
fn a_shared_last_page_is_copied_once_and_whole_pages_never() {
    let mut pair = Pair::new(capacity(None, &[None]));
    let parent = pair.begin().expect("a sequence");
    pair.append(&[(parent, 10)]).expect("room");
    let child = pair.cache.fork(parent, 6).expect("forks");
    let pages = |pair: &Pair, id| -> Vec<u32> {
        let table = pair.cache.table(id, 0).expect("a table");
        table.indices().filter_map(|index| table.page(index)).collect()
    };
    assert_eq!(pages(&pair, child), pages(&pair, parent)[..2]);
    let plan = pair.cache.plan_append(vec![(child, 1)]).expect("room");
    let copies = pair.cache.append(&plan);
    assert_eq!(copies.len(), 1);
    assert_eq!((copies[0].from, copies[0].positions), (pages(&pair, parent)[1], 2));
    let plan = pair.cache.plan_append(vec![(child, 1), (parent, 1)]).expect("room");
    assert_eq!(pair.cache.append(&plan), [], "both have their own page by then");
    assert_eq!(pages(&pair, child)[0], pages(&pair, parent)[0]);
}

#[test]
fn a_window_keeps_what_its_slack_promises() {
    let window = Window { positions: 6, slack: 3 };
    let mut pair = Pair::new(capacity(None, &[Some(window)]));
    let id = pair.begin().expect("a sequence");
    for _ in 0..10 {
        pair.append(&[(id, 5)]).expect("room");
    }
    assert_eq!(pair.cache.truncate(id, 47), Ok(()));
    let refused = pair.cache.truncate(id, 30);
    assert!(matches!(refused, Err(EngineError::CannotTruncate { positions: 30, .. })), "{refused:?}");
    assert_eq!(pair.cache.positions(id), Ok(47));
    let held = pair.cache.table(id, 0).expect("a table").indices().len();
    assert!(held <= 4, "{held} pages for a window of {window:?}");
}
