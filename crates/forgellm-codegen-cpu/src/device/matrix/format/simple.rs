//! Blocks of 32 columns with one scale, and a bias in the `_1` types.

use super::fields::{eight_bits, four_bits, with_fifth_bit};
use super::{BlockFormat, bytes_at};
use crate::device::matrix::lanes::Lanes;

/// Declares a format of 32-column blocks: f16 scales of the 16 rows, f16 biases where biased, codes.
macro_rules! simple_format {
    ($(#[$doc:meta])* $name:ident, bits: $bits:literal, offset: $offset:literal, biased: $biased:literal,
     codes: |$lanes:ident, $codes:ident, $part:ident| $unpack:expr) => {
        $(#[$doc])*
        #[derive(Debug)]
        #[allow(non_camel_case_types, reason = "the name is ggml's")]
        pub enum $name {}

        impl BlockFormat for $name {
            const NAME: &'static str = stringify!($name);
            const BLOCK: usize = 32;
            const HEADER_BYTES: usize = 0;
            const GROUP_BYTES: usize = if $biased { 64 } else { 32 } + 64 * $bits;
            const HALVES: bool = false;
            const OFFSET: i32 = $offset;
            const BIASED: bool = $biased;
            type Header<L: Lanes> = ();

            #[inline(always)]
            fn header<L: Lanes>(_: L, _: &[u8], _: usize) {}

            #[inline(always)]
            fn codes<L: Lanes>($lanes: L, group: &[u8], $part: usize) -> [L::Bytes; 8] {
                let $codes = &group[if $biased { 64 } else { 32 }..];
                $unpack
            }

            #[inline(always)]
            fn scales<L: Lanes>(lanes: L, (): (), group: &[u8], part: usize) -> [L::Floats; 2] {
                [lanes.f16s(bytes_at(group, 0), part); 2]
            }

            #[inline(always)]
            fn biases<L: Lanes>(lanes: L, (): (), group: &[u8], part: usize) -> [L::Floats; 2] {
                if $biased { [lanes.f16s(bytes_at(group, 32), part); 2] } else { [lanes.splat(0.0); 2] }
            }
        }
    };
}

simple_format! {
    /// 4-bit codes around 8.
    Q4_0, bits: 4, offset: 8, biased: false,
    codes: |l, codes, part| four_bits(l, codes, part)
}
simple_format! {
    /// 4-bit codes with a bias.
    Q4_1, bits: 4, offset: 0, biased: true,
    codes: |l, codes, part| four_bits(l, codes, part)
}
simple_format! {
    /// 5-bit codes around 16.
    Q5_0, bits: 5, offset: 16, biased: false,
    codes: |l, codes, part| with_fifth_bit(l, four_bits(l, codes, part), bytes_at(codes, 256), part)
}
simple_format! {
    /// 5-bit codes with a bias.
    Q5_1, bits: 5, offset: 0, biased: true,
    codes: |l, codes, part| with_fifth_bit(l, four_bits(l, codes, part), bytes_at(codes, 256), part)
}
simple_format! {
    /// 8-bit codes; stored with 128 added, to be unsigned.
    Q8_0, bits: 8, offset: 128, biased: false,
    codes: |l, codes, part| eight_bits(l, codes, part)
}
