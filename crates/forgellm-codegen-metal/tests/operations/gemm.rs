//! Projections of many rows.

use forgellm_codegen_metal::device::elementwise::Activation;
use forgellm_codegen_metal::device::gemm::{Gemm, GemmPart, TILE_ROWS, gemm_needs};
use forgellm_codegen_metal::device::selfcheck::activation;
use forgellm_codegen_metal::pack::{format_of, pack, packed_bytes};
use forgellm_frontend::ir::DType;
use forgellm_frontend::quant::{dequantize, random_blocks};

use crate::buckets::tile;
use crate::gpu::{Bound, Gpu, Random, download, nmse};

/// A projection.
#[derive(Debug, Clone, Copy)]
struct Case {
    inputs: usize,
    /// Types and outputs of the parts.
    parts: &'static [(DType, usize)],
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
    const fn plain(inputs: usize, parts: &'static [(DType, usize)]) -> Case {
        Case { inputs, parts, bias: false, gate: None, residual: Residual::None }
    }
}

fn gpu(dtypes: &[DType]) -> Gpu {
    let formats: Vec<_> = dtypes.iter().map(|dtype| format_of(*dtype)).collect();
    Gpu::new(&gemm_needs(&formats))
}

fn gpu_for(case: &Case) -> Gpu {
    gpu(&case.parts.iter().map(|part| part.0).collect::<Vec<_>>())
}

/// Random weights: packed, and as numbers.
pub fn weights(dtype: DType, outputs: usize, inputs: usize, random: &mut Random) -> (Vec<u8>, Vec<f32>) {
    let mut blocks = Vec::new();
    let count = outputs * (inputs / dtype.block_elements());
    random_blocks(dtype, count, 0.1, &mut || random.bits(), &mut blocks).unwrap();
    let mut numbers = vec![0.0; outputs * inputs];
    dequantize(dtype, &blocks, &mut numbers).unwrap();
    let mut packed = vec![0; packed_bytes(dtype, outputs, inputs).unwrap()];
    pack(dtype, outputs, inputs, &blocks, &mut packed).unwrap();
    (packed, numbers)
}

/// Runs a case and gives the error.
fn run(gpu: &Gpu, case: &Case, rows: usize, tile: usize) -> f64 {
    let Case { inputs, parts, .. } = *case;
    let mut random = Random((rows * 1000 + tile + inputs) as u64);
    let x = random.normals(rows * inputs);
    let matrices: Vec<_> =
        parts.iter().map(|(dtype, outputs)| weights(*dtype, *outputs, inputs, &mut random)).collect();
    let biases: Vec<_> = parts.iter().map(|(_, outputs)| random.normals(*outputs)).collect();
    let width = if case.gate.is_some() { parts[0].1 } else { parts.iter().map(|part| part.1).sum() };
    let added = random.normals(rows * width);

    let part = |(dtype, outputs): &(DType, usize)| GemmPart {
        format: format_of(*dtype),
        outputs: *outputs,
        bias: case.bias,
    };
    let shape = Gemm {
        inputs,
        parts: parts.iter().map(part).collect(),
        gate: case.gate,
        residual: case.residual != Residual::None,
    };
    let (x_buffer, added_buffer, apart) = (gpu.upload(&x), gpu.upload(&added), gpu.output(rows * width));
    let planes: Vec<_> = matrices.iter().map(|(packed, _)| gpu.upload(packed)).collect();
    let bias_buffers: Vec<_> = biases.iter().map(|bias| gpu.upload(bias)).collect();
    let y = if case.residual == Residual::InPlace { &added_buffer } else { &apart };
    let residual = if case.residual == Residual::None { &x_buffer } else { &added_buffer };
    let mut arguments = vec![
        (0, Bound::Buffer(&x_buffer)),
        (1, Bound::Buffer(residual)),
        (2, Bound::Buffer(y)),
        (3, Bound::U32(rows)),
    ];
    for number in 0..3 {
        let at = number.min(parts.len() - 1);
        arguments.push((4 + number, Bound::Buffer(&planes[at])));
        arguments.push((7 + number, Bound::Buffer(&bias_buffers[at])));
    }
    gpu.run(&[(shape.launch(rows, tile), arguments)]);

    let mut want = Vec::with_capacity(rows * width);
    for (x, added) in x.chunks(inputs).zip(added.chunks(width)) {
        let mut columns = Vec::with_capacity(width);
        for ((_, numbers), bias) in matrices.iter().zip(&biases) {
            for (weights, bias) in numbers.chunks(inputs).zip(bias) {
                let sum: f64 = x.iter().zip(weights).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
                columns.push(if case.bias { sum + f64::from(*bias) } else { sum });
            }
        }
        if let Some(activation) = case.gate {
            let factors = columns.split_off(width);
            for (column, factor) in columns.iter_mut().zip(factors) {
                *column = activation::exact(activation, *column) * factor;
            }
        }
        if case.residual != Residual::None {
            for (column, added) in columns.iter_mut().zip(added) {
                *column += f64::from(*added);
            }
        }
        want.extend(columns);
    }
    nmse(&download(y), &want)
}

fn check(gpu: &Gpu, case: &Case, rows: usize, tile: usize) {
    let error = run(gpu, case, rows, tile);
    // Weights of f32 and bf16 stay f32 in the tile, those of f16 are f16: what is left is the order of the sums. All others are rounded to
    // f16, by at most 2^-11 of each: (2^-11)^2 = 2.4e-7.
    let exact = case.parts.iter().all(|(dtype, _)| matches!(dtype, DType::F32 | DType::F16 | DType::BF16));
    let bound = if exact { 1e-11 } else { 2.4e-7 };
    assert!(error <= bound, "{case:?}, {rows} rows in tiles of {tile}: NMSE {error:e}");
}

/// Rows and outputs at and around the edges of tiles.
const SHAPES: [(usize, usize); 10] =
    [(9, 1), (15, 63), (16, 64), (17, 65), (31, 130), (33, 63), (64, 64), (65, 65), (100, 130), (129, 1)];

macro_rules! every_type {
    ($($test:ident: $dtype:ident, $inputs:expr;)*) => {
        $(
            #[test]
            fn $test() {
                sweep(DType::$dtype, $inputs, &[
                    &[(DType::$dtype, 1)], &[(DType::$dtype, 63)], &[(DType::$dtype, 64)], &[(DType::$dtype, 65)], &[(DType::$dtype, 130)],
                ]);
            }
        )*
    };
}

every_type! {
    f32_weights: F32, [32, 45, 70, 96];
    f16_weights: F16, [32, 33, 64, 100];
    bf16_weights: BF16, [1, 32, 96, 98];
    q4_0: Q4_0, [32, 64, 96, 160];
    q4_1: Q4_1, [32, 64, 96, 160];
    q5_0: Q5_0, [32, 64, 96, 160];
    q5_1: Q5_1, [32, 64, 96, 160];
    q8_0: Q8_0, [32, 64, 96, 160];
    iq4_nl: IQ4_NL, [32, 64, 96, 160];
    mxfp4: MXFP4, [32, 64, 96, 160];
    q2_k: Q2_K, [256, 256, 512, 256];
    q3_k: Q3_K, [256, 256, 512, 256];
    q4_k: Q4_K, [256, 256, 512, 256];
    q5_k: Q5_K, [256, 256, 512, 256];
    q6_k: Q6_K, [256, 256, 512, 256];
    q8_k: Q8_K, [256, 256, 512, 256];
    iq4_xs: IQ4_XS, [256, 256, 512, 256];
}

/// Every shape with the tile that its rows get, and every tile with the shapes around its edge.
fn sweep(dtype: DType, inputs: [usize; 4], parts: &[&'static [(DType, usize)]]) {
    let gpu = gpu(&[dtype]);
    for (number, (rows, outputs)) in SHAPES.into_iter().enumerate() {
        let parts = parts.iter().find(|parts| parts[0].1 == outputs).unwrap();
        let case = Case::plain(inputs[number % 4], parts);
        check(&gpu, &case, rows, tile(rows));
    }
    for tile in TILE_ROWS {
        check(&gpu, &Case::plain(inputs[1], parts[3]), tile + 1, tile);
    }
}

#[test]
fn parts_of_different_types_stand_side_by_side() {
    let mixed: &[(DType, usize)] = &[(DType::Q5_0, 130), (DType::Q5_0, 64), (DType::Q8_0, 33)];
    let wide: &[(DType, usize)] = &[(DType::F32, 65), (DType::Q4_0, 1), (DType::F16, 63)];
    let two: &[(DType, usize)] = &[(DType::Q8_0, 63), (DType::Q4_1, 65)];
    for parts in [mixed, wide, two] {
        for (bias, residual) in [(false, Residual::None), (true, Residual::Apart), (true, Residual::InPlace)]
        {
            let case = Case { bias, residual, ..Case::plain(96, parts) };
            let gpu = gpu_for(&case);
            for (rows, tile) in [(9, 16), (33, 32), (70, 64)] {
                check(&gpu, &case, rows, tile);
            }
        }
    }
}

#[test]
fn gates_multiply() {
    let same: &[(DType, usize)] = &[(DType::Q8_0, 65), (DType::Q8_0, 65)];
    let different: &[(DType, usize)] = &[(DType::Q4_K, 31), (DType::Q6_K, 31)];
    for (inputs, parts) in [(96, same), (256, different)] {
        for activation in [Activation::Silu, Activation::GeluTanh, Activation::GeluErf] {
            for (bias, residual) in [(false, Residual::None), (true, Residual::InPlace)] {
                let case = Case { gate: Some(activation), bias, residual, ..Case::plain(inputs, parts) };
                let gpu = gpu_for(&case);
                for (rows, tile) in [(15, 16), (33, 32), (65, 64)] {
                    check(&gpu, &case, rows, tile);
                }
            }
        }
    }
}

#[test]
fn wide_inputs() {
    for (inputs, parts) in
        [(14_336, &[(DType::Q4_K, 65)][..]), (14_336, &[(DType::Q8_0, 10)]), (8192 + 1, &[(DType::BF16, 3)])]
    {
        let case = Case::plain(inputs, parts);
        check(&gpu_for(&case), &case, 17, 32);
    }
}

/// The product of a gate and its values may pass what f16 holds.
#[test]
fn inputs_beyond_f16() {
    let case = Case::plain(32, &[(DType::Q8_0, 5)]);
    let gpu = gpu_for(&case);
    let mut random = Random(8);
    let (packed, numbers) = weights(DType::Q8_0, 5, 32, &mut random);
    let x: Vec<f32> = random.normals(16 * 32).iter().map(|x| x * 1e7).collect();
    let part = GemmPart { format: format_of(DType::Q8_0), outputs: 5, bias: false };
    let shape = Gemm { inputs: 32, parts: vec![part], gate: None, residual: false };
    let (x_buffer, planes, y) = (gpu.upload(&x), gpu.upload(&packed), gpu.output(16 * 5));
    let mut arguments = vec![
        (0, Bound::Buffer(&x_buffer)),
        (1, Bound::Buffer(&x_buffer)),
        (2, Bound::Buffer(&y)),
        (3, Bound::U32(16)),
    ];
    for number in 0..3 {
        arguments.push((4 + number, Bound::Buffer(&planes)));
        arguments.push((7 + number, Bound::Buffer(&x_buffer)));
    }
    gpu.run(&[(shape.launch(16, 16), arguments)]);
    let dot = |x: &[f32], w: &[f32]| x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum::<f64>();
    let want: Vec<f64> = x.chunks(32).flat_map(|x| numbers.chunks(32).map(move |w| dot(x, w))).collect();
    let error = nmse(&download(&y), &want);
    assert!(error <= 2.4e-7, "NMSE {error:e}");
}

/// Every weight is read and unpacked once per row of tiles; that a scale belongs to both threads of a group is all that is read twice.
#[test]
fn weights_are_read_once_per_tile() {
    let parts: &[(DType, usize)] = &[(DType::Q4_K, 128)];
    let case = Case::plain(512, parts);
    let gpu = gpu_for(&case);
    for tile in TILE_ROWS {
        let tiles = 100usize.div_ceil(tile);
        check(&gpu, &case, 100, tile);
        let counts = gpu.device.counters().pop().unwrap();
        let weights = counts.buffers.iter().find(|buffer| buffer.index == 4).unwrap();
        let codes = 128 * 512 / 2;
        let scales = 128 * 512 / 16;
        let d = 128 * 512 / 256 * 4;
        let stored = codes + scales + d;
        assert_eq!(weights.distinct_bytes_loaded, stored as u64);
        assert_eq!(weights.bytes_loaded, (tiles * (codes + 2 * scales + 16 * d)) as u64, "tiles of {tile}");
        // A tile is multiplied as a whole.
        let multiplies = tiles * tile / 8 * (128 / 8) * (512 / 8);
        assert_eq!(counts.matrix_multiplies, multiplies as u64);
        let barriers = 2 * 512 / 32 + 2;
        assert_eq!(counts.threadgroup_barriers, (tiles * 2 * barriers) as u64);
        println!("tiles of {tile}: {counts}");
    }
}
