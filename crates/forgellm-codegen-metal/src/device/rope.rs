//! Rotary position embedding, and the way of queries, keys and values from their projection to attention.

use super::kernels::KernelNeeds;
use super::kv_format::KvFormat;
use super::launch::{Launch, flag, float, unsigned};
use super::run::{Binding, CacheBinding, Run};
use super::weights::Vector;
use crate::gpu::Constant;
use crate::runtime::buffer::{Buffer, Rows};

/// From `qkv` = [q | k | v] per row: norms and turns the queries into `q`, norms and turns the keys into the cache, puts the values into
/// the cache. W = (heads + 2 · kv_heads) · head_dim, Q = heads · head_dim.
pub fn rope_kv<const W: usize, const Q: usize>(
    run: &Run<'_>,
    qkv: Buffer<W>,
    how: &RopeKv,
    cache: usize,
    q: Buffer<Q>,
) {
    let RopeKv { heads, kv_heads, head_dim, .. } = *how;
    assert!(
        W == (heads + 2 * kv_heads) * head_dim && Q == heads * head_dim,
        "widths of queries, keys and values"
    );
    qkv.any().assert_apart(q.any());
    rope_kv_from(run, run.at(qkv), how, cache, run.at(q));
}

/// [`rope_kv`] between any two places that do not overlap.
pub(crate) fn rope_kv_from(run: &Run<'_>, qkv: Binding<'_>, how: &RopeKv, cache: usize, q: Binding<'_>) {
    let Some(place) = run.cache(cache) else { return };
    place.assert_shape(how.kv_heads, how.head_dim);
    let frequencies = run.vector(how.rope.inv_freq);
    let norm = |norm: Option<HeadNorm>| norm.map_or(frequencies, |norm| run.vector(norm.weight));
    let buffers = [
        (0, qkv),
        (1, q),
        (2, place.keys),
        (3, place.values),
        (4, place.tables),
        (5, run.positions()),
        (6, run.slots()),
        (7, frequencies),
        (8, norm(how.q_norm)),
        (9, norm(how.k_norm)),
    ];
    let pages_per_sequence = (place.pages_per_sequence as u32).to_le_bytes();
    how.launch(place.page, place.format, run.rows::<Rows>()).encode(
        run,
        &buffers,
        &[(10, &pages_per_sequence)],
    );
}

/// output = input with every head of `head_dim` elements turned by its row's position. `output` may be `input`.
pub fn rope<const N: usize>(
    run: &Run<'_>,
    input: Buffer<N>,
    head_dim: usize,
    rope: &Rope,
    output: Buffer<N>,
) {
    assert!(head_dim > 0 && N.is_multiple_of(head_dim), "heads of {head_dim} do not divide rows of {N}");
    input.any().assert_same_or_apart(output.any());
    let buffers =
        [(0, run.at(input)), (1, run.at(output)), (2, run.positions()), (3, run.vector(rope.inv_freq))];
    rope.launch(N / head_dim, head_dim, run.rows::<Rows>()).encode(run, &buffers, &[]);
}

/// Puts key and value of each row into the cache; N = kv_heads · head_dim of the cache.
pub fn kv_write<const N: usize>(run: &Run<'_>, k: Buffer<N>, v: Buffer<N>, cache: usize) {
    let Some(place) = run.cache(cache) else { return };
    let spec = place.layer.spec;
    assert_eq!(N, spec.kv_heads * spec.head_dim, "the cache has another shape");
    let buffers = [
        (0, run.at(k)),
        (1, run.at(v)),
        (2, place.keys),
        (3, place.values),
        (4, place.tables),
        (5, run.positions()),
        (6, run.slots()),
    ];
    let pages_per_sequence = (place.pages_per_sequence as u32).to_le_bytes();
    kv_write_launch(spec.kv_heads, spec.head_dim, place.page, place.format, run.rows::<Rows>()).encode(
        run,
        &buffers,
        &[(7, &pages_per_sequence)],
    );
}

/// What the operations of this file need.
pub fn rope_needs() -> KernelNeeds {
    KernelNeeds { files: vec!["kv_cache.metal", "rope.metal"], instantiations: Vec::new() }
}

/// What [`rope_kv`] does to queries and keys.
#[derive(Debug, Clone, Copy)]
pub struct RopeKv {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Elements of a head: even, at most 256.
    pub head_dim: usize,
    /// Norm of each query head.
    pub q_norm: Option<HeadNorm>,
    /// Norm of each key head.
    pub k_norm: Option<HeadNorm>,
    /// Rope of queries and keys.
    pub rope: Rope,
}

/// A root-mean-square norm of a head.
#[derive(Debug, Clone, Copy)]
pub struct HeadNorm {
    /// Weight \[head_dim\].
    pub weight: Vector,
    /// Added to the mean square.
    pub eps: f32,
}

/// Rotary position embedding (Su et al. 2021, arXiv 2104.09864): pair i of a head turns by position · inv_freq\[i\].
#[derive(Debug, Clone, Copy)]
pub struct Rope {
    /// Which elements turn together.
    pub style: RopeStyle,
    /// Angle per position of each pair [rotary_dim / 2]; the first rotary_dim elements of a head turn, the others stay.
    pub inv_freq: Vector,
    /// Factor on sine and cosine.
    pub scale: f32,
}

/// Which elements of a head rope turns together, with n = rotary_dim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopeStyle {
    /// (x₂ᵢ, x₂ᵢ₊₁).
    Interleaved,
    /// (xᵢ, xᵢ₊ₙ/₂).
    HalfSplit,
}

/// Threads of a threadgroup.
const THREADS: usize = 128;

/// Heads of a threadgroup of `qkv_rope`: a simdgroup each.
const HEADS: usize = THREADS / 32;

impl RopeKv {
    /// The dispatch for so many rows. Buffers: qkv, q, keys, values, page tables, positions, slots, frequencies, norms of q and k (bound in any
    /// case), entries of a page table as u32.
    pub fn launch(&self, page: usize, format: KvFormat, rows: usize) -> Launch {
        let eps = |norm: Option<HeadNorm>| norm.map_or(0.0, |norm| norm.eps);
        let constants = [
            unsigned(31, self.kv_heads),
            unsigned(33, page),
            flag(38, format == KvFormat::Q8_0),
            flag(43, self.q_norm.is_some()),
            flag(44, self.k_norm.is_some()),
            float(45, eps(self.q_norm)),
            float(46, eps(self.k_norm)),
        ];
        Launch {
            function: "qkv_rope".into(),
            constants: [self.rope.constants(self.heads, self.head_dim), constants.into()].concat(),
            threadgroups: [(self.heads + 2 * self.kv_heads).div_ceil(HEADS), rows, 1],
            threads: [THREADS, 1, 1],
        }
    }
}

impl Rope {
    /// The dispatch for so many rows of so many heads. Buffers: input, output, positions, frequencies.
    pub fn launch(&self, heads: usize, head_dim: usize, rows: usize) -> Launch {
        Launch {
            function: "rope".into(),
            constants: self.constants(heads, head_dim),
            threadgroups: [(heads * head_dim / 2).div_ceil(THREADS), rows, 1],
            threads: [THREADS, 1, 1],
        }
    }

    fn constants(&self, heads: usize, head_dim: usize) -> Vec<Constant> {
        let rotary_dim = 2 * self.inv_freq.len;
        assert!(rotary_dim <= head_dim, "{rotary_dim} elements of heads of {head_dim} cannot turn");
        vec![
            unsigned(30, heads),
            unsigned(32, head_dim),
            unsigned(40, rotary_dim),
            flag(41, self.style == RopeStyle::Interleaved),
            float(42, self.scale),
        ]
    }
}

/// The dispatch of [`kv_write`] for so many rows. Buffers: keys and values of the rows, keys and values of the cache, page tables, positions,
/// slots, entries of a page table as u32.
pub fn kv_write_launch(
    kv_heads: usize,
    head_dim: usize,
    page: usize,
    format: KvFormat,
    rows: usize,
) -> Launch {
    Launch {
        function: "kv_write".into(),
        constants: vec![
            unsigned(31, kv_heads),
            unsigned(32, head_dim),
            unsigned(33, page),
            flag(38, format == KvFormat::Q8_0),
        ],
        threadgroups: [(2 * kv_heads * head_dim / 4).div_ceil(THREADS), rows, 1],
        threads: [THREADS, 1, 1],
    }
}

impl CacheBinding<'_> {
    /// Checks that the cache is of this shape.
    fn assert_shape(&self, kv_heads: usize, head_dim: usize) {
        let spec = self.layer.spec;
        assert!(spec.kv_heads == kv_heads && spec.head_dim == head_dim, "the cache has another shape");
    }
}
