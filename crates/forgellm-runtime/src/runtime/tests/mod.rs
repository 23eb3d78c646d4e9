//! What the tests of several parts need.

mod automaton;
mod program;
mod score;
mod serve;
mod weights;

pub(crate) use automaton::{Automaton, Gate, expected_continuation, hidden, logits};
pub(crate) use program::{SPEC, tokenizer};
