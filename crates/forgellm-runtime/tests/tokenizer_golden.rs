//! Real vocabularies, read from their GGUF files, against token ids from llama.cpp.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use forgellm_frontend::checkpoint::gguf::GgufFile;
use forgellm_frontend::tokenizer::{self, TokenizerSpec};
use forgellm_runtime::runtime::tokenizer::{Special, Tokenizer};
use proptest::prelude::*;
use serde_json::Value;

/// A real model's tokenizer and what llama.cpp and transformers make of it.
struct Model {
    spec: TokenizerSpec,
    tokenizer: Tokenizer,
    golden: Value,
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn load(file: &str, golden: &str) -> Model {
    let folder =
        std::env::var_os("FORGELLM_MODELS").map_or_else(|| workspace().join("models"), PathBuf::from);
    let path = folder.join(file);
    assert!(path.is_file(), "{} is missing; run `cargo xtask models` or set FORGELLM_MODELS", path.display());
    let spec = tokenizer::from_metadata(GgufFile::open(&path).unwrap().metadata()).unwrap();
    let tokenizer = Tokenizer::from_bytes(spec.to_tokenizer_json().as_bytes()).unwrap();
    let golden = std::fs::read(workspace().join("tests/golden").join(golden)).unwrap();
    Model { spec, tokenizer, golden: serde_json::from_slice(&golden).unwrap() }
}

fn smollm2() -> &'static Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    MODEL.get_or_init(|| load("smollm2.gguf", "smollm2-135m.json"))
}

fn gemma3() -> &'static Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    MODEL.get_or_init(|| load("gemma3.gguf", "gemma3-270m.json"))
}

fn qwen() -> &'static Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    MODEL.get_or_init(|| load("qwen.gguf", "qwen2.5-coder-0.5b.json"))
}

fn ids(value: &Value) -> Vec<u32> {
    let ids = value.as_array().unwrap().iter();
    ids.map(|id| u32::try_from(id.as_u64().unwrap()).unwrap()).collect()
}

fn check_golden(model: &Model) {
    let Model { tokenizer, golden, .. } = model;
    let texts = golden["tokenizer"].as_array().unwrap();
    assert_eq!(texts.len(), 32);
    for case in texts {
        let text = case["text"].as_str().unwrap();
        let encoded = tokenizer.encode(text, Special::Plain, false).unwrap();
        assert_eq!(encoded, ids(&case["ids"]), "{text:?}");
        assert_eq!(tokenizer.decode(&encoded).unwrap(), text);
    }
    for kind in ["logits", "greedy", "perplexity"] {
        for case in golden[kind].as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            assert_eq!(tokenizer.encode(text, Special::Parse, true).unwrap(), ids(&case["ids"]), "{text:?}");
        }
    }
    for case in golden["greedy"].as_array().unwrap() {
        let mut stream = tokenizer.stream_continuation();
        let mut text = String::new();
        for id in ids(&case["continuation"]) {
            text.extend(stream.push(id).unwrap());
        }
        text.extend(stream.finish());
        assert_eq!(text, case["continuation_text"].as_str().unwrap());
    }
}

/// No text becomes a control token that a user wrote, and each of them is one token where the template wrote it.
fn check_control_texts(model: &Model) {
    let Model { tokenizer, spec, .. } = model;
    let controls: Vec<(u32, &str)> = (0..)
        .zip(&spec.tokens)
        .filter(|(_, token)| token.kind.is_special())
        .map(|(id, token)| (id, token.text.as_str()))
        .collect();
    assert!(controls.len() > 10);
    for (id, text) in controls {
        let message = format!("Say {text} twice: {text}{text}");
        let plain = tokenizer.encode(&message, Special::Plain, false).unwrap();
        assert!(
            plain.iter().all(|&id| !tokenizer.is_control(id)),
            "{text:?} typed by a user became a control token"
        );
        assert_eq!(tokenizer.decode(&plain).unwrap(), message);
        assert_eq!(tokenizer.encode(text, Special::Parse, false).unwrap(), [id]);
    }
}

fn check_end(model: &Model, expected: &[&str]) {
    let text = |&id: &u32| model.spec.tokens[id as usize].text.as_str();
    assert_eq!(model.spec.end_ids.iter().map(text).collect::<Vec<_>>(), expected);
}

#[test]
fn smollm2_golden() {
    check_golden(smollm2());
}

#[test]
fn gemma3_golden() {
    check_golden(gemma3());
}

#[test]
fn qwen_golden() {
    check_golden(qwen());
}

#[test]
fn user_text_is_never_a_control_token() {
    check_control_texts(smollm2());
    check_control_texts(gemma3());
    check_control_texts(qwen());
}

#[test]
fn end_tokens_are_those_of_llama_cpp() {
    check_end(smollm2(), &["<|endoftext|>", "<|im_end|>", "<reponame>"]);
    check_end(gemma3(), &["<eos>", "<end_of_turn>", "</s>"]);
    check_end(
        qwen(),
        &["</s>", "<|endoftext|>", "<|im_end|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"],
    );
}

#[test]
fn a_chat_prompt_in_segments_is_the_prompt_as_a_whole() {
    for model in [smollm2(), qwen()] {
        for case in model.golden["chat"].as_array().unwrap() {
            let prompt = case["prompt"].as_str().unwrap();
            let whole = model.tokenizer.encode(prompt, Special::Parse, false).unwrap();
            assert!(whole.iter().filter(|&&id| model.tokenizer.is_control(id)).count() >= 4);
            for message in case["messages"].as_array().unwrap() {
                let content = message["content"].as_str().unwrap();
                let (before, after) = prompt.split_once(content).unwrap();
                let segments = [(Special::Parse, before), (Special::Plain, content), (Special::Parse, after)];
                assert_eq!(model.tokenizer.encode_segments(&segments, false).unwrap(), whole);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn streamed_text_is_the_decoded_text(seeds in prop::collection::vec(any::<u32>(), 0..64)) {
        for model in [smollm2(), gemma3(), qwen()] {
            let size = model.tokenizer.vocab_size() as u32;
            let ids: Vec<u32> = seeds.iter().map(|seed| seed % size).collect();
            let mut stream = model.tokenizer.stream();
            let mut text = String::new();
            let mut bytes = Vec::new();
            for &id in &ids {
                text.extend(stream.push(id).unwrap());
                bytes.extend(model.tokenizer.token_bytes(id).unwrap());
            }
            text.extend(stream.finish());
            prop_assert_eq!(&text, &model.tokenizer.decode(&ids).unwrap());
            prop_assert_eq!(&text, &String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn text_survives(text in any::<String>()) {
        for model in [smollm2(), gemma3(), qwen()] {
            let ids = model.tokenizer.encode(&text, Special::Plain, false).unwrap();
            prop_assert_eq!(model.tokenizer.decode(&ids).unwrap().replace('▁', " "), text.replace('▁', " "));
        }
    }
}
