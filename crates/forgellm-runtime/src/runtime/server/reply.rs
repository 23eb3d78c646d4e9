//! The JSON of answers, whole and in pieces.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::runtime::generate::FinishReason;
use crate::runtime::scheduler::Finished;
use crate::runtime::server::answer::Piece;
use crate::runtime::server::logprobs::{self, Told};
use crate::runtime::tokenizer::Tokenizer;

/// Which of the two APIs a client uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    Chat,
    Completion,
}

/// What all JSON of one request has in common.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub api: Api,
    pub id: String,
    /// Seconds since 1970.
    pub created: u64,
    pub model: &'static str,
    /// Names the compiled program: the same fingerprint and seed give the same answer.
    pub fingerprint: String,
    /// Whether a stream ends with the token counts.
    pub include_usage: bool,
    /// Whether log-probabilities are told.
    pub logprobs: bool,
    pub tokenizer: Arc<Tokenizer>,
}

/// An answer that is sent as a whole.
#[derive(Debug, Clone, Default)]
pub(super) struct Whole {
    text: String,
    tokens: Vec<Told>,
    /// None until the end.
    pub reason: Option<FinishReason>,
}

impl Whole {
    pub fn push(&mut self, piece: Piece) {
        self.text.push_str(&piece.text);
        self.tokens.extend(piece.tokens);
    }
}

/// Tokens of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Usage {
    prompt: usize,
    reused: usize,
    generated: usize,
}

impl Usage {
    /// Counts an answer. A prompt with several answers counts once, with its first.
    pub fn add(&mut self, finished: &Finished, is_first_of_prompt: bool) {
        if is_first_of_prompt {
            self.prompt += finished.prompt_tokens;
            self.reused += finished.reused_tokens;
        }
        self.generated += finished.generated_tokens;
    }

    fn json(self) -> Value {
        json!({
            "prompt_tokens": self.prompt,
            "completion_tokens": self.generated,
            "total_tokens": self.prompt + self.generated,
            "prompt_tokens_details": {"cached_tokens": self.reused},
        })
    }
}

impl Reply {
    /// The whole response.
    pub fn whole(&self, choices: &[Whole], usage: Usage) -> Value {
        let choice = |(index, whole): (usize, &Whole)| {
            let mut choice = json!({"index": index, "finish_reason": whole.reason.map(name)});
            choice["logprobs"] = if self.logprobs { self.logprobs(&whole.tokens) } else { Value::Null };
            match self.api {
                Api::Chat => {
                    choice["message"] = json!({"role": "assistant", "content": whole.text, "refusal": null});
                }
                Api::Completion => choice["text"] = json!(whole.text),
            }
            choice
        };
        let object = match self.api {
            Api::Chat => "chat.completion",
            Api::Completion => "text_completion",
        };
        let choices = choices.iter().enumerate().map(choice).collect();
        let mut whole = self.envelope(object, choices);
        whole["usage"] = usage.json();
        whole
    }

    /// A piece of an answer.
    pub fn piece(&self, index: usize, Piece { text, tokens }: &Piece, is_first: bool) -> Value {
        let mut choice = match self.api {
            Api::Chat if is_first => {
                json!({"delta": {"role": "assistant", "content": text, "refusal": null}})
            }
            Api::Chat => json!({"delta": {"content": text}}),
            Api::Completion => json!({"text": text}),
        };
        if !tokens.is_empty() {
            choice["logprobs"] = self.logprobs(tokens);
        }
        self.chunk(index, choice, Value::Null)
    }

    fn logprobs(&self, tokens: &[Told]) -> Value {
        match self.api {
            Api::Chat => logprobs::of_chat(tokens, &self.tokenizer),
            Api::Completion => logprobs::of_completion(tokens, &self.tokenizer),
        }
    }

    /// The end of an answer.
    pub fn end(&self, index: usize, reason: FinishReason) -> Value {
        let choice = match self.api {
            Api::Chat => json!({"delta": {}}),
            Api::Completion => json!({"text": ""}),
        };
        self.chunk(index, choice, json!(name(reason)))
    }

    /// The last piece of a stream with token counts.
    pub fn usage(&self, usage: Usage) -> Value {
        let mut chunk = self.envelope(self.chunk_object(), Value::Array(Vec::new()));
        chunk["usage"] = usage.json();
        chunk
    }

    fn chunk(&self, index: usize, mut choice: Value, reason: Value) -> Value {
        choice["index"] = json!(index);
        choice["finish_reason"] = reason;
        // Without any it must be there, and null.
        let logprobs = choice["logprobs"].take();
        choice["logprobs"] = logprobs;
        let mut chunk = self.envelope(self.chunk_object(), json!([choice]));
        if self.include_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }

    fn chunk_object(&self) -> &'static str {
        match self.api {
            Api::Chat => "chat.completion.chunk",
            Api::Completion => "text_completion",
        }
    }

    fn envelope(&self, object: &str, choices: Value) -> Value {
        json!({
            "id": self.id, "object": object, "created": self.created, "model": self.model,
            "system_fingerprint": self.fingerprint, "choices": choices,
        })
    }
}

/// The API's word for a reason. Answers that were interrupted are errors.
fn name(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::End | FinishReason::Stop => "stop",
        FinishReason::Length | FinishReason::Context | FinishReason::Interrupted => "length",
    }
}
