//! Attention of a few rows of one sequence, for the query heads of one key-value head.

use half::f16;

use super::tile::{Element, Right, accumulate};
use super::{Attention, CHUNK, chunks_seen, oldest_seen, partial_stride};
use crate::device::cache::{LayerCache, PAGE};
use crate::device::run::Scratch;
use crate::device::simd::{Kernel, LANES, Simd};
use crate::runtime::pages::PageTable;

/// Up to so many queries the cache is read as it is; for more, it is widened to f32 first.
const NARROW_QUERIES: usize = 4;

/// A block: its queries are `group` heads of each of `rows`.
pub(super) struct Block<'b, Q, R> {
    pub(super) how: &'b Attention<'b>,
    pub(super) layer: &'b LayerCache,
    pub(super) table: &'b PageTable,
    pub(super) kv_head: usize,
    /// Query heads of a key-value head.
    pub(super) group: usize,
    /// Rows of one sequence, in the order of their positions.
    pub(super) rows: &'b [usize],
    /// Position of each row of the step.
    pub(super) positions: &'b [usize],
    /// The query at `(row, element)`.
    pub(super) query: Q,
    /// Takes the result at `(row, element)`.
    pub(super) result: R,
    pub(super) scratch: &'b mut Scratch,
    pub(super) chunks: Chunks<'b>,
}

/// Which part of the context is looked at.
pub(super) enum Chunks<'b> {
    /// All of it: gives results.
    All,
    /// One chunk: gives partial results, one after the other.
    One {
        /// Number of the chunk.
        chunk: usize,
        /// [group, partial_stride].
        partial: &'b mut [f32],
    },
}

impl<'q, Q: Fn(usize, usize) -> &'q [f32], R: FnMut(usize, usize, &[f32])> Kernel for Block<'_, Q, R> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let head_dim = self.layer.spec.head_dim;
        let value_stride = self.layer.value_stride();
        let stride = partial_stride(self.layer);
        let count = self.rows.len() * self.group;
        let (first, last) = match (self.rows.first(), self.rows.last()) {
            (Some(first), Some(last)) => (self.positions[*first], self.positions[*last]),
            _ => return,
        };
        let widened = if count > NARROW_QUERIES { PAGE * value_stride } else { 0 };
        let memory = self.scratch.floats(count * (head_dim + CHUNK + 2 * stride) + widened);
        let (queries, memory) = memory.split_at_mut(count * head_dim);
        let (scores, memory) = memory.split_at_mut(count * CHUNK);
        let (partials, memory) = memory.split_at_mut(count * stride);
        let (totals, wide) = memory.split_at_mut(count * stride);

        let first_head = self.kv_head * self.group;
        for (index, query) in queries.chunks_exact_mut(head_dim).enumerate() {
            let (row, head) = (self.rows[index / self.group], first_head + index % self.group);
            for (to, from) in query.iter_mut().zip((self.query)(row, head * head_dim)) {
                *to = from * self.how.scale;
            }
        }
        let mut work = Work {
            how: self.how,
            layer: self.layer,
            table: self.table,
            kv_head: self.kv_head,
            group: self.group,
            rows: self.rows,
            positions: self.positions,
            queries,
            scores,
            wide,
        };
        match self.chunks {
            Chunks::One { chunk, partial } => work.chunk(simd, chunk, partial),
            Chunks::All => {
                for total in totals.chunks_exact_mut(stride) {
                    Partial::new(total);
                }
                for chunk in chunks_seen(self.layer, first).start..chunks_seen(self.layer, last).end {
                    work.chunk(simd, chunk, partials);
                    for (total, partial) in totals.chunks_exact_mut(stride).zip(partials.chunks_exact(stride))
                    {
                        Merge { total: &mut Partial { memory: total }, partial }.run(simd);
                    }
                }
                // The queries are no longer needed: their place takes the results.
                let results = work.queries.chunks_exact_mut(head_dim);
                for (index, (total, output)) in totals.chunks_exact_mut(stride).zip(results).enumerate() {
                    let (row, head) = (self.rows[index / self.group], first_head + index % self.group);
                    let sink = self.how.sinks.map(|sinks| sinks[head]);
                    Finish { total: &mut Partial { memory: total }, sink, output: &mut *output }.run(simd);
                    (self.result)(row, head * head_dim, output);
                }
            }
        }
    }
}

/// The softmax so far of a query: `[largest score, sum of e^(score - largest), weighted values…]`.
pub(super) struct Partial<'p> {
    memory: &'p mut [f32],
}

impl<'p> Partial<'p> {
    /// That of no positions.
    pub(super) fn new(memory: &'p mut [f32]) -> Partial<'p> {
        memory.fill(0.0);
        memory[0] = f32::NEG_INFINITY;
        Partial { memory }
    }
}

/// Adds the partial softmax of later positions to that of earlier ones.
pub(super) struct Merge<'m, 'p> {
    pub(super) total: &'m mut Partial<'p>,
    pub(super) partial: &'m [f32],
}

impl Kernel for Merge<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let largest = self.partial[0];
        if largest == f32::NEG_INFINITY {
            return;
        }
        let total = &mut *self.total.memory;
        let joint = if largest > total[0] { largest } else { total[0] };
        let [old, new] = exp2(simd, [total[0] - joint, largest - joint]);
        total[0] = joint;
        total[1] = total[1] * old + self.partial[1] * new;
        let (old, new) = (simd.splat(old), simd.splat(new));
        let values = total[2..].as_chunks_mut::<LANES>().0;
        for (total, partial) in values.iter_mut().zip(self.partial[2..].as_chunks::<LANES>().0) {
            let kept = simd.mul(simd.load(total), old);
            simd.store(simd.fma(simd.load(partial), new, kept), total);
        }
    }
}

/// Gives the result of a softmax over everything.
pub(super) struct Finish<'f, 'p> {
    pub(super) total: &'f mut Partial<'p>,
    /// A score that gives nothing.
    pub(super) sink: Option<f32>,
    /// \[head_dim\].
    pub(super) output: &'f mut [f32],
}

impl Kernel for Finish<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let total = &*self.total.memory;
        let factor = match self.sink {
            None => 1.0 / total[1],
            Some(sink) => {
                let joint = if sink > total[0] { sink } else { total[0] };
                let [old, new] = exp2(simd, [total[0] - joint, sink - joint]);
                old / (total[1] * old + new)
            }
        };
        for (y, x) in self.output.iter_mut().zip(&total[2..]) {
            *y = x * factor;
        }
    }
}

/// e to both.
#[inline(always)]
fn exp2<S: Simd>(simd: S, x: [f32; 2]) -> [f32; 2] {
    let mut lanes = [0.0; LANES];
    lanes[..2].copy_from_slice(&x);
    let result = simd.exp(simd.load(&lanes));
    simd.store(result, &mut lanes);
    [lanes[0], lanes[1]]
}

struct Work<'w> {
    how: &'w Attention<'w>,
    layer: &'w LayerCache,
    table: &'w PageTable,
    kv_head: usize,
    group: usize,
    rows: &'w [usize],
    positions: &'w [usize],
    /// [queries, head_dim], scaled.
    queries: &'w mut [f32],
    /// [queries, CHUNK].
    scores: &'w mut [f32],
    /// A page's keys or values in f32, if there are many queries.
    wide: &'w mut [f32],
}

impl Work<'_> {
    /// The partial softmax of each query over a chunk.
    #[inline(always)]
    fn chunk<S: Simd>(&mut self, simd: S, chunk: usize, partials: &mut [f32]) {
        let count = self.rows.len() * self.group;
        let stride = partial_stride(self.layer);
        let start = chunk * CHUNK;
        // What at least one row of the block sees of the chunk.
        let position = |row: Option<&usize>| row.map_or(0, |row| self.positions[*row]);
        let seen_from = oldest_seen(self.layer, position(self.rows.first())).max(start);
        let seen_to = (position(self.rows.last()) + 1).min(start + CHUNK);
        let pages = seen_from / PAGE..seen_to.div_ceil(PAGE);

        self.scores.fill(0.0);
        for page in pages.clone() {
            self.scores_of_page(simd, page, page * PAGE - start, seen_to);
        }
        let used = pages.start * PAGE - start..pages.end * PAGE - start;
        for index in 0..count {
            let position = self.positions[self.rows[index / self.group]];
            // The row's own part of the chunk.
            let from = oldest_seen(self.layer, position).clamp(start, start + CHUNK) - start;
            let to = (position + 1).clamp(start, start + CHUNK) - start;
            let scores = &mut self.scores[index * CHUNK..][..CHUNK];
            let partial = Partial::new(&mut partials[index * stride..][..stride]);
            softmax(simd, self.how.softcap, &mut scores[used.clone()], from, to, used.start, partial);
        }
        for page in pages {
            // Exactly the positions that are seen: what stands after them in the page may be of a sequence that is gone.
            let from = seen_from.max(page * PAGE);
            let to = seen_to.min((page + 1) * PAGE);
            self.add_values_of_page(simd, page, from..to, start, partials);
        }
    }

    #[inline(always)]
    fn scores_of_page<S: Simd>(&mut self, simd: S, page: usize, column: usize, seen_to: usize) {
        let head_dim = self.layer.spec.head_dim;
        let keys = self.layer.keys(self.page(page), self.kv_head);
        // SAFETY: the keys of a head in a page are [head_dim, PAGE]; what the step writes to them was written before.
        let keys = unsafe { std::slice::from_raw_parts(keys, head_dim * PAGE) };
        let vectors = (seen_to - page * PAGE).div_ceil(LANES).min(PAGE / LANES);
        let count = self.rows.len() * self.group;
        if count <= NARROW_QUERIES {
            let right = Right { elements: keys, stride: PAGE, vectors };
            self.add_scores(simd, right, 0, count, column);
            return;
        }
        let wide = &mut self.wide[..head_dim * PAGE];
        widen(simd, keys, wide);
        let wide: &[f32] = &self.wide[..head_dim * PAGE];
        // SAFETY: `add_scores` does not touch `wide`.
        let wide = unsafe { std::slice::from_raw_parts(wide.as_ptr(), wide.len()) };
        let right = Right { elements: wide, stride: PAGE, vectors };
        // Rows before the page see nothing of it.
        let first_row = self.rows.partition_point(|row| self.positions[*row] < page * PAGE);
        self.add_scores(simd, right, first_row * self.group, count, column);
    }

    #[inline(always)]
    fn add_scores<S: Simd, E: Element>(
        &mut self,
        simd: S,
        right: Right<'_, E>,
        first: usize,
        count: usize,
        column: usize,
    ) {
        let head_dim = self.layer.spec.head_dim;
        if first < count {
            accumulate(
                simd,
                (&self.queries[first * head_dim..], head_dim),
                head_dim,
                right,
                (&mut self.scores[first * CHUNK + column..], CHUNK),
                count - first,
            );
        }
    }

    #[inline(always)]
    fn add_values_of_page<S: Simd>(
        &mut self,
        simd: S,
        page: usize,
        seen: std::ops::Range<usize>,
        start: usize,
        partials: &mut [f32],
    ) {
        let value_stride = self.layer.value_stride();
        let stride = partial_stride(self.layer);
        let count = self.rows.len() * self.group;
        let values = self.layer.values(self.page(page), self.kv_head);
        let steps = seen.len();
        // SAFETY: the values of a head in a page are [PAGE, value_stride]; what the step writes to them was written before.
        let values = unsafe {
            let offset = (seen.start - page * PAGE) * value_stride;
            std::slice::from_raw_parts(values.add(offset), steps * value_stride)
        };
        let vectors = value_stride / LANES;
        let factors = (&self.scores[seen.start - start..], CHUNK);
        if count <= NARROW_QUERIES {
            let right = Right { elements: values, stride: value_stride, vectors };
            accumulate(simd, factors, steps, right, (&mut partials[2..], stride), count);
            return;
        }
        let wide = &mut self.wide[..steps * value_stride];
        widen(simd, values, wide);
        let right = Right { elements: &*wide, stride: value_stride, vectors };
        // Rows before the page give nothing to it.
        let first_row = self.rows.partition_point(|row| self.positions[*row] < seen.start);
        let first = first_row * self.group;
        if first < count {
            accumulate(
                simd,
                (&factors.0[first * CHUNK..], CHUNK),
                steps,
                right,
                (&mut partials[first * stride + 2..], stride),
                count - first,
            );
        }
    }

    fn page(&self, index: usize) -> u32 {
        self.table.page(index).expect("the engine keeps the pages that the rows of a step see")
    }
}

/// Turns scores into e^(score - largest) for `from .. to`, and into 0 elsewhere; `scores` begin with the one of `offset`.
#[inline(always)]
fn softmax<S: Simd>(
    simd: S,
    softcap: Option<f32>,
    scores: &mut [f32],
    from: usize,
    to: usize,
    offset: usize,
    partial: Partial<'_>,
) {
    if from >= to {
        scores.fill(0.0);
        return;
    }
    let (from, to) = (from.saturating_sub(offset), to - offset);
    scores[..from].fill(f32::NEG_INFINITY);
    scores[to..].fill(f32::NEG_INFINITY);
    if let Some(cap) = softcap {
        let (cap, inverse) = (simd.splat(cap), simd.splat(1.0 / cap));
        for scores in scores.as_chunks_mut::<LANES>().0 {
            let x = simd.load(scores);
            let capped = simd.mul(cap, simd.tanh(simd.mul(x, inverse)));
            simd.store(capped, scores);
        }
        scores[..from].fill(f32::NEG_INFINITY);
        scores[to..].fill(f32::NEG_INFINITY);
    }
    let vectors = scores.as_chunks_mut::<LANES>().0;
    let mut largest = simd.splat(f32::NEG_INFINITY);
    for scores in &*vectors {
        largest = simd.max(simd.load(scores), largest);
    }
    let largest = simd.largest(largest);
    let subtracted = simd.splat(largest);
    let mut sum = simd.splat(0.0);
    for scores in vectors {
        let weight = simd.exp(simd.sub(simd.load(scores), subtracted));
        sum = simd.add(sum, weight);
        simd.store(weight, scores);
    }
    partial.memory[0] = largest;
    partial.memory[1] = simd.sum(sum);
}

#[inline(always)]
fn widen<S: Simd>(simd: S, from: &[f16], to: &mut [f32]) {
    for (to, from) in to.as_chunks_mut::<LANES>().0.iter_mut().zip(from.as_chunks::<LANES>().0) {
        simd.store(simd.load_f16(from), to);
    }
}
