//! Where the scales and the bits of a row's codes go in a block of a panel.

use crate::device::matrix::PANEL_ROWS;

/// Writes the value of row `lane` in the array of 16 values at `at`.
pub(super) fn put<const BYTES: usize>(block: &mut [u8], at: usize, lane: usize, value: [u8; BYTES]) {
    block[at + BYTES * lane..][..BYTES].copy_from_slice(&value);
}

/// Ors bits `first_bit..first_bit + WIDTH` of the codes of row `lane` into `WIDTH` zeroed vectors at `at`. `WIDTH` is
/// 8, 4, 2 or 1.
pub(super) fn put_bits<const WIDTH: usize>(
    block: &mut [u8],
    at: usize,
    lane: usize,
    codes: &[u8; 32],
    first_bit: usize,
) {
    let vectors = &mut block[at..][..WIDTH * 4 * PANEL_ROWS];
    let mask = u8::MAX >> (8 - WIDTH);
    for (c, codes) in codes.as_chunks::<4>().0.iter().enumerate() {
        // 4-bit fields of columns 16 apart share a byte; narrower ones of neighbouring fours of columns.
        let (vector, shift) = match WIDTH {
            8 => (c, 0),
            4 => (c % 4, 4 * (c / 4)),
            2 => (c / 4, 2 * (c % 4)),
            _ => (0, c),
        };
        let bytes = &mut vectors[4 * (PANEL_ROWS * vector + lane)..][..4];
        for (byte, code) in bytes.iter_mut().zip(codes) {
            *byte |= (code >> first_bit & mask) << shift;
        }
    }
}
