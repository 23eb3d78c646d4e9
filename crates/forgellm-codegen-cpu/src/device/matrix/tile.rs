//! Register tiles: one panel of weights times a few activation rows.

use super::PANEL_ROWS;
use super::activations::{ActivationBlock, Activations};
use super::format::{BlockFormat, FloatFormat, Format};
use super::isa::{Isa, Kernel};
use super::lanes::Lanes;

/// The most rows of a tile: their sums and a block of unpacked codes fit in 32 vector registers.
pub(super) const TILE_ROWS: usize = 8;

/// Multiplies the rows of `x` from `first_row` on by a panel. `out` has 1, 2, 4 or 8 rows.
pub(super) fn project<F: Format>(
    isa: Isa,
    panel: &[u8],
    x: &Activations<'_>,
    first_row: usize,
    out: &mut [[f32; PANEL_ROWS]],
) {
    if let Ok(out) = <&mut [_; 8]>::try_from(&mut *out) {
        isa.run(Tile::<F, 8> { panel, x, first_row, out, format: Default::default() });
    } else if let Ok(out) = <&mut [_; 4]>::try_from(&mut *out) {
        isa.run(Tile::<F, 4> { panel, x, first_row, out, format: Default::default() });
    } else if let Ok(out) = <&mut [_; 2]>::try_from(&mut *out) {
        isa.run(Tile::<F, 2> { panel, x, first_row, out, format: Default::default() });
    } else {
        for (i, out) in out.iter_mut().enumerate() {
            let out = std::array::from_mut(out);
            isa.run(Tile::<F, 1> { panel, x, first_row: first_row + i, out, format: Default::default() });
        }
    }
}

struct Tile<'a, F, const N: usize> {
    panel: &'a [u8],
    x: &'a Activations<'a>,
    first_row: usize,
    out: &'a mut [[f32; PANEL_ROWS]; N],
    format: std::marker::PhantomData<F>,
}

impl<F: Format, const N: usize> Kernel for Tile<'_, F, N> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        F::tile(lanes, self.panel, self.x, self.first_row, self.out);
    }
}

/// Writes `$body` out once for each row of a tile of `$count` (at most 8) rows: the indices must be constants
/// before the optimiser looks at them, or the sums would live in memory.
macro_rules! each_row {
    ($count:ident, $row:ident => $body:expr) => {
        each_row!(@ $count, $row => $body; 0 1 2 3 4 5 6 7)
    };
    (@ $count:ident, $row:ident => $body:expr; $($index:literal)*) => {
        $(if $index < $count {
            let $row = $index;
            $body
        })*
    };
}

/// The tile of a quantised format.
///
/// Per row and 32 inputs, always in this order: the integer dot products; times the weight scale; times the
/// activation scale, added to the sum; then the biases.
#[inline(always)]
pub(super) fn block_tile<L: Lanes, F: BlockFormat, const N: usize>(
    lanes: L,
    panel: &[u8],
    x: &Activations<'_>,
    first_row: usize,
    out: &mut [[f32; PANEL_ROWS]; N],
) {
    let block_bytes = <F as Format>::BLOCK_BYTES;
    let blocks = panel.len() / block_bytes * (<F as Format>::BLOCK / 32);
    let rows: [&[ActivationBlock]; N] = std::array::from_fn(|n| &x.blocks(first_row + n)[..blocks]);
    for part in 0..PANEL_ROWS / L::LANES {
        let mut sums = [lanes.splat(0.0); N];
        let mut index = 0;
        for block in panel.chunks_exact(block_bytes) {
            let (header, groups) = block.split_at(F::HEADER_BYTES);
            let header = F::header(lanes, header, part);
            for group in groups.chunks_exact(F::GROUP_BYTES) {
                let codes = F::codes(lanes, group, part);
                let scales = F::scales(lanes, header, group, part);
                let biases = F::biases(lanes, header, group, part);
                each_row!(N, n => {
                    // SAFETY: `index` counts the groups of the panel, `blocks` in all, to which the rows were cut.
                    let x = unsafe { rows[n].get_unchecked(index) };
                    sums[n] = add_group::<L, F>(lanes, x, &codes, scales, biases, sums[n]);
                });
                index += 1;
            }
        }
        each_row!(N, n => lanes.store(sums[n], &mut out[n], part));
    }
}

#[inline(always)]
fn add_group<L: Lanes, F: BlockFormat>(
    lanes: L,
    x: &ActivationBlock,
    codes: &[L::Bytes; 8],
    scales: [L::Floats; 2],
    biases: [L::Floats; 2],
    sum: L::Floats,
) -> L::Floats {
    let o = F::OFFSET;
    let scaled = if F::HALVES {
        let first = lanes.begin(o, x.half_sums[0]);
        let first = lanes.dot(o, first, codes[0], x.words[0]);
        let first = lanes.dot(o, first, codes[1], x.words[1]);
        let first = lanes.dot(o, first, codes[2], x.words[2]);
        let first = lanes.dot(o, first, codes[3], x.words[3]);
        let second = lanes.begin(o, x.half_sums[1]);
        let second = lanes.dot(o, second, codes[4], x.words[4]);
        let second = lanes.dot(o, second, codes[5], x.words[5]);
        let second = lanes.dot(o, second, codes[6], x.words[6]);
        let second = lanes.dot(o, second, codes[7], x.words[7]);
        let scaled = lanes.mul(lanes.to_floats(first), scales[0]);
        lanes.mul_add(lanes.to_floats(second), scales[1], scaled)
    } else {
        let dots = lanes.begin(o, x.sum);
        let dots = lanes.dot(o, dots, codes[0], x.words[0]);
        let dots = lanes.dot(o, dots, codes[1], x.words[1]);
        let dots = lanes.dot(o, dots, codes[2], x.words[2]);
        let dots = lanes.dot(o, dots, codes[3], x.words[3]);
        let dots = lanes.dot(o, dots, codes[4], x.words[4]);
        let dots = lanes.dot(o, dots, codes[5], x.words[5]);
        let dots = lanes.dot(o, dots, codes[6], x.words[6]);
        let dots = lanes.dot(o, dots, codes[7], x.words[7]);
        lanes.mul(lanes.to_floats(dots), scales[0])
    };
    let sum = lanes.mul_add(scaled, lanes.splat(x.scale), sum);
    match (F::BIASED, F::HALVES) {
        (false, _) => sum,
        (true, false) => lanes.mul_add(biases[0], lanes.splat(x.scaled_sum), sum),
        (true, true) => {
            let sum = lanes.mul_add(biases[0], lanes.splat(x.scaled_half_sums[0]), sum);
            lanes.mul_add(biases[1], lanes.splat(x.scaled_half_sums[1]), sum)
        }
    }
}

/// The tile of a float format. Even and odd inputs have sums of their own, so that one row is not bound by the
/// latency of an addition.
#[inline(always)]
pub(super) fn float_tile<L: Lanes, F: FloatFormat, const N: usize>(
    lanes: L,
    panel: &[u8],
    x: &Activations<'_>,
    first_row: usize,
    out: &mut [[f32; PANEL_ROWS]; N],
) {
    let inputs = panel.len() / F::COLUMN_BYTES;
    let rows: [&[f32]; N] = std::array::from_fn(|n| &x.floats(first_row + n)[..inputs]);
    for part in 0..PANEL_ROWS / L::LANES {
        let mut even = [lanes.splat(0.0); N];
        let mut odd = [lanes.splat(0.0); N];
        let mut pairs = panel.chunks_exact(2 * F::COLUMN_BYTES);
        for (pair, columns) in pairs.by_ref().enumerate() {
            let (first, second) = columns.split_at(F::COLUMN_BYTES);
            let (first, second) = (F::weights(lanes, first, part), F::weights(lanes, second, part));
            each_row!(N, n => {
                // SAFETY: the panel has `inputs` columns, to which the rows were cut.
                let x = unsafe { [*rows[n].get_unchecked(2 * pair), *rows[n].get_unchecked(2 * pair + 1)] };
                even[n] = lanes.mul_add(first, lanes.splat(x[0]), even[n]);
                odd[n] = lanes.mul_add(second, lanes.splat(x[1]), odd[n]);
            });
        }
        if inputs % 2 == 1 {
            let last = F::weights(lanes, pairs.remainder(), part);
            each_row!(N, n => even[n] = lanes.mul_add(last, lanes.splat(rows[n][inputs - 1]), even[n]));
        }
        each_row!(N, n => lanes.store(lanes.add(even[n], odd[n]), &mut out[n], part));
    }
}
