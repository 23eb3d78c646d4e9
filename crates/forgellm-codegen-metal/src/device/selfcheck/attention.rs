//! Attention over the KV cache: `attention.metal`.

use super::cache::{At, Pages};
use super::call::{COLUMNS, Call, ROWS, Unchecked, sample};
use super::elementwise::capped;
use super::expected::{Expected, Place};
use super::rope::HEADS;
use super::tolerance::{Approximate, F16, Sum, of_exp, of_terms};

/// Marks the only split of a tile, which gives the result itself.
const DIRECT: usize = u32::MAX as usize;

/// What the kernels are specialised by.
struct Shape {
    heads: usize,
    pages: Pages,
    scale: f64,
    softcap: f64,
    /// 0: none.
    window: usize,
    sinks: bool,
}

impl Shape {
    fn of(call: &Call<'_>) -> Result<Shape, Unchecked> {
        Ok(Shape {
            heads: call.size(30)?,
            pages: Pages::of(call, 3)?,
            scale: call.float(34)?,
            softcap: call.float(35)?,
            window: call.size(36)?,
            sinks: call.flag(37)?,
        })
    }

    /// Query heads of a key-value head.
    fn ratio(&self) -> usize {
        self.heads / self.pages.kv_heads
    }

    /// The score of a key for a query.
    fn score(&self, q: &[f64], key: &[f64]) -> Approximate {
        let mut sum = Sum::default();
        for (q, k) in q.iter().zip(key) {
            sum.add(self.scale * q * k, (self.scale * q * k).abs());
        }
        let mut score = sum.rounded();
        if self.pages.unpacked() {
            score.error += sum.of_halves();
        }
        if self.softcap == 0.0 { score } else { capped(score, self.softcap) }
    }
}

/// An item of the kernel's small data: a split of a tile.
struct Item {
    first_row: usize,
    rows: usize,
    position: usize,
    table: usize,
    start: usize,
    stop: usize,
    partial: usize,
}

/// Words of an item.
const ITEM: usize = 8;

/// Buffers: queries, keys, values, page tables, items, sinks, output, partial sums, their stats.
pub(super) fn attention(call: &Call<'_>) -> Result<Vec<Expected>, Unchecked> {
    let shape = Shape::of(call)?;
    let unknown = || Unchecked("its name does not tell its queries".into());
    let tiles =
        call.name().strip_prefix("attention_").and_then(|rest| rest.split_once('x')).ok_or_else(unknown)?.0;
    let room = 8 * tiles.parse::<usize>().map_err(|_| unknown())?;
    let [groups, items, _] = call.threadgroups();
    let mut expected = Vec::new();
    for number in sample(items, ROWS) {
        let words: Vec<u32> = call.numbers(4, number * ITEM, ITEM)?;
        let [first_row, rows, position, table, start, stop, partial, _] =
            std::array::from_fn(|i| words[i] as usize);
        let item = Item { first_row, rows, position, table, start, stop, partial };
        for row in sample(item.rows, ROWS) {
            for head in sample(shape.heads, HEADS) {
                query(call, &shape, &item, row, head, [room, groups], &mut expected)?;
            }
        }
    }
    Ok(expected)
}

/// What a query gives over an item's positions. `room`: queries that a threadgroup has room for; `groups`: threadgroups of an item.
fn query(
    call: &Call<'_>,
    shape: &Shape,
    item: &Item,
    row: usize,
    head: usize,
    [room, groups]: [usize; 2],
    expected: &mut Vec<Expected>,
) -> Result<(), Unchecked> {
    let (head_dim, ratio) = (shape.pages.head_dim, shape.ratio());
    let position = item.position + row;
    let oldest = if shape.window == 0 { 0 } else { (position + 1).saturating_sub(shape.window) };
    let first = ((item.first_row + row) * shape.heads + head) * head_dim;
    let q = call.floats(0, first, head_dim)?;
    let at = |buffer, position| At { buffer, table: item.table, position, kv_head: head / ratio };

    let mut softmax = Softmax::default();
    for seen in item.start.max(oldest)..item.stop.min(position + 1) {
        let score = shape.score(&q, &shape.pages.head(call, at(1, seen))?);
        softmax.add(score, shape.pages.head(call, at(2, seen))?);
    }
    if item.partial == DIRECT {
        let sink = if shape.sinks { Some(call.float_at(5, head)?) } else { None };
        let result = softmax.result(head_dim, sink, shape.pages.unpacked());
        expected
            .extend(sample(head_dim, COLUMNS).map(|i| Expected::near(Place::F32(6, first + i), result[i])));
        return Ok(());
    }
    // A threadgroup has a key-value head, or as many of its query heads as it has room for.
    let (chunk, in_chunk) = (head % ratio / room, head % ratio % room);
    let heads = (ratio - chunk * room).min(room);
    let group = chunk * shape.pages.kv_heads + head / ratio;
    let place = (item.partial * groups + group) * room + row * heads + in_chunk;
    if softmax.is_empty() {
        // Nothing that it sees lies in this split.
        expected.push(Expected::exactly(Place::F32(8, 2 * place + 1), 0.0));
        return Ok(());
    }
    expected.push(Expected::near(Place::LogSum(8, 2 * place), softmax.log_sum()));
    let result = softmax.result(head_dim, None, shape.pages.unpacked());
    let quotient = |i| Place::Quotient { of: (7, place * head_dim + i), by: (8, 2 * place + 1) };
    expected.extend(sample(head_dim, COLUMNS).map(|i| Expected::near(quotient(i), result[i])));
    Ok(())
}

/// Words of a tile of [`combine`].
const TILE: usize = 4;

/// Buffers: partial sums, their stats, sinks, output, tiles, queries that a threadgroup had room for.
pub(super) fn combine(call: &Call<'_>) -> Result<Vec<Expected>, Unchecked> {
    let shape = Shape::of(call)?;
    let room = call.unsigned_at(5, 0)?;
    let (head_dim, ratio, kv_heads) = (shape.pages.head_dim, shape.ratio(), shape.pages.kv_heads);
    let chunks = ratio.div_ceil(room);
    let mut expected = Vec::new();
    for number in sample(call.threadgroups()[2], ROWS) {
        let words: Vec<u32> = call.numbers(4, number * TILE, TILE)?;
        let [first_row, rows, first_partial, splits] = std::array::from_fn(|i| words[i] as usize);
        for row in sample(rows, ROWS) {
            for head in sample(shape.heads, HEADS) {
                let chunk = head % ratio / room;
                let query = row * (ratio - chunk * room).min(room) + head % ratio % room;
                let mut softmax = Softmax::default();
                for split in 0..splits {
                    let group = (first_partial + split) * kv_heads * chunks + chunk * kv_heads + head / ratio;
                    let place = group * room + query;
                    let (score, weight) = (call.float_at(1, 2 * place)?, call.float_at(1, 2 * place + 1)?);
                    if weight > 0.0 {
                        // The split's sums over its sum of weights are one value with that weight.
                        let sums = call.floats(0, place * head_dim, head_dim)?;
                        let value = sums.into_iter().map(|sum| sum / weight).collect();
                        softmax.add(Approximate::exact(score + weight.ln()), value);
                    }
                }
                let sink = if shape.sinks { Some(call.float_at(2, head)?) } else { None };
                let result = softmax.result(head_dim, sink, false);
                let first = ((first_row + row) * shape.heads + head) * head_dim;
                expected.extend(
                    sample(head_dim, COLUMNS).map(|i| Expected::near(Place::F32(3, first + i), result[i])),
                );
            }
        }
    }
    Ok(expected)
}

/// Values, and the scores that weigh them.
#[derive(Default)]
struct Softmax {
    scores: Vec<Approximate>,
    values: Vec<Vec<f64>>,
}

impl Softmax {
    fn add(&mut self, score: Approximate, value: Vec<f64>) {
        self.scores.push(score);
        self.values.push(value);
    }

    fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }

    fn largest(&self) -> f64 {
        self.scores.iter().fold(f64::NEG_INFINITY, |largest, score| largest.max(score.value))
    }

    /// Each score's exponential relative to the largest, and what that is off by, relative to itself: by the score, and by exp.
    fn weights(&self, largest: f64) -> Vec<(f64, f64)> {
        let weight = |score: &Approximate| {
            let x = score.value - largest;
            (x.exp(), score.error + of_exp(x))
        };
        self.scores.iter().map(weight).collect()
    }

    /// The logarithm of the sum of exponentials.
    fn log_sum(&self) -> Approximate {
        let largest = self.largest();
        let weights = self.weights(largest);
        let sum: f64 = weights.iter().map(|(weight, _)| weight).sum();
        let moved: f64 = weights.iter().map(|(weight, error)| weight * error).sum::<f64>() / sum;
        // The kernel's weights are relative to another score, up to a few units below the largest.
        let error = moved + of_terms(weights.len()) + of_exp(largest.abs());
        Approximate { value: largest + sum.ln(), error }
    }

    /// The weighted mean; a sink takes part in the sum of weights. Weights that are off by a share e move it by e · |value - mean|.
    fn result(&self, head_dim: usize, sink: Option<f64>, unpacked: bool) -> Vec<Approximate> {
        let largest = sink.map_or(self.largest(), |sink| self.largest().max(sink));
        let weights = self.weights(largest);
        let sink_weight = sink.map_or(0.0, |sink| (sink - largest).exp());
        let sum: f64 = sink_weight + weights.iter().map(|(weight, _)| weight).sum::<f64>();
        let element = |i: usize| {
            let terms = weights
                .iter()
                .zip(&self.values)
                .map(|((weight, error), value)| (weight / sum, error, value[i]));
            let mean: f64 = terms.clone().map(|(weight, _, value)| weight * value).sum();
            let rounding = of_terms(weights.len()) + if unpacked { F16 } else { 0.0 };
            let error = |(weight, error, value): (f64, &f64, f64)| {
                weight * (error * (value.abs() + mean.abs()) + rounding * value.abs())
            };
            let of_sink = sink.map_or(0.0, |sink| sink_weight / sum * of_exp(sink - largest) * mean.abs());
            Approximate { value: mean, error: terms.map(error).sum::<f64>() + of_sink }
        };
        (0..head_dim).map(element).collect()
    }
}
