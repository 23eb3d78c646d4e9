//! Answers of chats and completions as the OpenAI API has them.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::runtime::generate::FinishReason;
use crate::runtime::server::answer::{Ended, Piece};
use crate::runtime::server::error::ApiError;
use crate::runtime::server::format::{Call, Events, Format, Usage, Whole};
use crate::runtime::server::logprobs::{self, Told};
use crate::runtime::server::tool_calls::CallPart;
use crate::runtime::tokenizer::Tokenizer;

/// Which of the two it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Chat,
    Completion,
}

/// What all JSON of one request has in common.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub kind: Kind,
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
    /// Whether each answer has begun.
    pub begun: Vec<bool>,
}

impl Format for Reply {
    fn id(&self) -> &str {
        &self.id
    }

    fn whole(&self, choices: &[Whole], usage: Usage) -> Value {
        let choice = |(index, whole): (usize, &Whole)| {
            let mut choice = json!({"index": index, "finish_reason": whole.ended.as_ref().map(name)});
            choice["logprobs"] = if self.logprobs { self.logprobs(&whole.tokens) } else { Value::Null };
            match self.kind {
                Kind::Chat => {
                    choice["message"] = json!({"role": "assistant", "content": whole.text, "refusal": null});
                    if !whole.calls.is_empty() {
                        let call = |call: &Call| {
                            let function = json!({"name": call.name, "arguments": call.arguments});
                            json!({"id": call.id, "type": "function", "function": function})
                        };
                        choice["message"]["tool_calls"] = whole.calls.iter().map(call).collect();
                    }
                    if !whole.calls.is_empty() && whole.text.is_empty() {
                        choice["message"]["content"] = Value::Null;
                    }
                }
                Kind::Completion => choice["text"] = json!(whole.text),
            }
            choice
        };
        let object = match self.kind {
            Kind::Chat => "chat.completion",
            Kind::Completion => "text_completion",
        };
        let choices = choices.iter().enumerate().map(choice).collect();
        let mut whole = self.envelope(object, choices);
        whole["usage"] = tokens_of(usage);
        whole
    }

    fn piece(&mut self, answer: usize, piece: Piece, events: &mut Events) {
        let is_first = self.begun.get_mut(answer).is_some_and(|begun| !std::mem::replace(begun, true));
        let Piece { text, calls, tokens } = piece;
        let mut choice = match self.kind {
            Kind::Chat => json!({"delta": {}}),
            Kind::Completion => json!({"text": text}),
        };
        if self.kind == Kind::Chat {
            let delta = &mut choice["delta"];
            if is_first {
                *delta = json!({"role": "assistant", "content": null, "refusal": null});
            }
            if !text.is_empty() || calls.is_empty() {
                delta["content"] = json!(text);
            }
            if !calls.is_empty() {
                delta["tool_calls"] = calls.iter().map(call_delta).collect();
            }
        }
        if !tokens.is_empty() {
            choice["logprobs"] = self.logprobs(&tokens);
        }
        events.data(&self.chunk(answer, choice, Value::Null));
    }

    fn end(&mut self, answer: usize, ended: &Ended, events: &mut Events) {
        let choice = match self.kind {
            Kind::Chat => json!({"delta": {}}),
            Kind::Completion => json!({"text": ""}),
        };
        events.data(&self.chunk(answer, choice, json!(name(ended))));
    }

    fn close(&mut self, usage: Usage, events: &mut Events) {
        if self.include_usage {
            let mut chunk = self.envelope(self.chunk_object(), Value::Array(Vec::new()));
            chunk["usage"] = tokens_of(usage);
            events.data(&chunk);
        }
        events.text("[DONE]");
    }

    fn failure(&mut self, error: &ApiError, events: &mut Events) {
        events.data(&error.body());
    }
}

impl Reply {
    fn logprobs(&self, tokens: &[Told]) -> Value {
        match self.kind {
            Kind::Chat => logprobs::of_chat(tokens, &self.tokenizer),
            Kind::Completion => logprobs::of_completion(tokens, &self.tokenizer),
        }
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
        match self.kind {
            Kind::Chat => "chat.completion.chunk",
            Kind::Completion => "text_completion",
        }
    }

    fn envelope(&self, object: &str, choices: Value) -> Value {
        json!({
            "id": self.id, "object": object, "created": self.created, "model": self.model,
            "system_fingerprint": self.fingerprint, "choices": choices,
        })
    }
}

/// How many tokens a request took.
fn tokens_of(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.generated,
        "total_tokens": usage.prompt + usage.generated,
        "prompt_tokens_details": {"cached_tokens": usage.reused},
    })
}

/// A part of a call in a stream.
fn call_delta(part: &CallPart) -> Value {
    let mut delta = json!({"index": part.index, "function": {"arguments": part.arguments}});
    if let Some((id, name)) = &part.begin {
        (delta["id"], delta["type"]) = (json!(id), json!("function"));
        delta["function"]["name"] = json!(name);
    }
    delta
}

/// The API's word for a reason. Answers that were interrupted are errors.
fn name(ended: &Ended) -> &'static str {
    match ended.finished.reason {
        FinishReason::End if ended.has_calls => "tool_calls",
        FinishReason::End | FinishReason::Stop => "stop",
        FinishReason::Length | FinishReason::Context | FinishReason::Interrupted => "length",
    }
}
