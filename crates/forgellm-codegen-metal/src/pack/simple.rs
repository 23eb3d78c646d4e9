//! Blocks of 32 with one scale.

use std::array::from_fn;

use forgellm_frontend::quant::{BlockQ4_0, BlockQ4_1, BlockQ5_0, BlockQ5_1, BlockQ8_0};

use super::codes::{nibbles, put_bits};
use super::{BlockPlanes, PackBlock};

impl PackBlock for BlockQ4_0 {
    fn pack(&self, [codes, scale, ..]: BlockPlanes<'_>) {
        put_bits::<4>(codes, &nibbles(&self.qs), 0);
        scale.copy_from_slice(&self.d);
    }
}

impl PackBlock for BlockQ4_1 {
    fn pack(&self, [codes, scales, ..]: BlockPlanes<'_>) {
        put_bits::<4>(codes, &nibbles(&self.qs), 0);
        scales[..2].copy_from_slice(&self.d);
        scales[2..].copy_from_slice(&self.m);
    }
}

impl PackBlock for BlockQ5_0 {
    fn pack(&self, [low, high, scale, ..]: BlockPlanes<'_>) {
        let codes = five_bits(&self.qs, self.qh);
        put_bits::<4>(low, &codes, 0);
        put_bits::<1>(high, &codes, 4);
        scale.copy_from_slice(&self.d);
    }
}

impl PackBlock for BlockQ5_1 {
    fn pack(&self, [low, high, scales, ..]: BlockPlanes<'_>) {
        let codes = five_bits(&self.qs, self.qh);
        put_bits::<4>(low, &codes, 0);
        put_bits::<1>(high, &codes, 4);
        scales[..2].copy_from_slice(&self.d);
        scales[2..].copy_from_slice(&self.m);
    }
}

impl PackBlock for BlockQ8_0 {
    fn pack(&self, [codes, scale, ..]: BlockPlanes<'_>) {
        codes.copy_from_slice(bytemuck::cast_slice(&self.qs));
        scale.copy_from_slice(&self.d);
    }
}

fn five_bits(low: &[u8; 16], high: [u8; 4]) -> [u8; 32] {
    let (low, high) = (nibbles(low), u32::from_le_bytes(high));
    from_fn(|i| low[i] | ((high >> i & 1) as u8) << 4)
}
