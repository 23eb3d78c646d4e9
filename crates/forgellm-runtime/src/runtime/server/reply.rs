//! The JSON of answers, whole and in pieces.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::runtime::generate::FinishReason;
use crate::runtime::scheduler::Finished;
use crate::runtime::server::answer::{Ended, Piece};
use crate::runtime::server::logprobs::{self, Told};
use crate::runtime::server::tool_calls::CallPart;
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
    calls: Vec<Call>,
    tokens: Vec<Told>,
    /// None until the end.
    pub ended: Option<Ended>,
}

/// A call of a tool.
#[derive(Debug, Clone)]
struct Call {
    id: String,
    name: String,
    /// JSON.
    arguments: String,
}

impl Whole {
    pub fn push(&mut self, piece: Piece) {
        self.text.push_str(&piece.text);
        for CallPart { begin, arguments, .. } in piece.calls {
            if let Some((id, name)) = begin {
                self.calls.push(Call { id, name, arguments: String::new() });
            }
            if let Some(call) = self.calls.last_mut() {
                call.arguments.push_str(&arguments);
            }
        }
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
            let mut choice = json!({"index": index, "finish_reason": whole.ended.map(name)});
            choice["logprobs"] = if self.logprobs { self.logprobs(&whole.tokens) } else { Value::Null };
            match self.api {
                Api::Chat => {
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
    pub fn piece(&self, index: usize, piece: &Piece, is_first: bool) -> Value {
        let Piece { text, calls, tokens } = piece;
        let mut choice = match self.api {
            Api::Chat => json!({"delta": {}}),
            Api::Completion => json!({"text": text}),
        };
        if self.api == Api::Chat {
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
    pub fn end(&self, index: usize, ended: Ended) -> Value {
        let choice = match self.api {
            Api::Chat => json!({"delta": {}}),
            Api::Completion => json!({"text": ""}),
        };
        self.chunk(index, choice, json!(name(ended)))
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
fn name(ended: Ended) -> &'static str {
    match ended.finished.reason {
        FinishReason::End if ended.has_calls => "tool_calls",
        FinishReason::End | FinishReason::Stop => "stop",
        FinishReason::Length | FinishReason::Context | FinishReason::Interrupted => "length",
    }
}
