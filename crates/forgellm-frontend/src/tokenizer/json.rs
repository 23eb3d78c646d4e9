//! The standard `tokenizer.json` (Hugging Face tokenizers, format version 1.0).

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

use super::{Algorithm, PreTokenizer, Token, TokenKind, TokenizerSpec, sentencepiece};

impl TokenizerSpec {
    /// The text of a `tokenizer.json` that encodes and decodes as this tokenizer does, tokens to add to prompts included.
    ///
    /// Control and unknown tokens are added tokens with `special: true`, user-defined ones with `special: false`. Everything
    /// else is in the model. Equal specs give equal bytes.
    pub fn to_tokenizer_json(&self) -> String {
        let (normalizer, pre_tokenizer, decoder) = match &self.algorithm {
            Algorithm::ByteLevelBpe { pre_tokenizer, .. } => {
                (Value::Null, split_to_bytes(pre_tokenizer), byte_level())
            }
            Algorithm::SentencePiece { add_space_prefix, .. } => {
                (spaces_to_blocks(*add_space_prefix), Value::Null, blocks_to_spaces(*add_space_prefix))
            }
        };
        let file = File {
            version: "1.0",
            truncation: None,
            padding: None,
            added_tokens: self.added_tokens(),
            normalizer,
            pre_tokenizer,
            post_processor: self.post_processor(),
            decoder,
            model: self.model(),
        };
        #[allow(
            clippy::expect_used,
            reason = "no map here has keys that are not text, and memory cannot fail to be written"
        )]
        serde_json::to_string(&file).expect("a tokenizer.json is plain JSON")
    }

    fn added_tokens(&self) -> Vec<AddedToken<'_>> {
        let added = |token: &Token| token.kind.is_special() || token.kind == TokenKind::UserDefined;
        let tokens = self.tokens.iter().enumerate().filter(|(_, token)| added(token));
        tokens
            .map(|(id, token)| AddedToken {
                id,
                content: &token.text,
                single_word: false,
                lstrip: false,
                rstrip: token.strips_right,
                normalized: false,
                special: token.kind.is_special(),
            })
            .collect()
    }

    fn model(&self) -> Model<'_> {
        let byte_level = matches!(self.algorithm, Algorithm::ByteLevelBpe { .. });
        let (merges, ignore_merges) = match &self.algorithm {
            Algorithm::ByteLevelBpe { pre_tokenizer, merges } => {
                let merges = merges.iter().map(|merge| (merge.left.as_str(), merge.right.as_str()));
                (merges.collect(), pre_tokenizer.ignores_merges)
            }
            Algorithm::SentencePiece { scores, .. } => (sentencepiece::merges(&self.tokens, scores), false),
        };
        let unknown = self.unknown.filter(|_| !byte_level);
        Model {
            kind: "BPE",
            dropout: None,
            unk_token: unknown.map(|id| self.tokens[id as usize].text.as_str()),
            continuing_subword_prefix: None,
            end_of_word_suffix: None,
            fuse_unk: !byte_level,
            byte_fallback: !byte_level,
            ignore_merges,
            vocab: Vocabulary(&self.tokens),
            merges,
        }
    }

    /// The tokens around a prompt.
    fn post_processor(&self) -> Value {
        let bos = self.bos.filter(|_| self.add_bos);
        let eos = self.eos.filter(|_| self.add_eos);
        if bos.is_none() && eos.is_none() {
            return Value::Null;
        }
        let text = |id: u32| self.tokens[id as usize].text.as_str();
        let special = |id: u32| json!({"SpecialToken": {"id": text(id), "type_id": 0}});
        let sequence = |name: &str| json!({"Sequence": {"id": name, "type_id": 0}});
        let around = |names: &[&str]| -> Vec<Value> {
            let parts = names.iter().map(|name| {
                bos.map(special)
                    .into_iter()
                    .chain([sequence(name)])
                    .chain(eos.map(special))
                    .collect::<Vec<_>>()
            });
            parts.flatten().collect()
        };
        let entries: serde_json::Map<String, Value> = [bos, eos]
            .into_iter()
            .flatten()
            .map(|id| (text(id).to_owned(), json!({"id": text(id), "ids": [id], "tokens": [text(id)]})))
            .collect();
        json!({
            "type": "TemplateProcessing",
            "single": around(&["A"]),
            "pair": around(&["A", "B"]),
            "special_tokens": entries,
        })
    }
}

fn split_to_bytes(pre_tokenizer: &PreTokenizer) -> Value {
    let split = |pattern: &&str| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
    let mut steps: Vec<Value> = pre_tokenizer.splits.iter().map(split).collect();
    steps.push(
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false}),
    );
    json!({"type": "Sequence", "pretokenizers": steps})
}

fn byte_level() -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false})
}

fn spaces_to_blocks(add_space_prefix: bool) -> Value {
    let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    if !add_space_prefix {
        return replace;
    }
    json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace]})
}

fn blocks_to_spaces(add_space_prefix: bool) -> Value {
    let mut steps = vec![
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if add_space_prefix {
        steps.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    json!({"type": "Sequence", "decoders": steps})
}

#[derive(serde::Serialize)]
struct File<'a> {
    version: &'static str,
    truncation: Option<()>,
    padding: Option<()>,
    added_tokens: Vec<AddedToken<'a>>,
    normalizer: Value,
    pre_tokenizer: Value,
    post_processor: Value,
    decoder: Value,
    model: Model<'a>,
}

#[derive(serde::Serialize)]
struct AddedToken<'a> {
    id: usize,
    content: &'a str,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
    normalized: bool,
    special: bool,
}

#[derive(serde::Serialize)]
struct Model<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    dropout: Option<f32>,
    unk_token: Option<&'a str>,
    continuing_subword_prefix: Option<&'a str>,
    end_of_word_suffix: Option<&'a str>,
    fuse_unk: bool,
    byte_fallback: bool,
    ignore_merges: bool,
    vocab: Vocabulary<'a>,
    merges: Vec<(&'a str, &'a str)>,
}

/// A map from text to id, in the order of the ids.
struct Vocabulary<'a>(&'a [Token]);

impl Serialize for Vocabulary<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (id, token) in self.0.iter().enumerate() {
            map.serialize_entry(&token.text, &id)?;
        }
        map.end()
    }
}
