//! The tokenizer of the program, with vocabularies small enough to see through.

use forgellm_frontend::checkpoint::{Metadata, Value as Entry};
use forgellm_frontend::tokenizer as file;
use forgellm_runtime::runtime::tokenizer::{Special, Tokenizer, TokenizerError};
use proptest::prelude::*;
use serde_json::{Value, json};

/// The control token and the user-defined token of most tests.
const ADDED: [(&str, bool); 2] = [("<end>", true), ("<tool>", false)];

/// A byte-level tokenizer whose tokens are single bytes, `he`, `<end>` (control) and `<tool>` (user-defined).
fn byte_level() -> Tokenizer {
    byte_level_with(&ADDED)
}

fn byte_level_with(added: &[(&str, bool)]) -> Tokenizer {
    let alphabet = (0u8..=255).map(|byte| {
        let code = match byte {
            0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => u32::from(byte),
            0..=0x20 => 0x100 + u32::from(byte),
            0x7f..=0xa0 => 0x121 + u32::from(byte - 0x7f),
            0xad => 0x143,
        };
        char::from_u32(code).unwrap().to_string()
    });
    load(
        added,
        alphabet.chain(["he".to_owned()]),
        json!([["h", "e"]]),
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false}),
        json!(null),
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false}),
    )
}

/// A SentencePiece tokenizer with all bytes, a few letters, `▁he`, and a space in front.
fn sentencepiece() -> Tokenizer {
    let bytes = (0u8..=255).map(|byte| format!("<0x{byte:02X}>"));
    let letters = ["▁", "h", "e", "▁h", "▁he"].map(str::to_owned);
    load(
        &ADDED,
        bytes.chain(letters),
        json!([["▁", "h"], ["▁h", "e"]]),
        json!(null),
        json!({"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ]}),
        json!({"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ]}),
    )
}

/// A tokenizer that ends prompts with the first of the tokens `added` as `(text, special)`.
fn load(
    added: &[(&str, bool)],
    vocabulary: impl Iterator<Item = String>,
    merges: Value,
    pre_tokenizer: Value,
    normalizer: Value,
    decoder: Value,
) -> Tokenizer {
    let texts = added.iter().map(|(text, _)| (*text).to_owned());
    let tokens: Vec<String> = vocabulary.chain(texts).collect();
    let first_added = tokens.len() - added.len();
    let vocabulary: serde_json::Map<String, Value> =
        tokens.into_iter().enumerate().map(|(id, text)| (text, id.into())).collect();
    let entry = |(id, (content, special)): (usize, &(&str, bool))| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": content.contains("strip"),
            "rstrip": content.contains("strip"), "normalized": false, "special": special})
    };
    let (end, _) = added[0];
    let json = json!({
        "version": "1.0",
        "added_tokens": (first_added..).zip(added).map(entry).collect::<Vec<_>>(),
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": end, "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {end: {"id": end, "ids": [first_added], "tokens": [end]}},
        },
        "decoder": decoder,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "byte_fallback": true, "fuse_unk": true,
            "ignore_merges": false, "vocab": vocabulary, "merges": merges},
    });
    Tokenizer::from_bytes(json.to_string().as_bytes()).unwrap()
}

fn texts(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<String> {
    ids.iter().map(|&id| tokenizer.token_text(id).unwrap()).collect()
}

#[test]
fn user_text_is_no_control_token_and_template_text_is() {
    let tokenizer = byte_level();
    let plain = tokenizer.encode("h<end>", Special::Plain, false).unwrap();
    assert_eq!(texts(&tokenizer, &plain), ["h", "<", "e", "n", "d", ">"]);
    let parsed = tokenizer.encode("h<end>", Special::Parse, false).unwrap();
    assert_eq!(texts(&tokenizer, &parsed), ["h", "<end>"]);
    let user_defined = tokenizer.encode("<tool>", Special::Plain, false).unwrap();
    assert_eq!(texts(&tokenizer, &user_defined), ["<tool>"]);
}

#[test]
fn a_control_token_across_a_border_does_not_count() {
    let tokenizer = byte_level_with(&[("<s>", true)]);
    let segments =
        [(Special::Parse, "<"), (Special::Plain, "s"), (Special::Parse, "><s>"), (Special::Plain, "<s>")];
    let ids = tokenizer.encode_segments(&segments, false).unwrap();
    assert_eq!(texts(&tokenizer, &ids), ["<", "s", ">", "<s>", "<", "s", ">"]);
}

#[test]
fn longer_added_tokens_are_found_first_and_the_leftmost_of_equals() {
    let tokenizer = byte_level_with(&[("ab", false), ("bcd", false), ("xx", false), ("xxx", true)]);
    let check = |text, special, expected: &[&str]| {
        let ids = tokenizer.encode(text, special, false).unwrap();
        assert_eq!(texts(&tokenizer, &ids), expected);
    };
    check("abcd", Special::Plain, &["a", "bcd"]);
    check("xxxxxab", Special::Parse, &["xxx", "xx", "ab"]);
    check("xxxxxab", Special::Plain, &["xx", "xx", "x", "ab"]);
}

#[test]
fn white_space_beside_a_stripping_token_is_dropped() {
    let tokenizer = byte_level_with(&[("<strip>", true)]);
    let ids = tokenizer.encode("a \n<strip>\t\u{b} b", Special::Parse, false).unwrap();
    assert_eq!(texts(&tokenizer, &ids), ["a", "<strip>", "b"]);
    let ids = tokenizer.encode("a <strip>", Special::Plain, false).unwrap();
    assert_eq!(tokenizer.decode(&ids).unwrap(), "a <strip>");
}

#[test]
fn merges_reach_across_segments() {
    let tokenizer = byte_level();
    let ids = tokenizer
        .encode_segments(
            &[(Special::Parse, "<end>h"), (Special::Plain, "e<end>"), (Special::Parse, "<end>")],
            false,
        )
        .unwrap();
    assert_eq!(texts(&tokenizer, &ids), ["<end>", "he", "<", "e", "n", "d", ">", "<end>"]);
}

#[test]
fn the_post_processor_says_what_is_added() {
    let tokenizer = byte_level();
    let ids = tokenizer.encode("h", Special::Plain, true).unwrap();
    assert_eq!(texts(&tokenizer, &ids), ["h", "<end>"]);
    assert_eq!(texts(&tokenizer, &tokenizer.encode("", Special::Plain, true).unwrap()), ["<end>"]);
}

#[test]
fn the_space_in_front_is_no_part_of_the_text() {
    let tokenizer = sentencepiece();
    let ids = tokenizer.encode("he he", Special::Plain, false).unwrap();
    assert_eq!(texts(&tokenizer, &ids), ["▁he", "▁he"]);
    assert_eq!(tokenizer.decode(&ids).unwrap(), "he he");
    let mut continuation = tokenizer.stream_continuation();
    assert_eq!(continuation.push(ids[0]).unwrap().as_deref(), Some(" he"));
}

#[test]
fn a_character_is_given_out_when_it_is_complete() {
    for tokenizer in [byte_level(), sentencepiece()] {
        let ids = tokenizer.encode("🙂", Special::Plain, false).unwrap();
        let ids = &ids[ids.len() - 4..];
        let mut stream = tokenizer.stream_continuation();
        let parts: Vec<Option<String>> = ids.iter().map(|&id| stream.push(id).unwrap()).collect();
        assert_eq!(parts, [None, None, None, Some("🙂".to_owned())]);
        assert_eq!(stream.finish(), None);

        let mut broken = tokenizer.stream_continuation();
        assert_eq!(broken.push(ids[0]).unwrap(), None);
        assert_eq!(broken.push(tokenizer.token_id("h").unwrap()).unwrap().as_deref(), Some("\u{fffd}h"));
        assert_eq!(broken.push(ids[0]).unwrap(), None);
        assert_eq!(broken.finish().as_deref(), Some("\u{fffd}"));
    }
}

#[test]
fn control_tokens_have_no_text_and_unknown_ids_are_refused() {
    let tokenizer = byte_level();
    let ids = tokenizer.encode("h<end>e<tool>", Special::Parse, false).unwrap();
    assert_eq!(tokenizer.decode(&ids).unwrap(), "he<tool>");
    let past = tokenizer.vocab_size() as u32;
    assert!(matches!(tokenizer.decode(&[past]), Err(TokenizerError::UnknownToken(id)) if id == past));
    assert_eq!(tokenizer.control_texts().collect::<Vec<_>>(), ["<end>"]);
}

#[test]
fn what_is_no_tokenizer_is_refused() {
    for bytes in [&b""[..], b"{}", b"[1]", b"{\"version\":\"1.0\"}", b"\xff"] {
        assert!(matches!(Tokenizer::from_bytes(bytes), Err(TokenizerError::Invalid(_))));
    }
    let missing = Tokenizer::from_file("no/such/tokenizer.json").unwrap_err().to_string();
    assert!(missing.contains("no/such/tokenizer.json"), "{missing}");
}

/// A byte-level vocabulary as a GGUF file holds it, split by `pre_tokenizer`.
fn metadata(pre_tokenizer: &str) -> Metadata {
    let mut metadata = Metadata::default();
    let tokenizer = byte_level();
    let tokens = (0..tokenizer.vocab_size() as u32).map(|id| tokenizer.token_text(id).unwrap()).collect();
    metadata.insert("tokenizer.ggml.model", Entry::String("gpt2".to_owned()));
    metadata.insert("tokenizer.ggml.pre", Entry::String(pre_tokenizer.to_owned()));
    metadata.insert("tokenizer.ggml.tokens", Entry::Strings(tokens));
    metadata.insert("tokenizer.ggml.merges", Entry::Strings(vec!["h e".to_owned()]));
    metadata
}

#[test]
fn every_pre_tokenizer_loads_and_keeps_the_text() {
    let Err(file::TokenizerError::UnknownPreTokenizer { known, .. }) = file::from_metadata(&metadata("?"))
    else {
        panic!("`?` is a pre-tokenizer");
    };
    assert!(known.split(", ").count() > 40);
    let text = "He'll he's 12345 x=1;\r\n\t  «é» 中文 🙂 1st\u{a0}  ";
    for name in known.split(", ") {
        let spec = file::from_metadata(&metadata(name)).unwrap();
        let tokenizer = Tokenizer::from_bytes(spec.to_tokenizer_json().as_bytes())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let ids = tokenizer.encode(text, Special::Plain, false).unwrap();
        assert_eq!(tokenizer.decode(&ids).unwrap(), text, "{name}");
    }
}

#[test]
fn contradictions_in_a_file_are_refused() {
    let check = |key: &str, value: Entry, expected: &str| {
        let mut metadata = metadata("gpt-2");
        metadata.insert(key, value);
        let error = file::from_metadata(&metadata).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    let texts = |texts: &[&str]| Entry::Strings(texts.iter().map(|text| (*text).to_owned()).collect());
    check("tokenizer.ggml.model", Entry::String("t5".to_owned()), "`t5`, which is not supported");
    check("tokenizer.ggml.tokens", texts(&[]), "has 0 entries");
    check("tokenizer.ggml.tokens", texts(&["h", "h"]), "tokens 0 and 1 are both `h`");
    check("tokenizer.ggml.tokens", Entry::Bool(true), "`tokenizer.ggml.tokens`");
    check("tokenizer.ggml.token_type", Entry::Integers(vec![1]), "has 1 entries");
    for merge in ["", " ", "he", "h nothing", "é"] {
        check("tokenizer.ggml.merges", texts(&[merge]), "entry 0 of `tokenizer.ggml.merges`");
    }
    check("tokenizer.ggml.eos_token_id", Entry::U64(1 << 40), "is 1099511627776, but");
    check("tokenizer.ggml.add_bos_token", Entry::Bool(true), "does not say which token");
}

proptest! {
    #[test]
    fn streamed_parts_join_to_the_lossy_text(ids in prop::collection::vec(0u32..258, 0..40), byte_level_ in any::<bool>()) {
        let tokenizer = if byte_level_ { byte_level() } else { sentencepiece() };
        let bytes: Vec<u8> = ids.iter().flat_map(|&id| tokenizer.token_bytes(id).unwrap()).collect();
        let mut stream = tokenizer.stream_continuation();
        let mut text = String::new();
        for &id in &ids {
            text.extend(stream.push(id).unwrap());
        }
        text.extend(stream.finish());
        prop_assert_eq!(text, String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn text_survives(text in any::<String>(), tail in "[he ]{0,8}") {
        let text = text + &tail;
        for tokenizer in [byte_level(), sentencepiece()] {
            let ids = tokenizer.encode(&text, Special::Plain, false).unwrap();
            // A SentencePiece space and its visible sign are one.
            prop_assert_eq!(tokenizer.decode(&ids).unwrap().replace('▁', " "), text.replace('▁', " "));
        }
    }
}
