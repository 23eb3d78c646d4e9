//! Tokens to text while they come, in whole characters only.

use crate::runtime::tokenizer::{Tokenizer, TokenizerError};

/// Text that grows token by token; the parts given out, joined, are the whole text.
#[derive(Debug)]
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    /// Bytes of a character that is not complete: fewer than four.
    pending: Vec<u8>,
    strips_space: bool,
}

impl<'a> TextStream<'a> {
    pub(super) fn new(tokenizer: &'a Tokenizer, strips_space: bool) -> TextStream<'a> {
        TextStream { tokenizer, pending: Vec::new(), strips_space }
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
    pub fn finish(self) -> Option<String> {
        (!self.pending.is_empty()).then(|| char::REPLACEMENT_CHARACTER.to_string())
    }
}

/// Whether more bytes could make a character of these.
fn may_become_a_character(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}
