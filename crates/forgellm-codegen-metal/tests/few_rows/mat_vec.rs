//! Projections of 1 to 8 rows.

use forgellm_codegen_metal::device::elementwise::Activation;
use forgellm_codegen_metal::device::gemm::{Gemm, GemmPart};
use forgellm_codegen_metal::device::mat_vec::{MAX_ROWS, MatVec, mat_vec_needs};
use forgellm_codegen_metal::device::prologue::Prologue;
use forgellm_codegen_metal::device::selfcheck::activation;
use forgellm_codegen_metal::pack::format_of;
use forgellm_frontend::ir::DType;

use crate::buckets::tile;
use crate::paged::{Gpu, Random, download, nmse};
use crate::weights::{Weights, normed, wide};

/// A projection.
#[derive(Debug, Clone)]
struct Case {
    inputs: usize,
    /// Types and outputs of the parts.
    parts: Vec<(DType, usize)>,
    norm: bool,
    /// Whether the inputs are a sum.
    add: bool,
    bias: bool,
    gate: Option<Activation>,
    residual: Residual,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Residual {
    None,
    Apart,
    /// The output is the residual.
    InPlace,
}

impl Case {
    fn plain(inputs: usize, parts: &[(DType, usize)]) -> Case {
        let parts = parts.to_vec();
        Case { inputs, parts, norm: false, add: false, bias: false, gate: None, residual: Residual::None }
    }

    /// Everything at once.
    fn fused(inputs: usize, parts: &[(DType, usize)]) -> Case {
        Case { norm: true, bias: true, residual: Residual::InPlace, ..Case::plain(inputs, parts) }
    }

    fn gpu(&self) -> Gpu {
        let formats: Vec<_> = self.parts.iter().map(|(dtype, _)| format_of(*dtype)).collect();
        Gpu::new(&mat_vec_needs(&formats))
    }

    fn shape(&self) -> MatVec {
        let part = |(dtype, outputs): &(DType, usize)| GemmPart {
            format: format_of(*dtype),
            outputs: *outputs,
            bias: self.bias,
        };
        let shape = Gemm {
            inputs: self.inputs,
            parts: self.parts.iter().map(part).collect(),
            gate: self.gate,
            residual: self.residual != Residual::None,
        };
        let epsilon = |is: bool, epsilon: f32| is.then_some(epsilon);
        MatVec {
            shape,
            prologue: Prologue { norm: epsilon(self.norm, EPSILON), add: epsilon(self.add, ADD_EPSILON) },
        }
    }

    /// Runs it and compares.
    fn check(&self, gpu: &Gpu, rows: usize) {
        let mut random = Random((rows * 1000 + self.inputs) as u64);
        let data = Data::random(self, rows, &mut random);
        let (got, got_sum) = data.run(self, gpu, rows);
        let (want, want_sum) = data.exact(self);
        let error = nmse(&got, &want);
        assert!(error <= 1e-10, "{self:?}, {rows} rows: NMSE {error:e}");
        if self.add {
            let error = nmse(&got_sum, &want_sum);
            assert!(error <= 1e-12, "{self:?}, {rows} rows: the sum, NMSE {error:e}");
        } else {
            assert!(got_sum.iter().all(|x| x.is_nan()), "{self:?}: there is no sum, but it was written");
        }
    }
}

const EPSILON: f32 = 1e-5;
const ADD_EPSILON: f32 = 1e-2;

/// What a case works on.
struct Data {
    x: Vec<f32>,
    norm: Vec<f32>,
    stream: Vec<f32>,
    add_norm: Vec<f32>,
    weights: Vec<Weights>,
    biases: Vec<Vec<f32>>,
    residual: Vec<f32>,
    width: usize,
}

impl Data {
    fn random(case: &Case, rows: usize, random: &mut Random) -> Data {
        let Case { inputs, parts, .. } = case;
        let width = if case.gate.is_some() { parts[0].1 } else { parts.iter().map(|part| part.1).sum() };
        Data {
            x: random.normals(rows * inputs),
            norm: random.normals(*inputs),
            stream: random.normals(rows * inputs),
            add_norm: random.normals(*inputs),
            weights: parts
                .iter()
                .map(|(dtype, outputs)| Weights::random(*dtype, *outputs, *inputs, random))
                .collect(),
            biases: parts.iter().map(|(_, outputs)| random.normals(*outputs)).collect(),
            residual: random.normals(rows * width),
            width,
        }
    }

    /// The result and the sum.
    fn run(&self, case: &Case, gpu: &Gpu, rows: usize) -> (Vec<f32>, Vec<f32>) {
        let (x, norm, residual) = (gpu.upload(&self.x), gpu.upload(&self.norm), gpu.upload(&self.residual));
        let (stream, add_norm) = (gpu.upload(&self.stream), gpu.upload(&self.add_norm));
        let (apart, sum) = (gpu.output(rows * self.width), gpu.output(rows * case.inputs));
        let planes: Vec<_> = self.weights.iter().map(|weights| gpu.upload(&weights.packed)).collect();
        let biases: Vec<_> = self.biases.iter().map(|bias| gpu.upload(bias)).collect();
        let y = if case.residual == Residual::InPlace { &residual } else { &apart };
        let mut buffers = vec![(0, &x, 0), (1, &residual, 0), (2, y, 0), (10, &norm, 0)];
        buffers.extend([(11, &stream, 0), (12, &add_norm, 0), (13, &sum, 0)]);
        for number in 0..3 {
            let part = number.min(planes.len() - 1);
            buffers.extend([(4 + number, &planes[part], 0), (7 + number, &biases[part], 0)]);
        }
        let bytes = vec![(3, (rows as u32).to_le_bytes().to_vec())];
        gpu.run(&[(case.shape().launch(rows, tile(rows)), buffers, bytes)]);
        // Buffers have at least 16 bytes.
        let [mut y, mut sum] = [y, &sum].map(download);
        y.truncate(rows * self.width);
        sum.truncate(rows * case.inputs);
        (y, sum)
    }

    /// The result and the sum.
    fn exact(&self, case: &Case) -> (Vec<f64>, Vec<f64>) {
        let rows = self.x.chunks(case.inputs).zip(self.stream.chunks(case.inputs));
        let mut sums = Vec::new();
        let mut results = Vec::new();
        for ((x, stream), residual) in rows.zip(self.residual.chunks(self.width)) {
            let mut x = wide(x);
            if case.add {
                x = normed(&x, &self.add_norm, ADD_EPSILON);
                x.iter_mut().zip(stream).for_each(|(x, stream)| *x += f64::from(*stream));
                sums.extend_from_slice(&x);
            }
            if case.norm {
                x = normed(&x, &self.norm, EPSILON);
            }
            let mut columns: Vec<f64> = Vec::new();
            for (weights, bias) in self.weights.iter().zip(&self.biases) {
                let bias = |number: usize| if case.bias { f64::from(bias[number]) } else { 0.0 };
                columns.extend(weights.times(&x).iter().enumerate().map(|(number, y)| y + bias(number)));
            }
            if let Some(activation) = case.gate {
                let factors = columns.split_off(self.width);
                for (column, factor) in columns.iter_mut().zip(factors) {
                    *column = activation::exact(activation, *column) * factor;
                }
            }
            if case.residual != Residual::None {
                for (column, residual) in columns.iter_mut().zip(residual) {
                    *column += f64::from(*residual);
                }
            }
            results.extend(columns);
        }
        (results, sums)
    }
}

macro_rules! every_type {
    ($($test:ident: $dtype:ident, $($inputs:literal x $outputs:literal),+;)*) => {$(
        /// Widths below, at and above what a team takes at a time and what a chunk holds.
        #[test]
        fn $test() {
            let mut rows = (1..=MAX_ROWS).cycle();
            $({
                let parts = [(DType::$dtype, $outputs)];
                let gpu = Case::plain($inputs, &parts).gpu();
                Case::plain($inputs, &parts).check(&gpu, rows.next().unwrap());
                Case::fused($inputs, &parts).check(&gpu, rows.next().unwrap());
            })+
        }
    )*};
}

every_type! {
    f32_weights: F32, 1 x 3, 33 x 65, 96 x 1, 576 x 33, 2080 x 5;
    f16_weights: F16, 2 x 31, 32 x 33, 98 x 64, 576 x 2, 2052 x 5;
    bf16_weights: BF16, 7 x 32, 31 x 1, 64 x 65, 608 x 3, 2049 x 5;
    q4_0: Q4_0, 32 x 1, 96 x 33, 288 x 64, 576 x 31, 2080 x 5;
    q4_1: Q4_1, 32 x 3, 160 x 65, 256 x 32, 544 x 31, 2080 x 5;
    q5_0: Q5_0, 32 x 31, 64 x 33, 288 x 1, 576 x 32, 2080 x 5;
    q5_1: Q5_1, 32 x 2, 96 x 31, 224 x 65, 576 x 33, 2080 x 5;
    q8_0: Q8_0, 32 x 33, 128 x 5, 288 x 31, 576 x 64, 2080 x 5;
    q2_k: Q2_K, 256 x 1, 512 x 33, 768 x 31, 2304 x 5;
    q3_k: Q3_K, 256 x 31, 512 x 3, 768 x 32, 2304 x 5;
    q4_k: Q4_K, 256 x 33, 512 x 31, 768 x 2, 2304 x 5;
    q5_k: Q5_K, 256 x 3, 512 x 65, 768 x 1, 2304 x 5;
    q6_k: Q6_K, 256 x 64, 512 x 33, 768 x 3, 2304 x 5;
    q8_k: Q8_K, 256 x 32, 512 x 1, 768 x 33, 2304 x 5;
    iq4_nl: IQ4_NL, 32 x 5, 96 x 32, 288 x 33, 576 x 1, 2080 x 5;
    iq4_xs: IQ4_XS, 256 x 2, 512 x 33, 768 x 31, 2304 x 5;
    mxfp4: MXFP4, 32 x 33, 96 x 31, 288 x 2, 576 x 32, 2080 x 5;
}

#[test]
fn every_number_of_rows() {
    let case = Case::fused(544, &[(DType::Q4_0, 37)]);
    let gpu = case.gpu();
    for rows in 1..=MAX_ROWS {
        case.check(&gpu, rows);
        Case { norm: false, residual: Residual::Apart, ..case.clone() }.check(&gpu, rows);
    }
}

/// Gemma 3: what a layer adds is normed, and the next projection reads the norm of the sum.
#[test]
fn sums_are_inputs_and_results() {
    for (inputs, dtype) in [(33, DType::F32), (640, DType::Q8_0), (2080, DType::Q4_0)] {
        let parts = [(dtype, 70), (dtype, 70)];
        let joint = Case { add: true, ..Case::fused(inputs, &parts) };
        let gated = Case { gate: Some(Activation::GeluTanh), residual: Residual::None, ..joint.clone() };
        let gpu = joint.gpu();
        for rows in [1, 2, 3, 7] {
            joint.check(&gpu, rows);
            gated.check(&gpu, rows);
        }
        Case { norm: false, ..joint }.check(&gpu, 8);
    }
}

/// Chunks of every size are crossed, and their ends met.
#[test]
fn widths_around_chunks() {
    for (rows, chunk) in [(1, 2048), (2, 1024), (4, 1024), (8, 512)] {
        for inputs in [chunk - 32, chunk, chunk + 32, 2 * chunk, 2 * chunk + 32] {
            let case = Case::fused(inputs, &[(DType::Q5_0, 3)]);
            case.check(&case.gpu(), rows);
        }
    }
}

#[test]
fn parts_of_different_types_stand_side_by_side() {
    let mixed = [(DType::Q5_0, 96), (DType::Q5_0, 32), (DType::Q8_0, 32)];
    let odd = [(DType::F32, 65), (DType::Q4_0, 1), (DType::F16, 63)];
    let two = [(DType::Q8_0, 63), (DType::Q4_1, 65)];
    for parts in [&mixed[..], &odd, &two] {
        for case in [Case::plain(96, parts), Case::fused(96, parts)] {
            let gpu = case.gpu();
            for rows in [1, 3] {
                case.check(&gpu, rows);
            }
        }
    }
}

#[test]
fn gates_multiply() {
    let same = [(DType::Q8_0, 65), (DType::Q8_0, 65)];
    let different = [(DType::Q4_K, 31), (DType::Q6_K, 31)];
    for (inputs, parts) in [(96, same), (256, different)] {
        for activation in [Activation::Silu, Activation::GeluTanh, Activation::GeluErf] {
            for case in [Case::plain(inputs, &parts), Case::fused(inputs, &parts)] {
                let case = Case { gate: Some(activation), ..case };
                let gpu = case.gpu();
                for rows in [1, 5] {
                    case.check(&gpu, rows);
                }
            }
        }
    }
}

/// Both sides of the heights at which threadgroups grow.
#[test]
fn tall_matrices() {
    for outputs in [8191, 8192, 16_383, 16_385] {
        let case = Case::plain(32, &[(DType::Q4_0, outputs)]);
        let gpu = case.gpu();
        for rows in [1, 3] {
            case.check(&gpu, rows);
        }
    }
}

/// The heads of SmolLM2 (one entry more) and Qwen2.5, and the widest projection of Llama 3 8B.
#[test]
fn shapes_of_models() {
    let qwen = Case::fused(32, &[(DType::Q8_0, 151_936)]);
    qwen.check(&qwen.gpu(), 1);
    let smol = Case { norm: true, ..Case::plain(64, &[(DType::Q8_0, 49_152 + 1)]) };
    smol.check(&smol.gpu(), 1);
    let down = Case::fused(14_336, &[(DType::Q4_K, 9)]);
    let gpu = down.gpu();
    down.check(&gpu, 1);
    down.check(&gpu, 8);
}

#[test]
fn no_rows_are_no_work() {
    assert!(Case::plain(32, &[(DType::Q4_0, 5)]).shape().launch(0, 1).threadgroups.contains(&0));
}
