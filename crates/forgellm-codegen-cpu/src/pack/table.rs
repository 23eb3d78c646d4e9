//! Table formats: the indices are kept.

use forgellm_frontend::quant::{BlockIq4Nl, BlockIq4Xs, BlockMxfp4};

use super::PackBlock;
use super::codes::{put, put_bits};
use super::simple::nibbles;
use crate::device::matrix::format;

impl PackBlock for BlockIq4Nl {
    type Format = format::IQ4_NL;

    fn pack(&self, lane: usize, block: &mut [u8]) {
        put(block, 0, lane, self.d);
        put_bits::<4>(block, 32, lane, &nibbles(&self.qs), 0);
    }
}

impl PackBlock for BlockIq4Xs {
    type Format = format::IQ4_XS;

    fn pack(&self, lane: usize, block: &mut [u8]) {
        put(block, 0, lane, self.d);
        let groups = block[32..].chunks_exact_mut(16 + 256);
        let codes = self.qs.as_chunks::<16>().0;
        for ((group, codes), scale) in groups.zip(codes).zip(self.scales()) {
            put(group, 0, lane, [scale as u8]);
            put_bits::<4>(group, 16, lane, &nibbles(codes), 0);
        }
    }
}

impl PackBlock for BlockMxfp4 {
    type Format = format::MXFP4;

    fn pack(&self, lane: usize, block: &mut [u8]) {
        put(block, 0, lane, [self.e]);
        put_bits::<4>(block, 16, lane, &nibbles(&self.qs), 0);
    }
}
