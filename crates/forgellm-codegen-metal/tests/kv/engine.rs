//! Rope, caches and attention through the engine: two layers, one of them with a window, over sequences that come and go.

use std::fs;
use std::sync::Arc;

use forgellm_codegen_metal::device::attention::attention_needs;
use forgellm_codegen_metal::device::elementwise::elementwise_needs;
use forgellm_codegen_metal::device::embed::{embed, embed_needs};
use forgellm_codegen_metal::device::format::{F32, Format};
use forgellm_codegen_metal::device::head::top_needs;
use forgellm_codegen_metal::device::rope::rope_needs;
use forgellm_codegen_metal::device::rows::rows_needs;
use forgellm_codegen_metal::device::weights::Matrix;
use forgellm_codegen_metal::device::{
    Attention, Buffer, CacheSpec, HeadNorm, KvFormat, MetalEngine, MetalOptions, Model, ModelSpec, RopeKv,
    RopeStyle, Run, Vector, WantedBuffer, add, attention, rope_kv, select_wanted,
};
use forgellm_codegen_metal::gpu::{Device, Options};
use forgellm_codegen_metal::kernel_source;
use forgellm_runtime::runtime::engine::{Engine, Row, RowResult, SequenceId, Token, Want};
use forgellm_runtime::runtime::weights::{
    DATA_ALIGNMENT, Expected, FORMAT, KEY_FORMAT, KEY_LAYOUT_VERSION, KEY_MODEL, KEY_PLAN_HASH,
    Weights as WeightsFile,
};
use half::f16;

use crate::paged::{Random, nmse};
use crate::rope::Case;

const TABLE: usize = 37;
const HEADS: usize = 6;
const KV_HEADS: usize = 2;
const HEAD_DIM: usize = 32;
const W: usize = (HEADS + 2 * KV_HEADS) * HEAD_DIM;
const Q: usize = HEADS * HEAD_DIM;
const WINDOW: usize = 40;

const CACHES: &[CacheSpec] = &[cache(None), cache(Some(WINDOW))];

const fn cache(window: Option<usize>) -> CacheSpec {
    CacheSpec { heads: HEADS, kv_heads: KV_HEADS, head_dim: HEAD_DIM, window }
}

/// Its rows give the sum of what both layers give for the projection that the table holds.
struct Program {
    table: Matrix<F32, TABLE, W>,
    how: Attention,
    heads: RopeKv,
}

const X: Buffer<W> = Buffer::at(0);
const QUERIES: [Buffer<Q>; 2] = [Buffer::at(W), Buffer::at(W + Q)];
const Y: [Buffer<Q>; 2] = [Buffer::at(W + 2 * Q), Buffer::at(W + 3 * Q)];
const RESULT: WantedBuffer<Q> = WantedBuffer::at(0);

impl Model for Program {
    fn spec(&self) -> ModelSpec {
        ModelSpec {
            vocab: TABLE,
            positions: 500,
            row_arena: W + 4 * Q,
            wanted_arena: Q,
            projections: &[],
            caches: CACHES,
            hidden: Some(RESULT.any()),
            logits: RESULT.any(),
        }
    }

    fn layers(&self, run: &Run<'_>) {
        embed(run, &self.table, 1.0, X);
        run.barrier();
        for (layer, queries) in QUERIES.into_iter().enumerate() {
            rope_kv(run, X, &self.heads, layer, queries);
        }
        run.barrier();
        // No barrier between the two: they share scratch.
        for (layer, (queries, y)) in QUERIES.into_iter().zip(Y).enumerate() {
            attention(run, queries, &self.how, layer, y);
        }
        run.barrier();
        add(run, Y[0], Y[1], Y[0]);
    }

    fn head(&self, run: &Run<'_>) {
        select_wanted(run, Y[0], RESULT);
    }
}

/// The engine, and what is needed to know its results.
struct Tested {
    engine: MetalEngine<Program>,
    table: Vec<f32>,
    norm: Vec<f32>,
    sinks: Vec<f32>,
    case: Case,
    /// Tokens of each sequence.
    held: Vec<(SequenceId, Vec<u32>)>,
    worst: f64,
}

const SCALE: f32 = 0.3;
const EPS: f32 = 1e-5;

impl Tested {
    fn new(format: KvFormat) -> Tested {
        let mut random = Random(5);
        let table = random.normals(TABLE * W);
        let (norm, sinks) = (random.normals(HEAD_DIM), random.normals(HEADS));
        let case = Case::new(HEADS, KV_HEADS, HEAD_DIM, HEAD_DIM, RopeStyle::HalfSplit);
        let mut data = Vec::new();
        let mut put = |values: &[f32]| {
            let offset = data.len();
            data.extend_from_slice(bytemuck::cast_slice(values));
            data.resize(data.len().next_multiple_of(256), 0);
            Vector { offset, len: values.len() }
        };
        let heads = RopeKv {
            q_norm: Some(HeadNorm { weight: put(&norm), eps: EPS }),
            rope: forgellm_codegen_metal::device::Rope {
                inv_freq: put(&case.frequencies()[..HEAD_DIM / 2]),
                ..case.rope()
            },
            ..case.rope_kv()
        };
        let program = Program {
            how: Attention { scale: SCALE, softcap: None, sinks: Some(put(&sinks)) },
            heads,
            table: Matrix::at(put(&table).offset),
        };
        let options = Options { sanitize: true, seed: Some(3), ..Options::default() };
        let device = Device::with(options).unwrap();
        let needs = embed_needs(F32::INFO).and(rows_needs()).and(top_needs()).and(elementwise_needs());
        let needs = needs.and(rope_needs()).and(attention_needs(HEAD_DIM));
        let source = kernel_source(&needs.files, needs.instantiations.iter().map(String::as_str));
        let library = device.library(&source, "kernels.metal").unwrap();
        let options = MetalOptions { rows: 200, sequences: 4, kv: format, ..MetalOptions::default() };
        let engine =
            MetalEngine::open(device, library, weights_file(&data), |_| Ok(program), &options).unwrap();
        Tested { engine, table, norm, sinks, case, held: Vec::new(), worst: 0.0 }
    }

    /// Runs a step that adds so many rows to sequences, in turns if `mixed`, and compares.
    fn step(&mut self, counts: &[(usize, usize)], mixed: bool) {
        let mut order: Vec<usize> = Vec::new();
        if mixed {
            let longest = counts.iter().map(|(_, count)| *count).max().unwrap();
            for turn in 0..longest {
                order.extend(counts.iter().filter(|(_, count)| turn < *count).map(|(sequence, _)| *sequence));
            }
        } else {
            order.extend(counts.iter().flat_map(|(sequence, count)| std::iter::repeat_n(*sequence, *count)));
        }
        let mut rows = Vec::new();
        let mut prefixes = Vec::new();
        for sequence in order {
            let (id, tokens) = &mut self.held[sequence];
            let position = tokens.len();
            let token = ((sequence * 11 + position * 17 + position / 5) % TABLE) as u32;
            tokens.push(token);
            let want = if position.is_multiple_of(3) { Want::Nothing } else { Want::Hidden };
            rows.push(Row { token: Token::Id(token), position, sequence: *id, want });
            prefixes.push(tokens.clone());
        }
        let results = self.engine.step(&rows).unwrap();
        for (prefix, result) in prefixes.iter().zip(results) {
            if let RowResult::Hidden(got) = result {
                let error = nmse(&got, &self.exact(prefix));
                self.worst = self.worst.max(error);
            }
        }
    }

    fn begin(&mut self) {
        self.held.push((self.engine.begin().unwrap(), Vec::new()));
    }

    fn fork(&mut self, parent: usize, positions: usize) {
        let (id, tokens) = &self.held[parent];
        let fork = (self.engine.fork(*id, positions).unwrap(), tokens[..positions].to_vec());
        self.held.push(fork);
    }

    fn truncate(&mut self, sequence: usize, positions: usize) {
        let (id, tokens) = &mut self.held[sequence];
        self.engine.truncate(*id, positions).unwrap();
        tokens.truncate(positions);
    }

    fn end(&mut self, sequence: usize) {
        self.engine.end(self.held.remove(sequence).0).unwrap();
    }

    /// What the last token of a sequence gives.
    fn exact(&self, tokens: &[u32]) -> Vec<f64> {
        let head = |position: usize, head: usize| {
            &self.table[tokens[position] as usize * W..][head * HEAD_DIM..][..HEAD_DIM]
        };
        let stored = |x: Vec<f64>| -> Vec<f64> { x.into_iter().map(|x| f16::from_f64(x).to_f64()).collect() };
        let last = tokens.len() - 1;
        let mut out = vec![0.0; Q];
        for (query, out) in out.chunks_mut(HEAD_DIM).enumerate() {
            let kv_head = query / (HEADS / KV_HEADS);
            let q = self.case.exact(head(last, query), Some(&self.norm), Some(last));
            for spec in CACHES {
                let oldest = spec.window.map_or(0, |window| tokens.len().saturating_sub(window));
                let mut weights = vec![f64::from(self.sinks[query]).exp()];
                for position in oldest..=last {
                    let k = stored(self.case.exact(head(position, HEADS + kv_head), None, Some(position)));
                    let dot: f64 = q.iter().zip(k).map(|(q, k)| q * k).sum();
                    weights.push((f64::from(SCALE) * dot).exp());
                }
                let sum: f64 = weights.iter().sum();
                for (position, weight) in (oldest..).zip(&weights[1..]) {
                    let value = head(position, HEADS + KV_HEADS + kv_head);
                    let v = stored(value.iter().map(|x| f64::from(*x)).collect());
                    out.iter_mut().zip(v).for_each(|(out, v)| *out += weight / sum * v);
                }
            }
        }
        out
    }
}

/// A weights file of one tensor.
fn weights_file(data: &[u8]) -> Arc<WeightsFile> {
    let length = data.len();
    let header = format!(
        "{{\"__metadata__\":{{\"{KEY_FORMAT}\":\"{FORMAT}\",\"{KEY_LAYOUT_VERSION}\":\"1\",\"{KEY_PLAN_HASH}\":\"plan\",\
         \"{KEY_MODEL}\":\"test\"}},\"all\":{{\"dtype\":\"U8\",\"shape\":[{length}],\"data_offsets\":[0,{length}]}}}}"
    );
    let padded = (header.len() + 8).next_multiple_of(DATA_ALIGNMENT) - 8;
    let mut bytes = (padded as u64).to_le_bytes().to_vec();
    bytes.extend(header.bytes());
    bytes.resize(8 + padded, b' ');
    bytes.extend(data);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    fs::write(&path, bytes).unwrap();
    Arc::new(WeightsFile::open(&path, &Expected { layout_version: 1, plan_hash: "plan" }).unwrap())
}

/// Prompts in pieces, single rows, sequences side by side, forks, cuts: pages are shared, copied, given back and used again.
fn live(tested: &mut Tested) {
    tested.begin();
    tested.begin();
    tested.step(&[(0, 1)], false);
    tested.step(&[(0, 60), (1, 3)], false);
    tested.step(&[(0, 30), (1, 70)], true);
    tested.step(&[(0, 1), (1, 1)], false);
    tested.fork(1, 70);
    tested.step(&[(2, 2), (1, 1), (0, 9)], false);
    tested.step(&[(2, 30)], false);
    tested.truncate(0, 64);
    tested.step(&[(0, 1), (2, 1), (1, 1)], false);
    tested.end(1);
    tested.step(&[(1, 100)], false);
    tested.begin();
    tested.step(&[(2, 33), (0, 8)], false);
    // The first sequence's context is split.
    tested.step(&[(0, 190)], false);
    tested.step(&[(0, 1), (1, 1), (2, 1)], false);
    tested.step(&[(0, 1)], false);
}

#[test]
fn sequences_come_and_go() {
    let mut tested = Tested::new(KvFormat::F16);
    // A key and a value of each head, in f16.
    let bytes = |positions: usize| (positions * 2 * KV_HEADS * HEAD_DIM * 2) as u64;
    for position in [0, WINDOW - 1, WINDOW, 400] {
        let expected = bytes(position + 1) + bytes((position + 1).min(WINDOW));
        assert_eq!(tested.engine.cache_bytes_read(position), Some(expected), "at {position}");
    }
    // Four sequences of 500 positions need 64 pages of 32 in the one layer; the window needs no more in the other.
    let memory = tested.engine.memory().unwrap();
    assert!((bytes(2048) + bytes(4 * WINDOW)..=2 * bytes(2048)).contains(&memory.cache), "{memory:?}");
    assert!(memory.step >= 200 * (W + 4 * Q) as u64 * 4, "{memory:?}");
    live(&mut tested);
    // A key that is nearly between two numbers of f16 may be rounded to the other one.
    assert!(tested.worst <= 1e-6, "NMSE {:e}", tested.worst);
}

#[test]
fn sequences_come_and_go_in_q8_0() {
    let mut tested = Tested::new(KvFormat::Q8_0);
    // All its memory at once, where the test above takes it as it is used.
    tested.engine.reserve().unwrap();
    live(&mut tested);
    // 8 bits of the largest of 32 numbers.
    assert!(tested.worst > 1e-6 && tested.worst <= 1e-3, "NMSE {:e}", tested.worst);
}
