//! Random blocks for synthetic weights: every code occurs, only the scales are chosen.

use super::*;

/// Appends `blocks` random blocks of `dtype` to `out`; the elements have mean 0 and standard deviation
/// `sigma` (both about: codes that are not symmetric shift the mean by up to 0.03 sigma).
///
/// Codes are uniform over all that the type can hold, scales vary from block to block, and every element
/// is finite. Scales saturate: f16 scales hold `sigma` from about 10^-3 (Q6_K; below it they get coarse) to
/// about 10^5. `rng` gives 64 random bits at a time; the same bits give the same blocks.
/// On an error `out` is left as it was.
pub fn random_blocks(
    dtype: DType,
    blocks: usize,
    sigma: f32,
    rng: &mut impl FnMut() -> u64,
    out: &mut Vec<u8>,
) -> Result<(), QuantError> {
    if !sigma.is_finite() || sigma < 0.0 {
        return Err(QuantError::Sigma(sigma));
    }
    let too_large = QuantError::TooLarge { dtype, blocks };
    let Some(bytes) = blocks.checked_mul(dtype.block_bytes()) else {
        return Err(too_large);
    };
    if out.try_reserve(bytes).is_err() {
        return Err(too_large);
    }
    let start = out.len();
    out.resize(start + bytes, 0);
    let data = &mut out[start..];
    match dtype {
        DType::F32 => fill_floats(data, sigma, rng, f32::to_le_bytes),
        DType::F16 => fill_floats(data, sigma, rng, saturating_f16),
        DType::BF16 => fill_floats(data, sigma, rng, saturating_bf16),
        DType::Q4_0 => fill_blocks::<BlockQ4_0>(data, sigma, rng),
        DType::Q4_1 => fill_blocks::<BlockQ4_1>(data, sigma, rng),
        DType::Q5_0 => fill_blocks::<BlockQ5_0>(data, sigma, rng),
        DType::Q5_1 => fill_blocks::<BlockQ5_1>(data, sigma, rng),
        DType::Q8_0 => fill_blocks::<BlockQ8_0>(data, sigma, rng),
        DType::Q2_K => fill_blocks::<BlockQ2K>(data, sigma, rng),
        DType::Q3_K => fill_blocks::<BlockQ3K>(data, sigma, rng),
        DType::Q4_K => fill_blocks::<BlockQ4K>(data, sigma, rng),
        DType::Q5_K => fill_blocks::<BlockQ5K>(data, sigma, rng),
        DType::Q6_K => fill_blocks::<BlockQ6K>(data, sigma, rng),
        DType::Q8_K => fill_blocks::<BlockQ8K>(data, sigma, rng),
        DType::IQ4_NL => fill_blocks::<BlockIq4Nl>(data, sigma, rng),
        DType::IQ4_XS => fill_blocks::<BlockIq4Xs>(data, sigma, rng),
        DType::MXFP4 => fill_blocks::<BlockMxfp4>(data, sigma, rng),
    }
    Ok(())
}

/// A block of random bytes that can be given a standard deviation.
trait RandomBlock: Block {
    /// Replaces the scale fields, whose random bits decide how far this block's scale is from the mean.
    fn set_deviation(&mut self, sigma: f32);
}

fn fill_blocks<B: RandomBlock>(data: &mut [u8], sigma: f32, rng: &mut impl FnMut() -> u64) {
    let (words, rest) = data.as_chunks_mut::<8>();
    for word in words {
        *word = rng().to_le_bytes();
    }
    for (byte, random) in rest.iter_mut().zip(rng().to_le_bytes()) {
        *byte = random;
    }
    for block in bytemuck::cast_slice_mut::<u8, B>(data) {
        block.set_deviation(sigma);
    }
}

/// Nearly normal elements: the sum of four uniform ones, at most 3.5 sigma.
fn fill_floats<const N: usize>(
    data: &mut [u8],
    sigma: f32,
    rng: &mut impl FnMut() -> u64,
    bytes: impl Fn(f32) -> [u8; N],
) {
    // Four uniform u16 have the sum 2 * 65535 on average.
    let factor = sigma / (4.0 * variance(65536)).sqrt();
    for element in data.as_chunks_mut::<N>().0 {
        let random = rng();
        let sum: i32 = (0..4).map(|i| (random >> (16 * i) & 0xffff) as i32).sum();
        *element = bytes(((sum - 2 * 65535) as f32 * factor).clamp(f32::MIN, f32::MAX));
    }
}

/// Variance of a uniform integer with this many consecutive values.
const fn variance(values: u64) -> f32 {
    (values * values - 1) as f32 / 12.0
}

/// Mean square of a uniform integer of `bits` bits in two's complement.
const fn signed_square(bits: u32) -> f32 {
    variance(1 << bits) + 0.25
}

/// Mean square of a uniform integer of `bits` bits.
const fn unsigned_square(bits: u32) -> f32 {
    let mean = ((1_u32 << bits) - 1) as f32 / 2.0;
    variance(1 << bits) + mean * mean
}

/// Mean square of a table entry.
const fn table_square(table: &[i8; 16]) -> f32 {
    let (mut sum, mut i) = (0, 0);
    while i < table.len() {
        sum += table[i] as i32 * table[i] as i32;
        i += 1;
    }
    sum as f32 / table.len() as f32
}

/// Mean square of `scale * code - center * minimum`, where `scale` has `scale_bits` bits, `minimum`
/// differs from it in its two low bits only, `code` has `code_bits` bits and mean `center`.
const fn tied_square(scale_bits: u32, code_bits: u32, center: f32) -> f32 {
    let minimum_off = 2.0 * variance(4);
    unsigned_square(scale_bits) * variance(1 << code_bits) + center * center * minimum_off
}

/// A scale of mean square `(sigma / rms)^2`: 0.5 to 1.5 times a fixed one.
fn positive_scale(random: [u8; 2], sigma: f32, mean_square: f32) -> f32 {
    let uniform = f32::from(u16::from_le_bytes(random)) / 65536.0;
    let mean_square_of_spread = 1.0 + 1.0 / 12.0;
    (0.5 + uniform) * sigma / (mean_square * mean_square_of_spread).sqrt()
}

/// As [`positive_scale`], of either sign: codes that are not symmetric then have mean 0 nevertheless.
fn scale(random: [u8; 2], sigma: f32, mean_square: f32) -> f32 {
    let magnitude = positive_scale(random, sigma, mean_square);
    if random[0] & 1 == 0 { magnitude } else { -magnitude }
}

/// Rounds a number to nearest even; `half` also handles NaN, which takes most of the time here.
fn saturating_bf16(x: f32) -> [u8; 2] {
    let max = half::bf16::MAX.to_f32();
    let bits = x.clamp(-max, max).to_bits();
    let [_, _, low, high] = (bits + 0x7fff + (bits >> 16 & 1)).to_le_bytes();
    [low, high]
}

fn saturating_f16(x: f32) -> [u8; 2] {
    let max = half::f16::MAX.to_f32();
    half::f16::from_f32(x.clamp(-max, max)).to_le_bytes()
}

impl RandomBlock for BlockQ4_0 {
    fn set_deviation(&mut self, sigma: f32) {
        self.d = saturating_f16(scale(self.d, sigma, signed_square(4)));
    }
}

impl RandomBlock for BlockQ4_1 {
    fn set_deviation(&mut self, sigma: f32) {
        let d = positive_scale(self.d, sigma, variance(16));
        self.d = saturating_f16(d);
        self.m = saturating_f16(-7.5 * d);
    }
}

impl RandomBlock for BlockQ5_0 {
    fn set_deviation(&mut self, sigma: f32) {
        self.d = saturating_f16(scale(self.d, sigma, signed_square(5)));
    }
}

impl RandomBlock for BlockQ5_1 {
    fn set_deviation(&mut self, sigma: f32) {
        let d = positive_scale(self.d, sigma, variance(32));
        self.d = saturating_f16(d);
        self.m = saturating_f16(-15.5 * d);
    }
}

impl RandomBlock for BlockQ8_0 {
    fn set_deviation(&mut self, sigma: f32) {
        self.d = saturating_f16(positive_scale(self.d, sigma, signed_square(8)));
    }
}

impl RandomBlock for BlockQ2K {
    fn set_deviation(&mut self, sigma: f32) {
        for packed in &mut self.scales {
            *packed = *packed & 0x3f | (*packed & 0x0c) << 4;
        }
        let d = positive_scale(self.d, sigma, tied_square(4, 2, 1.5));
        self.d = saturating_f16(d);
        self.dmin = saturating_f16(1.5 * d);
    }
}

impl RandomBlock for BlockQ3K {
    fn set_deviation(&mut self, sigma: f32) {
        let mean_square = signed_square(6) * signed_square(3);
        self.d = saturating_f16(scale(self.d, sigma, mean_square));
    }
}

impl RandomBlock for BlockQ4K {
    fn set_deviation(&mut self, sigma: f32) {
        tie_minima(&mut self.scales);
        let d = positive_scale(self.d, sigma, tied_square(6, 4, 7.5));
        self.d = saturating_f16(d);
        self.dmin = saturating_f16(7.5 * d);
    }
}

impl RandomBlock for BlockQ5K {
    fn set_deviation(&mut self, sigma: f32) {
        tie_minima(&mut self.scales);
        let d = positive_scale(self.d, sigma, tied_square(6, 5, 15.5));
        self.d = saturating_f16(d);
        self.dmin = saturating_f16(15.5 * d);
    }
}

/// Gives each minimum the scale's upper bits (packing: [`unpack_scales_and_minima`]), so that a group's
/// mean stays near 0.
fn tie_minima(packed: &mut [u8; 12]) {
    for j in 0..4 {
        packed[4 + j] = packed[j] & 0xfc | packed[4 + j] & 0x03;
        packed[8 + j] = packed[8 + j] & 0x3f | (packed[8 + j] & 0x0c) << 4;
    }
}

impl RandomBlock for BlockQ6K {
    fn set_deviation(&mut self, sigma: f32) {
        let mean_square = signed_square(8) * signed_square(6);
        self.d = saturating_f16(scale(self.d, sigma, mean_square));
    }
}

impl RandomBlock for BlockQ8K {
    fn set_deviation(&mut self, sigma: f32) {
        let [low, high, ..] = self.d;
        let d = positive_scale([low, high], sigma, signed_square(8));
        self.d = d.min(f32::MAX / 128.0).to_le_bytes();
        for (sum, group) in self.bsums.iter_mut().zip(self.qs.as_chunks::<16>().0) {
            *sum = group.iter().map(|code| i16::from(*code)).sum::<i16>().to_le_bytes();
        }
    }
}

impl RandomBlock for BlockIq4Nl {
    fn set_deviation(&mut self, sigma: f32) {
        self.d = saturating_f16(scale(self.d, sigma, table_square(&IQ4_VALUES)));
    }
}

impl RandomBlock for BlockIq4Xs {
    fn set_deviation(&mut self, sigma: f32) {
        let mean_square = signed_square(6) * table_square(&IQ4_VALUES);
        self.d = saturating_f16(scale(self.d, sigma, mean_square));
    }
}

impl RandomBlock for BlockMxfp4 {
    /// Scales are powers of two: half and double the power below the one wanted, in the proportion that
    /// gives the mean square wanted.
    fn set_deviation(&mut self, sigma: f32) {
        if sigma == 0.0 {
            (self.e, self.qs) = (0, [0; 16]);
            return;
        }
        let wanted = sigma / (table_square(&E2M1_DOUBLED) / 4.0).sqrt();
        let exponent = (wanted.to_bits() >> 23) as i32;
        let mantissa = f32::from_bits(wanted.to_bits() & 0x007f_ffff | 0x3f80_0000);
        let share_of_double = (mantissa * mantissa - 0.25) / (4.0 - 0.25);
        let double = f32::from(self.e) < share_of_double * 256.0;
        // 2^125 times 6, the largest code, is still finite.
        self.e = (if double { exponent + 1 } else { exponent - 1 }).clamp(0, 252) as u8;
    }
}
