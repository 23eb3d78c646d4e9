//! Log-probabilities of an answer's tokens, beside the text that they made.

use std::collections::VecDeque;

use serde_json::{Map, Value, json};

use crate::runtime::sampling::{Logprob, TokenLogprobs};
use crate::runtime::tokenizer::Tokenizer;

/// The lowest log-probability that is told: JSON has no infinity, and clients know this number.
const LOWEST: f64 = -9999.0;

/// A token whose text, or the beginning of it, was passed on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Told {
    /// Characters of the answer before its text; before the character, where it is a part of one.
    pub start: usize,
    pub logprobs: TokenLogprobs,
}

/// Holds back the log-probabilities of tokens while their text is held back, so that a stop string takes away both: a token is told
/// once a character that begins in it is passed on. All positions are in characters of the answer.
#[derive(Debug, Default)]
pub(super) struct Aligned {
    waiting: VecDeque<Told>,
    /// Up to here the tokens have text.
    made: usize,
    /// Up to here it was passed on.
    passed: usize,
}

impl Aligned {
    /// A token that adds `text`, which may be empty while a character is incomplete.
    pub fn push(&mut self, logprobs: TokenLogprobs, text: &str) {
        self.waiting.push_back(Told { start: self.made, logprobs });
        self.made += text.chars().count();
    }

    /// The tokens that `text`, which is passed on now, tells.
    pub fn pass(&mut self, text: &str) -> Vec<Told> {
        self.passed += text.chars().count();
        let count = self.waiting.partition_point(|told| told.start < self.passed);
        self.waiting.drain(..count).collect()
    }

    /// The tokens that are left at the end of an answer that no stop string ended.
    pub fn finish(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.waiting).into()
    }
}

/// `logprobs` of a chat's answer: `{"content": [{token, logprob, bytes, top_logprobs}], "refusal"}`.
pub(super) fn of_chat(told: &[Told], tokenizer: &Tokenizer) -> Value {
    let entry = |logprob: &Logprob| {
        let (name, bytes) = spelled(logprob.token, tokenizer);
        json!({"token": name, "logprob": logprob.logprob.max(LOWEST), "bytes": bytes})
    };
    let token = |told: &Told| {
        let mut token = entry(&told.logprobs.chosen);
        token["top_logprobs"] = told.logprobs.top.iter().map(entry).collect();
        token
    };
    json!({"content": told.iter().map(token).collect::<Vec<Value>>(), "refusal": null})
}

/// `logprobs` of a completion: lists of `tokens`, `token_logprobs`, `top_logprobs` and `text_offset`. The chosen token is always among
/// the `top_logprobs`, and offsets count characters of the choice's text.
pub(super) fn of_completion(told: &[Told], tokenizer: &Tokenizer) -> Value {
    let name = |token: u32| spelled(token, tokenizer).0;
    let top = |told: &Told| -> Map<String, Value> {
        let TokenLogprobs { chosen, top } = &told.logprobs;
        // Of tokens that are spelled alike, the most likely one counts, unless the chosen one is among them.
        let all = top.iter().rev().chain([chosen]);
        all.map(|logprob| (name(logprob.token), json!(logprob.logprob.max(LOWEST)))).collect()
    };
    json!({
        "tokens": told.iter().map(|told| name(told.logprobs.chosen.token)).collect::<Vec<String>>(),
        "token_logprobs": told.iter().map(|told| told.logprobs.chosen.logprob.max(LOWEST)).collect::<Vec<f64>>(),
        "top_logprobs": told.iter().map(top).collect::<Vec<_>>(),
        "text_offset": told.iter().map(|told| told.start).collect::<Vec<usize>>(),
    })
}

/// A token as clients see it, and its own bytes. One that is a part of a character is spelled by its bytes; a control token, which has
/// no bytes, as it stands in the vocabulary.
fn spelled(token: u32, tokenizer: &Tokenizer) -> (String, Option<Vec<u8>>) {
    let bytes = tokenizer.token_bytes(token).unwrap_or_default();
    if bytes.is_empty() {
        return (tokenizer.token_text(token).unwrap_or_default(), None);
    }
    let name = match std::str::from_utf8(&bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().fold("bytes:".to_owned(), |name, byte| name + &format!("\\x{byte:02x}")),
    };
    (name, Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::tests::tokenizer;

    fn of(token: u32) -> TokenLogprobs {
        let top =
            vec![Logprob { token: 97, logprob: -0.5 }, Logprob { token: 129, logprob: f64::NEG_INFINITY }];
        TokenLogprobs { chosen: Logprob { token, logprob: -1.0 }, top }
    }

    fn starts(told: &[Told]) -> Vec<(u32, usize)> {
        told.iter().map(|told| (told.logprobs.chosen.token, told.start)).collect()
    }

    #[test]
    fn tokens_are_told_with_the_first_character_of_their_text() {
        let mut aligned = Aligned::default();
        // "é" in two tokens, then two tokens of which the filter holds back a part.
        aligned.push(of(1), "");
        assert_eq!(aligned.pass(""), []);
        aligned.push(of(2), "é");
        assert_eq!(starts(&aligned.pass("é")), [(1, 0), (2, 0)]);
        aligned.push(of(3), "ab<");
        assert_eq!(starts(&aligned.pass("ab")), [(3, 1)]);
        aligned.push(of(4), "en");
        assert_eq!(aligned.pass(""), []);
        aligned.push(of(5), "x");
        assert_eq!(starts(&aligned.pass("<enx")), [(4, 4), (5, 6)]);
        aligned.push(of(6), "");
        assert_eq!(starts(&aligned.finish()), [(6, 7)]);
    }

    #[test]
    fn both_shapes_spell_control_tokens_and_have_no_infinity() {
        let tokenizer = Tokenizer::from_bytes(tokenizer().to_string().as_bytes()).unwrap();
        let told = [Told { start: 3, logprobs: of(98) }];
        let end = json!({"token": "<|im_end|>", "logprob": -9999.0, "bytes": null});
        let a = json!({"token": "a", "logprob": -0.5, "bytes": [97]});
        let b = json!({"token": "b", "logprob": -1.0, "bytes": [98], "top_logprobs": [a, end]});
        assert_eq!(of_chat(&told, &tokenizer), json!({"content": [b], "refusal": null}));
        let completion = json!({"tokens": ["b"], "token_logprobs": [-1.0], "text_offset": [3],
            "top_logprobs": [{"a": -0.5, "b": -1.0, "<|im_end|>": -9999.0}]});
        assert_eq!(of_completion(&told, &tokenizer), completion);
    }
}
