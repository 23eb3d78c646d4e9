//! Unpacking of bit fields: the codes of a group, one vector for every four columns.

use super::bytes_at;
use crate::device::matrix::lanes::Lanes;

/// 8-bit codes: 512 bytes.
#[inline(always)]
pub(super) fn eight_bits<L: Lanes>(l: L, bytes: &[u8], part: usize) -> [L::Bytes; 8] {
    [
        l.bytes(bytes_at(bytes, 0), part),
        l.bytes(bytes_at(bytes, 64), part),
        l.bytes(bytes_at(bytes, 128), part),
        l.bytes(bytes_at(bytes, 192), part),
        l.bytes(bytes_at(bytes, 256), part),
        l.bytes(bytes_at(bytes, 320), part),
        l.bytes(bytes_at(bytes, 384), part),
        l.bytes(bytes_at(bytes, 448), part),
    ]
}

/// 4-bit codes: 256 bytes.
#[inline(always)]
pub(super) fn four_bits<L: Lanes>(l: L, bytes: &[u8], part: usize) -> [L::Bytes; 8] {
    let a = l.bytes(bytes_at(bytes, 0), part);
    let b = l.bytes(bytes_at(bytes, 64), part);
    let c = l.bytes(bytes_at(bytes, 128), part);
    let d = l.bytes(bytes_at(bytes, 192), part);
    [
        l.field(a, 0, 0x0f),
        l.field(b, 0, 0x0f),
        l.field(c, 0, 0x0f),
        l.field(d, 0, 0x0f),
        l.field(a, 4, 0x0f),
        l.field(b, 4, 0x0f),
        l.field(c, 4, 0x0f),
        l.field(d, 4, 0x0f),
    ]
}

/// 2-bit codes: 128 bytes.
#[inline(always)]
pub(super) fn two_bits<L: Lanes>(l: L, bytes: &[u8], part: usize) -> [L::Bytes; 8] {
    let a = l.bytes(bytes_at(bytes, 0), part);
    let b = l.bytes(bytes_at(bytes, 64), part);
    [
        l.field(a, 0, 0x03),
        l.field(a, 2, 0x03),
        l.field(a, 4, 0x03),
        l.field(a, 6, 0x03),
        l.field(b, 0, 0x03),
        l.field(b, 2, 0x03),
        l.field(b, 4, 0x03),
        l.field(b, 6, 0x03),
    ]
}

/// Adds a plane of fifth bits (64 bytes) to 4-bit codes.
#[inline(always)]
pub(super) fn with_fifth_bit<L: Lanes>(
    l: L,
    codes: [L::Bytes; 8],
    plane: &[u8; 64],
    part: usize,
) -> [L::Bytes; 8] {
    let p = l.bytes(plane, part);
    [
        l.or(codes[0], l.field(p, -4, 0x10)),
        l.or(codes[1], l.field(p, -3, 0x10)),
        l.or(codes[2], l.field(p, -2, 0x10)),
        l.or(codes[3], l.field(p, -1, 0x10)),
        l.or(codes[4], l.field(p, 0, 0x10)),
        l.or(codes[5], l.field(p, 1, 0x10)),
        l.or(codes[6], l.field(p, 2, 0x10)),
        l.or(codes[7], l.field(p, 3, 0x10)),
    ]
}

/// Adds a plane of third bits (64 bytes) to 2-bit codes.
#[inline(always)]
pub(super) fn with_third_bit<L: Lanes>(
    l: L,
    codes: [L::Bytes; 8],
    plane: &[u8; 64],
    part: usize,
) -> [L::Bytes; 8] {
    let p = l.bytes(plane, part);
    [
        l.or(codes[0], l.field(p, -2, 0x04)),
        l.or(codes[1], l.field(p, -1, 0x04)),
        l.or(codes[2], l.field(p, 0, 0x04)),
        l.or(codes[3], l.field(p, 1, 0x04)),
        l.or(codes[4], l.field(p, 2, 0x04)),
        l.or(codes[5], l.field(p, 3, 0x04)),
        l.or(codes[6], l.field(p, 4, 0x04)),
        l.or(codes[7], l.field(p, 5, 0x04)),
    ]
}

/// Adds planes of fifth and sixth bits (128 bytes) to 4-bit codes.
#[inline(always)]
pub(super) fn with_sixth_bits<L: Lanes>(
    l: L,
    codes: [L::Bytes; 8],
    planes: &[u8; 128],
    part: usize,
) -> [L::Bytes; 8] {
    let a = l.bytes(bytes_at(planes, 0), part);
    let b = l.bytes(bytes_at(planes, 64), part);
    [
        l.or(codes[0], l.field(a, -4, 0x30)),
        l.or(codes[1], l.field(a, -2, 0x30)),
        l.or(codes[2], l.field(a, 0, 0x30)),
        l.or(codes[3], l.field(a, 2, 0x30)),
        l.or(codes[4], l.field(b, -4, 0x30)),
        l.or(codes[5], l.field(b, -2, 0x30)),
        l.or(codes[6], l.field(b, 0, 0x30)),
        l.or(codes[7], l.field(b, 2, 0x30)),
    ]
}
