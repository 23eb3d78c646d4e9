//! Causal attention over the KV cache.

mod tiles;

pub use tiles::{RowRun, Tiling, row_runs};

use tiles::{ITEMS, TILES};

use super::kernels::KernelNeeds;
use super::kv_format::KvFormat;
use super::launch::{Launch, flag, float, unsigned};
use super::memory::ScratchUse;
use super::run::{Binding, Run};
use super::weights::Vector;
use crate::gpu::Constant;
use crate::runtime::buffer::Buffer;

/// output = softmax(scale · q · kᵀ) · v for each row over the positions of its sequence up to its own. N = heads · head_dim.
///
/// The heads and the window are those of the cache's [`CacheSpec`](super::CacheSpec).
pub fn attention<const N: usize>(
    run: &Run<'_>,
    q: Buffer<N>,
    how: &Attention,
    cache: usize,
    output: Buffer<N>,
) {
    q.any().assert_apart(output.any());
    let Some(place) = run.cache(cache) else { return };
    let spec = place.layer.spec;
    assert_eq!(N, spec.heads * spec.head_dim, "queries are as wide as the cache's heads");
    assert!(how.sinks.is_none_or(|sinks| sinks.len == spec.heads), "there is a sink for each head");
    let shape = AttentionShape {
        heads: spec.heads,
        kv_heads: spec.kv_heads,
        head_dim: spec.head_dim,
        page: place.page,
        format: place.format,
        scale: how.scale,
        softcap: how.softcap,
        window: spec.window,
        sinks: how.sinks.is_some(),
    };
    let tiling = shape.tiling(run.row_runs, place.pages_per_sequence);
    let (q, output) = (run.at(q), run.at(output));
    // What a dispatch does not use is bound to something nevertheless.
    let sinks = how.sinks.map_or(q, |sinks| run.vector(sinks));
    let mut scratch = None;
    if tiling.partials > 0 {
        scratch = run.scratch(ScratchUse::Attention, shape.scratch_bytes(&tiling));
        if scratch.is_none() {
            return;
        }
    }
    let (partials, stats) = match &scratch {
        Some(buffer) => {
            (Binding { buffer, offset: 0 }, Binding { buffer, offset: shape.sums_bytes(&tiling) })
        }
        None => (output, output),
    };
    for items in tiling.items.chunks(ITEMS) {
        let buffers = [
            (0, q),
            (1, place.keys),
            (2, place.values),
            (3, place.tables),
            (5, sinks),
            (6, output),
            (7, partials),
            (8, stats),
        ];
        let data = [(4, bytemuck::cast_slice(items))];
        shape.launch(&tiling, items.len()).encode(run, &buffers, &data);
    }
    if scratch.is_none() {
        return;
    }
    run.barrier();
    let queries = (tiling.queries as u32).to_le_bytes();
    for tiles in tiling.split_tiles.chunks(TILES) {
        let buffers = [(0, partials), (1, stats), (2, sinks), (3, output)];
        let tiles_bytes = bytemuck::cast_slice(tiles);
        shape.combine_launch(&tiling, tiles.len()).encode(run, &buffers, &[(4, tiles_bytes), (5, &queries)]);
    }
    // The barrier above was this operation's own: its second half still reads the scratch.
    run.scratch_in_use(ScratchUse::Attention);
}

/// Parameters of [`attention`].
#[derive(Debug, Clone, Copy)]
pub struct Attention {
    /// Factor on scores.
    pub scale: f32,
    /// Scores become cap · tanh(score / cap).
    pub softcap: Option<f32>,
    /// A logit per head that takes part in the softmax but gives nothing \[heads\].
    pub sinks: Option<Vector>,
}

/// What [`attention`] needs over a cache with heads of `head_dim`.
pub fn attention_needs(head_dim: usize) -> KernelNeeds {
    let columns = column_tiles(head_dim);
    let instantiations = QUERY_TILES
        .iter()
        .filter(|tiles| **tiles <= most_query_tiles(head_dim))
        .map(|tiles| {
            format!(
                "template [[host_name(\"{}\")]] kernel decltype(attention<{tiles}, {columns}>) attention<{tiles}, {columns}>;",
                function(*tiles, head_dim)
            )
        })
        .collect();
    KernelNeeds { files: vec!["kv_cache.metal", "attention.metal"], instantiations }
}

/// What the kernels of [`attention`] are specialised by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionShape {
    /// Query heads: a multiple of kv_heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Elements of a head: a multiple of 8, at most 256.
    pub head_dim: usize,
    /// Positions of a page: a multiple of 8.
    pub page: usize,
    /// How keys and values are stored.
    pub format: KvFormat,
    /// Factor on scores.
    pub scale: f32,
    /// Scores become cap · tanh(score / cap).
    pub softcap: Option<f32>,
    /// A row sees only the last so many positions, its own among them.
    pub window: Option<usize>,
    /// Whether there is a logit per head that takes part in the softmax but gives nothing.
    pub sinks: bool,
}

/// Threads of a threadgroup of `attention`.
const THREADS: usize = 128;

/// Tiles of 8 queries that a threadgroup can have.
const QUERY_TILES: [usize; 3] = [1, 2, 4];

impl AttentionShape {
    /// The dispatch for so many items of a tiling. Buffers: queries, keys, values, page tables, items as bytes, sinks, output, partial sums and
    /// their stats (in scratch, or anything if the tiling has no partials).
    pub fn launch(&self, tiling: &Tiling, items: usize) -> Launch {
        Launch {
            function: function(tiling.queries / 8, self.head_dim),
            constants: self.constants(),
            threadgroups: [self.kv_heads * self.chunks(tiling.queries), items, 1],
            threads: [THREADS, 1, 1],
        }
    }

    /// The dispatch that puts the splits of so many tiles together. Buffers: partial sums and their stats, sinks, output, the tiles as bytes, the
    /// tiling's queries as u32.
    pub fn combine_launch(&self, tiling: &Tiling, tiles: usize) -> Launch {
        Launch {
            function: "attention_combine".into(),
            constants: self.constants(),
            threadgroups: [self.heads, tiling.split_rows, tiles],
            threads: [32, 1, 1],
        }
    }

    /// Scratch for the partial results: first their sums, then, from [`sums_bytes`](Self::sums_bytes) on, their stats.
    pub fn scratch_bytes(&self, tiling: &Tiling) -> usize {
        self.sums_bytes(tiling) + self.partial_queries(tiling) * size_of::<[f32; 2]>()
    }

    /// Bytes of the sums of partial results.
    pub fn sums_bytes(&self, tiling: &Tiling) -> usize {
        self.partial_queries(tiling) * self.head_dim * size_of::<f32>()
    }

    /// Queries that have a place in the partial results.
    fn partial_queries(&self, tiling: &Tiling) -> usize {
        tiling.partials * self.kv_heads * self.chunks(tiling.queries) * tiling.queries
    }

    fn constants(&self) -> Vec<Constant> {
        vec![
            unsigned(30, self.heads),
            unsigned(31, self.kv_heads),
            unsigned(32, self.head_dim),
            unsigned(33, self.page),
            float(34, self.scale),
            float(35, self.softcap.unwrap_or(0.0)),
            unsigned(36, self.window.unwrap_or(0)),
            flag(37, self.sinks),
            flag(38, self.format == KvFormat::Q8_0),
        ]
    }

    /// Query heads of a key-value head.
    fn ratio(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Groups of query heads of a key-value head, with room for so many queries.
    fn chunks(&self, queries: usize) -> usize {
        self.ratio().div_ceil(queries)
    }
}

/// The kernel's instantiation.
fn function(query_tiles: usize, head_dim: usize) -> String {
    format!("attention_{query_tiles}x{}", column_tiles(head_dim))
}

/// Tiles of 8 columns of each simdgroup.
fn column_tiles(head_dim: usize) -> usize {
    head_dim.div_ceil(32)
}

/// Wide heads leave room in threadgroup memory for 16 queries only.
fn most_query_tiles(head_dim: usize) -> usize {
    if head_dim > 128 { 2 } else { 4 }
}
