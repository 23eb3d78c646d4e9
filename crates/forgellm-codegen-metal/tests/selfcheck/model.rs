//! A small model with every operation in it.

use forgellm_codegen_metal::device::attention::attention_needs;
use forgellm_codegen_metal::device::elementwise::elementwise_needs;
use forgellm_codegen_metal::device::embed::embed_needs;
use forgellm_codegen_metal::device::format::{F32, Format, Q4_0, Q6_K, Q8_0};
use forgellm_codegen_metal::device::head::top_needs;
use forgellm_codegen_metal::device::linear::linear_needs;
use forgellm_codegen_metal::device::qkv::qkv_needs;
use forgellm_codegen_metal::device::rope::rope_needs;
use forgellm_codegen_metal::device::rows::rows_needs;
use forgellm_codegen_metal::device::weights::Matrix;
use forgellm_codegen_metal::device::{
    Activation, Attention, Buffer, CacheSpec, HeadNorm, Input, MetalEngine, MetalOptions, Model, ModelSpec,
    Output, Part, Rope, RopeKv, RopeStyle, Run, Vector, WantedBuffer, activation, add, attention, embed,
    kv_write, linear, linear_gated, mul, qkv_rope_kv, rms_norm_add, rope, scale, select_wanted, slice,
    softcap,
};
use forgellm_codegen_metal::gpu::{Device, Options};
use forgellm_codegen_metal::kernel_source;
use forgellm_frontend::ir::DType;

use crate::buckets::projections;
use crate::paged::Random;
use crate::weights::Weights;
use crate::weights_file::Data;

pub const VOCAB: usize = 2100;
const HIDDEN: usize = 256;
const HEADS: usize = 3;
const KV_HEADS: usize = 1;
const HEAD_DIM: usize = 32;
const K: usize = KV_HEADS * HEAD_DIM;
const Q: usize = HEADS * HEAD_DIM;
const GATED: usize = 64;

pub struct Tiny {
    table: Matrix<Q6_K, VOCAB, HIDDEN>,
    norms: [Vector; 3],
    q: Matrix<Q8_0, Q, HIDDEN>,
    k: Matrix<Q8_0, K, HIDDEN>,
    v: Matrix<Q8_0, K, HIDDEN>,
    k_bias: Vector,
    heads: RopeKv,
    sinks: Vector,
    out: Matrix<Q4_0, HIDDEN, Q>,
    gate: Matrix<Q4_0, GATED, HIDDEN>,
    up: Matrix<Q4_0, GATED, HIDDEN>,
    down: Matrix<F32, HIDDEN, GATED>,
}

const X: Buffer<HIDDEN> = Buffer::at(0);
const QUERIES: Buffer<Q> = Buffer::at(HIDDEN);
const ATTENDED: Buffer<Q> = Buffer::at(HIDDEN + Q);
const PRODUCT: Buffer<GATED> = Buffer::at(HIDDEN + 2 * Q);
const ADDED: Buffer<HIDDEN> = Buffer::at(HIDDEN + 2 * Q + GATED);
const SUM: Buffer<HIDDEN> = Buffer::at(2 * HIDDEN + 2 * Q + GATED);
const KEYS: Buffer<K> = Buffer::at(3 * HIDDEN + 2 * Q + GATED);
const VALUES: Buffer<K> = Buffer::at(3 * HIDDEN + 2 * Q + GATED + K);
const ROW: usize = 3 * HIDDEN + 2 * Q + GATED + 2 * K;
const STATE: WantedBuffer<HIDDEN> = WantedBuffer::at(0);
const LOGITS: WantedBuffer<VOCAB> = WantedBuffer::at(HIDDEN);

const CACHES: &[CacheSpec] = &[
    CacheSpec { heads: HEADS, kv_heads: KV_HEADS, head_dim: HEAD_DIM, window: None },
    CacheSpec { heads: HEADS, kv_heads: KV_HEADS, head_dim: HEAD_DIM, window: Some(40) },
];

const EPS: f32 = 1e-5;

impl Model for Tiny {
    fn spec(&self) -> ModelSpec {
        ModelSpec {
            vocab: VOCAB,
            positions: 400,
            row_arena: ROW,
            wanted_arena: HIDDEN + VOCAB,
            projections: projections(),
            caches: CACHES,
            hidden: Some(STATE.any()),
            logits: LOGITS.any(),
        }
    }

    fn layers(&self, run: &Run<'_>) {
        embed(run, &self.table, 4.0, X);
        embed(run, &self.table, -0.5, ADDED);
        run.barrier();
        // A layer in fused operations.
        let parts = [Part::new(&self.q), Part::biased(&self.k, self.k_bias), Part::new(&self.v)];
        let input = Input::added(ADDED, self.norms[1], EPS, X, SUM, self.norms[0], EPS);
        qkv_rope_kv(run, input, &parts, &self.heads, 0, QUERIES);
        run.barrier();
        let how = Attention { scale: 0.2, softcap: None, sinks: None };
        attention(run, QUERIES, &how, 0, ATTENDED);
        run.barrier();
        linear(run, Input::plain(ATTENDED), &[Part::new(&self.out)], Output::store(ADDED));
        run.barrier();
        let input = Input::added(ADDED, self.norms[1], EPS, SUM, X, self.norms[2], EPS);
        let (gate, up) = (Part::new(&self.gate), Part::new(&self.up));
        linear_gated(run, input, gate, up, Activation::Silu, Output::store(PRODUCT));
        run.barrier();
        linear(run, Input::plain(PRODUCT), &[Part::new(&self.down)], Output::add(X));
        run.barrier();
        // The way to attention in small operations, with a window, a cap and sinks.
        slice(run, X, 8, QUERIES);
        slice(run, X, 120, KEYS);
        slice(run, X, 40, VALUES);
        run.barrier();
        rope(run, QUERIES, HEAD_DIM, &self.heads.rope, QUERIES);
        kv_write(run, KEYS, VALUES, 1);
        run.barrier();
        let how = Attention { scale: 0.2, softcap: Some(5.0), sinks: Some(self.sinks) };
        attention(run, QUERIES, &how, 1, ATTENDED);
        run.barrier();
        // Single elements, in place.
        activation(run, ATTENDED, Activation::GeluErf, ATTENDED);
        run.barrier();
        mul(run, ATTENDED, QUERIES, QUERIES);
        run.barrier();
        add(run, ATTENDED, QUERIES, ATTENDED);
        run.barrier();
        scale(run, ATTENDED, 0.5, ATTENDED);
        run.barrier();
        linear(run, Input::plain(ATTENDED), &[Part::new(&self.out)], Output::store(ADDED));
        run.barrier();
        rms_norm_add(run, ADDED, self.norms[1], EPS, X, X);
        run.barrier();
    }

    fn head(&self, run: &Run<'_>) {
        select_wanted(run, X, STATE);
        run.barrier();
        let input = Input::normed(STATE, self.norms[2], EPS);
        linear(run, input, &[Part::new(&self.table)], Output::store(LOGITS));
        run.barrier();
        softcap(run, LOGITS, 20.0, LOGITS);
    }
}

/// The kernels that the model needs, as text.
pub fn source() -> String {
    let needs = embed_needs(Q6_K::INFO)
        .and(elementwise_needs())
        .and(rows_needs())
        .and(top_needs())
        .and(attention_needs(HEAD_DIM))
        .and(qkv_needs([Q8_0::INFO; 3]))
        .and(rope_needs())
        .and(linear_needs(&[Q8_0::INFO]))
        .and(linear_needs(&[Q4_0::INFO]))
        .and(linear_needs(&[F32::INFO]))
        .and(linear_needs(&[Q6_K::INFO]));
    kernel_source(&needs.files, needs.instantiations.iter().map(String::as_str))
}

/// The model over kernels of this text.
pub fn engine(source: &str, options: &MetalOptions) -> MetalEngine<Tiny> {
    let mut random = Random(5);
    let mut data = Data::default();
    let mut weights = |dtype, outputs, inputs| Weights::random(dtype, outputs, inputs, &mut random).packed;
    let model = Tiny {
        table: data.matrix(&weights(DType::Q6_K, VOCAB, HIDDEN)),
        q: data.matrix(&weights(DType::Q8_0, Q, HIDDEN)),
        k: data.matrix(&weights(DType::Q8_0, K, HIDDEN)),
        v: data.matrix(&weights(DType::Q8_0, K, HIDDEN)),
        out: data.matrix(&weights(DType::Q4_0, HIDDEN, Q)),
        gate: data.matrix(&weights(DType::Q4_0, GATED, HIDDEN)),
        up: data.matrix(&weights(DType::Q4_0, GATED, HIDDEN)),
        down: data.matrix(&weights(DType::F32, HIDDEN, GATED)),
        norms: [(); 3].map(|()| data.vector(&random.normals(HIDDEN))),
        k_bias: data.vector(&random.normals(K)),
        sinks: data.vector(&random.normals(HEADS)),
        heads: RopeKv {
            heads: HEADS,
            kv_heads: KV_HEADS,
            head_dim: HEAD_DIM,
            q_norm: None,
            k_norm: Some(HeadNorm { weight: data.vector(&random.normals(HEAD_DIM)), eps: 1e-6 }),
            rope: Rope {
                style: RopeStyle::HalfSplit,
                inv_freq: data.vector(&[1.0, 0.3, 0.1, 0.03, 0.01, 0.003]),
                scale: 1.1,
            },
        },
    };
    let device = Device::with(Options { seed: Some(4), ..Options::default() }).unwrap();
    let library = device.library(source, "kernels.metal").unwrap();
    MetalEngine::open(device, library, data.file(), |_| Ok(model), options).unwrap()
}
