//! The readable text form of a graph.
//!
//! ```text
//! graph "tiny"
//!
//! weights
//!   @token_embd.weight: Q8_0 [256, 64]
//!
//! nodes
//!   %0: [rows, 64] = embed table=@token_embd.weight scale=1.0 "embed"
//!   %1: [wanted, 64] = select_wanted %0
//!   %2: [wanted, 256] = linear %1 weight=@token_embd.weight "head"
//!
//! outputs
//!   logits %2
//! ```
//!
//! A node is `results = operation inputs attributes "label"` on one line. The attributes are the fields of [`super::Op`]; in a projection
//! each `weight=` begins a part, and a `bias=` behind it is that part's. Names of weights with other characters than letters, digits and
//! `_ . - /` stand in quotes: `@"a b"`. A value that no node gives (rewrites leave such behind) is a line without `=`. `//` begins a comment.
//!
//! Printing gives all of a graph but its config, and parsing what was printed gives an equal graph without one. Parsing does not verify.

mod attributes;
mod lexer;
mod parse;
mod print;
#[cfg(test)]
mod tests;

/// What is wrong in a text, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct ParseError {
    /// Line; the first is 1.
    pub line: usize,
    /// Character of the line; the first is 1.
    pub column: usize,
    /// What was expected or cannot be.
    pub message: String,
}
