//! Causal attention over the KV cache.
//!
//! The context is cut into chunks of `CHUNK` positions, at fixed places. Each chunk gives a partial softmax, and the partial ones are
//! merged in the order of the chunks. So the result for a row is the same bits whatever rows run with it and however the work is shared
//! out. There are two ways to share it out:
//!
//! - many rows: a block of rows of one sequence and a key-value head is one item, which goes through the chunks in order; what a page
//!   holds is widened to f32 once for the block;
//! - few rows: a row, a key-value head and a chunk are one item; after a barrier, the partial results are merged.

mod block;
mod tile;

use super::buffer::{Buffer, Rows};
use super::cache::{LayerCache, PAGE};
use super::profile::Stage;
use super::run::Run;
use super::simd::dispatch;
use block::{Block, Chunks, Partial};

/// output = softmax(scale · q · kᵀ) · v for each row over the positions of its sequence up to its own. N = heads · head_dim.
///
/// The heads and the window are those of the cache's [`CacheSpec`](super::CacheSpec).
pub fn attention<const N: usize>(
    run: &Run<'_>,
    q: Buffer<N>,
    how: &Attention<'_>,
    cache: usize,
    output: Buffer<N>,
) {
    let _timer = run.time(Stage::Attention);
    let layer = run.caches.layer(cache);
    let heads = layer.spec.heads;
    assert_eq!(N, heads * layer.spec.head_dim, "queries are as wide as the cache's heads");
    assert!(how.sinks.is_none_or(|sinks| sinks.len() == heads), "there is a sink for each head");
    q.any().assert_apart(output.any());
    if splits_chunks(run.rows::<Rows>(), layer, run.threads) {
        by_chunks(run, q, how, layer, output);
    } else {
        by_blocks(run, q, how, layer, output);
    }
}

/// Parameters of [`attention`].
#[derive(Debug, Clone, Copy)]
pub struct Attention<'a> {
    /// Factor on scores.
    pub scale: f32,
    /// Scores become cap · tanh(score / cap).
    pub softcap: Option<f32>,
    /// A logit per head that takes part in the softmax but gives nothing \[heads\].
    pub sinks: Option<&'a [f32]>,
}

/// Positions whose partial results are merged.
pub(crate) const CHUNK: usize = 4 * PAGE;

/// Query heads and rows of a block.
const BLOCK_QUERIES: usize = 48;

/// Elements that the partial results of a step with rows at these positions need at most, in any layer.
pub(crate) fn partial_elements(positions: &[usize], layers: &[LayerCache], threads: usize) -> usize {
    layers
        .iter()
        .filter(|layer| splits_chunks(positions.len(), layer, threads))
        .map(|layer| {
            let chunks: usize = positions.iter().map(|position| chunks_seen(layer, *position).len()).sum();
            chunks * layer.spec.heads * partial_stride(layer)
        })
        .max()
        .unwrap_or(0)
}

/// Whether there are too few rows to keep all threads busy with whole contexts.
fn splits_chunks(rows: usize, layer: &LayerCache, threads: usize) -> bool {
    threads > 1 && rows * layer.spec.kv_heads < 4 * threads
}

/// Largest score, sum and weighted values of a query.
fn partial_stride(layer: &LayerCache) -> usize {
    layer.value_stride() + 2
}

/// The oldest position that a row at `position` sees.
fn oldest_seen(layer: &LayerCache, position: usize) -> usize {
    layer.spec.window.map_or(0, |window| (position + 1).saturating_sub(window))
}

/// The chunks that a row at `position` sees.
fn chunks_seen(layer: &LayerCache, position: usize) -> std::ops::Range<usize> {
    oldest_seen(layer, position) / CHUNK..position / CHUNK + 1
}

fn by_blocks<const N: usize>(
    run: &Run<'_>,
    q: Buffer<N>,
    how: &Attention<'_>,
    layer: &LayerCache,
    output: Buffer<N>,
) {
    let spec = layer.spec;
    let group = spec.heads / spec.kv_heads;
    let block_rows = (BLOCK_QUERIES / group).clamp(4, 32);
    let blocks = || {
        run.step
            .sequences
            .iter()
            .flat_map(move |sequence| sequence.rows.chunks(block_rows).map(move |rows| (sequence, rows)))
    };
    // The cost of a row is the context that it sees.
    let cost = |rows: &[usize]| -> usize {
        let seen =
            |row: &usize| run.step.positions[*row] - oldest_seen(layer, run.step.positions[*row]) + PAGE;
        rows.iter().map(seen).sum()
    };
    let total = spec.kv_heads * blocks().map(|(_, rows)| cost(rows)).sum::<usize>();
    let share = run.share(total);
    let scratch = &mut *run.scratch();
    let mut before = 0;
    for (sequence, rows) in blocks() {
        let cost = cost(rows);
        for kv_head in 0..spec.kv_heads {
            // An item is done by the thread in whose share its middle lies.
            let middle = before + cost / 2;
            before += cost;
            if !share.contains(&middle) {
                continue;
            }
            let block = Block {
                how,
                layer,
                table: sequence.tables[layer.group],
                kv_head,
                group,
                rows,
                positions: &run.step.positions,
                query: |row, at| {
                    // SAFETY: nobody writes to the queries now.
                    unsafe { run.part(q, row, at, spec.head_dim) }
                },
                result: |row, at, result: &[f32]| {
                    // SAFETY: this head of this row is this item's.
                    unsafe { run.part_mut(output, row, at, spec.head_dim) }.copy_from_slice(result);
                },
                scratch,
                chunks: Chunks::All,
            };
            dispatch(run.isa, block);
        }
    }
}

fn by_chunks<const N: usize>(
    run: &Run<'_>,
    q: Buffer<N>,
    how: &Attention<'_>,
    layer: &LayerCache,
    output: Buffer<N>,
) {
    let spec = layer.spec;
    let group = spec.heads / spec.kv_heads;
    let stride = partial_stride(layer);
    let rows = run.rows::<Rows>();
    let chunks = |row: usize| chunks_seen(layer, run.step.positions[row]);
    let items: usize = (0..rows).map(|row| chunks(row).len() * spec.kv_heads).sum();
    assert!(items * group * stride <= run.memory.partials.len(), "room for partial results");
    let share = run.share(items);
    // An item's partial results lie at its number: rows, then key-value heads, then chunks.
    let partial_at = |item: usize| {
        // SAFETY: `partials` has room for all items.
        unsafe { run.memory.partials.base().add(item * group * stride) }
    };
    let mut scratch = run.scratch();
    let mut item = 0;
    for row in 0..rows {
        let sequence = &run.step.sequences[run.step.sequence_of[row]];
        for kv_head in 0..spec.kv_heads {
            for chunk in chunks(row) {
                if share.contains(&item) {
                    // SAFETY: this item is this thread's, so nobody else refers to its place.
                    let partial = unsafe { std::slice::from_raw_parts_mut(partial_at(item), group * stride) };
                    let block = Block {
                        how,
                        layer,
                        table: sequence.tables[layer.group],
                        kv_head,
                        group,
                        rows: &[row],
                        positions: &run.step.positions,
                        query: |row, at| {
                            // SAFETY: nobody writes to the queries now.
                            unsafe { run.part(q, row, at, spec.head_dim) }
                        },
                        result: |_, _, _: &[f32]| {},
                        scratch: &mut scratch,
                        chunks: Chunks::One { chunk, partial },
                    };
                    dispatch(run.isa, block);
                }
                item += 1;
            }
        }
    }
    run.barrier.wait();
    let share = run.share(rows * spec.heads);
    let mut first_item = 0;
    for row in 0..rows {
        let chunks = chunks(row).len();
        for head in 0..spec.heads {
            if !share.contains(&(row * spec.heads + head)) {
                continue;
            }
            let mut total = Partial::new(scratch.floats(layer.value_stride() + 2));
            for chunk in 0..chunks {
                let item = first_item + head / group * chunks + chunk;
                // SAFETY: all partial results were written before the barrier; the next are written after one of the program's.
                let partial = unsafe {
                    std::slice::from_raw_parts(partial_at(item).add(head % group * stride), stride)
                };
                dispatch(run.isa, block::Merge { total: &mut total, partial });
            }
            let head_dim = spec.head_dim;
            // SAFETY: this head of this row is this thread's.
            let output = unsafe { run.part_mut(output, row, head * head_dim, head_dim) };
            dispatch(
                run.isa,
                block::Finish { total: &mut total, sink: how.sinks.map(|sinks| sinks[head]), output },
            );
        }
        first_item += chunks * spec.kv_heads;
    }
}
