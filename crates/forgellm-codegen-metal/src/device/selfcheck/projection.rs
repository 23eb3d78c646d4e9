//! Projections: `mat_vec.metal` and `gemm.metal`.

use super::activation::{activated, of_number};
use super::call::{COLUMNS, Call, ROWS, Unchecked, sample};
use super::expected::{Expected, Place};
use super::matrix;
use super::tolerance::{Approximate, F16_SUBNORMAL, Sum, of_terms};
use crate::device::format::FormatInfo;

/// Projections of few rows, of inputs with whatever happens to them before.
pub(super) fn mat_vec(call: &Call<'_>) -> Result<Vec<Expected>, Unchecked> {
    let projection = Projection {
        inputs: call.size(0)?,
        outputs: [call.size(3)?, call.size(4)?, call.size(5)?],
        formats: call.formats("mat_vec_")?,
        biases: call.size(6)?,
        residual: call.flag(7)?,
        gate: if call.flag(8)? { Some(call.size(9)?) } else { None },
        half: false,
    };
    let prologue = Prologue::of(call, 11)?;
    let mut expected = Vec::new();
    for row in sample(call.unsigned_at(3, 0)?, ROWS) {
        let input = prologue.input(call, row, &mut expected)?;
        projection.row(call, row, &input, &mut expected)?;
    }
    Ok(expected)
}

/// Projections of many rows.
pub(super) fn gemm(call: &Call<'_>) -> Result<Vec<Expected>, Unchecked> {
    let formats: [&FormatInfo; 3] = call.formats("gemm_")?;
    let projection = Projection {
        inputs: call.size(74)?,
        outputs: [call.size(75)?, call.size(76)?, call.size(77)?],
        formats,
        biases: call.size(78)?,
        residual: call.flag(79)?,
        gate: if call.flag(80)? { Some(call.size(81)?) } else { None },
        // Where no part's range is wider, weights are f16 in the tile.
        half: !formats.iter().any(|format| ["F32", "BF16"].contains(&format.name)),
    };
    let mut expected = Vec::new();
    for row in sample(call.unsigned_at(3, 0)?, ROWS) {
        let x = call.floats(0, row * projection.inputs, projection.inputs)?;
        let input = Input { size: x.clone(), normed: false, x };
        projection.row(call, row, &input, &mut expected)?;
    }
    Ok(expected)
}

struct Projection {
    inputs: usize,
    /// Of each part; 0 where there is none.
    outputs: [usize; 3],
    formats: [&'static FormatInfo; 3],
    /// Bit p: part p has a bias.
    biases: usize,
    residual: bool,
    /// The number of the first part's activation, if it then multiplies the second.
    gate: Option<usize>,
    /// Whether weights are rounded to f16.
    half: bool,
}

impl Projection {
    /// A sample of a row of results. Buffers: residual 1, output 2, matrices from 4, biases from 7.
    fn row(
        &self,
        call: &Call<'_>,
        row: usize,
        input: &Input,
        expected: &mut Vec<Expected>,
    ) -> Result<(), Unchecked> {
        let parts =
            if self.gate.is_some() { 1 } else { self.outputs.iter().filter(|outputs| **outputs > 0).count() };
        let width: usize = self.outputs[..parts].iter().sum();
        let mut first = row * width;
        for part in 0..parts {
            for output in sample(self.outputs[part], COLUMNS / parts) {
                let mut result = self.product(call, part, output, input)?;
                if let Some(number) = self.gate {
                    let activation = of_number(number)
                        .ok_or_else(|| Unchecked(format!("there is no activation number {number}")))?;
                    result = activated(activation, result).times(self.product(call, 1, output, input)?);
                }
                if self.residual {
                    result = result.plus(call.float_at(1, first + output)?);
                }
                expected.push(Expected::near(Place::F32(2, first + output), result));
            }
            first += self.outputs[part];
        }
        Ok(())
    }

    fn product(
        &self,
        call: &Call<'_>,
        part: usize,
        output: usize,
        input: &Input,
    ) -> Result<Approximate, Unchecked> {
        let shape = [self.outputs[part], self.inputs];
        let bias = if self.biases >> part & 1 == 1 { Some(7 + part) } else { None };
        input.times(call, 4 + part, self.formats[part], shape, output, bias, self.half)
    }
}

/// What the kernels for few rows do to inputs before they project them: `projection.metal`.
pub(super) struct Prologue {
    inputs: usize,
    /// Epsilon of the inputs' norm, whose weight is at 10.
    norm: Option<f64>,
    /// Epsilon of the norm of what is added to the stream.
    add: Option<f64>,
    /// Index of the stream; behind it the weight of that norm, and the sum.
    stream: usize,
}

/// A row of inputs.
pub(super) struct Input {
    x: Vec<f64>,
    /// What was rounded on the way to each.
    size: Vec<f64>,
    normed: bool,
}

impl Prologue {
    /// Of a call whose stream is bound at this index.
    pub fn of(call: &Call<'_>, stream: usize) -> Result<Prologue, Unchecked> {
        let epsilon = |flag, value| Ok(if call.flag(flag)? { Some(call.float(value)?) } else { None });
        Ok(Prologue { inputs: call.size(0)?, norm: epsilon(1, 2)?, add: epsilon(10, 11)?, stream })
    }

    /// A row of inputs. Where they are a sum, it is a result too.
    pub fn input(
        &self,
        call: &Call<'_>,
        row: usize,
        expected: &mut Vec<Expected>,
    ) -> Result<Input, Unchecked> {
        let inputs = self.inputs;
        let mut x = call.floats(0, row * inputs, inputs)?;
        let mut size = x.clone();
        if let Some(epsilon) = self.add {
            let stream = call.floats(self.stream, row * inputs, inputs)?;
            let factor = norm_factor(&x, epsilon);
            for (i, weight) in call.floats(self.stream + 1, 0, inputs)?.into_iter().enumerate() {
                let added = factor * x[i] * weight;
                x[i] = stream[i] + added;
                size[i] = stream[i].abs() + added.abs();
            }
            for i in sample(inputs, COLUMNS) {
                let want = Approximate { value: x[i], error: of_terms(inputs) * size[i] };
                expected.push(Expected::near(Place::F32(self.stream + 2, row * inputs + i), want));
            }
        }
        if let Some(epsilon) = self.norm {
            let factor = norm_factor(&x, epsilon);
            for (i, weight) in call.floats(10, 0, inputs)?.into_iter().enumerate() {
                x[i] *= factor * weight;
                size[i] *= factor * weight;
            }
        }
        Ok(Input { x, size, normed: self.norm.is_some() || self.add.is_some() })
    }
}

impl Input {
    /// The product with row `output` of the matrix [outputs, inputs] at `index`, plus its element of the bias at `bias`.
    #[expect(clippy::too_many_arguments, reason = "a matrix of a call is four of them")]
    pub fn times(
        &self,
        call: &Call<'_>,
        index: usize,
        format: &FormatInfo,
        shape: [usize; 2],
        output: usize,
        bias: Option<usize>,
        half: bool,
    ) -> Result<Approximate, Unchecked> {
        let mut sum = Sum::default();
        let mut inputs = 0.0;
        for ((weight, x), size) in
            matrix::row(call, index, format, shape, output)?.iter().zip(&self.x).zip(&self.size)
        {
            sum.add(weight.value * x, weight.size * size.abs());
            inputs += x.abs();
        }
        let mut result = sum.rounded();
        if self.normed {
            // The norm's own sum.
            result.error *= 2.0;
        }
        if half {
            result.error += sum.of_halves() + F16_SUBNORMAL * inputs;
        }
        bias.map_or(Ok(result), |bias| Ok(result.plus(call.float_at(bias, output)?)))
    }
}

/// 1 / √(mean(x²) + epsilon).
pub(super) fn norm_factor(x: &[f64], epsilon: f64) -> f64 {
    1.0 / (x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64 + epsilon).sqrt()
}
