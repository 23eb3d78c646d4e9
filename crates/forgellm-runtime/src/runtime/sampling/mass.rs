//! Probabilities that are not normalised: the most likely token has 1. Everything here goes over whole vocabularies, so its loops
//! are ones that the compiler turns into vector code.

/// Logits whose mass is summed apart, so that a draw walks through one block instead of the vocabulary.
pub(super) const BLOCK: usize = 256;
/// Sums that grow side by side.
const LANES: usize = 8;

/// What turns logits into masses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    best: f32,
    /// One over the temperature: dividing each logit would take longer than all the rest.
    factor: f32,
}

impl Scale {
    /// For the highest logit, and a temperature above 0.
    pub(super) fn new(best: f32, temperature: f32) -> Scale {
        // Not infinite, since the best logit has the difference 0.
        Scale { best, factor: (1.0 / temperature).min(f32::MAX) }
    }

    /// The logit after temperature, 0 for the best one: differences cannot overflow to infinity, however small the temperature.
    pub(super) fn scaled(self, logit: f32) -> f32 {
        (logit - self.best) * self.factor
    }

    /// The mass of each block of [`BLOCK`] logits, in order.
    pub(super) fn masses(self, logits: &[f32], blocks: &mut Vec<f64>) {
        blocks.clear();
        blocks.extend(logits.chunks(BLOCK).map(|block| self.mass(block)));
    }

    /// The mass of up to [`BLOCK`] logits.
    fn mass(self, block: &[f32]) -> f64 {
        // In two loops, since a compiler that has to widen the masses at once computes only half a vector of them at a time.
        let mut masses = [0f32; BLOCK];
        for (mass, &logit) in masses.iter_mut().zip(block) {
            *mass = exp(self.scaled(logit));
        }
        let mut sums = [0f64; LANES];
        for chunk in masses.as_chunks::<LANES>().0 {
            for (sum, &mass) in sums.iter_mut().zip(chunk) {
                *sum += f64::from(mass);
            }
        }
        sums.iter().sum()
    }
}

/// `exp` of a number that is not above 0, within 2.5e-7 of the true value relative to it; 0 for numbers below -87, where the smallest normal
/// f32 is near.
///
/// Only sums and products, unlike the system's: so a seed gives the same tokens on every machine.
pub(super) fn exp(x: f32) -> f32 {
    // Half of the 24 bits of a number this large are before the point, so adding it rounds to a whole number.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, of which the first has so few bits that its products with whole numbers are exact.
    const LN_2_HIGH: f32 = 355.0 / 512.0;
    const LN_2_LOW: f32 = (std::f64::consts::LN_2 - 355.0 / 512.0) as f32;

    let clamped = if x > -87.0 { x } else { -87.0 };
    let rounded = clamped * std::f32::consts::LOG2_E + ROUND;
    let power = rounded - ROUND;
    let rest = clamped - power * LN_2_HIGH - power * LN_2_LOW;
    // The Taylor series up to the seventh power; |rest| is at most ln(2) / 2.
    let mut series = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        series = series * rest + coefficient;
    }
    // 2 to that power, by its exponent bits.
    let exponent = rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127);
    let value = series * f32::from_bits(exponent << 23);
    if x > -87.0 { value } else { 0.0 }
}

/// The most likely token with its logit, of equals the first; none if all are ruled out.
pub(super) fn best(logits: &[f32]) -> Option<(u32, f32)> {
    let mut best = f32::NEG_INFINITY;
    let mut best_block = None;
    for (index, block) in logits.chunks(BLOCK).enumerate() {
        let highest = highest(block);
        if highest > best {
            (best, best_block) = (highest, Some(index * BLOCK));
        }
    }
    let start = best_block?;
    let within = logits.get(start..)?.iter().position(|&logit| logit == best)?;
    Some(((start + within) as u32, best))
}

fn highest(block: &[f32]) -> f32 {
    let (chunks, rest) = block.as_chunks::<LANES>();
    let mut highest = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for (highest, &logit) in highest.iter_mut().zip(chunk) {
            *highest = if logit > *highest { logit } else { *highest };
        }
    }
    highest.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max)
}

/// The first logit that is not a number below infinity.
pub(super) fn first_bad(logits: &[f32]) -> Option<(u32, f32)> {
    let is_bad = |logit: &f32| logit.is_nan() || *logit == f32::INFINITY;
    for (index, block) in logits.chunks(BLOCK).enumerate() {
        if block.iter().fold(false, |any, logit| any | is_bad(logit)) {
            let within = block.iter().position(is_bad)?;
            return Some(((index * BLOCK + within) as u32, block[within]));
        }
    }
    None
}
