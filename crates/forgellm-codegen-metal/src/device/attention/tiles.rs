//! How attention is cut into threadgroups.

use bytemuck::NoUninit;

use super::{AttentionShape, QUERY_TILES, most_query_tiles};

/// Rows of a step that follow one another, of one sequence at consecutive positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowRun {
    /// The first row.
    pub first_row: usize,
    /// Number of rows.
    pub rows: usize,
    /// Position of the first row.
    pub position: usize,
    /// The sequence's page-table slot.
    pub slot: usize,
}

/// The runs of a step whose rows have these positions and page-table slots.
pub fn row_runs(rows: impl IntoIterator<Item = (usize, usize)>) -> Vec<RowRun> {
    let mut runs: Vec<RowRun> = Vec::new();
    for (row, (position, slot)) in rows.into_iter().enumerate() {
        match runs.last_mut() {
            Some(run) if run.slot == slot && run.position + run.rows == position => run.rows += 1,
            _ => runs.push(RowRun { first_row: row, rows: 1, position, slot }),
        }
    }
    runs
}

/// The threadgroups of an attention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tiling {
    /// Queries that a threadgroup has room for.
    pub queries: usize,
    /// Splits of tiles.
    pub items: Vec<Item>,
    /// Partial results: the items of tiles with several splits.
    pub partials: usize,
    /// The tiles whose splits must be put together.
    pub split_tiles: Vec<SplitTile>,
    /// Rows of the largest of them.
    pub split_rows: usize,
}

/// A split of a tile: `AttentionItem` of attention.metal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, NoUninit)]
#[repr(C)]
pub struct Item {
    /// First row of the tile.
    pub first_row: u32,
    /// Rows of the tile.
    pub rows: u32,
    /// Position of its first row.
    pub position: u32,
    /// Where the sequence's page table begins, in entries.
    pub table: u32,
    /// First position of the split.
    pub start: u32,
    /// End of the split.
    pub stop: u32,
    /// Index of its partial result, or [`DIRECT`].
    pub partial: u32,
    reserved: u32,
}

const _: () = assert!(size_of::<Item>() == 32);

/// The item is its tile's only split and gives the result itself.
pub const DIRECT: u32 = u32::MAX;

/// A tile of several splits: `AttentionSplits` of attention.metal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, NoUninit)]
#[repr(C)]
pub struct SplitTile {
    /// First row of the tile.
    pub first_row: u32,
    /// Rows of the tile.
    pub rows: u32,
    /// The partial result of its first split; the others follow.
    pub first_partial: u32,
    /// Number of splits.
    pub splits: u32,
}

const _: () = assert!(size_of::<SplitTile>() == 16);

/// Small data of a dispatch, at most.
const DATA_BYTES: usize = 4096;

/// Items of one dispatch.
pub(super) const ITEMS: usize = DATA_BYTES / size_of::<Item>();

/// Tiles of one dispatch that puts splits together.
pub(super) const TILES: usize = DATA_BYTES / size_of::<SplitTile>();

/// Threadgroups that keep a GPU busy: 3 for each of 40 cores, 16 for each of 8.
const THREADGROUPS: usize = 128;

/// A tile that sees no more positions than this is not split: a second dispatch would take longer than it saves.
const UNSPLIT: usize = 256;

impl AttentionShape {
    /// Cuts the rows of a step into tiles and their contexts into splits. Page tables lie `pages_per_sequence` entries apart.
    ///
    /// The largest run decides for how many queries a threadgroup has room. Splits are as long as it takes to give the GPU
    /// `THREADGROUPS`, but so long that writing and reading the partial results moves no more than 1/16 of the bytes of keys and values.
    pub fn tiling(&self, runs: &[RowRun], pages_per_sequence: usize) -> Tiling {
        let most = most_query_tiles(self.head_dim);
        let wanted = runs.iter().map(|run| run.rows).max().unwrap_or(0) * self.ratio();
        let query_tiles = QUERY_TILES.into_iter().find(|tiles| 8 * tiles >= wanted).unwrap_or(most).min(most);
        let queries = 8 * query_tiles;
        let block = 128 / query_tiles;
        let heads = self.ratio().min(queries);
        let tiles: Vec<RowRun> = runs.iter().flat_map(|run| tiles(run, queries / heads)).collect();

        let groups = self.kv_heads * self.chunks(queries);
        let work: usize = tiles.iter().map(|tile| self.seen(tile).len() * groups).sum();
        let mut tiling =
            Tiling { queries, items: Vec::new(), partials: 0, split_tiles: Vec::new(), split_rows: 0 };
        for tile in tiles {
            let seen = self.seen(&tile);
            let shortest = 32 * tile.rows * heads;
            let length = shortest.max(work.div_ceil(THREADGROUPS)).next_multiple_of(block);
            let splits = if seen.len() <= UNSPLIT { 1 } else { seen.len().div_ceil(length) };
            let item = Item {
                first_row: tile.first_row as u32,
                rows: tile.rows as u32,
                position: tile.position as u32,
                table: (tile.slot * pages_per_sequence) as u32,
                start: seen.start as u32,
                stop: seen.end as u32,
                partial: DIRECT,
                reserved: 0,
            };
            if splits == 1 {
                tiling.items.push(item);
                continue;
            }
            tiling.split_tiles.push(SplitTile {
                first_row: item.first_row,
                rows: item.rows,
                first_partial: tiling.partials as u32,
                splits: splits as u32,
            });
            tiling.split_rows = tiling.split_rows.max(tile.rows);
            for start in seen.clone().step_by(length) {
                let stop = seen.end.min(start + length);
                let partial = tiling.partials as u32;
                tiling.items.push(Item { start: start as u32, stop: stop as u32, partial, ..item });
                tiling.partials += 1;
            }
        }
        // The longest first, so that none of them is left for the end.
        tiling.items.sort_by_key(|item| std::cmp::Reverse(item.stop - item.start));
        tiling
    }

    /// The positions that a tile's rows see, from a multiple of 8 on.
    fn seen(&self, tile: &RowRun) -> std::ops::Range<usize> {
        let oldest = self.window.map_or(0, |window| (tile.position + 1).saturating_sub(window));
        oldest / 8 * 8..tile.position + tile.rows
    }
}

/// The tiles of a run, of at most so many rows.
fn tiles(run: &RowRun, rows: usize) -> impl Iterator<Item = RowRun> {
    let run = *run;
    (0..run.rows).step_by(rows).map(move |first| RowRun {
        first_row: run.first_row + first,
        rows: rows.min(run.rows - first),
        position: run.position + first,
        slot: run.slot,
    })
}
