//! Answers that must follow a JSON schema, a regular expression or a grammar.
//!
//! A [`Vocabulary`] is made once of a tokenizer, a [`Guide`] by it of each [`Grammar`]. Before a token is chosen, the guide rules out
//! those that cannot go on, by logits of minus infinity, so that all stages of sampling work on what is left. It allows end tokens only
//! where the text is complete, and ends an answer behind which nothing may follow.

mod grammar;
mod vocabulary;

use llguidance::Matcher;

pub use grammar::Grammar;
pub(in crate::runtime) use grammar::{literal, with_space};
pub use vocabulary::Vocabulary;

/// Why an answer cannot be guided.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuideError {
    /// The grammar itself is wrong, or asks for what is not supported.
    #[error("{kind} cannot be followed: {reason}")]
    Invalid {
        /// What it is: `the JSON schema`.
        kind: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Following it costs more than an answer may, or the follower failed.
    #[error("the answer's grammar cannot be followed any further: {0}; make it simpler")]
    Failed(String),
    /// Nothing is left of what could come next.
    #[error("`logit_bias`, or the model, rules out every token by which the answer could go on as it must")]
    RuledOut,
    /// The tokenizer's tokens cannot be guided.
    #[error("this model's tokens cannot be guided: {0}")]
    Vocabulary(String),
}

/// What comes next in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// One of the tokens that are left.
    Token,
    /// Nothing: the text is complete.
    End,
}

/// Leads one answer. A clone begins where the original is, and shares what was computed about the grammar.
#[derive(Clone)]
pub struct Guide {
    matcher: Matcher,
    /// The token beyond the vocabulary that stands for the end.
    end: u32,
}

impl Guide {
    /// Rules out the tokens that cannot come next. `end_ids` are ruled out unless the text may end here; they end it.
    ///
    /// # Errors
    /// When that costs too much, or was an error before.
    pub fn restrict(&mut self, logits: &mut [f32], end_ids: &[u32]) -> Result<Next, GuideError> {
        if self.is_complete() {
            return Ok(Next::End);
        }
        let mask = self.matcher.compute_mask().map_err(failed)?;
        let may_end = mask.is_allowed(self.end);
        let is_left = (0..self.end).any(|token| mask.is_allowed(token));
        if !is_left {
            return if may_end { Ok(Next::End) } else { Err(GuideError::Failed(NO_TOKEN.to_owned())) };
        }
        let logit_of = |&id: &u32| Some((id as usize, *logits.get(id as usize)?));
        let ends: Vec<(usize, f32)> = end_ids.iter().filter_map(logit_of).collect();
        mask.iter_unset_entries(|token| {
            if let Some(logit) = logits.get_mut(token) {
                *logit = f32::NEG_INFINITY;
            }
        });
        for (id, logit) in ends {
            logits[id] = if may_end { logit } else { f32::NEG_INFINITY };
        }
        Ok(Next::Token)
    }

    /// Takes note of the token that was chosen.
    ///
    /// # Errors
    /// When it cannot come here.
    pub fn accept(&mut self, token: u32) -> Result<(), GuideError> {
        self.matcher.consume_token(token).map_err(failed)
    }

    /// Whether nothing may follow.
    pub fn is_complete(&self) -> bool {
        self.matcher.is_stopped() && !self.matcher.is_error()
    }
}

const NO_TOKEN: &str = "no token of the model can go on";

/// Characters of a reason at most: some hold the whole grammar.
const MOST_REASON: usize = 300;

/// The first line says it; what follows are the library's inner states.
fn failed(error: impl std::fmt::Display) -> GuideError {
    GuideError::Failed(first_line(&error.to_string()))
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(MOST_REASON).collect()
}

#[cfg(test)]
mod tests;
