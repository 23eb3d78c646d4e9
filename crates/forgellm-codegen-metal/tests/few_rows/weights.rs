//! Random matrices.

use forgellm_codegen_metal::pack::{pack, packed_bytes};
use forgellm_frontend::ir::DType;
use forgellm_frontend::quant::{dequantize, random_blocks};

use crate::paged::Random;

/// A matrix: packed, and as numbers.
pub struct Weights {
    pub packed: Vec<u8>,
    pub numbers: Vec<f32>,
}

impl Weights {
    /// Random ones with standard deviation 0.1.
    pub fn random(dtype: DType, outputs: usize, inputs: usize, random: &mut Random) -> Weights {
        let mut blocks = Vec::new();
        let count = outputs * (inputs / dtype.block_elements());
        random_blocks(dtype, count, 0.1, &mut || random.bits(), &mut blocks).unwrap();
        let mut numbers = vec![0.0; outputs * inputs];
        dequantize(dtype, &blocks, &mut numbers).unwrap();
        let mut packed = vec![0; packed_bytes(dtype, outputs, inputs).unwrap()];
        pack(dtype, outputs, inputs, &blocks, &mut packed).unwrap();
        Weights { packed, numbers }
    }

    /// The product with a vector, in f64.
    pub fn times(&self, x: &[f64]) -> Vec<f64> {
        let row = |weights: &[f32]| x.iter().zip(weights).map(|(x, w)| x * f64::from(*w)).sum();
        self.numbers.chunks(x.len()).map(row).collect()
    }
}

/// x / √(mean(x²) + eps) · weight.
pub fn normed(x: &[f64], weight: &[f32], epsilon: f32) -> Vec<f64> {
    let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
    let factor = 1.0 / (mean + f64::from(epsilon)).sqrt();
    x.iter().zip(weight).map(|(x, w)| x * factor * f64::from(*w)).collect()
}

/// As f64.
pub fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}
