//! Idle sequences that are kept because a prompt may begin like them.

use crate::runtime::engine::SequenceId;

/// Idle sequences, the least recently used first.
#[derive(Debug, Default)]
pub(super) struct Kept {
    entries: Vec<Entry>,
}

/// A sequence, and what it holds.
#[derive(Debug)]
pub(super) struct Entry {
    pub sequence: SequenceId,
    pub tokens: Vec<u32>,
}

impl Kept {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Whether a sequence with exactly these tokens is there.
    pub fn holds(&self, tokens: &[u32]) -> bool {
        self.entries.iter().any(|entry| entry.tokens == tokens)
    }

    /// Keeps a sequence, as the most recently used.
    pub fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Takes a sequence out.
    pub fn take(&mut self, sequence: SequenceId) -> Option<Entry> {
        let index = self.entries.iter().position(|entry| entry.sequence == sequence)?;
        Some(self.entries.remove(index))
    }

    /// Makes a sequence the most recently used.
    pub fn touch(&mut self, sequence: SequenceId) {
        if let Some(entry) = self.take(sequence) {
            self.push(entry);
        }
    }

    /// Takes out the least recently used sequence that is not `except`.
    pub fn take_oldest(&mut self, except: Option<SequenceId>) -> Option<Entry> {
        let index = self.entries.iter().position(|entry| Some(entry.sequence) != except)?;
        Some(self.entries.remove(index))
    }
}

/// How many tokens both begin with.
pub(in crate::runtime) fn common_prefix(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
