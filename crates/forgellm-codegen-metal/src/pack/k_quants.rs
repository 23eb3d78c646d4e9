//! Blocks of 256: the packed sub-scales are spread to a byte each, the codes to groups of 32.

use std::array::from_fn;

use forgellm_frontend::quant::{BlockQ2K, BlockQ3K, BlockQ4K, BlockQ5K, BlockQ6K, BlockQ8K};

use super::codes::put_bits;
use super::{BlockPlanes, PackBlock};

impl PackBlock for BlockQ2K {
    fn pack(&self, [codes, scales, d, ..]: BlockPlanes<'_>) {
        for (g, group) in codes.chunks_exact_mut(8).enumerate() {
            put_bits::<2>(group, &two_bits(&self.qs, g), 0);
        }
        scales.copy_from_slice(&self.scales);
        put_pair(d, self.d, self.dmin);
    }
}

impl PackBlock for BlockQ3K {
    fn pack(&self, [low, high, scales, d]: BlockPlanes<'_>) {
        for (g, (low, high)) in low.chunks_exact_mut(8).zip(high.chunks_exact_mut(4)).enumerate() {
            let codes = two_bits(&self.qs, g);
            put_bits::<2>(low, &codes, 0);
            put_bits::<1>(high, &self.hmask, g);
        }
        scales.copy_from_slice(bytemuck::cast_slice(&self.scales()));
        d.copy_from_slice(&self.d);
    }
}

impl PackBlock for BlockQ4K {
    fn pack(&self, [codes, scales, d, ..]: BlockPlanes<'_>) {
        for (g, group) in codes.chunks_exact_mut(16).enumerate() {
            put_bits::<4>(group, &four_bits(&self.qs, g), 0);
        }
        put_scales_and_minima(scales, self.scales_and_minima());
        put_pair(d, self.d, self.dmin);
    }
}

impl PackBlock for BlockQ5K {
    fn pack(&self, [low, high, scales, d]: BlockPlanes<'_>) {
        for (g, (low, high)) in low.chunks_exact_mut(16).zip(high.chunks_exact_mut(4)).enumerate() {
            put_bits::<4>(low, &four_bits(&self.qs, g), 0);
            put_bits::<1>(high, &self.qh, g);
        }
        put_scales_and_minima(scales, self.scales_and_minima());
        put_pair(d, self.d, self.dmin);
    }
}

impl PackBlock for BlockQ6K {
    fn pack(&self, [low, high, scales, d]: BlockPlanes<'_>) {
        for (g, (low, high)) in low.chunks_exact_mut(16).zip(high.chunks_exact_mut(8)).enumerate() {
            let (n, j) = (g / 4, g % 4);
            let low_bits = from_fn(|l| self.ql[64 * n + 32 * (j % 2) + l] >> (4 * (j / 2)));
            put_bits::<4>(low, &low_bits, 0);
            put_bits::<2>(high, &two_bits(&self.qh, g), 0);
        }
        scales.copy_from_slice(bytemuck::cast_slice(&self.scales));
        d.copy_from_slice(&self.d);
    }
}

impl PackBlock for BlockQ8K {
    fn pack(&self, [codes, d, ..]: BlockPlanes<'_>) {
        codes.copy_from_slice(bytemuck::cast_slice(&self.qs));
        d.copy_from_slice(&self.d);
    }
}

/// Group `g` of 2-bit codes that lie 32 elements apart, four to a byte.
fn two_bits(bytes: &[u8; 64], g: usize) -> [u8; 32] {
    from_fn(|l| bytes[32 * (g / 4) + l] >> (2 * (g % 4)) & 3)
}

/// Group `g` of 4-bit codes that lie 32 elements apart, two to a byte.
fn four_bits(bytes: &[u8; 128], g: usize) -> [u8; 32] {
    from_fn(|l| bytes[32 * (g / 2) + l] >> (4 * (g % 2)) & 15)
}

fn put_pair(to: &mut [u8], first: [u8; 2], second: [u8; 2]) {
    to[..2].copy_from_slice(&first);
    to[2..].copy_from_slice(&second);
}

fn put_scales_and_minima(to: &mut [u8], (scales, minima): ([u8; 8], [u8; 8])) {
    for ((pair, scale), minimum) in to.as_chunks_mut::<2>().0.iter_mut().zip(scales).zip(minima) {
        *pair = [scale, minimum];
    }
}
