//! From the hidden state to attention: projection, norms of heads, rope and cache write as one operation. See `qkv.metal`.

use super::buckets::{Bucket, Projection};
use super::format::{FormatInfo, format_files};
use super::kernels::KernelNeeds;
use super::kv_format::KvFormat;
use super::launch::{Launch, unsigned};
use super::linear::{Input, Part, project_to};
use super::mat_vec::BATCHES;
use super::memory::ScratchUse;
use super::prologue::Prologue;
use super::rope::{RopeKv, rope_kv_from};
use super::run::{Binding, Run};
use crate::runtime::buffer::{Buffer, Rows};

/// Projects `input` to queries, keys and values ([`linear`](super::linear())), and takes them to `q` and into the cache
/// ([`rope_kv`](super::rope_kv)): in one dispatch for few rows and a cache in f16. Q = heads · head_dim.
pub fn qkv_rope_kv<const IN: usize, const Q: usize>(
    run: &Run<'_>,
    input: Input<IN, Rows>,
    parts: &[Part<IN>; 3],
    how: &RopeKv,
    cache: usize,
    q: Buffer<Q>,
) {
    let rows = run.rows::<Rows>();
    let input_at = input.at(run);
    let shape = Qkv {
        inputs: IN,
        prologue: input_at.prologue(),
        formats: parts.map(|part| part.matrix.format),
        biases: parts.map(|part| part.bias.is_some()),
        heads: *how,
    };
    let (Some(place), Some(Bucket { kernel, tile, .. })) = (run.cache(cache), run.bucket(rows)) else {
        return;
    };
    // A q8_0 cache wants whole groups of a head at once.
    if kernel != Projection::MatVec || tile > shape.max_rows() || place.format != KvFormat::F16 {
        let width: usize = parts.iter().map(|part| part.matrix.outputs).sum();
        let Some(scratch) = run.scratch(ScratchUse::Joint, rows * width * size_of::<f32>()) else { return };
        let joint = Binding { buffer: &scratch, offset: 0 };
        project_to(run, input, parts, None, None, joint);
        run.barrier();
        run.scratch_in_use(ScratchUse::Joint);
        return rope_kv_from(run, joint, how, cache, run.at(q));
    }
    let RopeKv { heads, kv_heads, head_dim, .. } = *how;
    let widths = parts.map(|part| part.matrix.outputs);
    assert_eq!(widths, [heads, kv_heads, kv_heads].map(|heads| heads * head_dim), "queries, keys and values");
    assert_eq!(Q, heads * head_dim, "queries");
    input.assert_apart(q.any());
    let spec = place.layer.spec;
    assert!(spec.kv_heads == kv_heads && spec.head_dim == head_dim, "the cache has another shape");
    let (x, frequencies) = (input_at.x, run.vector(how.rope.inv_freq));
    let mut buffers = vec![(0, x), (2, run.at(q))];
    for (number, part) in parts.iter().enumerate() {
        buffers.push((4 + number, run.matrix(&part.matrix)));
        buffers.push((7 + number, part.bias.map_or(x, |bias| run.vector(bias))));
    }
    buffers.extend([
        (11, place.keys),
        (12, place.values),
        (13, place.tables),
        (14, run.positions()),
        (15, run.slots()),
        (16, frequencies),
        (17, how.q_norm.map_or(frequencies, |norm| run.vector(norm.weight))),
        (18, how.k_norm.map_or(frequencies, |norm| run.vector(norm.weight))),
    ]);
    buffers.extend(input_at.buffers(run, 20, x));
    let pages_per_sequence = (place.pages_per_sequence as u32).to_le_bytes();
    let bytes = [(3, &(rows as u32).to_le_bytes()[..]), (19, &pages_per_sequence[..])];
    shape.launch(place.page, rows, tile).encode(run, &buffers, &bytes);
}

/// What the operation needs for parts of these formats, beside what `linear` and `rope_kv` need.
pub fn qkv_needs(formats: [&FormatInfo; 3]) -> KernelNeeds {
    let mut files = format_files(&formats);
    files.extend(["projection.metal", "kv_cache.metal", "rope.metal", "qkv.metal"]);
    let [a, b, c] = formats.map(|format| format.name);
    let instantiations = TEAM_PAIRS.iter().flat_map(|pairs| {
        BATCHES.iter().filter(|batch| **batch <= max_rows(*pairs)).map(move |batch| {
            let kernel = format!("qkv<{a}, {b}, {c}, {pairs}, {batch}>");
            let name = name(formats, *pairs, *batch);
            format!("template [[host_name(\"{name}\")]] kernel decltype({kernel}) {kernel};")
        })
    });
    KernelNeeds { files, instantiations: instantiations.collect() }
}

/// The shape of the operation in one dispatch.
#[derive(Debug, Clone, Copy)]
pub struct Qkv {
    /// Elements of the hidden state.
    pub inputs: usize,
    /// What happens to it before.
    pub prologue: Prologue,
    /// How the matrices of queries, keys and values are stored.
    pub formats: [&'static FormatInfo; 3],
    /// Which of them have a bias.
    pub biases: [bool; 3],
    /// Heads, their norms, rope.
    pub heads: RopeKv,
}

/// Pairs of elements that a team of lanes computes at a time: the kernel is instantiated for each.
const TEAM_PAIRS: [usize; 2] = [1, 2];

/// Pairs of a simdgroup whose teams have one each.
const TEAMS: usize = 4;

/// Simdgroups of a threadgroup where heads have no norms, so that a head may be several threadgroups'.
const SIMDGROUPS: usize = 4;

/// The most simdgroups of a threadgroup.
const MAX_SIMDGROUPS: usize = 16;

impl Qkv {
    /// The most rows that one dispatch takes.
    pub fn max_rows(&self) -> usize {
        max_rows(self.team_pairs())
    }

    /// The dispatch for so many rows by the instance for `batch` of them. Buffers: hidden state, q at 2; the number of rows as u32 at 3; matrices from 4, biases from 7, the norm's
    /// weight at 10; from 11 on keys and values of the cache, page tables, positions, slots, frequencies, norms of q and k; entries of a page
    /// table as u32; the stream, the weight of the norm of what is added to it, the sum. All are bound: what is not there, by anything.
    pub fn launch(&self, page: usize, rows: usize, batch: usize) -> Launch {
        let biases = (0..3).map(|part| usize::from(self.biases[part]) << part).sum();
        let heads = &self.heads;
        let (pairs, team_pairs, simdgroups) = (heads.head_dim / 2, self.team_pairs(), self.simdgroups());
        Launch {
            function: name(self.formats, team_pairs, batch),
            // Heads, rope and cache are specialised as where they are an operation of their own.
            constants: [
                heads.launch(page, KvFormat::F16, rows).constants,
                self.prologue.constants(self.inputs).to_vec(),
                vec![unsigned(6, biases)],
            ]
            .concat(),
            threadgroups: [
                pairs.div_ceil(simdgroups * TEAMS * team_pairs),
                heads.heads + 2 * heads.kv_heads,
                rows.min(1),
            ],
            threads: [simdgroups * 32, 1, 1],
        }
    }

    /// A head with a norm is one threadgroup's.
    fn normed(&self) -> bool {
        self.heads.q_norm.is_some() || self.heads.k_norm.is_some()
    }

    fn team_pairs(&self) -> usize {
        let pairs = self.heads.head_dim / 2;
        if self.normed() && pairs > MAX_SIMDGROUPS * TEAMS { 2 } else { 1 }
    }

    fn simdgroups(&self) -> usize {
        if !self.normed() {
            return SIMDGROUPS;
        }
        let simdgroups = (self.heads.head_dim / 2).div_ceil(TEAMS * self.team_pairs());
        assert!(simdgroups <= MAX_SIMDGROUPS, "heads of {} elements", self.heads.head_dim);
        simdgroups
    }
}

/// Two pairs for 8 rows would take more registers than 16 simdgroups have.
fn max_rows(team_pairs: usize) -> usize {
    8 / team_pairs
}

fn name(formats: [&FormatInfo; 3], team_pairs: usize, batch: usize) -> String {
    let [a, b, c] = formats.map(|format| format.name.to_lowercase());
    format!("qkv_{a}_{b}_{c}_{team_pairs}_{batch}")
}
