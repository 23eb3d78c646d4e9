//! A tokenizer's tokens by their bytes, which is all that a guide knows of them.

use std::sync::Arc;
use std::thread;

use llguidance::api::StopReason;
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};

use crate::runtime::guide::{Grammar, Guide, GuideError, first_line};
use crate::runtime::tokenizer::Tokenizer;

/// States of a grammar's automaton, each of one or two kilobytes.
const MOST_STATES: usize = 50_000;
/// Symbols of a grammar's rules.
const MOST_SYMBOLS: usize = 200_000;

/// Bytes of a grammar's text.
const MOST_BYTES: usize = 256 << 10;
/// The parser of grammars calls itself for each rule that refers to another, so a chain of them needs a stack. Only what is used of it
/// takes memory.
const STACK: usize = 1 << 30;

/// Makes guides. To make one takes a moment, and some memory for each token of the vocabulary.
pub struct Vocabulary {
    factory: ParserFactory,
    end: u32,
}

impl Vocabulary {
    /// The tokens of a model that gives `vocab` logits. Control tokens are never part of a guided text.
    pub fn new(tokenizer: &Tokenizer, vocab: usize) -> Result<Vocabulary, GuideError> {
        let end = u32::try_from(vocab).map_err(|error| GuideError::Vocabulary(error.to_string()))?;
        // What has no bytes, or no place in the tokenizer, cannot be chosen.
        let mut words: Vec<Vec<u8>> =
            (0..end).map(|token| tokenizer.token_bytes(token).unwrap_or_default()).collect();
        // The end is a token of its own, as a model may have several that end an answer, or none.
        words.push(END.to_vec());
        let trie = TokTrie::from(&TokRxInfo::new(end + 1, end), &words);
        let tokens: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let slices = SlicedBiasComputer::general_slices();
        let mut factory = ParserFactory::new(&tokens, InferenceCapabilities::default(), &slices)
            .map_err(|error| GuideError::Vocabulary(first_line(&error.to_string())))?;
        factory.quiet();
        let limits = factory.limits_mut();
        limits.max_lexer_states = MOST_STATES;
        limits.max_grammar_size = MOST_SYMBOLS;
        limits.verbose_errors = false;
        Ok(Vocabulary { factory, end })
    }

    /// A guide at the beginning of an answer.
    ///
    /// # Errors
    /// When the grammar is wrong, asks for what is not supported, or is too large.
    pub fn guide(&self, grammar: &Grammar) -> Result<Guide, GuideError> {
        let size = grammar.size();
        if size > MOST_BYTES {
            let reason = format!("it has {size} bytes, and may have {MOST_BYTES}");
            return Err(GuideError::Invalid { kind: grammar.kind(), reason });
        }
        let failed = |reason: &str| GuideError::Failed(reason.to_owned());
        thread::scope(|scope| {
            let builder = thread::Builder::new().stack_size(STACK);
            let made = builder.spawn_scoped(scope, || self.guide_here(grammar));
            made.map_err(|error| failed(&error.to_string()))?
                .join()
                .map_err(|_| failed("its reader failed"))?
        })
    }

    /// The guide, made on this thread.
    fn guide_here(&self, grammar: &Grammar) -> Result<Guide, GuideError> {
        let invalid =
            |reason: String| GuideError::Invalid { kind: grammar.kind(), reason: first_line(&reason) };
        let parser = self.factory.create_parser(grammar.for_parser()?);
        let mut matcher = Matcher::new(Ok(parser.map_err(|error| invalid(format!("{error:#}")))?));
        // The first tokens show whether there are any.
        match matcher.compute_mask_or_eos() {
            Ok(_) => Ok(Guide { matcher, end: self.end }),
            Err(_) if matcher.stop_reason() == StopReason::NoExtensionBias => {
                Err(invalid("no text can follow it".to_owned()))
            }
            Err(error) => Err(invalid(matcher.get_error().unwrap_or_else(|| error.to_string()))),
        }
    }
}

/// How the trie knows control tokens: no text holds this byte.
const END: &[u8] = b"\xff<end>";
