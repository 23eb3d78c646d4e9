//! The JSON of answers, whole and in pieces.

use serde_json::{Value, json};

use crate::runtime::generate::FinishReason;
use crate::runtime::scheduler::Finished;

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
    /// The whole response: text and reason of each answer.
    pub fn whole(&self, choices: &[(String, FinishReason)], usage: Usage) -> Value {
        let choice = |(index, (text, reason)): (usize, &(String, FinishReason))| {
            let mut choice = json!({"index": index, "finish_reason": name(*reason), "logprobs": null});
            match self.api {
                Api::Chat => {
                    choice["message"] = json!({"role": "assistant", "content": text, "refusal": null});
                }
                Api::Completion => choice["text"] = json!(text),
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

    /// A piece of an answer's text.
    pub fn text(&self, index: usize, text: &str, is_first: bool) -> Value {
        let choice = match self.api {
            Api::Chat if is_first => {
                json!({"delta": {"role": "assistant", "content": text, "refusal": null}})
            }
            Api::Chat => json!({"delta": {"content": text}}),
            Api::Completion => json!({"text": text}),
        };
        self.piece(index, choice, Value::Null)
    }

    /// The end of an answer.
    pub fn end(&self, index: usize, reason: FinishReason) -> Value {
        let choice = match self.api {
            Api::Chat => json!({"delta": {}}),
            Api::Completion => json!({"text": ""}),
        };
        self.piece(index, choice, json!(name(reason)))
    }

    /// The last piece of a stream with token counts.
    pub fn usage(&self, usage: Usage) -> Value {
        let mut piece = self.envelope(self.piece_object(), Value::Array(Vec::new()));
        piece["usage"] = usage.json();
        piece
    }

    fn piece(&self, index: usize, mut choice: Value, reason: Value) -> Value {
        choice["index"] = json!(index);
        choice["finish_reason"] = reason;
        choice["logprobs"] = Value::Null;
        let mut piece = self.envelope(self.piece_object(), json!([choice]));
        if self.include_usage {
            piece["usage"] = Value::Null;
        }
        piece
    }

    fn piece_object(&self) -> &'static str {
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
