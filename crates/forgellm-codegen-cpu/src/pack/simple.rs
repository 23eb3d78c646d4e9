//! Blocks of 32 with one scale.

use forgellm_frontend::quant::{BlockQ4_0, BlockQ4_1, BlockQ5_0, BlockQ5_1, BlockQ8_0};

use super::PackBlock;
use super::codes::{put, put_bits};
use crate::device::matrix::format;

impl PackBlock for BlockQ4_0 {
    type Format = format::Q4_0;

    fn pack(&self, lane: usize, block: &mut [u8]) {
        put(block, 0, lane, self.d);
        put_bits::<4>(block, 32, lane, &nibbles(&self.qs), 0);
    }
}

impl PackBlock for BlockQ4_1 {
    type Format = format::Q4_1;

    fn pack(&self, lane: usize, block: &mut [u8]) {
        put(block, 0, lane, self.d);
        put(block, 32, lane, self.m);
        put_bits::<4>(block, 64, lane, &nibbles(&self.qs), 0);
    }
}

impl PackBlock for BlockQ5_0 {
    type Format = format::Q5_0;

    fn pack(&self, lane: usize, block: &mut [u8]) {
        put(block, 0, lane, self.d);
        put_five_bits(block, 32, lane, &self.qs, self.qh);
    }
}

impl PackBlock for BlockQ5_1 {
    type Format = format::Q5_1;

    fn pack(&self, lane: usize, block: &mut [u8]) {
        put(block, 0, lane, self.d);
        put(block, 32, lane, self.m);
        put_five_bits(block, 64, lane, &self.qs, self.qh);
    }
}

impl PackBlock for BlockQ8_0 {
    type Format = format::Q8_0;

    fn pack(&self, lane: usize, block: &mut [u8]) {
        put(block, 0, lane, self.d);
        put_bits::<8>(block, 32, lane, &self.qs.map(|code| code as u8 ^ 0x80), 0);
    }
}

/// The codes of 16 bytes: first all low nibbles, then all high ones.
pub(super) fn nibbles(bytes: &[u8; 16]) -> [u8; 32] {
    std::array::from_fn(|i| bytes[i % 16] >> (4 * (i / 16)) & 15)
}

fn put_five_bits(block: &mut [u8], at: usize, lane: usize, low: &[u8; 16], high: [u8; 4]) {
    let (low, high) = (nibbles(low), u32::from_le_bytes(high));
    let codes = std::array::from_fn(|i| low[i] | ((high >> i & 1) as u8) << 4);
    put_bits::<4>(block, at, lane, &codes, 0);
    put_bits::<1>(block, at + 256, lane, &codes, 4);
}
