//! What a GGUF file says about its tokenizer.

use std::collections::{HashMap, HashSet};

use super::{PreTokenizer, TokenizerError, end_of_generation, pre_tokenizer};
use crate::checkpoint::{Metadata, Value};

/// A complete tokenizer; [`TokenizerSpec::to_tokenizer_json`] writes it for the program.
///
/// Two things a `tokenizer.json` has no place for: [`TokenizerSpec::end_ids`] and [`TokenizerSpec::chat_template`]. The
/// compiler gives them to the program as constants.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenizerSpec {
    /// How text becomes tokens.
    pub algorithm: Algorithm,
    /// The vocabulary; the index is the id.
    pub tokens: Vec<Token>,
    /// The token that begins a text.
    pub bos: Option<u32>,
    /// The token that ends a text.
    pub eos: Option<u32>,
    /// The token for what the vocabulary cannot express.
    pub unknown: Option<u32>,
    /// Whether a prompt starts with [`TokenizerSpec::bos`], which is then there.
    pub add_bos: bool,
    /// Whether a prompt ends with [`TokenizerSpec::eos`], which is then there.
    pub add_eos: bool,
    /// The tokens after which a generation is over, ascending, without repetition.
    pub end_ids: Vec<u32>,
    /// The chat template (Jinja), where the file has one.
    pub chat_template: Option<String>,
}

/// How text becomes tokens.
#[derive(Debug, Clone, PartialEq)]
pub enum Algorithm {
    /// Byte-pair encoding over bytes written as printable characters (GPT-2), within the pieces of a pre-tokenizer.
    ByteLevelBpe {
        /// How text is split first.
        pre_tokenizer: &'static PreTokenizer,
        /// What merges, most urgent first.
        merges: Vec<Merge>,
    },
    /// SentencePiece's BPE: the adjacent pair whose union has the highest score merges; bytes stand in for characters
    /// that are no token.
    SentencePiece {
        /// One score per token.
        scores: Vec<f32>,
        /// Whether text gets a space in front (also after a control token).
        add_space_prefix: bool,
    },
}

/// Two tokens, by their text, that merge into one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merge {
    /// The left part.
    pub left: String,
    /// The right part.
    pub right: String,
}

/// An entry of the vocabulary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its text as the algorithm sees it (bytes as characters, or `▁` for a space).
    pub text: String,
    /// What it is for.
    pub kind: TokenKind,
    /// Whether white space that follows it is dropped (the control tokens of Phi-3).
    pub strips_right: bool,
}

/// What a token is for; the numbers are GGUF's `tokenizer.ggml.token_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// Text (1).
    Normal,
    /// What the vocabulary cannot express (2).
    Unknown,
    /// Structure that only a template may write (3).
    Control,
    /// Text that is always one token (4).
    UserDefined,
    /// No text leads to it (5).
    Unused,
    /// One byte, written `<0xNN>` (6).
    Byte,
}

impl TokenKind {
    /// Whether the token is found in a template but never in a user's text.
    pub const fn is_special(self) -> bool {
        matches!(self, TokenKind::Control | TokenKind::Unknown)
    }

    fn from_gguf(kind: i64) -> TokenKind {
        match kind {
            1 => TokenKind::Normal,
            2 => TokenKind::Unknown,
            3 => TokenKind::Control,
            4 => TokenKind::UserDefined,
            6 => TokenKind::Byte,
            _ => TokenKind::Unused,
        }
    }
}

const TOKENS: &str = "tokenizer.ggml.tokens";
const SCORES: &str = "tokenizer.ggml.scores";
const KINDS: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";
const BOS: &str = "tokenizer.ggml.bos_token_id";
const EOS: &str = "tokenizer.ggml.eos_token_id";
const UNKNOWN: &str = "tokenizer.ggml.unknown_token_id";
const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
const ADD_EOS: &str = "tokenizer.ggml.add_eos_token";
const ADD_SPACE_PREFIX: &str = "tokenizer.ggml.add_space_prefix";

pub(super) fn read(metadata: &Metadata) -> Result<TokenizerSpec, TokenizerError> {
    let model = metadata.require_string("tokenizer.ggml.model")?;
    let sentencepiece = match model {
        "gpt2" => false,
        "llama" => true,
        other => return Err(TokenizerError::UnsupportedModel(other.to_owned())),
    };
    let mut tokens = read_tokens(metadata)?;
    let ids = index(&tokens)?;

    let (algorithm, adds_bos_by_default) = if sentencepiece {
        let scores = metadata.require_floats(SCORES)?.to_vec();
        check_length(SCORES, scores.len(), tokens.len())?;
        let add_space_prefix = metadata.bool(ADD_SPACE_PREFIX)?.unwrap_or(true);
        (Algorithm::SentencePiece { scores, add_space_prefix }, true)
    } else {
        let pre_tokenizer = pre_tokenizer::find(metadata.string("tokenizer.ggml.pre")?.unwrap_or("default"))?;
        let merges = read_merges(metadata.require_strings(MERGES)?, &ids)?;
        (Algorithm::ByteLevelBpe { pre_tokenizer, merges }, pre_tokenizer.adds_bos)
    };

    let default_id = |id: u32| (sentencepiece && (id as usize) < tokens.len()).then_some(id);
    let bos = read_id(metadata, BOS, tokens.len())?.or(default_id(1));
    let eos = read_id(metadata, EOS, tokens.len())?.or(default_id(2));
    let unknown = read_id(metadata, UNKNOWN, tokens.len())?.or(default_id(0));
    let add_bos = adds(metadata, (ADD_BOS, BOS), bos, adds_bos_by_default)?;
    let add_eos = adds(metadata, (ADD_EOS, EOS), eos, false)?;

    let found = end_of_generation::find(metadata, &ids, eos)?;
    for id in found.control {
        tokens[id as usize].kind = TokenKind::Control;
    }
    let end_ids = found.end;
    if metadata.string("general.name")?.is_some_and(is_phi3) {
        strip_after_control_tokens(&mut tokens);
    }
    let chat_template = metadata.string("tokenizer.chat_template")?.map(str::to_owned);
    Ok(TokenizerSpec { algorithm, tokens, bos, eos, unknown, add_bos, add_eos, end_ids, chat_template })
}

fn read_tokens(metadata: &Metadata) -> Result<Vec<Token>, TokenizerError> {
    let texts = metadata.require_strings(TOKENS)?;
    if texts.is_empty() || i32::try_from(texts.len()).is_err() {
        return Err(TokenizerError::VocabularySize(texts.len()));
    }
    let kinds = metadata.integers(KINDS)?;
    if let Some(kinds) = kinds {
        check_length(KINDS, kinds.len(), texts.len())?;
    }
    let tokens = texts.iter().enumerate().map(|(id, text)| Token {
        // An empty text would match everywhere; no text leads to the substitute.
        text: if text.is_empty() { format!("[EMPTY_{id}]") } else { text.clone() },
        kind: kinds.map_or(TokenKind::Normal, |kinds| TokenKind::from_gguf(kinds[id])),
        strips_right: false,
    });
    Ok(tokens.collect())
}

fn check_length(key: &'static str, found: usize, tokens: usize) -> Result<(), TokenizerError> {
    if found == tokens { Ok(()) } else { Err(TokenizerError::WrongLength { key, found, tokens }) }
}

/// The id of each text.
fn index(tokens: &[Token]) -> Result<HashMap<String, u32>, TokenizerError> {
    let mut ids = HashMap::with_capacity(tokens.len());
    for (second, token) in tokens.iter().enumerate() {
        if let Some(first) = ids.insert(token.text.clone(), second as u32) {
            return Err(TokenizerError::DuplicateToken {
                text: token.text.clone(),
                first: first as usize,
                second,
            });
        }
    }
    Ok(ids)
}

/// Splits `left right` entries; the left part may itself begin with a space. Of a repeated entry the first counts.
fn read_merges(entries: &[String], ids: &HashMap<String, u32>) -> Result<Vec<Merge>, TokenizerError> {
    let mut seen = HashSet::with_capacity(entries.len());
    let mut merges = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let bad = |reason| TokenizerError::BadMerge { index, text: entry.clone(), reason };
        let separator = entry.char_indices().skip(1).find(|&(_, character)| character == ' ');
        let Some((at, _)) = separator else {
            return Err(bad("is not two texts with a space between"));
        };
        let (left, right) = (&entry[..at], &entry[at + 1..]);
        if ![left.to_owned(), right.to_owned(), [left, right].concat()]
            .iter()
            .all(|text| ids.contains_key(text))
        {
            return Err(bad("merges texts that are not in the vocabulary, or into one that is not"));
        }
        if seen.insert(entry.as_str()) {
            merges.push(Merge { left: left.to_owned(), right: right.to_owned() });
        }
    }
    Ok(merges)
}

/// What some converters write where there is no such token; others write -1.
const NO_ID: u64 = u32::MAX as u64;

pub(super) fn read_id(
    metadata: &Metadata,
    key: &'static str,
    tokens: usize,
) -> Result<Option<u32>, TokenizerError> {
    if matches!(metadata.get(key), Some(Value::I64(-1)) | Some(Value::U64(NO_ID))) {
        return Ok(None);
    }
    match metadata.usize(key)? {
        None => Ok(None),
        Some(id) if id < tokens => Ok(Some(id as u32)),
        Some(id) => Err(TokenizerError::IdOutOfRange { key, id, tokens }),
    }
}

/// Whether a token is added to every prompt: as the file says, else by default where the token is known.
fn adds(
    metadata: &Metadata,
    (flag, id_key): (&'static str, &'static str),
    id: Option<u32>,
    default: bool,
) -> Result<bool, TokenizerError> {
    match (metadata.bool(flag)?, id) {
        (Some(true), None) => Err(TokenizerError::NoTokenToAdd { flag, id_key }),
        (Some(adds), _) => Ok(adds),
        (None, id) => Ok(default && id.is_some()),
    }
}

fn is_phi3(name: &str) -> bool {
    let name = name.to_lowercase();
    name.contains("phi-3") || name.contains("phi3")
}

/// Phi-3 was trained with the white space after its control tokens dropped, which GGUF has no key for.
fn strip_after_control_tokens(tokens: &mut [Token]) {
    for token in tokens {
        let added = token.kind.is_special() || token.kind == TokenKind::UserDefined;
        token.strips_right = added && !["<unk>", "<s>", "<|endoftext|>"].contains(&token.text.as_str());
    }
}
