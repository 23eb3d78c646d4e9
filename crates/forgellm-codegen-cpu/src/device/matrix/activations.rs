//! Activation rows in the forms that the matrix kernels read.

use super::isa::{Isa, Kernel};
use super::lanes::Lanes;

/// Inputs of an [`ActivationBlock`].
pub const ACTIVATION_BLOCK: usize = 32;

/// Rows of activations, prepared once for all matrices that they are multiplied by.
#[derive(Debug, Clone, Copy)]
pub struct Activations<'a> {
    inputs: usize,
    rows: usize,
    floats: &'a [f32],
    blocks: &'a [ActivationBlock],
}

impl<'a> Activations<'a> {
    /// `floats` is `[rows, inputs]`; `blocks` the same rows after [`quantise_row`], `[rows, inputs / 32]`.
    /// Either may be empty where no matrix needs it.
    ///
    /// # Panics
    /// Where the lengths are not those of whole rows, or the two differ in rows.
    pub fn new(inputs: usize, floats: &'a [f32], blocks: &'a [ActivationBlock]) -> Self {
        let blocks_per_row = inputs / ACTIVATION_BLOCK;
        let rows = if floats.is_empty() && blocks_per_row > 0 {
            blocks.len() / blocks_per_row
        } else {
            floats.len() / inputs.max(1)
        };
        assert!(floats.is_empty() || floats.len() == rows * inputs, "float activations are not whole rows");
        assert!(
            blocks.is_empty() || blocks.len() == rows * blocks_per_row,
            "quantised activations are not whole rows"
        );
        Self { inputs, rows, floats, blocks }
    }

    /// Values per row.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Row `row` as floats.
    pub(super) fn floats(&self, row: usize) -> &'a [f32] {
        &self.floats[row * self.inputs..][..self.inputs]
    }

    /// Row `row` as quantised blocks.
    pub(super) fn blocks(&self, row: usize) -> &'a [ActivationBlock] {
        let blocks = self.inputs / ACTIVATION_BLOCK;
        &self.blocks[row * blocks..][..blocks]
    }
}

/// A form of activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActivationKind {
    /// [`ActivationBlock`]s: for the quantised formats.
    Int8,
    /// The floats themselves.
    F32,
}

/// 32 consecutive activations as 8-bit codes: `x[i] = scale * code[i]`, codes in -127..=127; one cache line.
///
/// The sums of the codes serve the offsets and minima of the weights: `sum((q - o) x) = sum(q x) - o sum(x)`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[repr(C, align(64))]
pub struct ActivationBlock {
    /// The codes, four consecutive ones to a word, the first in its low byte.
    pub words: [i32; 8],
    /// The scale.
    pub scale: f32,
    /// Sum of the codes.
    pub sum: i32,
    /// Sums of the first and of the last 16 codes.
    pub half_sums: [i32; 2],
    /// `scale * sum`.
    pub scaled_sum: f32,
    /// `scale * half_sums`.
    pub scaled_half_sums: [f32; 2],
}

const _: () = assert!(size_of::<ActivationBlock>() == 64);

/// Quantises one row: symmetric, one scale per 32 values, round to nearest even. For finite values the result has
/// the same bits on every instruction set. A block with NaN in it has the scale NaN, so that all that is made from it is NaN too.
///
/// # Panics
/// Where `row` is not `32 * blocks.len()` long.
pub fn quantise_row(isa: Isa, row: &[f32], blocks: &mut [ActivationBlock]) {
    assert_eq!(row.len(), ACTIVATION_BLOCK * blocks.len(), "a row is whole blocks");
    isa.run(Quantise { row, blocks });
}

struct Quantise<'a> {
    row: &'a [f32],
    blocks: &'a mut [ActivationBlock],
}

impl Kernel for Quantise<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let (values, _) = self.row.as_chunks::<ACTIVATION_BLOCK>();
        for (values, block) in values.iter().zip(self.blocks) {
            *block = lanes.quantise(values);
        }
    }
}

/// The definition of [`Lanes::quantise`].
#[inline(always)]
pub(super) fn quantise(values: &[f32; ACTIVATION_BLOCK]) -> ActivationBlock {
    // Adding 1.5 * 2^23 rounds a small value to the nearest integer, which the low bits of the sum then hold.
    const ROUNDER: f32 = 12_582_912.0;
    // As integers, magnitudes have the same order, and NaN is the largest.
    let largest = values.iter().fold(0, |largest, value| value.abs().to_bits().max(largest));
    let largest = f32::from_bits(largest);
    let inverse = inverse_scale(largest);
    let codes = values.map(|value| (value * inverse + ROUNDER).to_bits() as i8);
    let half_sums =
        [0, 16].map(|start| codes[start..start + 16].iter().map(|&code| i32::from(code)).sum::<i32>());
    let words = std::array::from_fn(|i| i32::from_le_bytes([0, 1, 2, 3].map(|j| codes[4 * i + j] as u8)));
    ActivationBlock::new(words, largest, half_sums)
}

/// What values are multiplied by to become codes, where `largest` is their largest magnitude.
#[inline(always)]
pub(super) fn inverse_scale(largest: f32) -> f32 {
    let inverse = 127.0 / largest;
    // A block of zeros, or of values so tiny that the inverse overflows, has codes of zero.
    if inverse.is_finite() { inverse } else { 0.0 }
}

impl ActivationBlock {
    /// The block of these codes, with `scale` and sums from the largest magnitude and the sums of the halves.
    #[inline(always)]
    pub(super) fn new(words: [i32; 8], largest: f32, half_sums: [i32; 2]) -> Self {
        let scale = largest / 127.0;
        let sum = half_sums[0] + half_sums[1];
        let scaled_sum = scale * sum as f32;
        let scaled_half_sums = half_sums.map(|sum| scale * sum as f32);
        Self { words, scale, sum, half_sums, scaled_sum, scaled_half_sums }
    }
}
