//! Which tokens end a generation. Files name one or two by id and leave the others to be known by their text.

use std::collections::{BTreeSet, HashMap};

use super::TokenizerError;
use super::spec::read_id;
use crate::checkpoint::Metadata;

/// What [`find`] found.
pub(super) struct EndOfGeneration {
    /// The ids that end a generation, ascending.
    pub end: Vec<u32>,
    /// Ids that are control tokens by their text, whatever the file calls them.
    pub control: Vec<u32>,
}

/// Keys of ids that end a generation, besides the end of text.
const END_KEYS: [&str; 5] = [
    "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.eom_token_id",
    "tokenizer.ggml.fim_pad_token_id",
    "tokenizer.ggml.fim_rep_token_id",
    "tokenizer.ggml.fim_sep_token_id",
];

/// Texts that end a turn, a message or a document.
const END_TEXTS: [&str; 23] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
    "<|plamo:eos|>",
];

/// Texts of code models that end a generation: after them comes padding, another repository or another file. Of each
/// group only one token counts, the first in this order.
const FILL_IN_END_TEXTS: [(&str, &[&str]); 3] = [
    ("tokenizer.ggml.fim_pad_token_id", &["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"]),
    (
        "tokenizer.ggml.fim_rep_token_id",
        &["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"],
    ),
    ("tokenizer.ggml.fim_sep_token_id", &["<|file_sep|>"]),
];

/// Finds the end tokens among the vocabulary `ids`.
pub(super) fn find(
    metadata: &Metadata,
    ids: &HashMap<String, u32>,
    eos: Option<u32>,
) -> Result<EndOfGeneration, TokenizerError> {
    let mut end: BTreeSet<u32> = eos.into_iter().collect();
    let mut control = BTreeSet::new();
    for key in END_KEYS {
        end.extend(read_id(metadata, key, ids.len())?);
    }
    for text in END_TEXTS {
        if let Some(&id) = ids.get(text) {
            end.insert(id);
            control.insert(id);
        }
    }
    for (key, texts) in FILL_IN_END_TEXTS {
        if metadata.get(key).is_none()
            && let Some(&id) = texts.iter().find_map(|&text| ids.get(text))
        {
            end.insert(id);
            control.insert(id);
        }
    }
    let ends = |text: &str| ids.get(text).is_some_and(|id| end.contains(id));
    let mut inner = Vec::new();
    // With these neighbours `<|end|>` closes a part of a message, not the message.
    if ends("<|call|>") && ends("<|return|>") || (ends("<|call|>") || ends("<|calls|>")) && ends("<|flush|>")
    {
        inner.push("<|end|>");
    }
    // With these neighbours `</s>` is text (the end of struck-out text in HTML).
    if ends("<|tool_response>") || ends("<|plamo:eos|>") {
        inner.push("</s>");
    }
    for id in inner.into_iter().filter_map(|text| ids.get(text)) {
        end.remove(id);
        control.remove(id);
    }
    Ok(EndOfGeneration { end: end.into_iter().collect(), control: control.into_iter().collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Value;

    fn check(texts: &[&str], keys: &[(&str, u64)], eos: Option<u32>, end: &[&str]) {
        let ids: HashMap<String, u32> =
            texts.iter().enumerate().map(|(id, text)| ((*text).to_owned(), id as u32)).collect();
        let mut metadata = Metadata::default();
        for (key, id) in keys {
            metadata.insert(*key, Value::U64(*id));
        }
        let found = find(&metadata, &ids, eos).unwrap();
        let found: Vec<&str> = found.end.iter().map(|&id| texts[id as usize]).collect();
        assert_eq!(found, end);
    }

    #[test]
    fn by_key_and_by_text() {
        check(&["a", "b", "c"], &[("tokenizer.ggml.eot_token_id", 2)], Some(1), &["b", "c"]);
        check(&["a", "<|im_end|>", "<|endoftext|>"], &[], Some(2), &["<|im_end|>", "<|endoftext|>"]);
        check(&["#", "!"], &[], None, &[]);
    }

    #[test]
    fn one_token_per_fill_in_group() {
        check(
            &["<|repo_name|>", "<reponame>", "<|file_sep|>"],
            &[],
            None,
            &["<|repo_name|>", "<|file_sep|>"],
        );
    }

    #[test]
    fn an_inner_end_is_no_end() {
        check(&["<|end|>", "<|return|>", "<|call|>"], &[], Some(1), &["<|return|>", "<|call|>"]);
        check(&["<|end|>", "<|user|>"], &[], None, &["<|end|>"]);
        check(&["</s>", "<|tool_response>"], &[], None, &["<|tool_response>"]);
    }

    #[test]
    fn an_id_past_the_vocabulary_is_refused() {
        let mut metadata = Metadata::default();
        metadata.insert("tokenizer.ggml.eot_token_id", Value::U64(7));
        let ids = HashMap::from([("a".to_owned(), 0)]);
        assert!(matches!(find(&metadata, &ids, None), Err(TokenizerError::IdOutOfRange { id: 7, .. })));
    }
}
