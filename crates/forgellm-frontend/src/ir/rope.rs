//! The frequencies of rotary position embeddings.

use super::{Rope, RopeScaling};

/// Angle per position of each pair, [rotary_dim / 2], and the factor on sine and cosine.
///
/// `freq_factors` divide the plain frequencies theta^(-2i / rotary_dim), as Llama 3's `rope_freqs.weight` does. Computed in f64 and rounded
/// once. YaRN: the ramp between kept and stretched frequencies is that of arXiv 2309.00071, section 3.2, and the factor its equation 15.
pub fn rope_frequencies<W>(rope: &Rope<W>, freq_factors: Option<&[f32]>) -> (Vec<f32>, f32) {
    let dim = rope.rotary_dim as f64;
    let theta = f64::from(rope.theta);
    let plain = |pair: usize| {
        let frequency = theta.powf(-2.0 * pair as f64 / dim);
        match freq_factors.and_then(|factors| factors.get(pair)) {
            Some(factor) => frequency / f64::from(*factor),
            None => frequency,
        }
    };
    let pairs = rope.rotary_dim / 2;
    match rope.scaling {
        RopeScaling::None => ((0..pairs).map(|pair| plain(pair) as f32).collect(), 1.0),
        RopeScaling::Linear { factor } => {
            ((0..pairs).map(|pair| (plain(pair) / f64::from(factor)) as f32).collect(), 1.0)
        }
        RopeScaling::Yarn { factor, original_context, beta_fast, beta_slow } => {
            let factor = f64::from(factor);
            let pair_of_rotations = |rotations: f32| {
                dim * (original_context as f64 / (f64::from(rotations) * std::f64::consts::TAU)).ln()
                    / (2.0 * theta.ln())
            };
            let low = pair_of_rotations(beta_fast).floor().max(0.0);
            let high = pair_of_rotations(beta_slow).ceil().min(dim - 1.0);
            let frequencies = (0..pairs)
                .map(|pair| {
                    let stretched = ((pair as f64 - low) / (high - low).max(0.001)).clamp(0.0, 1.0);
                    (plain(pair) * (1.0 - stretched) + plain(pair) / factor * stretched) as f32
                })
                .collect();
            (frequencies, (1.0 + 0.1 * factor.ln()) as f32)
        }
    }
}
