//! Float matrices.

use super::{FloatFormat, Format, bytes_at};
use crate::device::matrix::PANEL_ROWS;
use crate::device::matrix::activations::{ActivationKind, Activations};
use crate::device::matrix::lanes::{Lanes, portable::Portable};
use crate::device::matrix::tile::float_tile;

/// Declares a float format by its bytes per value and the vector load that converts it.
macro_rules! float_format {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $load:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $name {}

        impl FloatFormat for $name {
            const NAME: &'static str = stringify!($name);
            const COLUMN_BYTES: usize = PANEL_ROWS * $bytes;

            #[inline(always)]
            fn weights<L: Lanes>(lanes: L, column: &[u8], part: usize) -> L::Floats {
                lanes.$load(bytes_at(column, 0), part)
            }
        }

        impl Format for $name {
            const NAME: &'static str = stringify!($name);
            const BLOCK: usize = 1;
            const BLOCK_BYTES: usize = <$name as FloatFormat>::COLUMN_BYTES;
            const NEEDS: ActivationKind = ActivationKind::F32;

            #[inline(always)]
            fn tile<L: Lanes, const N: usize>(
                lanes: L,
                panel: &[u8],
                x: &Activations<'_>,
                first_row: usize,
                out: &mut [[f32; PANEL_ROWS]; N],
            ) {
                float_tile::<L, $name, N>(lanes, panel, x, first_row, out);
            }

            fn read_lane(panel: &[u8], lane: usize, out: &mut [f32]) {
                let columns = panel.chunks_exact(<$name as FloatFormat>::COLUMN_BYTES);
                for (column, out) in columns.zip(out) {
                    *out = Self::weights(Portable, column, 0)[lane];
                }
            }
        }
    };
}

float_format! {
    /// IEEE 754 single precision.
    F32, 4, f32s
}
float_format! {
    /// IEEE 754 half precision.
    F16, 2, f16s
}
float_format! {
    /// bfloat16.
    BF16, 2, bf16s
}
