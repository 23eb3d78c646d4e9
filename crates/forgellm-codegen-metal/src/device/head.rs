//! The most likely tokens of the wanted rows.

use super::kernels::KernelNeeds;
use super::launch::{Launch, unsigned};
use super::memory::ScratchUse;
use super::run::{Binding, Run};
use crate::runtime::buffer::AnyBuffer;

/// The most entries per row that [`top`] gives.
pub const MAX_TOP: usize = 256;

/// The first id of a row that has a logit which is not a number.
pub const NAN_ID: u32 = u32::MAX;

/// Puts the `k` largest logits of each wanted row into the step's results, best first, equal ones in the order of their ids: pairs (id u32,
/// logit f32) [wanted, min(k, vocab)]. A logit that is not a number counts as -∞ and makes the first id of its row [`NAN_ID`].
///
/// # Panics
///
/// If `k` is 0 or more than [`MAX_TOP`].
pub fn top(run: &Run<'_>, logits: AnyBuffer, k: usize) {
    assert!((1..=MAX_TOP).contains(&k), "the {k} best of a row");
    let top = Top::new(logits.width, k);
    let wanted = run.wanted.1;
    let [lists, nans, end] = top.places(wanted);
    let Some(buffer) = run.scratch(ScratchUse::Top, end) else { return };
    let at = |offset| Binding { buffer: &buffer, offset };
    top.lists(wanted).encode(run, &[(0, run.wanted_arena.at(logits)), (1, at(lists)), (2, at(nans))], &[]);
    run.barrier();
    top.merge(wanted).encode(run, &[(0, at(lists)), (1, at(nans)), (2, run.results())], &[]);
}

/// What [`top`] needs.
pub fn top_needs() -> KernelNeeds {
    let instantiations = REGISTERS.iter().flat_map(|registers| {
        ["top_lists", "top_merge"].map(|kernel| {
            format!(
                "template [[host_name(\"{kernel}_{registers}\")]] kernel decltype({kernel}<{registers}>) {kernel}<{registers}>;"
            )
        })
    });
    KernelNeeds { files: vec!["head.metal"], instantiations: instantiations.collect() }
}

/// Entries that a lane may hold: the kernels are instantiated for each.
const REGISTERS: [usize; 4] = [1, 2, 4, 8];

/// Simdgroups of a threadgroup.
const SIMDGROUPS: usize = 4;

/// Where parts of the scratch buffer may start, in bytes.
const ALIGNMENT: usize = 256;

/// The `k` best of so many logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Top {
    vocab: usize,
    /// At most `vocab`.
    k: usize,
    segment: usize,
}

impl Top {
    /// The `k` best of `vocab` logits; all of them if there are fewer.
    pub fn new(vocab: usize, k: usize) -> Top {
        // A list sees about k · ln(segment / k) entries that go in, and the last dispatch reads k entries of each list: longer segments for
        // longer lists keep both small. With 4,096 logits each, a vocabulary of 262,144 has 64 lists.
        let segment = if k <= 32 { 2048 } else { 4096 };
        Top { vocab, k: k.min(vocab), segment }
    }

    /// Entries per row that are found.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Lists per row that the first dispatch gives.
    fn list_count(&self) -> usize {
        self.vocab.div_ceil(self.segment)
    }

    /// Where the lists and their flags begin in the scratch buffer for `wanted` rows, and its size, in bytes.
    pub fn places(&self, wanted: usize) -> [usize; 3] {
        let lists = wanted * self.list_count();
        let flags = (lists * self.k * 2 * size_of::<u32>()).next_multiple_of(ALIGNMENT);
        [0, flags, flags + lists * size_of::<u32>()]
    }

    /// The first dispatch. Buffers: logits, lists, flags.
    pub fn lists(&self, wanted: usize) -> Launch {
        self.launch("top_lists", [self.list_count().div_ceil(SIMDGROUPS), wanted, 1], SIMDGROUPS)
    }

    /// The second dispatch. Buffers: lists, flags, results.
    pub fn merge(&self, wanted: usize) -> Launch {
        self.launch("top_merge", [wanted, 1, 1], 1)
    }

    fn launch(&self, kernel: &str, threadgroups: [usize; 3], simdgroups: usize) -> Launch {
        let registers = REGISTERS.into_iter().find(|registers| registers * 32 >= self.k).unwrap_or(0);
        Launch {
            function: format!("{kernel}_{registers}"),
            constants: vec![
                unsigned(70, self.vocab),
                unsigned(71, self.k),
                unsigned(72, self.segment),
                unsigned(73, self.list_count()),
            ],
            threadgroups,
            threads: [simdgroups * 32, 1, 1],
        }
    }
}
