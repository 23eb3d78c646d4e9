//! Text to token ids and back, from a standard `tokenizer.json`.
//!
//! The `tokenizers` crate normalises, splits and merges. Which texts are added tokens is decided here (`added`), because
//! whether a control token counts depends on who wrote the text, and one prompt mixes both.

mod added;
mod ids;
mod stream;

use std::path::{Path, PathBuf};

use tokenizers::{
    DecoderWrapper, Encoding, Model, NormalizedString, Normalizer, OffsetReferential, OffsetType,
    PostProcessor, PreTokenizedString, PreTokenizer,
};

use crate::runtime::heap;
use crate::runtime::tokenizer::added::{AddedTokens, Fragment};
pub use crate::runtime::tokenizer::ids::{NotAnId, parse_ids};
pub use crate::runtime::tokenizer::stream::TextStream;

/// Whether the texts of control tokens in a text stand for these tokens. User-defined tokens always do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// They are text like any other: what a user typed.
    Plain,
    /// They are control tokens: what a template wrote.
    Parse,
}

/// A tokenizer.
#[derive(Debug)]
pub struct Tokenizer {
    pipeline: tokenizers::Tokenizer,
    added: AddedTokens,
    spelling: Spelling,
    /// Ids before and after a prompt.
    around: (Vec<u32>, Vec<u32>),
}

/// How tokens spell text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spelling {
    /// Every character stands for a byte (GPT-2's alphabet).
    ByteLevel,
    /// `▁` is a space and `<0xNN>` a byte; text starts with a space that is not part of it, where this is set.
    Blocks { strips_first_space: bool },
}

/// Why a tokenizer could not be loaded or used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The file cannot be read.
    #[error("cannot read the tokenizer {}: {source}; put it beside the program or name it with --tokenizer", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not a tokenizer.
    #[error("not a valid tokenizer.json: {0}")]
    Invalid(tokenizers::Error),
    /// It decodes in a way that this program does not know.
    #[error(
        "the tokenizer.json has a decoder that is not supported; supported are ByteLevel and SentencePiece's sequence"
    )]
    UnsupportedDecoder,
    /// A text could not be encoded.
    #[error("cannot encode the text: {0}")]
    Encode(tokenizers::Error),
    /// No token has this id.
    #[error("there is no token {0}")]
    UnknownToken(u32),
}

impl Tokenizer {
    /// Loads a `tokenizer.json`.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Tokenizer, TokenizerError> {
        let path = path.as_ref();
        let bytes =
            std::fs::read(path).map_err(|source| TokenizerError::Read { path: path.to_owned(), source })?;
        let tokenizer = Tokenizer::from_bytes(&bytes);
        drop(bytes);
        heap::give_back_freed();
        tokenizer
    }

    /// Loads the bytes of a `tokenizer.json`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Tokenizer, TokenizerError> {
        let pipeline = tokenizers::Tokenizer::from_bytes(bytes).map_err(TokenizerError::Invalid)?;
        let spelling = pipeline.get_decoder().and_then(spelling).ok_or(TokenizerError::UnsupportedDecoder)?;
        let added = AddedTokens::new(pipeline.get_added_tokens_decoder());
        let around = around(&pipeline).map_err(TokenizerError::Invalid)?;
        Ok(Tokenizer { pipeline, added, spelling, around })
    }

    /// The ids of `text`. With `add_bos_eos`, the tokens that the model wants around a prompt are added.
    pub fn encode(
        &self,
        text: &str,
        special: Special,
        add_bos_eos: bool,
    ) -> Result<Vec<u32>, TokenizerError> {
        self.encode_segments(&[(special, text)], add_bos_eos)
    }

    /// The ids of all segments as one text.
    ///
    /// A control token counts where its text lies in [`Special::Parse`] segments as a whole. But for that, borders between
    /// segments mean nothing: merges reach across them, so that the result is that of encoding the joined text with
    /// [`Special::Parse`] wherever no [`Special::Plain`] byte is part of a control token's text.
    pub fn encode_segments(
        &self,
        segments: &[(Special, &str)],
        add_bos_eos: bool,
    ) -> Result<Vec<u32>, TokenizerError> {
        let text: String = segments.iter().map(|(_, text)| *text).collect();
        let mut plain = Vec::new();
        let mut end = 0;
        for (special, text) in segments {
            let start = end;
            end += text.len();
            if *special == Special::Plain && start < end {
                plain.push(start..end);
            }
        }
        let mut ids = if add_bos_eos { self.around.0.clone() } else { Vec::new() };
        for fragment in self.added.partition(&text, &plain) {
            match fragment {
                Fragment::Token(id) => ids.push(id),
                Fragment::Text(text) => self.encode_text(text, &mut ids).map_err(TokenizerError::Encode)?,
            }
        }
        if add_bos_eos {
            ids.extend_from_slice(&self.around.1);
        }
        Ok(ids)
    }

    /// Appends the ids of text without added tokens.
    fn encode_text(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), tokenizers::Error> {
        let mut normalized = NormalizedString::from(text);
        if let Some(normalizer) = self.pipeline.get_normalizer() {
            normalizer.normalize(&mut normalized)?;
        }
        let mut pieces = PreTokenizedString::from(normalized);
        if let Some(pre_tokenizer) = self.pipeline.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut pieces)?;
        }
        let model = self.pipeline.get_model();
        for (piece, _, _) in pieces.get_splits(OffsetReferential::Normalized, OffsetType::None) {
            ids.extend(model.tokenize(piece)?.into_iter().map(|token| token.id));
        }
        Ok(())
    }

    /// The text of a whole sequence. Control tokens have none; bytes that are not UTF-8 become `U+FFFD`.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        let mut stream = self.stream();
        let mut text = String::new();
        for &id in ids {
            text.extend(stream.push(id)?);
        }
        text.extend(stream.finish());
        Ok(text)
    }

    /// Decodes the beginning of a text as its tokens come.
    pub fn stream(&self) -> TextStream<&Tokenizer> {
        TextStream::beginning(self)
    }

    /// Decodes what follows other text (a prompt) as its tokens come: a leading space is kept.
    pub fn stream_continuation(&self) -> TextStream<&Tokenizer> {
        TextStream::continuation(self)
    }

    /// Whether a text starts with a space that is not part of it.
    fn strips_first_space(&self) -> bool {
        matches!(self.spelling, Spelling::Blocks { strips_first_space: true })
    }

    /// The token as it stands in the vocabulary.
    pub fn token_text(&self, id: u32) -> Option<String> {
        self.pipeline.id_to_token(id)
    }

    /// The id of the token that stands so in the vocabulary.
    pub fn token_id(&self, text: &str) -> Option<u32> {
        self.pipeline.token_to_id(text)
    }

    /// The bytes that a token adds to a text; none for a control token.
    pub fn token_bytes(&self, id: u32) -> Result<Vec<u8>, TokenizerError> {
        if let Some(token) = self.added.get(id) {
            return Ok(if token.special { Vec::new() } else { token.content.clone().into_bytes() });
        }
        let text = self.pipeline.id_to_token(id).ok_or(TokenizerError::UnknownToken(id))?;
        Ok(match self.spelling {
            Spelling::ByteLevel => bytes_of_characters(&text),
            Spelling::Blocks { .. } => match byte_of_name(&text) {
                Some(byte) => vec![byte],
                None => text.replace('▁', " ").into_bytes(),
            },
        })
    }

    /// Whether the token is a control token.
    pub fn is_control(&self, id: u32) -> bool {
        self.added.get(id).is_some_and(|token| token.special)
    }

    /// The texts that [`Special::Parse`] turns into control tokens, in the order of their ids.
    pub fn control_texts(&self) -> impl Iterator<Item = &str> {
        self.added.iter().filter(|token| token.special).map(|token| token.content.as_str())
    }

    /// Ids run from 0 to below this.
    pub fn vocab_size(&self) -> usize {
        self.pipeline.get_vocab_size(true)
    }
}

fn spelling(decoder: &DecoderWrapper) -> Option<Spelling> {
    match decoder {
        DecoderWrapper::ByteLevel(_) => Some(Spelling::ByteLevel),
        DecoderWrapper::Sequence(sequence) => {
            let steps = sequence.get_decoders();
            let falls_back = steps.iter().any(|step| matches!(step, DecoderWrapper::ByteFallback(_)));
            let strips_first_space = steps
                .iter()
                .any(|step| matches!(step, DecoderWrapper::Strip(strip) if strip.content == ' ' && strip.start == 1));
            falls_back.then_some(Spelling::Blocks { strips_first_space })
        }
        _ => None,
    }
}

/// What the post-processor puts before and after a prompt.
fn around(pipeline: &tokenizers::Tokenizer) -> Result<(Vec<u32>, Vec<u32>), tokenizers::Error> {
    let Some(post_processor) = pipeline.get_post_processor() else {
        return Ok((Vec::new(), Vec::new()));
    };
    const PROMPT: u32 = u32::MAX;
    let token = tokenizers::Token::new(PROMPT, String::new(), (0, 0));
    let prompt = Encoding::from_tokens(vec![token], 0);
    let ids = post_processor.process(prompt, None, true)?.get_ids().to_vec();
    let at = ids.iter().position(|&id| id == PROMPT).ok_or("the post-processor drops the prompt")?;
    Ok((ids[..at].to_vec(), ids[at + 1..].to_vec()))
}

/// The bytes that GPT-2's alphabet writes as these characters; other characters stand for themselves.
///
/// The alphabet: printable Latin-1 characters are their own byte; the 68 other bytes are, in order, the characters from
/// `U+0100` on (`bytes_to_unicode` of GPT-2's `encoder.py`).
fn bytes_of_characters(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match character as u32 {
            code @ (0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff) => bytes.push(code as u8),
            code @ 0x100..=0x120 => bytes.push((code - 0x100) as u8),
            code @ 0x121..=0x142 => bytes.push((code - 0x121) as u8 + 0x7f),
            0x143 => bytes.push(0xad),
            _ => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

/// The byte that `<0xNN>` names.
fn byte_of_name(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    let hexadecimal = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    hexadecimal.then(|| u8::from_str_radix(digits, 16).ok())?
}
