//! Keys and values of sequences.

use std::collections::BTreeMap;

use super::Row;
use crate::ir::CacheId;

/// The caches of all layers and sequences: rows of key followed by value, one per position.
#[derive(Default)]
pub struct Caches {
    rows: BTreeMap<(usize, CacheId), Positions>,
    lengths: BTreeMap<usize, usize>,
}

#[derive(Default)]
struct Positions {
    width: usize,
    data: Vec<f32>,
}

impl Caches {
    /// Positions that a sequence held after the last step.
    pub fn len(&self, sequence: usize) -> usize {
        self.lengths.get(&sequence).copied().unwrap_or(0)
    }

    /// The positions of a sequence, those of the running step among them.
    pub fn positions(&self, sequence: usize, cache: CacheId) -> &[f32] {
        self.rows.get(&(sequence, cache)).map_or(&[], |positions| &positions.data)
    }

    /// Appends a position.
    pub fn push(&mut self, sequence: usize, cache: CacheId, key: &[f32], value: &[f32]) {
        let positions = self.rows.entry((sequence, cache)).or_default();
        positions.width = key.len() + value.len();
        positions.data.extend_from_slice(key);
        positions.data.extend_from_slice(value);
    }

    /// Makes the positions of `rows` part of their sequences.
    pub fn commit(&mut self, rows: &[Row]) {
        for row in rows {
            self.lengths.insert(row.sequence, row.position + 1);
        }
    }

    /// Drops what was pushed since the last commit.
    pub fn roll_back(&mut self) {
        for ((sequence, _), positions) in &mut self.rows {
            let len = self.lengths.get(sequence).copied().unwrap_or(0);
            positions.data.truncate(len * positions.width);
        }
    }

    /// Cuts a sequence to its first `len` positions.
    pub fn truncate(&mut self, sequence: usize, len: usize) {
        if let Some(held) = self.lengths.get_mut(&sequence) {
            *held = len.min(*held);
        }
        self.roll_back();
    }

    /// Drops a sequence.
    pub fn forget(&mut self, sequence: usize) {
        self.lengths.remove(&sequence);
        self.rows.retain(|(held, _), _| *held != sequence);
    }
}
