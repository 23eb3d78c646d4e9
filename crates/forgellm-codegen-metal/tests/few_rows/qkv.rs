//! From the hidden state to attention.

use forgellm_codegen_metal::device::kv_format::KvFormat;
use forgellm_codegen_metal::device::prologue::Prologue;
use forgellm_codegen_metal::device::qkv::{Qkv, qkv_needs};
use forgellm_codegen_metal::device::rope::{HeadNorm, Rope, RopeKv, RopeStyle};
use forgellm_codegen_metal::device::weights::Vector;
use forgellm_codegen_metal::pack::format_of;
use forgellm_frontend::ir::DType;

use crate::buckets::tile;
use crate::paged::{Gpu, Kv, PAGE, Random, Tables, download, nmse};
use crate::weights::{Weights, normed, wide};

#[derive(Debug, Clone, Copy)]
struct Case {
    inputs: usize,
    types: [DType; 3],
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    rotary_dim: usize,
    style: RopeStyle,
    bias: bool,
    norm: bool,
    /// Whether the inputs are a sum.
    add: bool,
    head_norm: bool,
    /// Factor on sine and cosine.
    scale: f32,
    /// Slot and position of each row.
    rows: &'static [(usize, usize)],
}

/// Positions that the page tables have room for.
const LENGTHS: [usize; 3] = [70, 3000, 33];

const ONE: &[(usize, usize)] = &[(1, 2999)];
const THREE: &[(usize, usize)] = &[(0, 69), (1, 31), (2, 0)];
const EIGHT: &[(usize, usize)] = &[(1, 64), (1, 65), (1, 66), (2, 32), (0, 0), (0, 1), (1, 2000), (0, 33)];

const CASE: Case = Case {
    inputs: 96,
    types: [DType::Q5_0, DType::Q5_0, DType::Q8_0],
    heads: 3,
    kv_heads: 1,
    head_dim: 64,
    rotary_dim: 64,
    style: RopeStyle::HalfSplit,
    bias: true,
    norm: true,
    add: false,
    head_norm: false,
    scale: 1.0,
    rows: ONE,
};

const EPSILONS: [f32; 4] = [1e-5, 1e-6, 2e-6, 1e-3];

impl Case {
    fn shape(&self) -> Qkv {
        // The tests bind buffers of their own, so the offsets of the weights are not used.
        let vector = |len| Vector { offset: 0, len };
        let norm = |eps| self.head_norm.then_some(HeadNorm { weight: vector(self.head_dim), eps });
        Qkv {
            inputs: self.inputs,
            prologue: Prologue {
                norm: self.norm.then_some(EPSILONS[0]),
                add: self.add.then_some(EPSILONS[3]),
            },
            formats: self.types.map(format_of),
            biases: [self.bias; 3],
            heads: RopeKv {
                heads: self.heads,
                kv_heads: self.kv_heads,
                head_dim: self.head_dim,
                q_norm: norm(EPSILONS[1]),
                k_norm: norm(EPSILONS[2]),
                rope: Rope { style: self.style, inv_freq: vector(self.rotary_dim / 2), scale: self.scale },
            },
        }
    }

    fn frequencies(&self) -> Vec<f32> {
        let pair = |pair: usize| 10_000f64.powf(-2.0 * pair as f64 / self.rotary_dim as f64) as f32;
        (0..self.rotary_dim / 2).map(pair).collect()
    }

    /// Norm and rope of a head.
    fn finish(&self, head: &[f64], norm: Option<(&[f32], f32)>, position: usize) -> Vec<f64> {
        let mut head = match norm {
            Some((weight, epsilon)) => normed(head, weight, epsilon),
            None => head.to_vec(),
        };
        for (pair, frequency) in self.frequencies().into_iter().enumerate() {
            let (a, b) = match self.style {
                RopeStyle::Interleaved => (2 * pair, 2 * pair + 1),
                RopeStyle::HalfSplit => (pair, pair + self.rotary_dim / 2),
            };
            let (sin, cos) = (position as f64 * f64::from(frequency)).sin_cos();
            let scale = f64::from(self.scale);
            (head[a], head[b]) =
                (scale * (head[a] * cos - head[b] * sin), scale * (head[a] * sin + head[b] * cos));
        }
        head
    }

    fn check(&self) {
        let Case { inputs, heads, kv_heads, head_dim, rows, .. } = *self;
        let mut random = Random((inputs + head_dim + rows.len()) as u64);
        let tables = Tables::new(&LENGTHS, &mut random);
        let widths = [heads, kv_heads, kv_heads].map(|heads| heads * head_dim);
        let x = random.normals(rows.len() * inputs);
        let [norm, add_norm] = [0, 1].map(|_| random.normals(inputs));
        let stream = random.normals(rows.len() * inputs);
        let weights: Vec<Weights> =
            (0..3).map(|part| Weights::random(self.types[part], widths[part], inputs, &mut random)).collect();
        let biases = widths.map(|width| random.normals(width));
        let head_norms = [0, 1].map(|_| random.normals(head_dim));

        let shape = self.shape();
        assert!(rows.len() <= shape.max_rows());
        let launch = shape.launch(PAGE, rows.len(), tile(rows.len()));
        let mut needs = qkv_needs(self.types.map(format_of));
        needs.instantiations.retain(|line| line.contains(&format!("\"{}\"", launch.function)));
        let gpu = Gpu::new(&needs);
        let mut caches = [0, 1].map(|_| Kv::zeros(KvFormat::F16, tables.pages, kv_heads, head_dim));
        let [keys, values] = caches.each_ref().map(|cache| gpu.upload(&cache.bytes));
        let (q, sum) = (gpu.output(rows.len() * widths[0]), gpu.output(rows.len() * inputs));
        let list = |f: fn(&(usize, usize)) -> usize| rows.iter().map(|row| f(row) as u32).collect::<Vec<_>>();
        let inputs_of = [
            (0, gpu.upload(&x)),
            (10, gpu.upload(&norm)),
            (13, gpu.upload(&tables.entries)),
            (14, gpu.upload(&list(|row| row.1))),
            (15, gpu.upload(&list(|row| row.0))),
            (16, gpu.upload(&self.frequencies())),
            (17, gpu.upload(&head_norms[0])),
            (18, gpu.upload(&head_norms[1])),
            (20, gpu.upload(&stream)),
            (21, gpu.upload(&add_norm)),
        ];
        let planes: Vec<_> = weights.iter().map(|weights| gpu.upload(&weights.packed)).collect();
        let bias_buffers = biases.each_ref().map(|bias| gpu.upload(bias));
        let mut buffers: Vec<_> = inputs_of.iter().map(|(index, buffer)| (*index, buffer, 0)).collect();
        buffers.extend([(2, &q, 0), (11, &keys, 0), (12, &values, 0), (22, &sum, 0)]);
        for part in 0..3 {
            buffers.extend([(4 + part, &planes[part], 0), (7 + part, &bias_buffers[part], 0)]);
        }
        let bytes = [(3, rows.len()), (19, tables.pages_per_sequence)]
            .map(|(index, value)| (index, (value as u32).to_le_bytes().to_vec()));
        gpu.run(&[(launch, buffers, bytes.to_vec())]);

        let q = download::<f32>(&q);
        caches[0].bytes = download(&keys);
        caches[1].bytes = download(&values);
        let [mut want_q, mut want_cache] = [vec![], vec![]];
        let mut got_cache = Vec::new();
        let mut want_sum = Vec::new();
        for (((slot, position), x), stream) in rows.iter().zip(x.chunks(inputs)).zip(stream.chunks(inputs)) {
            let mut x = wide(x);
            if self.add {
                x = normed(&x, &add_norm, EPSILONS[3]);
                x.iter_mut().zip(stream).for_each(|(x, stream)| *x += f64::from(*stream));
                want_sum.extend_from_slice(&x);
            }
            if self.norm {
                x = normed(&x, &norm, EPSILONS[0]);
            }
            for part in 0..3 {
                let mut y = weights[part].times(&x);
                if self.bias {
                    y.iter_mut().zip(&biases[part]).for_each(|(y, bias)| *y += f64::from(*bias));
                }
                for (head, y) in y.chunks(head_dim).enumerate() {
                    let norm =
                        |part: usize| self.head_norm.then(|| (&head_norms[part][..], EPSILONS[1 + part]));
                    let y = if part < 2 { self.finish(y, norm(part), *position) } else { y.to_vec() };
                    if part == 0 {
                        want_q.extend(y);
                        continue;
                    }
                    let cache = &mut caches[part - 1];
                    let place = tables.place(*slot, *position);
                    got_cache.extend(cache.get(place, head).iter().map(|x| *x as f32));
                    cache.clear(place, head);
                    want_cache.extend(y);
                }
            }
        }
        let (q_error, cache_error) = (nmse(&q, &want_q), nmse(&got_cache, &want_cache));
        assert!(q_error <= 1e-12, "{self:?}: queries, NMSE {q_error:e}");
        assert!(cache_error <= 1e-7, "{self:?}: keys and values in f16, NMSE {cache_error:e}");
        if self.add {
            let error = nmse(&download::<f32>(&sum), &want_sum);
            assert!(error <= 1e-12, "{self:?}: the sum, NMSE {error:e}");
        }
        let untouched = caches.iter().all(|cache| cache.bytes.iter().all(|byte| *byte == 0));
        assert!(untouched, "{self:?}: the cache has other new entries");
    }
}

/// SmolLM2, Qwen2.5 and Llama: heads that several threadgroups share.
#[test]
fn heads_without_norms() {
    for rows in [ONE, THREE, EIGHT] {
        Case { rows, ..CASE }.check();
        Case { rows, norm: false, bias: false, style: RopeStyle::Interleaved, ..CASE }.check();
    }
    for head_dim in [8, 72, 128] {
        Case { rows: THREE, head_dim, rotary_dim: head_dim, kv_heads: 3, ..CASE }.check();
    }
}

/// Gemma 3 and Qwen3: heads that one threadgroup computes.
#[test]
fn heads_with_norms() {
    let normed = Case { head_norm: true, bias: false, ..CASE };
    for (head_dim, rows) in [(8, EIGHT), (64, ONE), (72, THREE), (128, EIGHT), (256, ONE), (248, THREE)] {
        Case { head_dim, rotary_dim: head_dim, rows, ..normed }.check();
    }
}

/// Gemma 3: what the layer before adds is normed.
#[test]
fn sums_are_inputs_and_results() {
    for rows in [ONE, THREE] {
        Case { add: true, inputs: 640, types: [DType::Q8_0; 3], head_norm: true, rows, ..CASE }.check();
    }
    Case { add: true, inputs: 2080, rows: EIGHT, ..CASE }.check();
}

#[test]
fn parts_of_heads_turn() {
    for (rotary_dim, style) in
        [(32, RopeStyle::HalfSplit), (32, RopeStyle::Interleaved), (2, RopeStyle::HalfSplit)]
    {
        Case { rotary_dim, style, rows: THREE, scale: 1.25, ..CASE }.check();
    }
    Case { head_norm: true, rotary_dim: 16, scale: 0.75, ..CASE }.check();
}

#[test]
fn every_type() {
    for &dtype in DType::ALL {
        let inputs = dtype.block_elements().max(40);
        let inputs = inputs - inputs % dtype.block_elements();
        Case { types: [dtype; 3], inputs, rows: THREE, ..CASE }.check();
    }
    Case { types: [DType::Q4_K, DType::Q4_K, DType::Q6_K], inputs: 2304, ..CASE }.check();
}
