//! The fused way to attention and projections of sums through the engine, beside the same in small operations.

use forgellm_codegen_metal::device::attention::attention_needs;
use forgellm_codegen_metal::device::elementwise::elementwise_needs;
use forgellm_codegen_metal::device::embed::embed_needs;
use forgellm_codegen_metal::device::format::{Format, Q4_0, Q5_0, Q8_0};
use forgellm_codegen_metal::device::head::top_needs;
use forgellm_codegen_metal::device::linear::linear_needs;
use forgellm_codegen_metal::device::qkv::qkv_needs;
use forgellm_codegen_metal::device::rope::rope_needs;
use forgellm_codegen_metal::device::rows::rows_needs;
use forgellm_codegen_metal::device::weights::Matrix;
use forgellm_codegen_metal::device::{
    Attention, Buffer, CacheSpec, HeadNorm, Input, KvFormat, MetalEngine, MetalOptions, Model, ModelSpec,
    Output, Part, Rope, RopeKv, RopeStyle, Rows, Run, Vector, WantedBuffer, add, attention, embed, linear,
    qkv_rope_kv, rms_norm_add, rope_kv, select_wanted,
};
use forgellm_codegen_metal::gpu::{Device, Options};
use forgellm_codegen_metal::kernel_source;
use forgellm_frontend::ir::DType;
use forgellm_runtime::runtime::engine::{Engine, Row, RowResult, Token, Want};

use crate::buckets::projections;
use crate::paged::{Random, nmse};
use crate::weights::Weights;
use crate::weights_file::Data;

const IN: usize = 96;
const HEADS: usize = 3;
const KV_HEADS: usize = 1;
const HEAD_DIM: usize = 32;
const K: usize = KV_HEADS * HEAD_DIM;
const Q: usize = HEADS * HEAD_DIM;
const W: usize = Q + 2 * K;
// Logits are of the width of the queries, so that each is a token.
const TABLE: usize = Q;

struct Program {
    fused: bool,
    table: Matrix<Q8_0, TABLE, IN>,
    norm: Vector,
    add_norm: Vector,
    q: Matrix<Q4_0, Q, IN>,
    k: Matrix<Q5_0, K, IN>,
    v: Matrix<Q8_0, K, IN>,
    k_bias: Vector,
    heads: RopeKv,
}

const X: Buffer<IN> = Buffer::at(0);
const STREAM: Buffer<IN> = Buffer::at(IN);
const SUM: Buffer<IN> = Buffer::at(2 * IN);
const JOINT: Buffer<W> = Buffer::at(3 * IN);
const QUERIES: Buffer<Q> = Buffer::at(3 * IN + W);
// As wide as the hidden state, so what attention gives may be added to it.
const Y: Buffer<IN> = Buffer::at(3 * IN + W + Q);
const SECOND_SUM: Buffer<IN> = Buffer::at(4 * IN + W + Q);
const Z: Buffer<Q> = Buffer::at(5 * IN + W + Q);
const RESULT: WantedBuffer<Q> = WantedBuffer::at(0);

const EPS: [f32; 2] = [1e-3, 1e-5];

impl Program {
    /// The norm of `stream` plus the norm of `x`; the sum goes to `sum`.
    fn input(&self, run: &Run<'_>, x: Buffer<IN>, stream: Buffer<IN>, sum: Buffer<IN>) -> Input<IN, Rows> {
        if self.fused {
            return Input::added(x, self.add_norm, EPS[0], stream, sum, self.norm, EPS[1]);
        }
        rms_norm_add(run, x, self.add_norm, EPS[0], stream, sum);
        run.barrier();
        Input::normed(sum, self.norm, EPS[1])
    }
}

impl Model for Program {
    fn spec(&self) -> ModelSpec {
        ModelSpec {
            vocab: TABLE,
            positions: 100,
            row_arena: 5 * IN + W + 2 * Q,
            wanted_arena: Q,
            projections: projections(),
            caches: &[CacheSpec { heads: HEADS, kv_heads: KV_HEADS, head_dim: HEAD_DIM, window: None }],
            hidden: Some(RESULT.any()),
            logits: RESULT.any(),
        }
    }

    fn layers(&self, run: &Run<'_>) {
        embed(run, &self.table, 1.0, X);
        embed(run, &self.table, -0.5, STREAM);
        run.barrier();
        let input = self.input(run, X, STREAM, SUM);
        let parts = [Part::new(&self.q), Part::biased(&self.k, self.k_bias), Part::new(&self.v)];
        if self.fused {
            qkv_rope_kv(run, input, &parts, &self.heads, 0, QUERIES);
        } else {
            linear(run, input, &parts, Output::store(JOINT));
            run.barrier();
            rope_kv(run, JOINT, &self.heads, 0, QUERIES);
        }
        run.barrier();
        attention(run, QUERIES, &Attention { scale: 0.2, softcap: None, sinks: None }, 0, Y);
        run.barrier();
        let input = self.input(run, Y, SUM, SECOND_SUM);
        linear(run, input, &[Part::new(&self.q)], Output::store(Z));
        run.barrier();
        add(run, Z, SECOND_SUM, Z);
        run.barrier();
    }

    fn head(&self, run: &Run<'_>) {
        select_wanted(run, Z, RESULT);
    }
}

pub fn engine(fused: bool, options: &MetalOptions) -> MetalEngine<impl Model + use<>> {
    let mut random = Random(11);
    let mut data = Data::default();
    let mut weights = |dtype, outputs, inputs| Weights::random(dtype, outputs, inputs, &mut random).packed;
    let program = Program {
        fused,
        table: data.matrix(&weights(DType::Q8_0, TABLE, IN)),
        q: data.matrix(&weights(DType::Q4_0, Q, IN)),
        k: data.matrix(&weights(DType::Q5_0, K, IN)),
        v: data.matrix(&weights(DType::Q8_0, K, IN)),
        norm: data.vector(&random.normals(IN)),
        add_norm: data.vector(&random.normals(IN)),
        k_bias: data.vector(&random.normals(K)),
        heads: RopeKv {
            heads: HEADS,
            kv_heads: KV_HEADS,
            head_dim: HEAD_DIM,
            q_norm: None,
            k_norm: Some(HeadNorm { weight: data.vector(&random.normals(HEAD_DIM)), eps: 1e-6 }),
            rope: Rope {
                style: RopeStyle::HalfSplit,
                inv_freq: data.vector(&[1.0, 0.3, 0.1, 0.03, 0.01, 0.003]),
                scale: 1.0,
            },
        },
    };
    let device = Device::with(Options { sanitize: true, seed: Some(4), ..Options::default() }).unwrap();
    let formats = [Q4_0::INFO, Q5_0::INFO, Q8_0::INFO];
    let needs = embed_needs(Q8_0::INFO).and(rows_needs()).and(top_needs()).and(attention_needs(HEAD_DIM));
    let needs = needs.and(linear_needs(&[Q4_0::INFO])).and(elementwise_needs());
    let needs = needs.and(linear_needs(&formats)).and(rope_needs()).and(qkv_needs(formats));
    let source = kernel_source(&needs.files, needs.instantiations.iter().map(String::as_str));
    let library = device.library(&source, "kernels.metal").unwrap();
    MetalEngine::open(device, library, data.file(), |_| Ok(program), options).unwrap()
}

/// Steps of few and of many rows.
#[test]
fn fused_and_apart_are_the_same() {
    for kv in [KvFormat::F16, KvFormat::Q8_0] {
        let options = MetalOptions { rows: 32, kv, ..MetalOptions::default() };
        let mut engines = [true, false].map(|fused| engine(fused, &options));
        let sequences = engines.each_mut().map(|engine| engine.begin().unwrap());
        let mut position = 0;
        for count in [1, 3, 9, 1, 8, 30, 2] {
            let [fused, apart] = [0, 1].map(|number| {
                let row = |row: usize| Row {
                    token: Token::Id(((position + row) * 7 % TABLE) as u32),
                    position: position + row,
                    sequence: sequences[number],
                    want: Want::Hidden,
                };
                let results = engines[number].step(&(0..count).map(row).collect::<Vec<_>>()).unwrap();
                let hidden = results.into_iter().flat_map(|result| match result {
                    RowResult::Hidden(values) => values,
                    other => panic!("{other:?}"),
                });
                hidden.collect::<Vec<f32>>()
            });
            position += count;
            let apart: Vec<f64> = apart.into_iter().map(f64::from).collect();
            let error = nmse(&fused, &apart);
            // More than 8 rows go through the GEMM in both; a key between two numbers of f16 may become either.
            assert!(error <= 1e-7, "{kv:?}, {count} rows: NMSE {error:e}");
        }
    }
}
