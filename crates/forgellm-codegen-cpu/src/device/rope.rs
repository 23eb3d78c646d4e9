//! Rotary position embedding, and the way of queries, keys and values from their projection to attention.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::buffer::{Buffer, Rows};
use super::cache::PAGE;
use super::norm::rms_norm_row;
use super::profile::Stage;
use super::run::{Run, Scratch};
use super::simd::LANES;

/// From `qkv` = [q | k | v] per row: norms and turns the queries into `q`, norms and turns the keys into the cache, puts the values into
/// the cache. W = (heads + 2 · kv_heads) · head_dim, Q = heads · head_dim.
pub fn rope_kv<const W: usize, const Q: usize>(
    run: &Run<'_>,
    qkv: Buffer<W>,
    how: &RopeKv<'_>,
    cache: usize,
    q: Buffer<Q>,
) {
    let _timer = run.time(Stage::Rope);
    let RopeKv { heads, kv_heads, head_dim, .. } = *how;
    let spec = run.caches.layer(cache).spec;
    let all = heads + 2 * kv_heads;
    assert!(W == all * head_dim && Q == heads * head_dim, "widths of queries, keys and values");
    assert!(spec.kv_heads == kv_heads && spec.head_dim == head_dim, "the cache has another shape");
    qkv.any().assert_apart(q.any());
    let items = run.share(run.rows::<Rows>() * all);
    let scratch = &mut *run.scratch();
    let turns = turns(run, scratch, &how.rope, items.start / all..items.end.div_ceil(all));
    let head = scratch.floats(head_dim);
    for item in items {
        let (row, index) = (item / all, item % all);
        // SAFETY: nobody writes to `qkv` now.
        let source = unsafe { run.part(qkv, row, index * head_dim, head_dim) };
        let (norm, is_value) = if index < heads {
            (how.q_norm, false)
        } else if index < heads + kv_heads {
            (how.k_norm, false)
        } else {
            (None, true)
        };
        match norm {
            Some(norm) => rms_norm_row(run.isa, source, norm.weight, norm.eps, head),
            None => head.copy_from_slice(source),
        }
        if !is_value {
            turns.turn(&how.rope, row, head);
        }
        if index < heads {
            // SAFETY: this head of this row is this thread's.
            unsafe { run.part_mut(q, row, index * head_dim, head_dim) }.copy_from_slice(head);
        } else if is_value {
            write_value(run, cache, row, index - heads - kv_heads, head);
        } else {
            write_key(run, cache, row, index - heads, head);
        }
    }
    scratch.turns.push(turns);
}

/// output = input with every head of `head_dim` elements turned by its row's position. `output` may be `input`.
pub fn rope<const N: usize>(
    run: &Run<'_>,
    input: Buffer<N>,
    head_dim: usize,
    rope: &Rope<'_>,
    output: Buffer<N>,
) {
    let _timer = run.time(Stage::Rope);
    assert!(head_dim > 0 && N.is_multiple_of(head_dim), "heads of {head_dim} do not divide rows of {N}");
    input.any().assert_same_or_apart(output.any());
    let heads = N / head_dim;
    let items = run.share(run.rows::<Rows>() * heads);
    let scratch = &mut *run.scratch();
    let turns = turns(run, scratch, rope, items.start / heads..items.end.div_ceil(heads));
    let head = scratch.floats(head_dim);
    for item in items {
        let (row, at) = (item / heads, item % heads * head_dim);
        // SAFETY: this head of this row is this thread's in both buffers, and one reference ends before the other begins.
        unsafe {
            head.copy_from_slice(run.part(input, row, at, head_dim));
            turns.turn(rope, row, head);
            run.part_mut(output, row, at, head_dim).copy_from_slice(head);
        }
    }
    scratch.turns.push(turns);
}

/// Puts key and value of each row into the cache; N = kv_heads · head_dim of the cache.
pub fn kv_write<const N: usize>(run: &Run<'_>, k: Buffer<N>, v: Buffer<N>, cache: usize) {
    let _timer = run.time(Stage::Rope);
    let spec = run.caches.layer(cache).spec;
    assert_eq!(N, spec.kv_heads * spec.head_dim, "the cache has another shape");
    for item in run.share(run.rows::<Rows>() * spec.kv_heads) {
        let (row, head) = (item / spec.kv_heads, item % spec.kv_heads);
        // SAFETY: nobody writes to keys and values now.
        let (key, value) = unsafe {
            let at = head * spec.head_dim;
            (run.part(k, row, at, spec.head_dim), run.part(v, row, at, spec.head_dim))
        };
        write_key(run, cache, row, head, key);
        write_value(run, cache, row, head, value);
    }
}

/// What [`rope_kv`] does to queries and keys.
#[derive(Debug, Clone, Copy)]
pub struct RopeKv<'a> {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Norm of each query head.
    pub q_norm: Option<HeadNorm<'a>>,
    /// Norm of each key head.
    pub k_norm: Option<HeadNorm<'a>>,
    /// Rope of queries and keys.
    pub rope: Rope<'a>,
}

/// A root-mean-square norm of a head.
#[derive(Debug, Clone, Copy)]
pub struct HeadNorm<'a> {
    /// Weight \[head_dim\].
    pub weight: &'a [f32],
    /// Added to the mean square.
    pub eps: f32,
}

/// Rotary position embedding (Su et al. 2021, arXiv 2104.09864): pair i of a head turns by position · inv_freq\[i\].
#[derive(Debug, Clone, Copy)]
pub struct Rope<'a> {
    /// Which elements turn together.
    pub style: RopeStyle,
    /// Angle per position of each pair [rotary_dim / 2]; the first rotary_dim elements of a head turn, the others stay.
    pub inv_freq: &'a [f32],
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

/// Cosines and sines for some rows of a step. The layers of a model have few different ropes, so they are kept for the step.
pub(crate) struct Turns {
    /// Address and length of the frequencies, and the bits of the factor: they live longer than the step.
    key: (usize, usize, u32),
    first_row: usize,
    rows: usize,
    /// (cosine, sine) of each pair of each row.
    pairs: Vec<(f32, f32)>,
}

impl Turns {
    fn turn(&self, rope: &Rope<'_>, row: usize, head: &mut [f32]) {
        let count = rope.inv_freq.len();
        let pairs = &self.pairs[(row - self.first_row) * count..][..count];
        match rope.style {
            RopeStyle::Interleaved => {
                for (x, (cos, sin)) in head.as_chunks_mut::<2>().0.iter_mut().zip(pairs) {
                    *x = [x[0] * cos - x[1] * sin, x[0] * sin + x[1] * cos];
                }
            }
            RopeStyle::HalfSplit => {
                let (first, second) = head[..2 * count].split_at_mut(count);
                for ((a, b), (cos, sin)) in first.iter_mut().zip(second).zip(pairs) {
                    (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
                }
            }
        }
    }
}

/// Takes what the step has already worked out for these rows, or works it out.
fn turns(run: &Run<'_>, scratch: &mut Scratch, rope: &Rope<'_>, rows: std::ops::Range<usize>) -> Turns {
    let key = (rope.inv_freq.as_ptr().addr(), rope.inv_freq.len(), rope.scale.to_bits());
    let known = scratch
        .turns
        .iter()
        .position(|turns| turns.key == key && turns.first_row == rows.start && turns.rows == rows.len());
    if let Some(known) = known {
        return scratch.turns.swap_remove(known);
    }
    let mut pairs = Vec::with_capacity(rows.len() * rope.inv_freq.len());
    for position in &run.step.positions[rows.clone()] {
        for frequency in rope.inv_freq {
            let (sin, cos) = (*position as f64 * f64::from(*frequency)).sin_cos();
            let scale = f64::from(rope.scale);
            pairs.push(((cos * scale) as f32, (sin * scale) as f32));
        }
    }
    Turns { key, first_row: rows.start, rows: rows.len(), pairs }
}

/// The page and the place in it of a row.
fn place(run: &Run<'_>, cache: usize, row: usize) -> (u32, usize) {
    let position = run.step.positions[row];
    let group = run.caches.layer(cache).group;
    let table = run.step.sequences[run.step.sequence_of[row]].tables[group];
    let page = table.page(position / PAGE).expect("the engine gives every row of a step its page");
    (page, position % PAGE)
}

fn write_key(run: &Run<'_>, cache: usize, row: usize, kv_head: usize, key: &[f32]) {
    let (page, place) = place(run, cache, row);
    let layer = run.caches.layer(cache);
    assert_eq!(key.len(), layer.spec.head_dim, "the cache has another shape");
    let keys = layer.keys(page, kv_head);
    for (d, x) in (0..).step_by(LANES).zip(key.chunks(LANES)) {
        for (d, x) in (d..).zip(&saturated(x)[..x.len()]) {
            // SAFETY: the keys of a head in a page are [head_dim, PAGE], and nobody else touches this row's place.
            unsafe { keys.add(d * PAGE + place).write(*x) };
        }
    }
}

fn write_value(run: &Run<'_>, cache: usize, row: usize, kv_head: usize, value: &[f32]) {
    let (page, place) = place(run, cache, row);
    let layer = run.caches.layer(cache);
    assert_eq!(value.len(), layer.spec.head_dim, "the cache has another shape");
    // SAFETY: the values of a head in a page are [PAGE, value_stride], and nobody else touches this row's place.
    let values = unsafe { layer.values(page, kv_head).add(place * layer.value_stride()) };
    for (d, x) in (0..).step_by(LANES).zip(value.chunks(LANES)) {
        // SAFETY: a value ends with a whole vector.
        unsafe { values.add(d).copy_from_nonoverlapping(saturated(x).as_ptr(), LANES) };
    }
}

/// Up to 16 elements as the nearest finite f16: an infinite one would turn rows that do not even see it into NaN, by 0 · ∞.
fn saturated(x: &[f32]) -> [f16; LANES] {
    let mut clamped = [0.0; LANES];
    for (to, from) in clamped.iter_mut().zip(x) {
        *to = from.clamp(-65504.0, 65504.0);
    }
    let mut halves = [f16::ZERO; LANES];
    halves.convert_from_f32_slice(&clamped);
    halves
}
