//! Which kernel computes projections, by the rows of a step.

/// A kernel for projections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projection {
    /// Few rows, with what happens to them before: `mat_vec.metal`.
    MatVec,
    /// Many rows, by matrix units: `gemm.metal`.
    Gemm,
}

/// The kernel for projections of up to so many rows. A model has a list of them, the fewest rows first; the first that is large enough counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// The most rows; no limit is `usize::MAX`.
    pub most_rows: usize,
    /// The kernel.
    pub kernel: Projection,
    /// Rows that an instance of the kernel computes at a time: of [`BATCHES`](super::mat_vec::BATCHES), where they are all, or of
    /// [`TILE_ROWS`](super::gemm::TILE_ROWS).
    pub tile: usize,
}
