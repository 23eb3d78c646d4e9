//! Operations that change rows one by one.

use forgellm_codegen_cpu::device::{
    Activation, Buffer, Rope, RopeStyle, activation, add, mul, rms_norm, rms_norm_add, rope, scale, slice,
    softcap,
};

use crate::program::{check_rows, random};

fn gelu_erf(x: f64) -> f64 {
    // erf by its series.
    let z = x / 2f64.sqrt();
    let (mut term, mut sum) = (z, z);
    for n in 1..60 {
        let n = f64::from(n);
        term *= -z * z / n;
        sum += term / (2.0 * n + 1.0);
    }
    0.5 * x * (1.0 + sum * 2.0 / std::f64::consts::PI.sqrt())
}

#[test]
fn activations() {
    let gelu_tanh =
        |x: f64| 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)).tanh());
    let cases: [(Activation, &(dyn Fn(f64) -> f64 + Sync)); 3] = [
        (Activation::Silu, &|x| x / (1.0 + (-x).exp())),
        (Activation::GeluTanh, &gelu_tanh),
        (Activation::GeluErf, &gelu_erf),
    ];
    for (kind, exact) in cases {
        check_rows::<37, 37>(
            2e-6,
            0,
            |run, x, y| {
                scale(run, x, 3.0, y);
                run.barrier();
                activation(run, y, kind, y);
            },
            |x, _| x.iter().map(|x| exact(3.0 * f64::from(*x))).collect(),
        );
    }
}

#[test]
fn sums_products_and_caps() {
    const T: Buffer<50> = Buffer::at(100);
    check_rows::<50, 50>(
        1e-5,
        50,
        |run, x, y| {
            mul(run, x, x, T);
            run.barrier();
            add(run, x, T, y);
            run.barrier();
            scale(run, y, 20.0, y);
            run.barrier();
            softcap(run, y, 15.0, y);
        },
        |x, _| {
            let value = |x: f64| 15.0 * ((x + x * x) * 20.0 / 15.0).tanh();
            x.iter().map(|x| value(f64::from(*x))).collect()
        },
    );
}

#[test]
fn slices() {
    check_rows::<19, 5>(
        0.0,
        0,
        |run, x, y| slice(run, x, 11, y),
        |x, _| x[11..16].iter().map(|x| f64::from(*x)).collect(),
    );
}

fn normed(x: &[f32], weight: &[f32], eps: f64) -> Vec<f64> {
    x.chunks(weight.len())
        .flat_map(|chunk| {
            let squares: f64 = chunk.iter().map(|x| f64::from(*x).powi(2)).sum();
            let factor = 1.0 / (squares / chunk.len() as f64 + eps).sqrt();
            let terms: Vec<f64> =
                chunk.iter().zip(weight).map(|(x, w)| f64::from(*x) * factor * f64::from(*w)).collect();
            terms
        })
        .collect()
}

#[test]
fn norms_of_rows_and_heads() {
    for chunk in [60, 20, 5, 1] {
        let weight = random(3, chunk);
        check_rows::<60, 60>(
            2e-6,
            0,
            |run, x, y| rms_norm(run, x, &weight, 1e-5, y),
            |x, _| normed(x, &weight, 1e-5),
        );
        check_rows::<60, 60>(
            2e-6,
            0,
            |run, x, y| {
                scale(run, x, 0.5, y);
                run.barrier();
                rms_norm_add(run, y, &weight, 1e-3, x, y);
            },
            |x, _| {
                let halves: Vec<f32> = x.iter().map(|x| 0.5 * x).collect();
                normed(&halves, &weight, 1e-3).iter().zip(x).map(|(n, x)| n + f64::from(*x)).collect()
            },
        );
    }
}

/// A head of f64, turned.
pub fn turned(head: &[f64], style: RopeStyle, inv_freq: &[f32], factor: f64, position: usize) -> Vec<f64> {
    let mut result = head.to_vec();
    for (pair, frequency) in inv_freq.iter().enumerate() {
        let (a, b) = match style {
            RopeStyle::Interleaved => (2 * pair, 2 * pair + 1),
            RopeStyle::HalfSplit => (pair, pair + inv_freq.len()),
        };
        let (sin, cos) = (position as f64 * f64::from(*frequency)).sin_cos();
        result[a] = factor * (head[a] * cos - head[b] * sin);
        result[b] = factor * (head[a] * sin + head[b] * cos);
    }
    result
}

#[test]
fn ropes() {
    for style in [RopeStyle::Interleaved, RopeStyle::HalfSplit] {
        // All of a head of 12, or its first 8 elements.
        for pairs in [6, 4] {
            let inv_freq: Vec<f32> = (0..pairs).map(|pair| 1.3f32.powi(-pair)).collect();
            let how = Rope { style, inv_freq: &inv_freq, scale: 1.25 };
            check_rows::<36, 36>(
                3e-6,
                0,
                |run, x, y| rope(run, x, 12, &how, y),
                |x, position| {
                    let x: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
                    x.chunks(12).flat_map(|head| turned(head, style, &inv_freq, 1.25, position)).collect()
                },
            );
        }
    }
}
