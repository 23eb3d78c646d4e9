//! The most likely tokens: `head.metal`. All of it is exact.

use super::call::{COLUMNS, Call, ROWS, Unchecked, sample};
use super::expected::{Expected, Place};
use crate::device::head::NAN_ID;

/// An entry between the two kernels: a word that orders as the logit does, and the complement of the id, so that of equal logits the lower id is
/// the larger entry. Nothing is less than (0, 0).
type Entry = (u32, u32);

/// The entry of a logit; none is not a number.
fn entry(logit: f32, id: usize) -> Entry {
    let logit = if logit.is_nan() { f32::NEG_INFINITY } else { logit };
    let bits = if logit == 0.0 { 0 } else { logit.to_bits() };
    (if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }, !(id as u32))
}

/// The logit of an entry, as bits.
fn logit(order: u32) -> u32 {
    if order >> 31 == 1 { order & !(1 << 31) } else { !order }
}

/// The best entries, best first, and what is left of `k` without any.
fn best(mut entries: Vec<Entry>, k: usize) -> Vec<Entry> {
    entries.sort_unstable_by(|a, b| b.cmp(a));
    entries.resize(k, (0, 0));
    entries
}

/// Buffers: logits, lists, flags.
pub(super) fn lists(call: &Call<'_>) -> Result<Vec<Expected>, Unchecked> {
    let (vocab, k, segment, lists) = (call.size(70)?, call.size(71)?, call.size(72)?, call.size(73)?);
    let mut expected = Vec::new();
    for row in sample(call.threadgroups()[1], ROWS) {
        for list in sample(lists, ROWS) {
            let first = list * segment;
            let logits: Vec<f32> = call.numbers(0, row * vocab + first, segment.min(vocab - first))?;
            let nan = logits.iter().any(|logit| logit.is_nan());
            let entries = (first..).zip(&logits).map(|(id, logit)| entry(*logit, id)).collect();
            let (entries, number) = (best(entries, k), row * lists + list);
            for place in sample(k, COLUMNS) {
                let at = 2 * (number * k + place);
                expected.push(Expected::exactly(Place::U32(1, at), entries[place].0.into()));
                expected.push(Expected::exactly(Place::U32(1, at + 1), entries[place].1.into()));
            }
            expected.push(Expected::exactly(Place::U32(2, number), f64::from(u8::from(nan))));
        }
    }
    Ok(expected)
}

/// Buffers: lists, flags, results.
pub(super) fn merge(call: &Call<'_>) -> Result<Vec<Expected>, Unchecked> {
    let (k, lists) = (call.size(71)?, call.size(73)?);
    let mut expected = Vec::new();
    for row in sample(call.threadgroups()[0], ROWS) {
        let words: Vec<u32> = call.numbers(0, 2 * row * lists * k, 2 * lists * k)?;
        let entries = best(words.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect(), k);
        let nan = call.numbers::<u32>(1, row * lists, lists)?.iter().any(|flag| *flag != 0);
        for place in sample(k, COLUMNS) {
            let (order, complement) = entries[place];
            let id = if nan && place == 0 { NAN_ID } else { !complement };
            let at = 2 * (row * k + place);
            expected.push(Expected::exactly(Place::U32(2, at), id.into()));
            expected.push(Expected::exactly(Place::U32(2, at + 1), logit(order).into()));
        }
    }
    Ok(expected)
}
