//! Formats whose 4-bit codes are indices into a table of 16 values.

use super::fields::four_bits;
use super::{BlockFormat, bytes_at};
use crate::device::matrix::lanes::Lanes;

/// The values of IQ4_NL and IQ4_XS (ggml-common.h, `kvalues_iq4nl`), with 128 added.
const IQ4_CODES: [u8; 16] =
    plus_128([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]);

/// Twice the E2M1 values of the codes (OCP Microscaling Formats v1.0), with 128 added. Code 8, -0.0, counts as 0.
const E2M1_CODES: [u8; 16] = plus_128([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12]);

/// Declares a format of 4-bit table indices. Its group is the scales, then the codes.
macro_rules! table_format {
    ($(#[$doc:meta])* $name:ident, block: $block:literal, header: $header_bytes:literal,
     scale_bytes: $scale_bytes:literal, table: $table:ident,
     read_header: |$hl:ident, $header:ident, $hp:ident| $read:expr,
     scales: |$sl:ident, $d:ident, $group:ident, $sp:ident| $scales:expr) => {
        $(#[$doc])*
        #[derive(Debug)]
        #[allow(non_camel_case_types, reason = "the name is ggml's")]
        pub enum $name {}

        impl BlockFormat for $name {
            const NAME: &'static str = stringify!($name);
            const BLOCK: usize = $block;
            const HEADER_BYTES: usize = $header_bytes;
            const GROUP_BYTES: usize = $scale_bytes + 256;
            const HALVES: bool = false;
            const OFFSET: i32 = 128;
            const BIASED: bool = false;
            type Header<L: Lanes> = L::Floats;

            #[inline(always)]
            fn header<L: Lanes>($hl: L, $header: &[u8], $hp: usize) -> L::Floats {
                $read
            }

            #[inline(always)]
            fn codes<L: Lanes>(lanes: L, group: &[u8], part: usize) -> [L::Bytes; 8] {
                let [a, b, c, d, e, f, g, h] = four_bits(lanes, &group[$scale_bytes..], part);
                let value = |index| lanes.look_up(&$table, index);
                [value(a), value(b), value(c), value(d), value(e), value(f), value(g), value(h)]
            }

            #[inline(always)]
            fn scales<L: Lanes>($sl: L, $d: L::Floats, $group: &[u8], $sp: usize) -> [L::Floats; 2] {
                [$scales; 2]
            }
        }
    };
}

table_format! {
    /// IQ4_NL: f16 scales per 32 columns.
    IQ4_NL, block: 32, header: 0, scale_bytes: 32, table: IQ4_CODES,
    read_header: |lanes, _header, _part| lanes.splat(1.0),
    scales: |lanes, _d, group, part| lanes.f16s(bytes_at(group, 0), part)
}
table_format! {
    /// IQ4_XS: per 256 columns `d` (f16, the header), per 32 a signed scale (one byte).
    IQ4_XS, block: 256, header: 32, scale_bytes: 16, table: IQ4_CODES,
    read_header: |lanes, header, part| lanes.f16s(bytes_at(header, 0), part),
    scales: |lanes, d, group, part| lanes.mul(d, lanes.i8s(bytes_at(group, 0), part))
}
table_format! {
    /// MXFP4: an E8M0 exponent (one byte) per 32 columns.
    MXFP4, block: 32, header: 0, scale_bytes: 16, table: E2M1_CODES,
    read_header: |lanes, _header, _part| lanes.splat(1.0),
    scales: |lanes, _d, group, part| lanes.f32s(&half_scales(bytes_at(group, 0)), part)
}

/// `2^(e - 128)` of each exponent, as the bytes of an f32: half the scale, as the table holds doubled values.
#[inline(always)]
fn half_scales(exponents: &[u8; 16]) -> [u8; 64] {
    // Written without a branch, so that it becomes vector code: `e - 1` in the exponent field, but for the
    // subnormal values of `e < 2`.
    let bits = exponents.map(|e| {
        let e = i32::from(e);
        ((e - 1) << 23).max((e + 1).min(2) << 21)
    });
    bytemuck::cast(bits)
}

const fn plus_128(values: [i8; 16]) -> [u8; 16] {
    let mut codes = [0; 16];
    let mut i = 0;
    while i < 16 {
        codes[i] = (values[i] as u8) ^ 0x80;
        i += 1;
    }
    codes
}
