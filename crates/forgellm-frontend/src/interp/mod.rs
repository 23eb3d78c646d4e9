//! The reference interpreter: what every operation means, in f32, slowly and obviously.
//!
//! Every kernel of every target is tested against it. [`functions`] holds the mathematics on plain slices; a fused operation is nothing but
//! the functions that it is fused from, one after the other. The results of a row do not depend, to the last bit, on which other rows are in
//! its step.

mod cache;
mod error;
pub mod functions;
mod matrix;
mod parallel;
mod run;
#[cfg(test)]
mod tests;
mod weights;

pub use error::InterpError;
pub use functions::log_sum_exp;
pub use matrix::Matrix;
pub use weights::{WeightError, WeightSource};

use std::collections::BTreeMap;

use crate::ir::{Graph, NodeId, Op, OutputRole, ValueId, Verified};
use cache::Caches;
use weights::Weights;

/// Runs a graph.
///
/// Sequences are named by any number and start empty; their keys and values stay in f32 until [`Interpreter::forget`].
pub struct Interpreter<'a> {
    graph: &'a Graph,
    weights: Weights<'a>,
    caches: Caches,
    /// Values that nothing reads behind the node of this index.
    dying: Vec<Vec<ValueId>>,
}

/// One token to process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The token's id.
    pub token: u32,
    /// Where in its sequence it stands; the first is 0.
    pub position: usize,
    /// Which sequence.
    pub sequence: usize,
    /// Whether the step gives its outputs.
    pub want: bool,
}

/// What the graph gives for a row.
#[derive(Debug, Clone, PartialEq)]
pub struct RowOutput {
    /// A logit for each entry of the vocabulary.
    pub logits: Vec<f32>,
    /// The hidden state after the final norm, where the graph has it as an output.
    pub hidden: Option<Vec<f32>>,
}

impl<'a> Interpreter<'a> {
    /// An interpreter of `graph` with no sequence yet.
    ///
    /// Fails where `weights` has not every weight of the graph, in its size. Matrices are not read before a step needs them.
    pub fn new(graph: &'a Verified<Graph>, weights: &'a dyn WeightSource) -> Result<Self, InterpError> {
        Ok(Interpreter {
            graph,
            weights: Weights::new(graph, weights)?,
            caches: Caches::default(),
            dying: dying_values(graph),
        })
    }

    /// Processes `rows` and gives the outputs of those that want them, in their order.
    ///
    /// The rows of a sequence must continue it: the first stands at [`Interpreter::len`], each other one behind the one before. After an
    /// error the sequences are as they were.
    pub fn step(&mut self, rows: &[Row]) -> Result<Vec<RowOutput>, InterpError> {
        self.step_observed(rows, |_, _| {})
    }

    /// [`Interpreter::step`], showing `observe` the result of every node that has one besides the cache.
    pub fn step_observed(
        &mut self,
        rows: &[Row],
        mut observe: impl FnMut(NodeId, &Matrix),
    ) -> Result<Vec<RowOutput>, InterpError> {
        self.check(rows)?;
        let values = self.run(rows, &mut observe).inspect_err(|_| self.caches.roll_back())?;
        self.caches.commit(rows);
        let value = |role| self.graph.output(role).and_then(|id| values[id.index()].as_ref());
        let (logits, hidden) = (value(OutputRole::Logits), value(OutputRole::Hidden));
        let wanted = rows.iter().filter(|row| row.want).count();
        Ok((0..wanted)
            .map(|row| RowOutput {
                logits: logits.map(|m| m.row(row).to_vec()).unwrap_or_default(),
                hidden: hidden.map(|m| m.row(row).to_vec()),
            })
            .collect())
    }

    /// Positions that a sequence holds.
    pub fn len(&self, sequence: usize) -> usize {
        self.caches.len(sequence)
    }

    /// Whether a sequence holds no position.
    pub fn is_empty(&self, sequence: usize) -> bool {
        self.len(sequence) == 0
    }

    /// Cuts a sequence to its first `positions`; one shorter than that stays as it is.
    pub fn truncate(&mut self, sequence: usize, positions: usize) {
        self.caches.truncate(sequence, positions);
    }

    /// Drops a sequence.
    pub fn forget(&mut self, sequence: usize) {
        self.caches.forget(sequence);
    }

    fn check(&self, rows: &[Row]) -> Result<(), InterpError> {
        let vocab = self
            .graph
            .nodes()
            .iter()
            .filter_map(|node| match node.op {
                Op::Embed { table, .. } => self.graph.weight(table).shape.first().copied(),
                _ => None,
            })
            .min();
        let mut lengths = BTreeMap::new();
        for row in rows {
            if let Some(vocab) = vocab
                && row.token as usize >= vocab
            {
                return Err(InterpError::UnknownToken { token: row.token, vocab });
            }
            let expected = lengths.entry(row.sequence).or_insert_with(|| self.len(row.sequence));
            if row.position != *expected {
                return Err(InterpError::PositionGap {
                    sequence: row.sequence,
                    position: row.position,
                    expected: *expected,
                });
            }
            *expected += 1;
        }
        Ok(())
    }
}

fn dying_values(graph: &Graph) -> Vec<Vec<ValueId>> {
    let mut last_reader = BTreeMap::new();
    for (index, node) in graph.nodes().iter().enumerate() {
        last_reader.extend(node.outputs.iter().chain(&node.inputs).map(|id| (*id, index)));
    }
    let mut dying = vec![Vec::new(); graph.nodes().len()];
    for (id, reader) in last_reader {
        if !graph.outputs().iter().any(|output| output.value == id) {
            dying[reader].push(id);
        }
    }
    dying
}
