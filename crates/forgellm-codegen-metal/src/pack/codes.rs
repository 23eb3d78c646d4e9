//! Where the bits of a group's codes go: see [`crate::device::format`].

/// Puts bits `first_bit..first_bit + WIDTH` of 32 codes into `4 * WIDTH` bytes. `WIDTH` is 1, 2 or 4.
pub(super) fn put_bits<const WIDTH: usize>(bytes: &mut [u8], codes: &[u8; 32], first_bit: usize) {
    let quads_per_word = 8 / WIDTH;
    let mask = u8::MAX >> (8 - WIDTH);
    bytes.fill(0);
    for (quad, codes) in codes.as_chunks::<4>().0.iter().enumerate() {
        let word = &mut bytes[4 * (quad / quads_per_word)..][..4];
        for (byte, code) in word.iter_mut().zip(codes) {
            *byte |= (code >> first_bit & mask) << (WIDTH * (quad % quads_per_word));
        }
    }
}

/// The codes of 16 bytes of a GGUF block of 32: first all low nibbles, then all high ones.
pub(super) fn nibbles(bytes: &[u8; 16]) -> [u8; 32] {
    std::array::from_fn(|i| bytes[i % 16] >> (4 * (i / 16)) & 15)
}
