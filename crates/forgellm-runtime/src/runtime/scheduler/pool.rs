//! The mean of hidden states.

use crate::runtime::engine::RowResult;
use crate::runtime::generate::GenerateError;

/// The sum of the hidden states of a prompt's rows, in their order, so that it does not depend on how steps were divided.
#[derive(Debug, Default)]
pub(super) struct Pool {
    sum: Vec<f64>,
    rows: usize,
}

impl Pool {
    /// Adds what a row gave.
    pub fn add(&mut self, result: &RowResult) -> Result<(), GenerateError> {
        let RowResult::Hidden(values) = result else {
            return Err(GenerateError::Contract { wanted: "a hidden state", got: "another result" });
        };
        if self.rows == 0 {
            self.sum = vec![0.0; values.len()];
        }
        if values.len() != self.sum.len() {
            return Err(GenerateError::Contract { wanted: "a hidden state", got: "one of another size" });
        }
        self.sum.iter_mut().zip(values).for_each(|(sum, &value)| *sum += f64::from(value));
        self.rows += 1;
        Ok(())
    }

    /// The mean; empty without rows.
    pub fn mean(&self) -> Vec<f32> {
        self.sum.iter().map(|sum| (sum / self.rows as f64) as f32).collect()
    }
}
