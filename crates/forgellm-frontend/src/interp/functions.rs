//! The mathematics of the operations, on plain slices.

use crate::ir::{Attention, HiddenActivation, RopeStyle};

/// Σ aᵢ·bᵢ, in sixteen partial sums: rounding errors stay small, and the compiler can use vector instructions.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_blocks, a_rest) = a.as_chunks::<16>();
    let (b_blocks, b_rest) = b.as_chunks::<16>();
    let mut sums = [0.0f32; 16];
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..16 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// Each chunk of the weight's length: x / √(mean(x²) + eps) · weight. The mean is taken in f64.
pub fn rms_norm(x: &mut [f32], weight: &[f32], eps: f32) {
    for chunk in x.chunks_exact_mut(weight.len()) {
        let squares: f64 = chunk.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
        let factor = (1.0 / (squares / weight.len() as f64 + f64::from(eps)).sqrt()) as f32;
        for (x, weight) in chunk.iter_mut().zip(weight) {
            *x = *x * factor * weight;
        }
    }
}

/// Turns each head of a row at `position`.
///
/// Pair i of a head's first 2·`frequencies.len()` elements turns by position · frequencies\[i\], a product in f32; sine and cosine are
/// taken in f64, times `magnitude`, and rounded to f32. The rest of the head stays.
pub fn rope(
    x: &mut [f32],
    position: usize,
    style: RopeStyle,
    head_dim: usize,
    frequencies: &[f32],
    magnitude: f32,
) {
    let pairs = frequencies.len();
    for (pair, frequency) in frequencies.iter().enumerate() {
        let angle = f64::from(position as f32 * frequency);
        let sin = (angle.sin() * f64::from(magnitude)) as f32;
        let cos = (angle.cos() * f64::from(magnitude)) as f32;
        let (first, second) = match style {
            RopeStyle::Interleaved => (2 * pair, 2 * pair + 1),
            RopeStyle::HalfSplit => (pair, pair + pairs),
        };
        for head in x.chunks_exact_mut(head_dim) {
            let (a, b) = (head[first], head[second]);
            head[first] = a * cos - b * sin;
            head[second] = a * sin + b * cos;
        }
    }
}

/// Attention of one row, which stands at the last of `positions`.
///
/// `query` and `out`: [heads · head_dim]. `positions`: [positions, 2 · kv_heads · head_dim], at each the keys of all heads followed by the
/// values. `sinks`: \[heads\]. Query head h reads key head h / (heads / kv_heads).
pub fn attention<W>(
    op: &Attention<W>,
    query: &[f32],
    positions: &[f32],
    sinks: Option<&[f32]>,
    out: &mut [f32],
) {
    let head_dim = op.head_dim;
    let width = 2 * op.kv_heads * head_dim;
    let len = positions.len() / width;
    let first = op.window.map_or(0, |window| len.saturating_sub(window));
    let seen = &positions[first * width..];
    let mut weights = vec![0.0f32; len - first];
    for (head, (query, out)) in query.chunks_exact(head_dim).zip(out.chunks_exact_mut(head_dim)).enumerate() {
        let key_start = head / (op.heads / op.kv_heads) * head_dim;
        let value_start = op.kv_heads * head_dim + key_start;
        for (weight, position) in weights.iter_mut().zip(seen.chunks_exact(width)) {
            let score = op.scale * dot(query, &position[key_start..key_start + head_dim]);
            *weight = op.softcap.map_or(score, |cap| softcap(score, cap));
        }
        softmax(&mut weights, sinks.map(|sinks| sinks[head]));
        out.fill(0.0);
        for (weight, position) in weights.iter().zip(seen.chunks_exact(width)) {
            for (out, value) in out.iter_mut().zip(&position[value_start..value_start + head_dim]) {
                *out += weight * value;
            }
        }
    }
}

/// exp(xᵢ) / Σ exp(x), where `sink` takes part in the sum.
pub fn softmax(x: &mut [f32], sink: Option<f32>) {
    let max = x.iter().copied().chain(sink).fold(f32::NEG_INFINITY, f32::max);
    let mut sum = sink.map_or(0.0, |sink| f64::from((sink - max).exp()));
    for x in x.iter_mut() {
        *x = (*x - max).exp();
        sum += f64::from(*x);
    }
    let factor = (1.0 / sum) as f32;
    x.iter_mut().for_each(|x| *x *= factor);
}

/// The activation of one element.
pub fn activation(kind: HiddenActivation, x: f32) -> f32 {
    match kind {
        HiddenActivation::Silu => x / (1.0 + (-x).exp()),
        HiddenActivation::GeluTanh => {
            let inner = (2.0 / std::f32::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            0.5 * x * (1.0 + inner.tanh())
        }
        HiddenActivation::GeluErf => {
            let x = f64::from(x);
            (0.5 * x * erfc(-x / std::f64::consts::SQRT_2)) as f32
        }
    }
}

/// cap · tanh(x / cap).
pub fn softcap(x: f32, cap: f32) -> f32 {
    cap * (x / cap).tanh()
}

/// ln Σ exp(xᵢ), in f64: what turns logits into log-probabilities. Minus infinity of nothing.
pub fn log_sum_exp(x: &[f32]) -> f64 {
    let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if !max.is_finite() {
        return f64::from(max);
    }
    let max = f64::from(max);
    max + x.iter().map(|x| (f64::from(*x) - max).exp()).sum::<f64>().ln()
}

/// 1 - erf(x), relative error under 1e-13.
///
/// erf by its Maclaurin series in the form 2/√π · e^(-x²) · Σ 2ⁿx²ⁿ⁺¹/(2n+1)!! (Abramowitz and Stegun 7.1.6), erfc of larger arguments by
/// its continued fraction (7.1.14).
fn erfc(x: f64) -> f64 {
    let scale = (-x * x).exp() / std::f64::consts::PI.sqrt();
    if x < 0.0 {
        2.0 - erfc(-x)
    } else if x < 2.0 {
        let (mut term, mut sum, mut n) = (x, x, 0.0);
        while term > sum * 1e-17 {
            n += 1.0;
            term *= 2.0 * x * x / (2.0 * n + 1.0);
            sum += term;
        }
        1.0 - 2.0 * scale * sum
    } else {
        let fraction = (1..=120).rev().fold(x, |fraction, k| x + f64::from(k) / 2.0 / fraction);
        scale / fraction
    }
}
