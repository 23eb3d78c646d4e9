//! Decoding: a token of each sequence a step, and the device a step ahead of the host where it can be.

use crate::runtime::engine::{Engine, EngineError, Row, RowResult, SequenceId, Token, Want};

/// Sequences of an engine that are continued by one token each, again and again.
pub(in crate::runtime) struct Decoder<'e, E> {
    engine: &'e mut E,
    sequences: Vec<SequenceId>,
    want: Want,
    /// Steps that were submitted and not collected.
    under_way: usize,
}

impl<'e, E: Engine> Decoder<'e, E> {
    /// Continues `sequences`, and wants this of each row.
    pub(in crate::runtime) fn new(
        engine: &'e mut E,
        sequences: Vec<SequenceId>,
        want: Want,
    ) -> Decoder<'e, E> {
        Decoder { engine, sequences, want, under_way: 0 }
    }

    /// What is wanted of the rows of `tokens`, one for each sequence; `None` if the context of one is full.
    ///
    /// With `ahead`, the tokens of the next call are promised to be the most likely ones of these rows, and their step is started at once, if
    /// the engine can do that.
    pub(in crate::runtime) fn next(
        &mut self,
        tokens: &[u32],
        ahead: bool,
    ) -> Result<Option<Vec<RowResult>>, EngineError> {
        if self.under_way == 0 {
            let Some(rows) = self.rows(|index| Token::Id(tokens.get(index).copied().unwrap_or_default()))?
            else {
                return Ok(None);
            };
            match self.engine.run_ahead() {
                Some(engine) => engine.submit(&rows)?,
                None => return self.engine.step(&rows).map(Some),
            }
            self.under_way = 1;
        }
        if ahead && let Some(rows) = self.rows(Token::ArgmaxOfRow)? {
            // What is wrong with these rows, the call that needs them will say.
            let submitted = self.engine.run_ahead().is_some_and(|engine| engine.submit(&rows).is_ok());
            self.under_way += usize::from(submitted);
        }
        let results = self.collect()?;
        Ok(Some(results))
    }

    /// The next rows of all sequences; `None` if the context of one is full.
    fn rows(&self, token: impl Fn(usize) -> Token) -> Result<Option<Vec<Row>>, EngineError> {
        let room = self.engine.capacity().positions;
        let mut rows = Vec::with_capacity(self.sequences.len());
        for (index, &sequence) in self.sequences.iter().enumerate() {
            let position = self.engine.positions(sequence)?;
            if position >= room {
                return Ok(None);
            }
            rows.push(Row { token: token(index), position, sequence, want: self.want });
        }
        Ok(Some(rows))
    }

    fn collect(&mut self) -> Result<Vec<RowResult>, EngineError> {
        self.under_way = self.under_way.saturating_sub(1);
        let results = self.engine.run_ahead().map(|engine| engine.collect()).transpose()?.flatten();
        results.ok_or_else(|| EngineError::DeviceLost("a step that was submitted has no results".into()))
    }

    /// Waits for what was started, and takes it back: the sequences then end with the tokens that [`Decoder::next`] was given.
    pub(in crate::runtime) fn finish(mut self) -> Result<(), EngineError> {
        let ahead = self.under_way;
        while self.under_way > 0 {
            self.collect()?;
        }
        if ahead > 0 {
            for &sequence in &self.sequences {
                let positions = self.engine.positions(sequence)?;
                self.engine.truncate(sequence, positions.saturating_sub(ahead))?;
            }
        }
        Ok(())
    }
}
