//! What the answers to a request are, whichever API they are written for.

use hyper::body::Bytes;
use serde_json::Value;

use crate::runtime::scheduler::Finished;
use crate::runtime::server::answer::{Ended, Piece};
use crate::runtime::server::error::ApiError;
use crate::runtime::server::logprobs::Told;
use crate::runtime::server::tool_calls::CallPart;

/// How an API writes answers. From [`Format::piece`] on, methods are for streams, and called in the order in which things happen.
pub(super) trait Format: Send {
    /// The id of the response.
    fn id(&self) -> &str;

    /// The whole response.
    fn whole(&self, answers: &[Whole], usage: Usage) -> Value;

    /// More of an answer.
    fn piece(&mut self, answer: usize, piece: Piece, events: &mut Events);

    /// The end of an answer.
    fn end(&mut self, answer: usize, ended: &Ended, events: &mut Events);

    /// The end of all answers.
    fn close(&mut self, usage: Usage, events: &mut Events);

    /// An error, behind which there is nothing more.
    fn failure(&mut self, error: &ApiError, events: &mut Events);
}

/// Server-sent events, <https://html.spec.whatwg.org/multipage/server-sent-events.html>. JSON on one line needs no escapes.
#[derive(Debug, Default)]
pub(super) struct Events(String);

impl Events {
    /// An event without a name.
    pub fn data(&mut self, value: &Value) {
        self.text(&value.to_string());
    }

    /// An event without a name that is no JSON.
    pub fn text(&mut self, text: &str) {
        self.0 += &format!("data: {text}\n\n");
    }

    /// An event that is named as its field `type` says.
    pub fn named(&mut self, value: &Value) {
        self.0 += &format!("event: {}\ndata: {value}\n\n", value["type"].as_str().unwrap_or("message"));
    }

    pub fn into_bytes(self) -> Bytes {
        self.0.into()
    }
}

/// An answer that is sent as a whole.
#[derive(Debug, Clone, Default)]
pub(super) struct Whole {
    pub text: String,
    pub calls: Vec<Call>,
    pub tokens: Vec<Told>,
    /// None until the end.
    pub ended: Option<Ended>,
}

/// A call of a tool.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub id: String,
    pub name: String,
    /// JSON.
    pub arguments: String,
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
    pub prompt: usize,
    /// Those of the prompt that another request had run.
    pub reused: usize,
    pub generated: usize,
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
}
