//! Blocks of 256: the packed sub-scales are spread to a byte each, the codes to groups of 32.

use std::array::from_fn;

use forgellm_frontend::quant::{BlockQ2K, BlockQ3K, BlockQ4K, BlockQ5K, BlockQ6K, BlockQ8K};

use super::PackBlock;
use super::codes::{put, put_bits};
use crate::device::matrix::format;

impl PackBlock for BlockQ2K {
    type Format = format::Q2_K;

    fn pack(&self, lane: usize, block: &mut [u8]) {
        put(block, 0, lane, self.d);
        put(block, 32, lane, self.dmin);
        for (g, group) in block[64..].chunks_exact_mut(32 + 128).enumerate() {
            put(group, 0, lane, [self.scales[2 * g]]);
            put(group, 16, lane, [self.scales[2 * g + 1]]);
            let codes = from_fn(|l| self.qs[32 * (g / 4) + l] >> (2 * (g % 4)) & 3);
            put_bits::<2>(group, 32, lane, &codes, 0);
        }
    }
}

impl PackBlock for BlockQ3K {
    type Format = format::Q3_K;

    fn pack(&self, lane: usize, block: &mut [u8]) {
        put(block, 0, lane, self.d);
        let scales = self.scales();
        for (g, group) in block[32..].chunks_exact_mut(32 + 192).enumerate() {
            put(group, 0, lane, [scales[2 * g] as u8]);
            put(group, 16, lane, [scales[2 * g + 1] as u8]);
            let codes = from_fn(|l| {
                let low = self.qs[32 * (g / 4) + l] >> (2 * (g % 4)) & 3;
                low | (self.hmask[l] >> g & 1) << 2
            });
            put_bits::<2>(group, 32, lane, &codes, 0);
            put_bits::<1>(group, 32 + 128, lane, &codes, 2);
        }
    }
}

impl PackBlock for BlockQ4K {
    type Format = format::Q4_K;

    fn pack(&self, lane: usize, block: &mut [u8]) {
        put(block, 0, lane, self.d);
        put(block, 32, lane, self.dmin);
        let (scales, minima) = self.scales_and_minima();
        for (g, group) in block[64..].chunks_exact_mut(32 + 256).enumerate() {
            put(group, 0, lane, [scales[g]]);
            put(group, 16, lane, [minima[g]]);
            let codes = from_fn(|l| self.qs[32 * (g / 2) + l] >> (4 * (g % 2)) & 15);
            put_bits::<4>(group, 32, lane, &codes, 0);
        }
    }
}

impl PackBlock for BlockQ5K {
    type Format = format::Q5_K;

    fn pack(&self, lane: usize, block: &mut [u8]) {
        put(block, 0, lane, self.d);
        put(block, 32, lane, self.dmin);
        let (scales, minima) = self.scales_and_minima();
        for (g, group) in block[64..].chunks_exact_mut(32 + 320).enumerate() {
            put(group, 0, lane, [scales[g]]);
            put(group, 16, lane, [minima[g]]);
            let codes = from_fn(|l| {
                let low = self.qs[32 * (g / 2) + l] >> (4 * (g % 2)) & 15;
                low | (self.qh[l] >> g & 1) << 4
            });
            put_bits::<4>(group, 32, lane, &codes, 0);
            put_bits::<1>(group, 32 + 256, lane, &codes, 4);
        }
    }
}

impl PackBlock for BlockQ6K {
    type Format = format::Q6_K;

    fn pack(&self, lane: usize, block: &mut [u8]) {
        put(block, 0, lane, self.d);
        for (g, group) in block[32..].chunks_exact_mut(32 + 384).enumerate() {
            put(group, 0, lane, [self.scales[2 * g] as u8]);
            put(group, 16, lane, [self.scales[2 * g + 1] as u8]);
            let (n, j) = (g / 4, g % 4);
            let codes = from_fn(|l| {
                let low = self.ql[64 * n + 32 * (j % 2) + l] >> (4 * (j / 2)) & 15;
                low | (self.qh[32 * n + l] >> (2 * j) & 3) << 4
            });
            put_bits::<4>(group, 32, lane, &codes, 0);
            put_bits::<2>(group, 32 + 256, lane, &codes, 4);
        }
    }
}

impl PackBlock for BlockQ8K {
    type Format = format::Q8_K;

    fn pack(&self, lane: usize, block: &mut [u8]) {
        put(block, 0, lane, self.d);
        let groups = block[64..].chunks_exact_mut(512);
        for (group, codes) in groups.zip(self.qs.as_chunks::<32>().0) {
            put_bits::<8>(group, 0, lane, &codes.map(|code| code as u8 ^ 0x80), 0);
        }
    }
}
