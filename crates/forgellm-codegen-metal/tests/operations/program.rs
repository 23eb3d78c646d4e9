//! Small programs over the device layer, through the engine: what the host binds and dispatches.

use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;

use forgellm_codegen_metal::device::elementwise::elementwise_needs;
use forgellm_codegen_metal::device::embed::{embed, embed_needs};
use forgellm_codegen_metal::device::format::{F32, Format, Q8_0};
use forgellm_codegen_metal::device::head::top_needs;
use forgellm_codegen_metal::device::kernels::KernelNeeds;
use forgellm_codegen_metal::device::linear::linear_needs;
use forgellm_codegen_metal::device::norm::rms_norm_needs;
use forgellm_codegen_metal::device::rows::rows_needs;
use forgellm_codegen_metal::device::selfcheck::activation::exact as exact_activation;
use forgellm_codegen_metal::device::weights::Matrix;
use forgellm_codegen_metal::device::{
    Activation, Buffer, Input, MetalEngine, MetalOptions, Model, ModelSpec, Output, Part, Run, Vector,
    WantedBuffer, activation, add, linear, linear_gated, mul, rms_norm, rms_norm_add, scale, select_wanted,
    slice, softcap,
};
use forgellm_codegen_metal::gpu::{Device, Options};
use forgellm_codegen_metal::kernel_source;
use forgellm_codegen_metal::pack::{pack, packed_bytes};
use forgellm_frontend::ir::DType;
use forgellm_runtime::runtime::engine::{Engine, Row, RowResult, Token, Want};
use forgellm_runtime::runtime::weights::{
    DATA_ALIGNMENT, Expected, FORMAT, KEY_FORMAT, KEY_LAYOUT_VERSION, KEY_MODEL, KEY_PLAN_HASH,
    Weights as WeightsFile,
};

use crate::buckets::projections;
use crate::gemm::weights;
use crate::gpu::{Random, nmse};

/// Rows of the embedding table, and so tokens and rows of a step.
const TABLE: usize = 40;

/// Weights, one after the other.
#[derive(Default)]
struct Data(Vec<u8>);

impl Data {
    fn add(&mut self, bytes: &[u8]) -> usize {
        let offset = self.0.len().next_multiple_of(256);
        self.0.resize(offset, 0);
        self.0.extend(bytes);
        offset
    }

    fn vector(&mut self, values: &[f32]) -> Vector {
        Vector { offset: self.add(bytemuck::cast_slice(values)), len: values.len() }
    }

    fn f32_matrix<const OUT: usize, const IN: usize>(&mut self, values: &[f32]) -> Matrix<F32, OUT, IN> {
        let mut packed = vec![0; packed_bytes(DType::F32, OUT, IN).unwrap()];
        pack(DType::F32, OUT, IN, bytemuck::cast_slice(values), &mut packed).unwrap();
        Matrix::at(self.add(&packed))
    }

    /// The file of one tensor that holds everything.
    fn file(&self, folder: &tempfile::TempDir) -> Arc<WeightsFile> {
        let mut header = format!(
            "{{\"__metadata__\":{{\"{KEY_FORMAT}\":\"{FORMAT}\",\"{KEY_LAYOUT_VERSION}\":\"1\",\"{KEY_PLAN_HASH}\":\"plan\",\
             \"{KEY_MODEL}\":\"test\"}},"
        );
        let length = self.0.len();
        write!(header, "\"all\":{{\"dtype\":\"U8\",\"shape\":[{length}],\"data_offsets\":[0,{length}]}}}}")
            .unwrap();
        let padded = (header.len() + 8).next_multiple_of(DATA_ALIGNMENT) - 8;
        let mut bytes = (padded as u64).to_le_bytes().to_vec();
        bytes.extend(header.bytes());
        bytes.resize(8 + padded, b' ');
        bytes.extend(&self.0);
        let path = folder.path().join("weights.safetensors");
        fs::write(&path, bytes).unwrap();
        Arc::new(WeightsFile::open(&path, &Expected { layout_version: 1, plan_hash: "plan" }).unwrap())
    }
}

/// A model whose layers are `body`, from the embedding in `X` to `Y`, which is its hidden state and its logits.
struct Program<const W: usize, const OUT: usize, B> {
    table: Matrix<F32, TABLE, W>,
    body: B,
}

impl<const W: usize, const OUT: usize, B> Program<W, OUT, B> {
    const X: Buffer<W> = Buffer::at(0);
    const Y: Buffer<OUT> = Buffer::at(W.next_multiple_of(16));
    const RESULT: WantedBuffer<OUT> = WantedBuffer::at(0);
}

impl<const W: usize, const OUT: usize, B: Fn(&Run<'_>, Buffer<W>, Buffer<OUT>)> Model for Program<W, OUT, B> {
    fn spec(&self) -> ModelSpec {
        ModelSpec {
            vocab: OUT,
            positions: 4096,
            row_arena: 4096,
            wanted_arena: OUT,
            projections: projections(),
            caches: &[],
            hidden: Some(Self::RESULT.any()),
            logits: Self::RESULT.any(),
        }
    }

    fn layers(&self, run: &Run<'_>) {
        embed(run, &self.table, 1.0, Self::X);
        run.barrier();
        (self.body)(run, Self::X, Self::Y);
    }

    fn head(&self, run: &Run<'_>) {
        select_wanted(run, Self::Y, Self::RESULT);
    }
}

/// Runs `body` from X to Y for so many rows, and compares each row with `exact(row of X)`, and the best of them.
fn check<const W: usize, const OUT: usize>(
    mut data: Data,
    needs: KernelNeeds,
    rows: &[usize],
    bound: f64,
    body: impl Fn(&Run<'_>, Buffer<W>, Buffer<OUT>),
    exact: impl Fn(&[f32]) -> Vec<f64>,
) {
    let values = Random(W as u64).normals(TABLE * W);
    let program = Program::<W, OUT, _> { table: data.f32_matrix(&values), body };
    let folder = tempfile::tempdir().unwrap();
    let device = Device::with(Options { sanitize: true, seed: Some(7), ..Options::default() }).unwrap();
    let needs = needs.and(embed_needs(F32::INFO)).and(rows_needs()).and(top_needs());
    let source = kernel_source(&needs.files, needs.instantiations.iter().map(String::as_str));
    let library = device.library(&source, "kernels.metal").unwrap();
    let options = MetalOptions { rows: TABLE, ..MetalOptions::default() };
    let mut engine =
        MetalEngine::open(device, library, data.file(&folder), |_| Ok(program), &options).unwrap();
    for count in rows {
        let sequence = engine.begin().unwrap();
        // Of every third row nothing is wanted; the rest want the hidden state and the best in turn.
        let want = |row: usize| [Want::Hidden, Want::Top(3), Want::Nothing][row % 3];
        let step: Vec<Row> = (0..*count)
            .map(|row| Row { token: Token::Id(token(row)), position: row, sequence, want: want(row) })
            .collect();
        let results = engine.step(&step).unwrap();
        engine.end(sequence).unwrap();
        for (row, result) in results.iter().enumerate() {
            let want = exact(&values[token(row) as usize * W..][..W]);
            match result {
                RowResult::Hidden(got) => {
                    let error = nmse(got, &want);
                    assert!(error <= bound, "row {row} of {count}: NMSE {error:e}");
                }
                RowResult::Top(got) => {
                    let mut ids: Vec<u32> = (0..OUT as u32).collect();
                    ids.sort_by(|a, b| want[*b as usize].total_cmp(&want[*a as usize]));
                    let got_ids: Vec<u32> = got.iter().map(|(id, _)| *id).collect();
                    assert_eq!(got_ids, ids[..3.min(OUT)], "row {row} of {count}");
                }
                RowResult::Nothing => assert_eq!(row % 3, 2),
                RowResult::Logits(_) => panic!("nobody wanted logits"),
            }
        }
    }
}

/// The token of a row: all are different.
fn token(row: usize) -> u32 {
    ((row * 7 + 3) % TABLE) as u32
}

fn exact_norm(x: &[f64], weight: &[f32], eps: f64) -> Vec<f64> {
    let normed = x.chunks(weight.len()).flat_map(|chunk| {
        let squares: f64 = chunk.iter().map(|x| x * x).sum();
        let factor = 1.0 / (squares / chunk.len() as f64 + eps).sqrt();
        chunk.iter().zip(weight).map(move |(x, w)| x * factor * f64::from(*w))
    });
    normed.collect()
}

fn widened(x: &[f32]) -> Vec<f64> {
    x.iter().copied().map(f64::from).collect()
}

fn exact_linear(x: &[f64], matrix: &[f32]) -> Vec<f64> {
    let dot = |row: &[f32]| row.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum();
    matrix.chunks(x.len()).map(dot).collect()
}

#[test]
fn operations_on_elements() {
    const T: Buffer<50> = Buffer::at(256);
    check::<50, 50>(
        Data::default(),
        elementwise_needs(),
        &[1, 7, TABLE],
        1e-11,
        |run, x, y| {
            mul(run, x, x, T);
            run.barrier();
            add(run, x, T, y);
            run.barrier();
            scale(run, y, 2.0, T);
            run.barrier();
            softcap(run, T, 15.0, T);
            run.barrier();
            activation(run, T, Activation::GeluTanh, y);
        },
        |x| {
            let each = |x: &f32| {
                let x = f64::from(*x);
                let capped = 15.0 * ((x + x * x) * 2.0 / 15.0).tanh();
                exact_activation(Activation::GeluTanh, capped)
            };
            x.iter().map(each).collect()
        },
    );
}

#[test]
fn norms_and_slices() {
    let mut random = Random(6);
    let (of_row, of_head) = (random.normals(96), random.normals(8));
    let mut data = Data::default();
    let (row_weight, head_weight) = (data.vector(&of_row), data.vector(&of_head));
    const T: Buffer<96> = Buffer::at(256);
    const HEADS: Buffer<40> = Buffer::at(512);
    check::<96, 40>(
        data,
        rms_norm_needs(),
        &[1, 5, TABLE],
        1e-11,
        |run, x, y| {
            rms_norm(run, x, row_weight, 1e-3, T);
            run.barrier();
            slice(run, T, 33, HEADS);
            run.barrier();
            rms_norm_add(run, HEADS, head_weight, 1e-5, HEADS, y);
        },
        |x| {
            let heads = exact_norm(&widened(x), &of_row, f64::from(1e-3f32))[33..73].to_vec();
            let normed = exact_norm(&heads, &of_head, f64::from(1e-5f32));
            heads.iter().zip(normed).map(|(x, normed)| x + normed).collect()
        },
    );
}

/// Few rows and many rows go through different kernels.
#[test]
fn projections_of_few_and_many_rows() {
    const GATED: Buffer<64> = Buffer::at(256);
    let mut random = Random(12);
    let mut data = Data::default();
    let mut quantised = |outputs| {
        let (packed, values) = weights(DType::Q8_0, outputs, 64, &mut random);
        (data.add(&packed), values)
    };
    let (q_offset, q) = quantised(70);
    let (gate_offset, gate) = quantised(64);
    let (up_offset, up) = quantised(64);
    let (down_offset, down) = quantised(73);
    let (k, bias, norm) = (random.normals(3 * 64), random.normals(3), random.normals(64));
    let k_matrix = data.f32_matrix::<3, 64>(&k);
    let (k_bias, norm_weight) = (data.vector(&bias), data.vector(&norm));
    let (q_matrix, down_matrix) =
        (Matrix::<Q8_0, 70, 64>::at(q_offset), Matrix::<Q8_0, 73, 64>::at(down_offset));
    let gate_matrix = Matrix::<Q8_0, 64, 64>::at(gate_offset);
    let up_matrix = Matrix::<Q8_0, 64, 64>::at(up_offset);
    check::<64, 73>(
        data,
        linear_needs(&[Q8_0::INFO, F32::INFO]).and(linear_needs(&[Q8_0::INFO])).and(elementwise_needs()),
        &[1, 8, 9, 16, 17, 33],
        5e-7,
        |run, x, y| {
            let normed = Input::normed(x, norm_weight, 1e-4);
            linear(run, normed, &[Part::new(&q_matrix), Part::biased(&k_matrix, k_bias)], Output::store(y));
            let (gate, up) = (Part::new(&gate_matrix), Part::new(&up_matrix));
            linear_gated(run, normed, gate, up, Activation::Silu, Output::store(GATED));
            run.barrier();
            linear(run, Input::plain(GATED), &[Part::new(&down_matrix)], Output::add(y));
        },
        |x| {
            let normed = exact_norm(&widened(x), &norm, f64::from(1e-4f32));
            let mut y = exact_linear(&normed, &q);
            y.extend(exact_linear(&normed, &k).iter().zip(&bias).map(|(x, b)| x + f64::from(*b)));
            let (gate, up) = (exact_linear(&normed, &gate), exact_linear(&normed, &up));
            let gated: Vec<f64> = gate.iter().zip(up).map(|(x, up)| x / (1.0 + (-x).exp()) * up).collect();
            y.iter().zip(exact_linear(&gated, &down)).map(|(y, x)| y + x).collect()
        },
    );
}
