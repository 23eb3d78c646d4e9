//! One shape of one format, on every instruction set.

use std::ops::Range;

use forgellm_codegen_cpu::device::matrix::{
    ActivationBlock, ActivationKind, Activations, Format, Isa, Matrix, Project, quantise_row,
};
use forgellm_codegen_cpu::pack;
use forgellm_frontend::ir::DType;
use forgellm_frontend::quant::dequantize;

use crate::blocks::{Fill, Random, random_matrix};

const ROWS: usize = 17;

/// Checks look-ups and products. Gives `(result, exact)` pairs, where exact is the product with activations that
/// were not quantised.
pub fn check_shape<F: Format, const OUT: usize, const IN: usize>(dtype: DType) -> Vec<(f32, f64)> {
    let mut random = Random(0x9e37_79b9 + (OUT * IN) as u64);
    let x: Vec<f32> = (0..ROWS * IN).map(|_| random.symmetric()).collect();
    let exact = check_fill::<F, OUT, IN>(dtype, Fill::Random, &x);
    // The largest sums that narrow integers may have to hold: all activations at full scale, with either sign.
    let signs: Vec<f32> = (0..ROWS * IN).map(|i| [1.0, -1.0][i / IN % 2]).collect();
    for byte in [0x00, 0x7f, 0x80, 0xff] {
        check_fill::<F, OUT, IN>(dtype, Fill::Byte(byte), &signs);
    }
    exact
}

fn check_fill<F: Format, const OUT: usize, const IN: usize>(
    dtype: DType,
    fill: Fill,
    x: &[f32],
) -> Vec<(f32, f64)> {
    let gguf = random_matrix(dtype, OUT, IN, fill, (OUT + 31 * IN) as u64);
    let mut weights = vec![0.0; OUT * IN];
    dequantize(dtype, &gguf, &mut weights).unwrap();
    let mut packed = vec![0; pack::packed_bytes(dtype, OUT, IN).unwrap()];
    pack::pack(dtype, OUT, IN, &gguf, &mut packed).unwrap();
    assert_eq!(pack::format_type_name(dtype), F::NAME);
    let matrix = Matrix::<F, OUT, IN>::new(&packed).unwrap();

    let mut row = vec![0.0; IN];
    for (r, expected) in weights.chunks_exact(IN).enumerate() {
        matrix.read_row(r, &mut row);
        let same = row.iter().zip(expected).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same, "{dtype} {OUT}x{IN} {fill:?}: row {r} is not the reference's");
    }

    let mut exact = Vec::new();
    for isa in Isa::available() {
        let mut blocks = vec![ActivationBlock::default(); ROWS * IN / 32];
        let mut seen = x.to_vec();
        if matrix.needs() == ActivationKind::Int8 {
            for (row, blocks) in x.chunks_exact(IN).zip(blocks.chunks_exact_mut(IN / 32)) {
                quantise_row(isa, row, blocks);
            }
            seen = dequantise_activations(&blocks);
        } else {
            blocks.clear();
        }
        let x_rows = Activations::new(IN, x, &blocks);
        let all = project(&matrix, isa, &x_rows, 0..ROWS, 0..matrix.panels());
        for (r, result) in all.chunks_exact(OUT).enumerate() {
            for (o, &result) in result.iter().enumerate() {
                let w = &weights[o * IN..][..IN];
                let (expected, size) = dot(w, &seen[r * IN..][..IN]);
                let error = (f64::from(result) - expected).abs();
                assert!(
                    error <= 1e-5 * size,
                    "{dtype} {OUT}x{IN} {fill:?} {}: row {r} output {o} is {result}, not {expected}",
                    isa.name()
                );
                exact.push((result, dot(w, &x[r * IN..][..IN]).0));
            }
        }
        for rows in [0..1, 3..5, 5..8, 1..8, 9..17, 8..17] {
            let some = project(&matrix, isa, &x_rows, rows.clone(), 0..matrix.panels());
            let same = some.iter().zip(&all[rows.start * OUT..]).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "{dtype} {OUT}x{IN} {}: rows {rows:?} depend on their company", isa.name());
        }
    }
    exact
}

/// All outputs `[rows, outputs]`; every pair of panel and row must come exactly once, padding as zero.
fn project(
    matrix: &dyn Project,
    isa: Isa,
    x: &Activations<'_>,
    rows: Range<usize>,
    panels: Range<usize>,
) -> Vec<f32> {
    let outputs = matrix.outputs();
    let mut out = vec![f32::NAN; rows.len() * outputs];
    let mut calls = 0;
    matrix.project(isa, x, rows.clone(), panels.clone(), &mut |panel, first_row, tile| {
        for (i, values) in tile.iter().enumerate() {
            calls += 1;
            let row = first_row + i - rows.start;
            for (lane, &value) in values.iter().enumerate() {
                let output = panel * 16 + lane;
                if output < outputs {
                    out[row * outputs + output] = value;
                } else {
                    assert_eq!(value, 0.0, "padding");
                }
            }
        }
    });
    assert_eq!(calls, rows.len() * panels.len());
    out
}

fn dequantise_activations(blocks: &[ActivationBlock]) -> Vec<f32> {
    let values = |block: &ActivationBlock| {
        let scale = block.scale;
        let codes: [i8; 32] = bytemuck::cast(block.words.map(i32::to_le));
        codes.map(|code| scale * f32::from(code))
    };
    blocks.iter().flat_map(values).collect()
}

/// The dot product and the sum of the magnitudes of its terms.
fn dot(w: &[f32], x: &[f32]) -> (f64, f64) {
    w.iter()
        .zip(x)
        .map(|(&w, &x)| f64::from(w) * f64::from(x))
        .fold((0.0, 1e-30), |(sum, size), term| (sum + term, size + term.abs()))
}

/// Mean square error over mean square.
pub fn nmse(pairs: &[(f32, f64)]) -> f64 {
    let error: f64 = pairs.iter().map(|&(a, b)| (f64::from(a) - b).powi(2)).sum();
    let power: f64 = pairs.iter().map(|&(_, b)| b.powi(2)).sum();
    error / power
}
