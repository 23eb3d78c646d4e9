//! Plain Rust: the definition of the operations.

use super::Lanes;
use crate::device::matrix::isa::Kernel;

/// Runs on any processor.
#[derive(Debug, Clone, Copy)]
pub struct Portable;

impl Lanes for Portable {
    const LANES: usize = 16;
    type Bytes = [u8; 64];
    type Ints = [i32; 16];
    type Floats = [f32; 16];

    fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }

    #[inline(always)]
    fn bytes(self, vector: &[u8; 64], _: usize) -> [u8; 64] {
        *vector
    }

    #[inline(always)]
    fn field(self, bytes: [u8; 64], right: i32, mask: u8) -> [u8; 64] {
        bytes.map(|byte| if right < 0 { byte << -right } else { byte >> right } & mask)
    }

    #[inline(always)]
    fn or(self, a: [u8; 64], b: [u8; 64]) -> [u8; 64] {
        std::array::from_fn(|i| a[i] | b[i])
    }

    #[inline(always)]
    fn look_up(self, table: &[u8; 16], bytes: [u8; 64]) -> [u8; 64] {
        bytes.map(|byte| table[usize::from(byte & 15)])
    }

    #[inline(always)]
    fn begin(self, offset: i32, sum: i32) -> [i32; 16] {
        [-offset * sum; 16]
    }

    #[inline(always)]
    fn dot(self, _: i32, sum: [i32; 16], codes: [u8; 64], word: i32) -> [i32; 16] {
        let x = word.to_le_bytes().map(|byte| i32::from(byte as i8));
        std::array::from_fn(|lane| {
            let codes: [i32; 4] = std::array::from_fn(|i| i32::from(codes[4 * lane + i]));
            sum[lane] + codes[0] * x[0] + codes[1] * x[1] + codes[2] * x[2] + codes[3] * x[3]
        })
    }

    #[inline(always)]
    fn to_floats(self, ints: [i32; 16]) -> [f32; 16] {
        ints.map(|value| value as f32)
    }

    #[inline(always)]
    fn f32s(self, values: &[u8; 64], _: usize) -> [f32; 16] {
        std::array::from_fn(|i| f32::from_le_bytes([0, 1, 2, 3].map(|j| values[4 * i + j])))
    }

    #[inline(always)]
    fn f16s(self, values: &[u8; 32], _: usize) -> [f32; 16] {
        std::array::from_fn(|i| half::f16::from_le_bytes([values[2 * i], values[2 * i + 1]]).to_f32())
    }

    #[inline(always)]
    fn bf16s(self, values: &[u8; 32], _: usize) -> [f32; 16] {
        std::array::from_fn(|i| f32::from_le_bytes([0, 0, values[2 * i], values[2 * i + 1]]))
    }

    #[inline(always)]
    fn i8s(self, values: &[u8; 16], _: usize) -> [f32; 16] {
        values.map(|value| f32::from(value as i8))
    }

    #[inline(always)]
    fn u8s(self, values: &[u8; 16], _: usize) -> [f32; 16] {
        values.map(f32::from)
    }

    #[inline(always)]
    fn splat(self, value: f32) -> [f32; 16] {
        [value; 16]
    }

    #[inline(always)]
    fn mul(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        std::array::from_fn(|i| a[i] * b[i])
    }

    #[inline(always)]
    fn add(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        std::array::from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn mul_add(self, a: [f32; 16], b: [f32; 16], c: [f32; 16]) -> [f32; 16] {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }

    #[inline(always)]
    fn store(self, values: [f32; 16], out: &mut [f32; 16], _: usize) {
        *out = values;
    }
}
