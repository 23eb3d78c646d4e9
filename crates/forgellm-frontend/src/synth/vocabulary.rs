//! Tokenizers for synthetic models: small enough to be made here, complete enough that any text can be
//! written and read with them.

use std::collections::BTreeSet;

use crate::checkpoint::{Metadata, Value};

/// Which real tokenizer is imitated: its kind, its pre-tokenizer, its control tokens and where they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vocabulary {
    /// Byte-level BPE, control tokens first, no BOS.
    Smollm,
    /// Byte-level BPE, control tokens last, no BOS.
    Qwen2,
    /// Byte-level BPE, control tokens last, with BOS.
    Llama3,
    /// SentencePiece with byte fallback, control tokens first, with BOS.
    Gemma,
}

/// Adds the tokenizer's keys for a vocabulary of `size` tokens.
pub(super) fn describe(vocabulary: Vocabulary, size: usize, metadata: &mut Metadata) {
    match vocabulary {
        Vocabulary::Smollm => byte_level(metadata, size, "smollm", &SMOLLM, true),
        Vocabulary::Qwen2 => byte_level(metadata, size, "qwen2", &CHATML, false),
        Vocabulary::Llama3 => byte_level(metadata, size, "llama-bpe", &LLAMA3, false),
        Vocabulary::Gemma => sentence_piece(metadata, size),
    }
}

/// The control tokens of a byte-level vocabulary; the others are indices into `tokens`.
struct Control {
    tokens: &'static [&'static str],
    bos: usize,
    eos: usize,
    padding: usize,
    add_bos: bool,
    chat_template: &'static str,
}

const CHATML: Control = Control {
    tokens: &["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    bos: 0,
    eos: 2,
    padding: 0,
    add_bos: false,
    chat_template: "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] \
         + '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
};

const SMOLLM: Control = Control { bos: 1, padding: 2, ..CHATML };

const LLAMA3: Control = Control {
    tokens: &[
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
    ],
    bos: 0,
    eos: 4,
    padding: 1,
    add_bos: true,
    chat_template: "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] \
         + '<|end_header_id|>\\n\\n' + message['content'] + '<|eot_id|>' }}{% endfor %}\
         {% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
};

/// Kinds of tokens (`enum llama_token_type` in `llama.h`).
mod kind {
    pub(super) const NORMAL: i64 = 1;
    pub(super) const UNKNOWN: i64 = 2;
    pub(super) const CONTROL: i64 = 3;
    pub(super) const BYTE: i64 = 6;
}

/// The words that are one token; so is each of their beginnings.
const WORDS: [&str; 24] = [
    " the", " of", " and", " to", " in", " is", " that", " for", " was", " with", " are", " this", " have",
    " not", " from", "ing", "er", "on", "The", "es", " world", "Hello", " model", " one",
];

/// Every beginning of a word, of two characters and more, without its last character, and with it.
fn merges(space: &str) -> Vec<(String, String)> {
    let mut seen = BTreeSet::new();
    let mut merges = Vec::new();
    for word in WORDS {
        let word = word.replace(' ', space);
        for (last, character) in word.char_indices().skip(1) {
            let end = last + character.len_utf8();
            if seen.insert(word[..end].to_owned()) {
                merges.push((word[..last].to_owned(), word[last..end].to_owned()));
            }
        }
    }
    merges
}

/// A token that no text is split into, but which a random model may well choose: a number as a word.
fn filler(space: &str, index: usize) -> String {
    format!("{space}#{index}")
}

fn byte_level(metadata: &mut Metadata, size: usize, pre: &str, control: &Control, control_first: bool) {
    let merges = merges("Ġ");
    let mut tokens: Vec<String> = (0..=255).map(|byte| byte_character(byte).to_string()).collect();
    tokens.extend(merges.iter().map(|(left, right)| format!("{left}{right}")));
    let fillers = size.saturating_sub(tokens.len() + control.tokens.len());
    tokens.extend((0..fillers).map(|index| filler("Ġ", index)));
    let mut kinds = vec![kind::NORMAL; tokens.len()];
    let first_control = if control_first { 0 } else { tokens.len() };
    tokens.splice(first_control..first_control, control.tokens.iter().map(|&token| token.to_owned()));
    kinds.splice(first_control..first_control, control.tokens.iter().map(|_| kind::CONTROL));

    let id = |index: usize| Value::U64((first_control + index) as u64);
    let mut set = |name: &str, value: Value| metadata.insert(format!("tokenizer.ggml.{name}"), value);
    set("model", Value::String("gpt2".to_owned()));
    set("pre", Value::String(pre.to_owned()));
    set("tokens", Value::Strings(tokens));
    set("token_type", Value::Integers(kinds));
    set("merges", Value::Strings(merges.iter().map(|(left, right)| format!("{left} {right}")).collect()));
    set("bos_token_id", id(control.bos));
    set("eos_token_id", id(control.eos));
    set("padding_token_id", id(control.padding));
    set("add_bos_token", Value::Bool(control.add_bos));
    set("add_space_prefix", Value::Bool(false));
    metadata.insert("tokenizer.chat_template", Value::String(control.chat_template.to_owned()));
}

/// The character that stands for a byte in GPT-2's vocabularies: itself where it is printable Latin-1, else
/// the next one from U+0100 on (`bytes_to_unicode` in GPT-2's `encoder.py`).
fn byte_character(byte: u8) -> char {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if printable(byte) {
        return char::from(byte);
    }
    let unprintable_before = (0..byte).filter(|&other| !printable(other)).count();
    char::from_u32(0x100 + unprintable_before as u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn sentence_piece(metadata: &mut Metadata, size: usize) {
    const CONTROL: [(&str, i64); 6] = [
        ("<pad>", kind::CONTROL),
        ("<eos>", kind::CONTROL),
        ("<bos>", kind::CONTROL),
        ("<unk>", kind::UNKNOWN),
        ("<start_of_turn>", kind::CONTROL),
        ("<end_of_turn>", kind::CONTROL),
    ];
    const CHAT_TEMPLATE: &str = "{{ bos_token }}{% for message in messages %}{{ '<start_of_turn>' \
         + ('model' if message['role'] == 'assistant' else message['role']) + '\\n' + message['content'] \
         + '<end_of_turn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}";
    let mut tokens: Vec<(String, i64, f32)> = Vec::with_capacity(size);
    tokens.extend(CONTROL.iter().map(|&(text, kind)| (text.to_owned(), kind, -1000.0)));
    tokens.extend((0..=255u8).map(|byte| (format!("<0x{byte:02X}>"), kind::BYTE, 0.0)));
    // The higher score merges first. The fillers, whose parts are no tokens, come last in any case.
    let mut normal: Vec<String> = merges("▁").iter().map(|(left, right)| format!("{left}{right}")).collect();
    normal.push("▁".to_owned());
    normal.extend((b'!'..=b'~').map(|byte| char::from(byte).to_string()));
    normal.extend(
        "äöüßéèñçøåμπ世界日本語你好привет".chars().collect::<BTreeSet<_>>().iter().map(char::to_string),
    );
    let fillers = size.saturating_sub(tokens.len() + normal.len());
    normal.extend((0..fillers).map(|index| filler("▁", index)));
    tokens.extend(normal.into_iter().enumerate().map(|(rank, text)| (text, kind::NORMAL, -(rank as f32))));

    let mut set = |name: &str, value: Value| metadata.insert(format!("tokenizer.ggml.{name}"), value);
    set("model", Value::String("llama".to_owned()));
    set("pre", Value::String("default".to_owned()));
    set("scores", Value::Floats(tokens.iter().map(|token| token.2).collect()));
    set("token_type", Value::Integers(tokens.iter().map(|token| token.1).collect()));
    set("tokens", Value::Strings(tokens.into_iter().map(|token| token.0).collect()));
    set("padding_token_id", Value::U64(0));
    set("eos_token_id", Value::U64(1));
    set("bos_token_id", Value::U64(2));
    set("unknown_token_id", Value::U64(3));
    set("eot_token_id", Value::U64(5));
    set("add_bos_token", Value::Bool(true));
    set("add_eos_token", Value::Bool(false));
    set("add_space_prefix", Value::Bool(false));
    metadata.insert("tokenizer.chat_template", Value::String(CHAT_TEMPLATE.to_owned()));
}
