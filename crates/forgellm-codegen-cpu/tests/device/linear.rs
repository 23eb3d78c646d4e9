//! Projections with all that is fused into them.

use forgellm_codegen_cpu::device::matrix::format::Q8_0;
use forgellm_codegen_cpu::device::{Activation, Buffer, Input, Output, Part, linear, linear_gated};
use forgellm_frontend::ir::DType;

use crate::program::{check_rows, f32_matrix, matrix, random};

const IN: usize = 64;

fn product(weights: &[f32], x: &[f64]) -> Vec<f64> {
    let rows = weights.chunks(x.len());
    rows.map(|row| row.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum()).collect()
}

fn normed(x: &[f32], weight: &[f32]) -> Vec<f64> {
    let squares: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
    let factor = 1.0 / (squares / x.len() as f64 + 1e-5).sqrt();
    x.iter().zip(weight).map(|(x, w)| f64::from(*x) * factor * f64::from(*w)).collect()
}

/// Q8_0 blocks of values that they hold exactly but for the scale's rounding, and what they hold.
fn q8_0(seed: u64, len: usize) -> (Vec<u8>, Vec<f32>) {
    let scale = half::f16::from_f32(0.01);
    let (mut bytes, mut values) = (Vec::new(), Vec::new());
    for (index, x) in random(seed, len).into_iter().enumerate() {
        if index % 32 == 0 {
            bytes.extend(scale.to_le_bytes());
        }
        let code = (x * 127.0) as i8;
        bytes.push(code as u8);
        values.push(f32::from(code) * scale.to_f32());
    }
    (bytes, values)
}

#[test]
fn parts_of_different_types_with_biases_and_a_norm() {
    const OUT: usize = 33 + 16 + 7;
    let norm = random(1, IN);
    let (a, c) = (random(2, 33 * IN), random(4, 7 * IN));
    let (b_bytes, b) = q8_0(3, 16 * IN);
    let (a_bias, c_bias) = (random(5, 33), random(6, 7));
    let (matrix_a, matrix_c) = (f32_matrix::<33, IN>(&a), f32_matrix::<7, IN>(&c));
    let matrix_b = matrix::<Q8_0, 16, IN>(DType::Q8_0, &b_bytes);
    check_rows::<IN, OUT>(
        // 8-bit activations have an error of about 1/254 of the largest of 32, here below 3, in each of 64 products.
        0.06,
        0,
        |run, x, y| {
            let parts =
                [Part::biased(&matrix_a, &a_bias), Part::new(&matrix_b), Part::biased(&matrix_c, &c_bias)];
            linear(run, Input::normed(x, &norm, 1e-5), &parts, Output::store(y));
        },
        |x, _| {
            let x = normed(x, &norm);
            let biased = |weights: &[f32], bias: &[f32]| -> Vec<f64> {
                product(weights, &x).iter().zip(bias).map(|(y, b)| y + f64::from(*b)).collect()
            };
            [biased(&a, &a_bias), product(&b, &x), biased(&c, &c_bias)].concat()
        },
    );
}

#[test]
fn f32_parts_are_exact() {
    const OUT: usize = 40 + 3;
    let norm = random(1, IN);
    let (a, b) = (random(2, 40 * IN), random(4, 3 * IN));
    let (matrix_a, matrix_b) = (f32_matrix::<40, IN>(&a), f32_matrix::<3, IN>(&b));
    for is_normed in [false, true] {
        check_rows::<IN, OUT>(
            2e-5,
            0,
            |run, x, y| {
                let input = if is_normed { Input::normed(x, &norm, 1e-5) } else { Input::plain(x) };
                linear(run, input, &[Part::new(&matrix_a), Part::new(&matrix_b)], Output::store(y));
            },
            |x, _| {
                let x = if is_normed { normed(x, &norm) } else { x.iter().map(|x| f64::from(*x)).collect() };
                [product(&a, &x), product(&b, &x)].concat()
            },
        );
    }
}

#[test]
fn results_are_added_to_a_residual() {
    const T: Buffer<IN> = Buffer::at(2 * IN);
    let (a, b) = (random(2, IN * IN), random(3, IN * IN));
    let (matrix_a, matrix_b) = (f32_matrix::<IN, IN>(&a), f32_matrix::<IN, IN>(&b));
    check_rows::<IN, IN>(
        1e-4,
        IN,
        |run, x, y| {
            linear(run, Input::plain(x), &[Part::new(&matrix_a)], Output::store(T));
            run.barrier();
            // y = x + b·T, then y += a·x.
            linear(run, Input::plain(T), &[Part::new(&matrix_b)], Output::residual(x, y));
            run.barrier();
            linear(run, Input::plain(x), &[Part::new(&matrix_a)], Output::add(y));
        },
        |x, _| {
            let x: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
            let t = product(&a, &x);
            product(&b, &t).iter().zip(&t).zip(&x).map(|((y, t), x)| y + t + x).collect()
        },
    );
}

#[test]
fn gates() {
    const OUT: usize = 41;
    let norm = random(1, IN);
    let (gate, up) = (random(2, OUT * IN), random(3, OUT * IN));
    let (gate_bias, up_bias) = (random(4, OUT), random(5, OUT));
    let (gate_matrix, up_matrix) = (f32_matrix::<OUT, IN>(&gate), f32_matrix::<OUT, IN>(&up));
    check_rows::<IN, OUT>(
        1e-4,
        0,
        |run, x, y| {
            linear_gated(
                run,
                Input::normed(x, &norm, 1e-5),
                Part::biased(&gate_matrix, &gate_bias),
                Part::biased(&up_matrix, &up_bias),
                Activation::Silu,
                Output::store(y),
            );
        },
        |x, _| {
            let x = normed(x, &norm);
            let biased = |weights: &[f32], bias: &[f32]| -> Vec<f64> {
                product(weights, &x).iter().zip(bias).map(|(y, b)| y + f64::from(*b)).collect()
            };
            let gates = biased(&gate, &gate_bias);
            gates.iter().zip(biased(&up, &up_bias)).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect()
        },
    );
}
