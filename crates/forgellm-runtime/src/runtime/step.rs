//! What a step must fulfil before a device layer runs anything.

use std::collections::BTreeMap;

use crate::runtime::engine::{Capacity, EngineError, Row, SequenceId, Token, Want};
use crate::runtime::pages::PagedCache;

/// The rows of a step, checked.
pub struct Checked {
    /// Token id of each row, or what `best` has for it.
    pub tokens: Vec<u32>,
    /// The sequence of each row, as an index into `sequences`.
    pub sequence_of: Vec<usize>,
    /// The sequences, each with its rows by their index in the step.
    pub sequences: Vec<(SequenceId, Vec<usize>)>,
}

/// What the rows of a step are held to, beside the sequences that there are.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Sizes of the engine.
    pub capacity: Capacity,
    /// Entries of the vocabulary.
    pub vocab: usize,
    /// Whether a hidden state can be wanted.
    pub has_hidden_state: bool,
}

/// Checks rows against the sequences that there are; `best` are the most likely tokens after the rows of the step before, or what stands
/// for them on the device.
pub fn check(
    rows: &[Row],
    limits: Limits,
    pages: &PagedCache,
    best: &[Option<u32>],
) -> Result<Checked, EngineError> {
    let Limits { capacity, vocab, has_hidden_state } = limits;
    if rows.len() > capacity.rows {
        return Err(EngineError::TooManyRows { rows: rows.len(), capacity: capacity.rows });
    }
    let mut checked = Checked {
        tokens: Vec::with_capacity(rows.len()),
        sequence_of: Vec::with_capacity(rows.len()),
        sequences: Vec::new(),
    };
    let mut known: BTreeMap<SequenceId, usize> = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        if row.want == Want::Hidden && !has_hidden_state {
            return Err(EngineError::NoHiddenState);
        }
        let held = pages.positions(row.sequence)?;
        let sequence = *known.entry(row.sequence).or_insert_with(|| {
            checked.sequences.push((row.sequence, Vec::new()));
            checked.sequences.len() - 1
        });
        let members = &mut checked.sequences[sequence].1;
        let expected = held + members.len();
        if row.position != expected {
            return Err(EngineError::PositionGap {
                sequence: row.sequence,
                expected,
                position: row.position,
            });
        }
        if expected >= capacity.positions {
            return Err(EngineError::ContextFull { sequence: row.sequence, positions: capacity.positions });
        }
        members.push(index);
        checked.sequence_of.push(sequence);
        checked.tokens.push(match row.token {
            Token::Id(token) if (token as usize) < vocab => token,
            Token::Id(token) => return Err(EngineError::UnknownToken { token, vocab }),
            Token::ArgmaxOfRow(of) => best.get(of).copied().flatten().ok_or(EngineError::NoArgmax(of))?,
        });
    }
    Ok(checked)
}
