//! The packed formats: how a panel of 16 rows lies in memory, and how it is unpacked.
//!
//! A panel holds, in order of the columns, *blocks* of 32 or 256 columns (GGUF's blocks, of 16 rows at once). A
//! block is a header (scales of 256 columns, if any) and then *groups* of 32 columns: scales of 16 rows side by
//! side, then the codes. Codes of `b` bits are `b` vectors of 64 bytes. Byte `4 r + i` of the vector for columns
//! `4 c..4 c + 4` of a group (c < 8) belongs to row `r`, column `4 c + i`:
//!
//! - 8 bits: vector `c`;
//! - 4 bits: vector `c % 4`, low nibble for `c < 4`, else the high one;
//! - 2 bits: vector `c / 4`, bits `2 (c % 4)..`;
//! - 1 bit: bit `c` of the only vector.
//!
//! Other widths are made of these, the low bits first: 6 = 4 + 2, 5 = 4 + 1, 3 = 2 + 1. Codes are unsigned:
//! `weight = scale * (code - OFFSET) + bias`. Rows that pad the last panel are all zero bytes.

mod fields;
mod float;
mod k_quants;
mod simple;
mod table;

pub use float::{BF16, F16, F32};
pub use k_quants::{Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, Q8_K};
pub use simple::{Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};
pub use table::{IQ4_NL, IQ4_XS, MXFP4};

use super::PANEL_ROWS;
use super::activations::{ActivationKind, Activations};
use super::lanes::Lanes;
use super::lanes::portable::Portable;
use super::tile::block_tile;

/// A packed format; the types that implement it have no values.
pub trait Format: 'static {
    /// The GGUF name of the type.
    const NAME: &'static str;
    /// Columns of a block.
    const BLOCK: usize;
    /// Bytes of a block of a panel.
    const BLOCK_BYTES: usize;
    /// Which activations it is multiplied by.
    const NEEDS: ActivationKind;

    /// Multiplies rows `first_row..first_row + N` of `x` by a panel.
    fn tile<L: Lanes, const N: usize>(
        lanes: L,
        panel: &[u8],
        x: &Activations<'_>,
        first_row: usize,
        out: &mut [[f32; PANEL_ROWS]; N],
    );

    /// Dequantises row `lane` of a panel, with the bits of the reference dequantisation.
    fn read_lane(panel: &[u8], lane: usize, out: &mut [f32]);
}

/// A format of blocks of integer codes.
pub trait BlockFormat: 'static {
    /// The GGUF name of the type.
    const NAME: &'static str;
    /// Columns of a block.
    const BLOCK: usize;
    /// Bytes before the first group of a block.
    const HEADER_BYTES: usize;
    /// Bytes of a group of 32 columns.
    const GROUP_BYTES: usize;
    /// Whether the two halves of a group (16 columns) have scales and biases of their own.
    const HALVES: bool;
    /// What is taken off the codes. Codes are below 64 where it is not 128.
    const OFFSET: i32;
    /// Whether weights have a bias.
    const BIASED: bool;
    /// What is made of the header.
    type Header<L: Lanes>: Copy;

    /// Unpacks the header.
    fn header<L: Lanes>(lanes: L, header: &[u8], part: usize) -> Self::Header<L>;
    /// The codes of columns `4 c..4 c + 4` for each `c < 8`.
    fn codes<L: Lanes>(lanes: L, group: &[u8], part: usize) -> [L::Bytes; 8];
    /// The scales, one per half of the group (the same twice where [`BlockFormat::HALVES`] is false).
    fn scales<L: Lanes>(lanes: L, header: Self::Header<L>, group: &[u8], part: usize) -> [L::Floats; 2];
    /// The biases, likewise. Not used where [`BlockFormat::BIASED`] is false.
    #[inline(always)]
    fn biases<L: Lanes>(lanes: L, _header: Self::Header<L>, _group: &[u8], _part: usize) -> [L::Floats; 2] {
        [lanes.splat(0.0); 2]
    }
}

impl<F: BlockFormat> Format for F {
    const NAME: &'static str = <F as BlockFormat>::NAME;
    const BLOCK: usize = <F as BlockFormat>::BLOCK;
    const BLOCK_BYTES: usize = F::HEADER_BYTES + <F as BlockFormat>::BLOCK / 32 * F::GROUP_BYTES;
    const NEEDS: ActivationKind = ActivationKind::Int8;

    #[inline(always)]
    fn tile<L: Lanes, const N: usize>(
        lanes: L,
        panel: &[u8],
        x: &Activations<'_>,
        first_row: usize,
        out: &mut [[f32; PANEL_ROWS]; N],
    ) {
        block_tile::<L, F, N>(lanes, panel, x, first_row, out);
    }

    fn read_lane(panel: &[u8], lane: usize, out: &mut [f32]) {
        let blocks = panel.chunks_exact(<F as Format>::BLOCK_BYTES);
        for (block, out) in blocks.zip(out.chunks_exact_mut(<F as BlockFormat>::BLOCK)) {
            let (header, groups) = block.split_at(F::HEADER_BYTES);
            let header = F::header(Portable, header, 0);
            let groups = groups.chunks_exact(F::GROUP_BYTES);
            for (group, out) in groups.zip(out.chunks_exact_mut(32)) {
                let codes = F::codes(Portable, group, 0);
                let scales = F::scales(Portable, header, group, 0).map(|scales| scales[lane]);
                let biases = F::biases(Portable, header, group, 0).map(|biases| biases[lane]);
                for (column, out) in out.iter_mut().enumerate() {
                    let code = i32::from(codes[column / 4][4 * lane + column % 4]) - F::OFFSET;
                    let half = column / 16;
                    let product = scales[half] * code as f32;
                    *out = if F::BIASED { product + biases[half] } else { product };
                }
            }
        }
    }
}

/// A format of floats: panels are `[column][16 rows]`.
pub trait FloatFormat: 'static {
    /// The GGUF name of the type.
    const NAME: &'static str;
    /// Bytes of a column of a panel.
    const COLUMN_BYTES: usize;

    /// The weights of a column.
    fn weights<L: Lanes>(lanes: L, column: &[u8], part: usize) -> L::Floats;
}

/// The `LENGTH` bytes at `at`, which the layout constants of a format guarantee to be there.
#[inline(always)]
fn bytes_at<const LENGTH: usize>(bytes: &[u8], at: usize) -> &[u8; LENGTH] {
    match bytes[at..].first_chunk() {
        Some(chunk) => chunk,
        None => unreachable!("a format reads past its own layout"),
    }
}
