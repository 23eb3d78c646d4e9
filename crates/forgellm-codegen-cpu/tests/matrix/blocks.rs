//! Random matrices in GGUF's types.

use forgellm_frontend::ir::DType;

/// What the codes of the blocks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    Random,
    /// Every byte of codes and sub-scales is this one: extremes, against overflow in narrow sums.
    Byte(u8),
}

/// The rows of a matrix `[out, inputs]` as they lie in a GGUF file, with finite scales of a sensible size.
pub fn random_matrix(dtype: DType, out: usize, inputs: usize, fill: Fill, seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let blocks = out * inputs / dtype.block_elements();
    let mut bytes = Vec::with_capacity(blocks * dtype.block_bytes());
    for _ in 0..blocks {
        let start = bytes.len();
        match dtype {
            DType::F32 => bytes.extend(random.symmetric().to_le_bytes()),
            DType::F16 => bytes.extend(half::f16::from_f32(random.symmetric()).to_le_bytes()),
            DType::BF16 => bytes.extend(half::bf16::from_f32(random.symmetric()).to_le_bytes()),
            _ => bytes.extend((0..dtype.block_bytes()).map(|_| match fill {
                Fill::Random => random.next() as u8,
                Fill::Byte(byte) => byte,
            })),
        }
        let block = &mut bytes[start..];
        for &at in half_scales(dtype) {
            block[at..at + 2].copy_from_slice(&half::f16::from_f32(random.symmetric() / 16.0).to_le_bytes());
        }
        match dtype {
            DType::Q8_K => block[..4].copy_from_slice(&random.symmetric().to_le_bytes()),
            DType::MXFP4 => block[0] = 118 + (random.next() % 8) as u8,
            _ => {}
        }
    }
    bytes
}

/// Offsets of the f16 scales in a block.
fn half_scales(dtype: DType) -> &'static [usize] {
    match dtype {
        DType::Q4_0 | DType::Q5_0 | DType::Q8_0 | DType::IQ4_NL | DType::IQ4_XS => &[0],
        DType::Q4_1 | DType::Q5_1 | DType::Q4_K | DType::Q5_K => &[0, 2],
        DType::Q2_K => &[80, 82],
        DType::Q3_K => &[108],
        DType::Q6_K => &[208],
        _ => &[],
    }
}

/// xorshift64*.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }

    /// Uniform in -1..1.
    pub fn symmetric(&mut self) -> f32 {
        self.next() as f32 / (1u64 << 31) as f32 - 1.0
    }
}
