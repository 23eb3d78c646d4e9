//! Blocks of 256 columns whose scales are themselves quantised.

use super::fields::{eight_bits, four_bits, two_bits, with_fifth_bit, with_sixth_bits, with_third_bit};
use super::{BlockFormat, bytes_at};
use crate::device::matrix::lanes::Lanes;

/// 2-bit codes; per 16 columns a 4-bit scale and minimum.
///
/// Header: `d`, `dmin` (f16). Group: per half, 16 bytes with the scale in the low nibble and the minimum in the
/// high one; codes.
#[derive(Debug)]
#[allow(non_camel_case_types, reason = "the name is ggml's")]
pub enum Q2_K {}

impl BlockFormat for Q2_K {
    const NAME: &'static str = "Q2_K";
    const BLOCK: usize = 256;
    const HEADER_BYTES: usize = 64;
    const GROUP_BYTES: usize = 32 + 128;
    const HALVES: bool = true;
    const OFFSET: i32 = 0;
    const BIASED: bool = true;
    type Header<L: Lanes> = [L::Floats; 2];

    #[inline(always)]
    fn header<L: Lanes>(lanes: L, header: &[u8], part: usize) -> [L::Floats; 2] {
        scale_and_negative_minimum(lanes, header, part)
    }

    #[inline(always)]
    fn codes<L: Lanes>(lanes: L, group: &[u8], part: usize) -> [L::Bytes; 8] {
        two_bits(lanes, &group[32..], part)
    }

    #[inline(always)]
    fn scales<L: Lanes>(lanes: L, [d, _]: [L::Floats; 2], group: &[u8], part: usize) -> [L::Floats; 2] {
        let scale = |at| lanes.mul(d, lanes.u8s(&bytes_at::<16>(group, at).map(|byte| byte & 15), part));
        [scale(0), scale(16)]
    }

    #[inline(always)]
    fn biases<L: Lanes>(lanes: L, [_, dmin]: [L::Floats; 2], group: &[u8], part: usize) -> [L::Floats; 2] {
        let bias = |at| lanes.mul(dmin, lanes.u8s(&bytes_at::<16>(group, at).map(|byte| byte >> 4), part));
        [bias(0), bias(16)]
    }
}

/// 3-bit codes around 4; per 16 columns a 6-bit signed scale.
///
/// Header: `d` (f16). Group: per half, 16 signed scales; codes.
#[derive(Debug)]
#[allow(non_camel_case_types, reason = "the name is ggml's")]
pub enum Q3_K {}

impl BlockFormat for Q3_K {
    const NAME: &'static str = "Q3_K";
    const BLOCK: usize = 256;
    const HEADER_BYTES: usize = 32;
    const GROUP_BYTES: usize = 32 + 192;
    const HALVES: bool = true;
    const OFFSET: i32 = 4;
    const BIASED: bool = false;
    type Header<L: Lanes> = L::Floats;

    #[inline(always)]
    fn header<L: Lanes>(lanes: L, header: &[u8], part: usize) -> L::Floats {
        lanes.f16s(bytes_at(header, 0), part)
    }

    #[inline(always)]
    fn codes<L: Lanes>(lanes: L, group: &[u8], part: usize) -> [L::Bytes; 8] {
        let low = two_bits(lanes, &group[32..], part);
        with_third_bit(lanes, low, bytes_at(group, 32 + 128), part)
    }

    #[inline(always)]
    fn scales<L: Lanes>(lanes: L, d: L::Floats, group: &[u8], part: usize) -> [L::Floats; 2] {
        signed_half_scales(lanes, d, group, part)
    }
}

/// 4-bit codes; per 32 columns a 6-bit scale and minimum.
///
/// Header: `d`, `dmin` (f16). Group: 16 scales, 16 minima (a byte each); codes.
#[derive(Debug)]
#[allow(non_camel_case_types, reason = "the name is ggml's")]
pub enum Q4_K {}

impl BlockFormat for Q4_K {
    const NAME: &'static str = "Q4_K";
    const BLOCK: usize = 256;
    const HEADER_BYTES: usize = 64;
    const GROUP_BYTES: usize = 32 + 256;
    const HALVES: bool = false;
    const OFFSET: i32 = 0;
    const BIASED: bool = true;
    type Header<L: Lanes> = [L::Floats; 2];

    #[inline(always)]
    fn header<L: Lanes>(lanes: L, header: &[u8], part: usize) -> [L::Floats; 2] {
        scale_and_negative_minimum(lanes, header, part)
    }

    #[inline(always)]
    fn codes<L: Lanes>(lanes: L, group: &[u8], part: usize) -> [L::Bytes; 8] {
        four_bits(lanes, &group[32..], part)
    }

    #[inline(always)]
    fn scales<L: Lanes>(lanes: L, [d, _]: [L::Floats; 2], group: &[u8], part: usize) -> [L::Floats; 2] {
        [lanes.mul(d, lanes.u8s(bytes_at(group, 0), part)); 2]
    }

    #[inline(always)]
    fn biases<L: Lanes>(lanes: L, [_, dmin]: [L::Floats; 2], group: &[u8], part: usize) -> [L::Floats; 2] {
        [lanes.mul(dmin, lanes.u8s(bytes_at(group, 16), part)); 2]
    }
}

/// 5-bit codes; scales and minima as in [`Q4_K`].
#[derive(Debug)]
#[allow(non_camel_case_types, reason = "the name is ggml's")]
pub enum Q5_K {}

impl BlockFormat for Q5_K {
    const NAME: &'static str = "Q5_K";
    const BLOCK: usize = 256;
    const HEADER_BYTES: usize = 64;
    const GROUP_BYTES: usize = 32 + 320;
    const HALVES: bool = false;
    const OFFSET: i32 = 0;
    const BIASED: bool = true;
    type Header<L: Lanes> = [L::Floats; 2];

    #[inline(always)]
    fn header<L: Lanes>(lanes: L, header: &[u8], part: usize) -> [L::Floats; 2] {
        scale_and_negative_minimum(lanes, header, part)
    }

    #[inline(always)]
    fn codes<L: Lanes>(lanes: L, group: &[u8], part: usize) -> [L::Bytes; 8] {
        let low = four_bits(lanes, &group[32..], part);
        with_fifth_bit(lanes, low, bytes_at(group, 32 + 256), part)
    }

    #[inline(always)]
    fn scales<L: Lanes>(lanes: L, header: [L::Floats; 2], group: &[u8], part: usize) -> [L::Floats; 2] {
        Q4_K::scales(lanes, header, group, part)
    }

    #[inline(always)]
    fn biases<L: Lanes>(lanes: L, header: [L::Floats; 2], group: &[u8], part: usize) -> [L::Floats; 2] {
        Q4_K::biases(lanes, header, group, part)
    }
}

/// 6-bit codes around 32; per 16 columns a signed 8-bit scale.
///
/// Header: `d` (f16). Group: per half, 16 signed scales; codes.
#[derive(Debug)]
#[allow(non_camel_case_types, reason = "the name is ggml's")]
pub enum Q6_K {}

impl BlockFormat for Q6_K {
    const NAME: &'static str = "Q6_K";
    const BLOCK: usize = 256;
    const HEADER_BYTES: usize = 32;
    const GROUP_BYTES: usize = 32 + 384;
    const HALVES: bool = true;
    const OFFSET: i32 = 32;
    const BIASED: bool = false;
    type Header<L: Lanes> = L::Floats;

    #[inline(always)]
    fn header<L: Lanes>(lanes: L, header: &[u8], part: usize) -> L::Floats {
        lanes.f16s(bytes_at(header, 0), part)
    }

    #[inline(always)]
    fn codes<L: Lanes>(lanes: L, group: &[u8], part: usize) -> [L::Bytes; 8] {
        let low = four_bits(lanes, &group[32..], part);
        with_sixth_bits(lanes, low, bytes_at(group, 32 + 256), part)
    }

    #[inline(always)]
    fn scales<L: Lanes>(lanes: L, d: L::Floats, group: &[u8], part: usize) -> [L::Floats; 2] {
        signed_half_scales(lanes, d, group, part)
    }
}

/// 8-bit codes, stored with 128 added, with one f32 scale per 256 columns: the header.
#[derive(Debug)]
#[allow(non_camel_case_types, reason = "the name is ggml's")]
pub enum Q8_K {}

impl BlockFormat for Q8_K {
    const NAME: &'static str = "Q8_K";
    const BLOCK: usize = 256;
    const HEADER_BYTES: usize = 64;
    const GROUP_BYTES: usize = 512;
    const HALVES: bool = false;
    const OFFSET: i32 = 128;
    const BIASED: bool = false;
    type Header<L: Lanes> = L::Floats;

    #[inline(always)]
    fn header<L: Lanes>(lanes: L, header: &[u8], part: usize) -> L::Floats {
        lanes.f32s(bytes_at(header, 0), part)
    }

    #[inline(always)]
    fn codes<L: Lanes>(lanes: L, group: &[u8], part: usize) -> [L::Bytes; 8] {
        eight_bits(lanes, group, part)
    }

    #[inline(always)]
    fn scales<L: Lanes>(_: L, d: L::Floats, _: &[u8], _: usize) -> [L::Floats; 2] {
        [d; 2]
    }
}

/// `d` and `-dmin`: minima are taken off, biases are added.
#[inline(always)]
fn scale_and_negative_minimum<L: Lanes>(lanes: L, header: &[u8], part: usize) -> [L::Floats; 2] {
    let d = lanes.f16s(bytes_at(header, 0), part);
    let dmin = lanes.f16s(bytes_at(header, 32), part);
    [d, lanes.mul(dmin, lanes.splat(-1.0))]
}

/// `d` times the signed scales of the two halves, at the start of the group.
#[inline(always)]
fn signed_half_scales<L: Lanes>(lanes: L, d: L::Floats, group: &[u8], part: usize) -> [L::Floats; 2] {
    let scale = |at| lanes.mul(d, lanes.i8s(bytes_at(group, at), part));
    [scale(0), scale(16)]
}
