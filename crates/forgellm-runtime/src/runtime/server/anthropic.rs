//! `/v1/messages`: answers as Anthropic's API has them.

mod request;

use serde_json::{Value, json};

use crate::runtime::generate::FinishReason;
use crate::runtime::server::Service;
use crate::runtime::server::answer::{Ended, Piece};
use crate::runtime::server::error::ApiError;
use crate::runtime::server::format::{Events, Format, Usage, Whole};
use crate::runtime::server::request::Asked;

/// Reads a request.
pub(super) fn read(service: &Service, body: &[u8]) -> Result<(Asked, Box<dyn Format>), ApiError> {
    let asked = request::read(service, body)?;
    let prompt_tokens = asked.prompts.iter().map(Vec::len).sum();
    let (id, model) = (service.fresh_id("msg"), service.spec.name);
    Ok((
        asked,
        Box::new(Message { id, model, prompt_tokens, begun: false, blocks: 0, open: None, ended: None }),
    ))
}

/// The one answer of a request.
struct Message {
    id: String,
    model: &'static str,
    prompt_tokens: usize,
    /// Whether a stream has begun.
    begun: bool,
    /// Blocks of content that have begun.
    blocks: usize,
    open: Option<Block>,
    ended: Option<Ended>,
}

/// What a block of content holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    Text,
    /// A call of a tool.
    Call,
}

impl Message {
    fn message(&self, content: Vec<Value>, ended: Option<&Ended>, generated: usize) -> Value {
        let (reason, stop) = ended.map(stop_reason).unzip();
        json!({
            "id": self.id, "type": "message", "role": "assistant", "model": self.model, "content": content,
            "stop_reason": reason, "stop_sequence": stop.flatten(),
            "usage": {"input_tokens": self.prompt_tokens, "output_tokens": generated},
        })
    }

    fn open(&mut self, block: Block, content: &Value, events: &mut Events) {
        self.close_block(events);
        let index = self.blocks;
        events.named(&json!({"type": "content_block_start", "index": index, "content_block": content}));
        self.blocks += 1;
        self.open = Some(block);
    }

    fn delta(&self, delta: &Value, events: &mut Events) {
        let index = self.blocks.saturating_sub(1);
        events.named(&json!({"type": "content_block_delta", "index": index, "delta": delta}));
    }

    fn close_block(&mut self, events: &mut Events) {
        if self.open.take().is_some() {
            events.named(&json!({"type": "content_block_stop", "index": self.blocks.saturating_sub(1)}));
        }
    }
}

impl Format for Message {
    fn id(&self) -> &str {
        &self.id
    }

    fn whole(&self, answers: &[Whole], usage: Usage) -> Value {
        let mut content = Vec::new();
        for whole in answers {
            if !whole.text.is_empty() {
                content.push(json!({"type": "text", "text": whole.text}));
            }
            content.extend(whole.calls.iter().map(|call| {
                // Only of an answer that was cut can they be incomplete.
                let input: Value = serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!({}));
                json!({"type": "tool_use", "id": call.id, "name": call.name, "input": input})
            }));
        }
        self.message(content, answers.first().and_then(|whole| whole.ended.as_ref()), usage.generated)
    }

    fn piece(&mut self, _: usize, piece: Piece, events: &mut Events) {
        if !std::mem::replace(&mut self.begun, true) {
            events.named(&json!({"type": "message_start", "message": self.message(Vec::new(), None, 1)}));
            events.named(&json!({"type": "ping"}));
        }
        if !piece.text.is_empty() {
            if self.open != Some(Block::Text) {
                self.open(Block::Text, &json!({"type": "text", "text": ""}), events);
            }
            self.delta(&json!({"type": "text_delta", "text": piece.text}), events);
        }
        for part in piece.calls {
            if let Some((id, name)) = part.begin {
                let content = json!({"type": "tool_use", "id": id, "name": name, "input": {}});
                self.open(Block::Call, &content, events);
            }
            if !part.arguments.is_empty() {
                self.delta(&json!({"type": "input_json_delta", "partial_json": part.arguments}), events);
            }
        }
    }

    fn end(&mut self, _: usize, ended: &Ended, events: &mut Events) {
        if !self.begun {
            self.piece(0, Piece::default(), events);
        }
        self.close_block(events);
        self.ended = Some(ended.clone());
    }

    fn close(&mut self, usage: Usage, events: &mut Events) {
        let (reason, stop) = self.ended.as_ref().map(stop_reason).unzip();
        let delta = json!({"stop_reason": reason, "stop_sequence": stop.flatten()});
        let usage = json!({"input_tokens": usage.prompt, "output_tokens": usage.generated});
        events.named(&json!({"type": "message_delta", "delta": delta, "usage": usage}));
        events.named(&json!({"type": "message_stop"}));
    }

    fn failure(&mut self, error: &ApiError, events: &mut Events) {
        events.named(&error.anthropic_body());
    }
}

/// The API's word for why an answer ended, and the stop string if that is why.
fn stop_reason(ended: &Ended) -> (&'static str, Option<String>) {
    match ended.finished.reason {
        FinishReason::Stop => ("stop_sequence", ended.stop.clone()),
        FinishReason::End if ended.has_calls => ("tool_use", None),
        FinishReason::End => ("end_turn", None),
        FinishReason::Length | FinishReason::Context | FinishReason::Interrupted => ("max_tokens", None),
    }
}
