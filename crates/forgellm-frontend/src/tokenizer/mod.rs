//! The tokenizer of a model, from the metadata of its GGUF file alone, written out as a standard `tokenizer.json`.
//!
//! Keys: the `tokenizer.ggml.*` section of the GGUF specification. Where the specification is silent (defaults of missing
//! keys, which tokens end a generation), llama.cpp's behaviour is what files are made for, so it is followed.

mod end_of_generation;
mod json;
mod pre_tokenizer;
mod sentencepiece;
mod spec;

pub use pre_tokenizer::PreTokenizer;
pub use spec::{Algorithm, Merge, Token, TokenKind, TokenizerSpec};

use crate::checkpoint::{Metadata, MetadataError};

/// Reads the tokenizer that `metadata` describes.
///
/// # Errors
/// Names the key that is missing, has the wrong type or contradicts another one, and the tokenizer model or pre-tokenizer
/// that this compiler does not know.
pub fn from_metadata(metadata: &Metadata) -> Result<TokenizerSpec, TokenizerError> {
    spec::read(metadata)
}

/// Why a file's tokenizer cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TokenizerError {
    /// A key is missing or holds something else.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// `tokenizer.ggml.model` is none that we can write as a `tokenizer.json`.
    #[error(
        "tokenizer.ggml.model is `{0}`, which is not supported; supported are `gpt2` (byte-level BPE) and `llama` (SentencePiece BPE)"
    )]
    UnsupportedModel(String),
    /// `tokenizer.ggml.pre` is not in the table.
    #[error(
        "tokenizer.ggml.pre is `{name}`, a pre-tokenizer that is not known, and splitting text in another way would give wrong tokens; known are {known}"
    )]
    UnknownPreTokenizer {
        /// The name in the file.
        name: String,
        /// All names that are known, separated by commas.
        known: String,
    },
    /// An array should have an entry per token.
    #[error("metadata key `{key}` has {found} entries, but there are {tokens} tokens")]
    WrongLength {
        /// The key.
        key: &'static str,
        /// Entries of the array.
        found: usize,
        /// Entries of the vocabulary.
        tokens: usize,
    },
    /// The vocabulary is empty or has more entries than an id can count.
    #[error("metadata key `tokenizer.ggml.tokens` has {0} entries; between 1 and 2^31 are possible")]
    VocabularySize(usize),
    /// Two tokens have the same text, so a text has no single id.
    #[error("tokens {first} and {second} are both `{text}`; the vocabulary must not repeat a token")]
    DuplicateToken {
        /// The repeated text.
        text: String,
        /// The lower id.
        first: usize,
        /// The higher id.
        second: usize,
    },
    /// An entry of `tokenizer.ggml.merges` is not two tokens that make a third.
    #[error("entry {index} of `tokenizer.ggml.merges`, `{text}`, {reason}")]
    BadMerge {
        /// Index of the entry.
        index: usize,
        /// The entry.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A special token's id is past the vocabulary.
    #[error("metadata key `{key}` is {id}, but there are only {tokens} tokens")]
    IdOutOfRange {
        /// The key.
        key: &'static str,
        /// The id given.
        id: usize,
        /// Entries of the vocabulary.
        tokens: usize,
    },
    /// The file asks to add a token that it does not name.
    #[error("`{flag}` is true, but `{id_key}` does not say which token to add")]
    NoTokenToAdd {
        /// The flag that is true.
        flag: &'static str,
        /// The key that should hold the id.
        id_key: &'static str,
    },
}
