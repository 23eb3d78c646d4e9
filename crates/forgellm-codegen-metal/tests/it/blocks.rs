//! Random matrices in GGUF's types.

use forgellm_frontend::ir::DType;
use forgellm_frontend::quant::random_blocks;

/// The rows of a random matrix `[outputs, inputs]` as they lie in a GGUF file; its elements have standard deviation `sigma`.
pub fn random_matrix(dtype: DType, outputs: usize, inputs: usize, sigma: f32, seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let mut bytes = Vec::new();
    let blocks = outputs * inputs / dtype.block_elements();
    random_blocks(dtype, blocks, sigma, &mut || random.bits(), &mut bytes).unwrap();
    bytes
}

/// xorshift64*; the seed is not 0.
pub struct Random(pub u64);

impl Random {
    /// 64 random bits, the upper ones good.
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}
