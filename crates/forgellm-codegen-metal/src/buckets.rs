//! Chooses the kernels of projections by the rows of a step.

use forgellm_plan::Bucket;

use crate::device::gemm::TILE_ROWS;
use crate::device::mat_vec::{BATCHES, MAX_ROWS};

/// What it costs to read and unpack the weights of a tile, in rows of a tile that could be multiplied instead.
const UNPACKING: usize = 16;

/// The buckets of every model: mat-vec up to [`MAX_ROWS`] rows, GEMM from there.
pub(crate) fn buckets() -> Vec<Bucket> {
    let mat_vec = BATCHES.map(|batch| Bucket { most_rows: Some(batch), kernel: "MatVec", tile: batch });
    let mut buckets = Vec::from(mat_vec);
    // From twice the largest tile on, that one is never dearer than another.
    for rows in MAX_ROWS + 1..=2 * TILE_ROWS[TILE_ROWS.len() - 1] {
        let tile = tile_rows(rows);
        match buckets.last_mut() {
            Some(last) if last.kernel == "Gemm" && last.tile == tile => last.most_rows = Some(rows),
            _ => buckets.push(Bucket { most_rows: Some(rows), kernel: "Gemm", tile }),
        }
    }
    if let Some(last) = buckets.last_mut() {
        last.most_rows = None;
    }
    buckets
}

/// The rows of a tile for a step of so many rows.
///
/// A matrix is read and unpacked once per tile, and a tile is multiplied as a whole even if it has fewer rows. So of the possible tiles, this is
/// the one with the least `tiles · (rows of a tile + UNPACKING)`, the larger one if two cost the same.
fn tile_rows(rows: usize) -> usize {
    let cost = |tile: usize| rows.div_ceil(tile) * (tile + UNPACKING);
    TILE_ROWS.into_iter().rev().min_by_key(|tile| cost(*tile)).unwrap_or(TILE_ROWS[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_rows_take_the_mat_vec_and_more_take_tiles_that_fit() {
        let list: Vec<_> =
            buckets().iter().map(|bucket| (bucket.most_rows, bucket.kernel, bucket.tile)).collect();
        assert_eq!(
            list,
            [
                (Some(1), "MatVec", 1),
                (Some(2), "MatVec", 2),
                (Some(4), "MatVec", 4),
                (Some(8), "MatVec", 8),
                (Some(16), "Gemm", 16),
                (Some(32), "Gemm", 32),
                (Some(64), "Gemm", 64),
                // Three tiles of 32 rather than two of 64.
                (Some(96), "Gemm", 32),
                (None, "Gemm", 64),
            ]
        );
    }

    #[test]
    fn the_last_bucket_has_the_best_tile_for_any_number_of_rows() {
        for rows in 97..10_000 {
            assert_eq!(tile_rows(rows), 64, "{rows} rows");
        }
    }
}
