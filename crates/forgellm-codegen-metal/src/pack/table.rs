//! Table formats: the indices are kept.

use forgellm_frontend::quant::{BlockIq4Nl, BlockIq4Xs, BlockMxfp4};

use super::codes::{nibbles, put_bits};
use super::{BlockPlanes, PackBlock};

impl PackBlock for BlockIq4Nl {
    fn pack(&self, [codes, scale, ..]: BlockPlanes<'_>) {
        put_bits::<4>(codes, &nibbles(&self.qs), 0);
        scale.copy_from_slice(&self.d);
    }
}

impl PackBlock for BlockIq4Xs {
    fn pack(&self, [codes, scales, d, ..]: BlockPlanes<'_>) {
        for (group, packed) in self.qs.as_chunks::<16>().0.iter().zip(codes.chunks_exact_mut(16)) {
            put_bits::<4>(packed, &nibbles(group), 0);
        }
        scales.copy_from_slice(bytemuck::cast_slice(&self.scales()));
        d.copy_from_slice(&self.d);
    }
}

impl PackBlock for BlockMxfp4 {
    fn pack(&self, [codes, exponent, ..]: BlockPlanes<'_>) {
        put_bits::<4>(codes, &nibbles(&self.qs), 0);
        exponent.copy_from_slice(&[self.e]);
    }
}
