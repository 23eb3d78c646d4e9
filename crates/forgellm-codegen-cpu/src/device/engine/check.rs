//! What a step must fulfil before anything is run.

use std::collections::BTreeMap;

use super::ModelSpec;
use crate::runtime::engine::{Capacity, EngineError, Row, SequenceId, Token, Want};
use crate::runtime::pages::PagedCache;

/// The rows of a step, checked.
pub(super) struct Checked {
    /// Token id of each row.
    pub(super) tokens: Vec<u32>,
    /// The sequence of each row, as an index into `sequences`.
    pub(super) sequence_of: Vec<usize>,
    /// The sequences, each with its rows by their index in the step.
    pub(super) sequences: Vec<(SequenceId, Vec<usize>)>,
}

/// Checks rows against the sequences that there are; `best` are the most likely tokens after the rows of the step before.
pub(super) fn check(
    rows: &[Row],
    capacity: Capacity,
    spec: &ModelSpec,
    pages: &PagedCache,
    best: &[Option<u32>],
) -> Result<Checked, EngineError> {
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
        if row.want == Want::Hidden && spec.hidden.is_none() {
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
            Token::Id(token) if (token as usize) < spec.vocab => token,
            Token::Id(token) => return Err(EngineError::UnknownToken { token, vocab: spec.vocab }),
            Token::ArgmaxOfRow(of) => best.get(of).copied().flatten().ok_or(EngineError::NoArgmax(of))?,
        });
    }
    Ok(checked)
}
