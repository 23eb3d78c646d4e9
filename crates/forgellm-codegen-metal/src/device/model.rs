//! One sequence of a model, token by token: the plain interface beside the engine contract. A generated project adds `MetalModel::new`.

use crate::device::engine::{MetalEngine, Model};
use crate::runtime::engine::{Engine, EngineError, ProfileEntry, Row, RowResult, SequenceId, Token, Want};

/// A model with one sequence.
pub struct MetalModel<M> {
    engine: MetalEngine<M>,
    sequence: SequenceId,
}

impl<M: Model> MetalModel<M> {
    /// The engine's model with an empty sequence.
    pub fn over(mut engine: MetalEngine<M>) -> Result<MetalModel<M>, EngineError> {
        let sequence = engine.begin()?;
        Ok(MetalModel { engine, sequence })
    }

    /// The logits after `token`, which continues the sequence.
    pub fn forward(&mut self, token: u32) -> Result<Vec<f32>, EngineError> {
        let results = self.step(&[token], Want::Logits)?;
        match results.into_iter().next_back() {
            Some(RowResult::Logits(logits)) => Ok(logits),
            _ => Err(EngineError::DeviceLost("the step gave no logits".into())),
        }
    }

    /// Puts `token` into the cache, and nothing more.
    pub fn forward_prefill(&mut self, token: u32) -> Result<(), EngineError> {
        self.forward_prefill_batch(&[token])
    }

    /// Puts `tokens`, however many, into the cache.
    pub fn forward_prefill_batch(&mut self, tokens: &[u32]) -> Result<(), EngineError> {
        for chunk in tokens.chunks(self.engine.capacity().rows.max(1)) {
            self.step(chunk, Want::Nothing)?;
        }
        Ok(())
    }

    /// The GPU time of each kernel for `token`, dearest first; the token continues the sequence.
    pub fn forward_profile(&mut self, token: u32) -> Result<Vec<ProfileEntry>, EngineError> {
        let first = self.engine.positions(self.sequence)?;
        let row =
            Row { token: Token::Id(token), position: first, sequence: self.sequence, want: Want::Logits };
        self.engine.profiled(|engine| engine.step(&[row]))
    }

    /// Forgets the sequence.
    pub fn reset(&mut self) -> Result<(), EngineError> {
        self.engine.end(self.sequence)?;
        self.sequence = self.engine.begin()?;
        Ok(())
    }

    /// The engine below.
    pub fn engine(&mut self) -> &mut MetalEngine<M> {
        &mut self.engine
    }

    fn step(&mut self, tokens: &[u32], want: Want) -> Result<Vec<RowResult>, EngineError> {
        let first = self.engine.positions(self.sequence)?;
        let row = |(index, token): (usize, &u32)| Row {
            token: Token::Id(*token),
            position: first + index,
            sequence: self.sequence,
            want,
        };
        let rows: Vec<Row> = tokens.iter().enumerate().map(row).collect();
        self.engine.step(&rows)
    }
}
