//! The reference interpreter as an engine, so that whatever runs a compiled program can run it too.

use std::collections::BTreeMap;

use forgellm_frontend::interp::{InterpError, Interpreter, Row as InterpRow, RowOutput};
use forgellm_runtime::runtime::engine::{
    Capacity, Engine, EngineError, Row, RowResult, SequenceId, Token, Want,
};

/// Rows of a step: enough to read each weight seldom, few enough to keep logits small.
const ROWS: usize = 64;

/// An interpreter with the bookkeeping that the contract asks for.
pub struct InterpEngine<'a> {
    interpreter: Interpreter<'a>,
    vocab: usize,
    positions: usize,
    /// Tokens of the sequences there are, by which a fork is run again.
    sequences: BTreeMap<SequenceId, Vec<u32>>,
    next: u32,
    /// The most likely token of each row of the last step, where anything was wanted of it.
    best: Vec<Option<u32>>,
}

impl<'a> InterpEngine<'a> {
    /// An engine of a model with `vocab` tokens, for sequences of up to `positions`.
    pub fn new(interpreter: Interpreter<'a>, vocab: usize, positions: usize) -> InterpEngine<'a> {
        InterpEngine { interpreter, vocab, positions, sequences: BTreeMap::new(), next: 0, best: Vec::new() }
    }

    fn tokens(&self, sequence: SequenceId) -> Result<&Vec<u32>, EngineError> {
        self.sequences.get(&sequence).ok_or(EngineError::UnknownSequence(sequence))
    }

    fn token(&self, row: &Row) -> Result<u32, EngineError> {
        let token = match row.token {
            Token::Id(token) => token,
            Token::ArgmaxOfRow(row) => {
                self.best.get(row).copied().flatten().ok_or(EngineError::NoArgmax(row))?
            }
        };
        if token as usize >= self.vocab {
            return Err(EngineError::UnknownToken { token, vocab: self.vocab });
        }
        Ok(token)
    }

    fn check(&self, rows: &[Row]) -> Result<Vec<InterpRow>, EngineError> {
        if rows.len() > ROWS {
            return Err(EngineError::TooManyRows { rows: rows.len(), capacity: ROWS });
        }
        let mut lengths = BTreeMap::new();
        rows.iter()
            .map(|row| {
                let length = self.tokens(row.sequence)?.len();
                let expected = lengths.entry(row.sequence).or_insert(length);
                if row.position != *expected {
                    let (sequence, expected, position) = (row.sequence, *expected, row.position);
                    return Err(EngineError::PositionGap { sequence, expected, position });
                }
                if row.position >= self.positions {
                    return Err(EngineError::ContextFull {
                        sequence: row.sequence,
                        positions: self.positions,
                    });
                }
                *expected += 1;
                Ok(InterpRow {
                    token: self.token(row)?,
                    position: row.position,
                    sequence: row.sequence.0 as usize,
                    want: row.want != Want::Nothing,
                })
            })
            .collect()
    }
}

impl Engine for InterpEngine<'_> {
    fn capacity(&self) -> Capacity {
        Capacity { sequences: usize::MAX, positions: self.positions, rows: ROWS }
    }

    fn vocab(&self) -> usize {
        self.vocab
    }

    fn begin(&mut self) -> Result<SequenceId, EngineError> {
        let id = SequenceId(self.next);
        self.next = self.next.checked_add(1).ok_or(EngineError::TooManySequences(u32::MAX as usize))?;
        self.sequences.insert(id, Vec::new());
        Ok(id)
    }

    fn fork(&mut self, parent: SequenceId, positions: usize) -> Result<SequenceId, EngineError> {
        let tokens = self.tokens(parent)?.get(..positions).map(<[u32]>::to_vec);
        let too_long = EngineError::CannotTruncate { sequence: parent, positions, reason: "it is shorter" };
        let tokens = tokens.ok_or(too_long)?;
        let fork = self.begin()?;
        for (chunk, tokens) in tokens.chunks(ROWS).enumerate() {
            let row = |(index, &token): (usize, &u32)| Row {
                token: Token::Id(token),
                position: chunk * ROWS + index,
                sequence: fork,
                want: Want::Nothing,
            };
            let rows: Vec<Row> = tokens.iter().enumerate().map(row).collect();
            self.step(&rows)?;
        }
        Ok(fork)
    }

    fn truncate(&mut self, sequence: SequenceId, positions: usize) -> Result<(), EngineError> {
        let tokens = self.sequences.get_mut(&sequence).ok_or(EngineError::UnknownSequence(sequence))?;
        tokens.truncate(positions);
        self.interpreter.truncate(sequence.0 as usize, positions);
        Ok(())
    }

    fn end(&mut self, sequence: SequenceId) -> Result<(), EngineError> {
        self.sequences.remove(&sequence).ok_or(EngineError::UnknownSequence(sequence))?;
        self.interpreter.forget(sequence.0 as usize);
        Ok(())
    }

    fn positions(&self, sequence: SequenceId) -> Result<usize, EngineError> {
        Ok(self.tokens(sequence)?.len())
    }

    fn step(&mut self, rows: &[Row]) -> Result<Vec<RowResult>, EngineError> {
        let interp_rows = self.check(rows)?;
        let lost = |error: InterpError| EngineError::DeviceLost(error.to_string());
        let mut outputs = self.interpreter.step(&interp_rows).map_err(lost)?.into_iter();
        let mut results = Vec::with_capacity(rows.len());
        self.best.clear();
        for (row, interp_row) in rows.iter().zip(&interp_rows) {
            if let Some(tokens) = self.sequences.get_mut(&row.sequence) {
                tokens.push(interp_row.token);
            }
            let output = if interp_row.want { outputs.next() } else { None };
            self.best
                .push(output.as_ref().and_then(|output| top(&output.logits, 1).first().map(|&(id, _)| id)));
            results.push(output.map_or(Ok(RowResult::Nothing), |output| result(row.want, output))?);
        }
        Ok(results)
    }
}

fn result(want: Want, output: RowOutput) -> Result<RowResult, EngineError> {
    Ok(match want {
        Want::Nothing => RowResult::Nothing,
        Want::Top(count) => RowResult::Top(top(&output.logits, count)),
        Want::Logits => RowResult::Logits(output.logits),
        Want::Hidden => RowResult::Hidden(output.hidden.ok_or(EngineError::NoHiddenState)?),
    })
}

/// The best logits first; equal ones in the order of their ids, NaN before all others.
fn top(logits: &[f32], count: usize) -> Vec<(u32, f32)> {
    let place = |logit: f32| if logit.is_nan() { f32::INFINITY } else { logit };
    let mut order: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).collect();
    order.sort_by(|a, b| place(b.1).total_cmp(&place(a.1)).then(a.0.cmp(&b.0)));
    order.truncate(count);
    order
}
