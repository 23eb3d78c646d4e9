//! What the tests of several parts need.

mod automaton;
mod program;
mod score;
mod weights;

pub(crate) use automaton::{Automaton, expected_continuation, logits};
