//! sums += factors · matrix, by tiles that stay in registers.

use half::f16;

use crate::device::simd::{LANES, Simd};

/// A matrix [steps, columns] in memory.
#[derive(Clone, Copy)]
pub(super) struct Right<'a, E> {
    /// Its elements, beginning with the first that is used.
    pub(super) elements: &'a [E],
    /// Elements from one row to the next.
    pub(super) stride: usize,
    /// Whole vectors of a row that are used.
    pub(super) vectors: usize,
}

/// sums\[r\] += Σ over steps s of factors\[r\]\[s\] · right\[s\], where row r of `factors` begins at r · `factors_stride`, and that of `sums` at
/// r · `sums_stride`. The order of the additions to an element is that of the steps.
#[inline(always)]
pub(super) fn accumulate<S: Simd, E: Element>(
    simd: S,
    (factors, factors_stride): (&[f32], usize),
    steps: usize,
    right: Right<'_, E>,
    (sums, sums_stride): (&mut [f32], usize),
    rows: usize,
) {
    if rows == 0 || steps == 0 || right.vectors == 0 {
        return;
    }
    assert!((rows - 1) * factors_stride + steps <= factors.len(), "factors");
    assert!((steps - 1) * right.stride + right.vectors * LANES <= right.elements.len(), "right side");
    assert!((rows - 1) * sums_stride + right.vectors * LANES <= sums.len(), "sums");
    let mut vector = 0;
    while vector < right.vectors {
        let columns = largest_tile(right.vectors - vector, S::TILE.1);
        let mut row = 0;
        while row < rows {
            let tile_rows = largest_tile(rows - row, S::TILE.0);
            let tile = Tile {
                factors: factors[row * factors_stride..].as_ptr(),
                factors_stride,
                steps,
                right: right.elements[vector * LANES..].as_ptr(),
                right_stride: right.stride,
                sums: sums[row * sums_stride + vector * LANES..].as_mut_ptr(),
                sums_stride,
            };
            // SAFETY: the tile lies within the rows, steps and vectors, for which there is room as was checked above.
            unsafe {
                match (tile_rows, columns) {
                    (4, 4) => tile.run::<S, 4, 4>(simd),
                    (4, 2) => tile.run::<S, 4, 2>(simd),
                    (4, _) => tile.run::<S, 4, 1>(simd),
                    (2, 4) => tile.run::<S, 2, 4>(simd),
                    (2, 2) => tile.run::<S, 2, 2>(simd),
                    (2, _) => tile.run::<S, 2, 1>(simd),
                    (_, 4) => tile.run::<S, 1, 4>(simd),
                    (_, 2) => tile.run::<S, 1, 2>(simd),
                    _ => tile.run::<S, 1, 1>(simd),
                }
            }
            row += tile_rows;
        }
        vector += columns;
    }
}

/// An element of the right side.
pub(super) trait Element: Copy {
    /// Reads a vector.
    fn load<S: Simd>(simd: S, from: &[Self; LANES]) -> S::V;
}

impl Element for f32 {
    #[inline(always)]
    fn load<S: Simd>(simd: S, from: &[f32; LANES]) -> S::V {
        simd.load(from)
    }
}

impl Element for f16 {
    #[inline(always)]
    fn load<S: Simd>(simd: S, from: &[f16; LANES]) -> S::V {
        simd.load_f16(from)
    }
}

/// The largest of 4, 2, 1 that is neither more than `left` nor more than `most`.
#[inline(always)]
fn largest_tile(left: usize, most: usize) -> usize {
    match left.min(most) {
        4.. => 4,
        2..4 => 2,
        _ => 1,
    }
}

struct Tile<E> {
    factors: *const f32,
    factors_stride: usize,
    steps: usize,
    right: *const E,
    right_stride: usize,
    sums: *mut f32,
    sums_stride: usize,
}

impl<E: Element> Tile<E> {
    /// # Safety
    ///
    /// There are ROWS rows of `steps` factors, `steps` rows of COLUMNS vectors on the right, ROWS rows of COLUMNS vectors of sums.
    #[inline(always)]
    unsafe fn run<S: Simd, const ROWS: usize, const COLUMNS: usize>(&self, simd: S) {
        let vector = |row: usize, column: usize| {
            // SAFETY: within the sums, by the caller's promise; the reference is used for one load or store.
            unsafe { &mut *self.sums.add(row * self.sums_stride + column * LANES).cast::<[f32; LANES]>() }
        };
        let mut sums: [[S::V; COLUMNS]; ROWS] =
            std::array::from_fn(|row| std::array::from_fn(|column| simd.load(vector(row, column))));
        for step in 0..self.steps {
            let right: [S::V; COLUMNS] = std::array::from_fn(|column| {
                // SAFETY: within the right side, by the caller's promise.
                let from = unsafe { &*self.right.add(step * self.right_stride + column * LANES).cast() };
                E::load(simd, from)
            });
            for (row, sums) in sums.iter_mut().enumerate() {
                // SAFETY: within the factors, by the caller's promise.
                let factor = simd.splat(unsafe { *self.factors.add(row * self.factors_stride + step) });
                for (sum, right) in sums.iter_mut().zip(right) {
                    *sum = simd.fma(factor, right, *sum);
                }
            }
        }
        for (row, sums) in sums.into_iter().enumerate() {
            for (column, sum) in sums.into_iter().enumerate() {
                simd.store(sum, vector(row, column));
            }
        }
    }
}
