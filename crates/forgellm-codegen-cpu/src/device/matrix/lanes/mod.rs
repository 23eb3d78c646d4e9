//! The vector operations that the kernels are written in.
//!
//! [`portable`] defines what each means; the other files are the same in the instructions of one processor.

#[cfg(target_arch = "x86_64")]
pub mod avx2;
#[cfg(target_arch = "x86_64")]
pub mod avx512;
#[cfg(target_arch = "aarch64")]
pub mod neon;
pub mod portable;

use super::activations::{ActivationBlock, quantise};
use super::isa::Kernel;

/// Vectors whose 32-bit lanes are output rows of a panel.
///
/// A panel has 16 rows; where a vector has fewer lanes, `part` (below `16 / LANES`) says which of them it holds.
/// A value of the type is the proof that the processor has the instructions.
///
/// All integer operations give the same bits everywhere. [`Lanes::mul_add`] may round once or twice.
pub trait Lanes: Copy {
    /// Lanes of a vector.
    const LANES: usize;
    /// Unsigned codes: four consecutive inputs for each lane.
    type Bytes: Copy;
    /// An i32 per lane.
    type Ints: Copy;
    /// An f32 per lane.
    type Floats: Copy;

    /// Runs `kernel` in a function that is compiled with the instruction set's features.
    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output;

    /// The bytes of 16 rows × 4 inputs.
    fn bytes(self, vector: &[u8; 64], part: usize) -> Self::Bytes;
    /// Shifts every byte right by `right` (left where negative; -4..=7) and keeps the bits of `mask`, none of
    /// which may come from a neighbouring byte.
    fn field(self, bytes: Self::Bytes, right: i32, mask: u8) -> Self::Bytes;
    /// Bitwise or.
    fn or(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    /// `table[byte]` for bytes below 16.
    fn look_up(self, table: &[u8; 16], bytes: Self::Bytes) -> Self::Bytes;

    /// Starts a sum of [`Lanes::dot`] over activations whose codes sum to `sum`.
    fn begin(self, offset: i32, sum: i32) -> Self::Ints;
    /// Adds `sum((code - offset) * x)` over the four signed bytes `x` of `word`, given that the sum was begun with
    /// the same `offset`. Codes are below 64, or `offset` is 128.
    fn dot(self, offset: i32, sum: Self::Ints, codes: Self::Bytes, word: i32) -> Self::Ints;
    /// Converts to floats.
    fn to_floats(self, ints: Self::Ints) -> Self::Floats;

    /// 16 little-endian f32.
    fn f32s(self, values: &[u8; 64], part: usize) -> Self::Floats;
    /// 16 little-endian f16.
    fn f16s(self, values: &[u8; 32], part: usize) -> Self::Floats;
    /// 16 little-endian bf16.
    fn bf16s(self, values: &[u8; 32], part: usize) -> Self::Floats;
    /// 16 signed bytes.
    fn i8s(self, values: &[u8; 16], part: usize) -> Self::Floats;
    /// 16 unsigned bytes.
    fn u8s(self, values: &[u8; 16], part: usize) -> Self::Floats;
    /// The same value in all lanes.
    fn splat(self, value: f32) -> Self::Floats;
    /// `a * b`.
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a + b`.
    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a * b + c`.
    fn mul_add(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    /// Writes the lanes to their places among the 16 rows.
    fn store(self, values: Self::Floats, out: &mut [f32; 16], part: usize);

    /// Quantises 32 activations.
    #[inline(always)]
    fn quantise(self, values: &[f32; 32]) -> ActivationBlock {
        quantise(values)
    }
}
