//! Rotary position embedding, and the way of queries, keys and values to attention: `rope.metal`.

use super::cache::{At, Pages};
use super::call::{Call, ROWS, Unchecked, sample};
use super::expected::{Expected, Place};
use super::tolerance::{Approximate, F32, of_terms};

/// Heads of a row that a reference computes.
pub(super) const HEADS: usize = 3;

/// What sine and cosine are off by: the angle, reduced to one turn, and the functions, by a few units each.
const TURN: f64 = 16.0 * F32;

/// Buffers: input, output, positions, frequencies.
pub(super) fn rope(call: &Call<'_>) -> Result<Vec<Expected>, Unchecked> {
    let (heads, turn) = (call.size(30)?, Turn::of(call, 3)?);
    let mut expected = Vec::new();
    for row in sample(call.threadgroups()[1], ROWS) {
        for head in sample(heads, HEADS) {
            let first = (row * heads + head) * turn.head_dim;
            let mut x = stored(call, 0, first, turn.head_dim)?;
            turn.head(&mut x, call.unsigned_at(2, row)?);
            place_floats(1, first, &x, &mut expected);
        }
    }
    Ok(expected)
}

/// Buffers: queries, keys and values side by side; queries, keys, values, page tables, positions, slots, frequencies, norms of queries and keys;
/// entries of a page table.
pub(super) fn qkv_rope(call: &Call<'_>) -> Result<Vec<Expected>, Unchecked> {
    let heads = Heads::of(
        call,
        HeadBuffers { norms: 8, tables: 4, frequencies: 7, entries: 10, positions: 5, slots: 6 },
    )?;
    let (head_dim, all) = (heads.pages.head_dim, heads.heads + 2 * heads.pages.kv_heads);
    let mut expected = Vec::new();
    for row in sample(call.threadgroups()[1], ROWS) {
        for (part, head) in heads.sample() {
            let first = (row * all + heads.first_of(part) + head) * head_dim;
            let x = stored(call, 0, first, head_dim)?;
            heads.expect(call, row, part, head, x, [1, 2, 3], &mut expected)?;
        }
    }
    Ok(expected)
}

/// Buffers: keys and values of the rows, keys and values of the cache, page tables, positions, slots; entries of a page table.
pub(super) fn kv_write(call: &Call<'_>) -> Result<Vec<Expected>, Unchecked> {
    let pages = Pages::of(call, 4)?;
    let entries = call.unsigned_at(7, 0)?;
    let mut expected = Vec::new();
    for row in sample(call.threadgroups()[1], ROWS) {
        let (position, table) = (call.unsigned_at(5, row)?, call.unsigned_at(6, row)? * entries);
        for kv_head in sample(pages.kv_heads, HEADS) {
            for part in [0, 1] {
                let head =
                    stored(call, part, (row * pages.kv_heads + kv_head) * pages.head_dim, pages.head_dim)?;
                let at = At { buffer: 2 + part, table, position, kv_head };
                pages.written(call, at, &head, &mut expected)?;
            }
        }
    }
    Ok(expected)
}

/// Numbers of a buffer.
fn stored(call: &Call<'_>, index: usize, first: usize, count: usize) -> Result<Vec<Approximate>, Unchecked> {
    Ok(call.floats(index, first, count)?.into_iter().map(Approximate::exact).collect())
}

fn place_floats(buffer: usize, first: usize, values: &[Approximate], expected: &mut Vec<Expected>) {
    expected.extend((first..).zip(values).map(|(at, want)| Expected::near(Place::F32(buffer, at), *want)));
}

/// What of a head is turned.
struct Turn {
    head_dim: usize,
    interleaved: bool,
    /// On sine and cosine.
    factor: f64,
    /// Angle per position of each pair.
    frequencies: Vec<f64>,
}

impl Turn {
    fn of(call: &Call<'_>, frequencies: usize) -> Result<Turn, Unchecked> {
        Ok(Turn {
            head_dim: call.size(32)?,
            interleaved: call.flag(41)?,
            factor: call.float(42)?,
            frequencies: call.floats(frequencies, 0, call.size(40)? / 2)?,
        })
    }

    /// Turns a head.
    fn head(&self, x: &mut [Approximate], position: usize) {
        let pairs = self.frequencies.len();
        for (pair, frequency) in self.frequencies.iter().enumerate() {
            let (first, second) =
                if self.interleaved { (2 * pair, 2 * pair + 1) } else { (pair, pair + pairs) };
            let angle = position as f64 * frequency;
            let (sin, cos) = (angle.sin() * self.factor, angle.cos() * self.factor);
            let (a, b) = (x[first], x[second]);
            let size = (a.value.abs() + b.value.abs()) * self.factor.abs();
            let error = (a.error + b.error) * self.factor.abs() + TURN * size;
            x[first] = Approximate { value: a.value * cos - b.value * sin, error };
            x[second] = Approximate { value: a.value * sin + b.value * cos, error };
        }
    }
}

/// What a head is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Queries,
    Keys,
    Values,
}

/// Where a kernel has what the way to attention needs.
pub(super) struct HeadBuffers {
    /// The norm of queries; that of keys is behind it.
    pub norms: usize,
    pub tables: usize,
    pub frequencies: usize,
    /// Entries of a page table.
    pub entries: usize,
    pub positions: usize,
    pub slots: usize,
}

/// Norms, rope and cache of the heads of a call.
pub(super) struct Heads {
    pub heads: usize,
    pub pages: Pages,
    turn: Turn,
    /// Weight and epsilon of the norms of queries and keys.
    norms: [Option<(Vec<f64>, f64)>; 2],
    buffers: HeadBuffers,
    entries: usize,
}

impl Heads {
    pub fn of(call: &Call<'_>, buffers: HeadBuffers) -> Result<Heads, Unchecked> {
        let pages = Pages::of(call, buffers.tables)?;
        let norm = |number: usize| {
            if !call.flag(43 + number as u32)? {
                return Ok(None);
            }
            let weight = call.floats(buffers.norms + number, 0, pages.head_dim)?;
            Ok(Some((weight, call.float(45 + number as u32)?)))
        };
        Ok(Heads {
            heads: call.size(30)?,
            turn: Turn::of(call, buffers.frequencies)?,
            norms: [norm(0)?, norm(1)?],
            entries: call.unsigned_at(buffers.entries, 0)?,
            pages,
            buffers,
        })
    }

    /// Some heads of each part.
    pub fn sample(&self) -> impl Iterator<Item = (Part, usize)> {
        let of = |part, count| sample(count, HEADS).map(move |head| (part, head));
        let kv_heads = self.pages.kv_heads;
        of(Part::Queries, self.heads).chain(of(Part::Keys, kv_heads)).chain(of(Part::Values, kv_heads))
    }

    /// Heads of a row that lie before a part's.
    fn first_of(&self, part: Part) -> usize {
        match part {
            Part::Queries => 0,
            Part::Keys => self.heads,
            Part::Values => self.heads + self.pages.kv_heads,
        }
    }

    /// What must be there once a head of a row went its way, given what the projection gives. `outputs`: indices of queries, keys and values.
    #[expect(clippy::too_many_arguments, reason = "a head of a row of a call is four of them")]
    pub fn expect(
        &self,
        call: &Call<'_>,
        row: usize,
        part: Part,
        head: usize,
        mut x: Vec<Approximate>,
        outputs: [usize; 3],
        expected: &mut Vec<Expected>,
    ) -> Result<(), Unchecked> {
        let position = call.unsigned_at(self.buffers.positions, row)?;
        let norm = match part {
            Part::Queries => self.norms[0].as_ref(),
            Part::Keys => self.norms[1].as_ref(),
            Part::Values => None,
        };
        if let Some((weight, epsilon)) = norm {
            normed(&mut x, weight, *epsilon);
        }
        if part != Part::Values {
            self.turn.head(&mut x, position);
        }
        let buffer = match part {
            Part::Queries => {
                let first = (row * self.heads + head) * self.pages.head_dim;
                place_floats(outputs[0], first, &x, expected);
                return Ok(());
            }
            Part::Keys => outputs[1],
            Part::Values => outputs[2],
        };
        let table = call.unsigned_at(self.buffers.slots, row)? * self.entries;
        self.pages.written(call, At { buffer, table, position, kv_head: head }, &x, expected)
    }
}

/// The root-mean-square norm of a head. What its elements are off by moves the mean square too.
fn normed(x: &mut [Approximate], weight: &[f64], epsilon: f64) {
    let mean = x.iter().map(|x| x.value * x.value).sum::<f64>() / x.len() as f64 + epsilon;
    let moved: f64 = x.iter().map(|x| x.value.abs() * x.error).sum::<f64>() / x.len() as f64 / mean;
    let factor = 1.0 / mean.sqrt();
    let relative = moved + of_terms(x.len());
    for (x, weight) in x.iter_mut().zip(weight) {
        let value = x.value * factor * weight;
        *x = Approximate { value, error: x.error * (factor * weight).abs() + value.abs() * relative };
    }
}
