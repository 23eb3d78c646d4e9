//! Tokens to text while they come, in whole characters only.

use std::ops::Deref;

use crate::runtime::tokenizer::{Tokenizer, TokenizerError};

/// Text that grows token by token; the parts given out, joined, are the whole text. It borrows its tokenizer or shares it.
#[derive(Debug)]
pub struct TextStream<T> {
    tokenizer: T,
    /// Bytes of a character that is not complete: fewer than four.
    pending: Vec<u8>,
    strips_space: bool,
}

impl<T: Deref<Target = Tokenizer>> TextStream<T> {
    /// For the beginning of a text.
    pub fn beginning(tokenizer: T) -> TextStream<T> {
        let strips_space = tokenizer.strips_first_space();
        TextStream { tokenizer, pending: Vec::new(), strips_space }
    }

    /// For what follows other text (a prompt): a leading space is kept.
    pub fn continuation(tokenizer: T) -> TextStream<T> {
        TextStream { tokenizer, pending: Vec::new(), strips_space: false }
    }

    /// Takes the next token and gives the text that is certain now, if any. Bytes that cannot become a character are
    /// `U+FFFD` each time (as in [`String::from_utf8_lossy`]).
    pub fn push(&mut self, id: u32) -> Result<Option<String>, TokenizerError> {
        let bytes = self.tokenizer.token_bytes(id)?;
        let mut bytes = bytes.as_slice();
        if self.strips_space && !bytes.is_empty() {
            bytes = bytes.strip_prefix(b" ").unwrap_or(bytes);
            self.strips_space = false;
        }
        self.pending.extend_from_slice(bytes);
        let mut text = String::new();
        let mut done = 0;
        for chunk in self.pending.utf8_chunks() {
            text.push_str(chunk.valid());
            done += chunk.valid().len();
            let broken = chunk.invalid();
            let last = done + broken.len() == self.pending.len();
            if broken.is_empty() || last && may_become_a_character(broken) {
                break;
            }
            text.push(char::REPLACEMENT_CHARACTER);
            done += broken.len();
        }
        self.pending.drain(..done);
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// Ends the text: a character that was never completed is one `U+FFFD`.
    pub fn finish(&mut self) -> Option<String> {
        let pending = std::mem::take(&mut self.pending);
        (!pending.is_empty()).then(|| char::REPLACEMENT_CHARACTER.to_string())
    }
}

/// Whether more bytes could make a character of these.
fn may_become_a_character(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}
