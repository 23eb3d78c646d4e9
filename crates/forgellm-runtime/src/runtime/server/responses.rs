//! `/v1/responses`: answers as OpenAI's newer API has them. Text only; nothing is stored, so no request can refer to an earlier one.

mod request;

use serde_json::{Value, json};

use crate::runtime::generate::FinishReason;
use crate::runtime::server::answer::{Ended, Piece};
use crate::runtime::server::error::ApiError;
use crate::runtime::server::format::{Events, Format, Usage, Whole};
use crate::runtime::server::request::Asked;
use crate::runtime::server::{Service, unix_seconds};

/// Reads a request.
pub(super) fn read(service: &Service, body: &[u8]) -> Result<(Asked, Box<dyn Format>), ApiError> {
    let (asked, echo) = request::read(service, body)?;
    let response = json!({
        "id": service.fresh_id("resp"), "object": "response", "created_at": unix_seconds(),
        "status": "in_progress", "background": false, "error": null, "incomplete_details": null,
        "instructions": echo.instructions, "max_output_tokens": asked.settings.max_tokens,
        "metadata": echo.metadata, "model": service.spec.name, "output": [], "parallel_tool_calls": true,
        "previous_response_id": null, "reasoning": {"effort": null, "summary": null}, "store": false,
        "temperature": asked.settings.sampling.temperature, "text": {"format": echo.format},
        "tool_choice": "auto", "tools": [], "top_p": asked.settings.sampling.top_p,
        "truncation": "disabled", "usage": null, "user": null,
    });
    let item = service.fresh_id("msg");
    let format = Response { response, item, text: String::new(), begun: false, number: 0, ended: None };
    Ok((asked, Box::new(format)))
}

/// The one answer of a request.
struct Response {
    /// The response as far as it is known at its beginning.
    response: Value,
    /// The id of the message that is the output.
    item: String,
    /// The text up to now, of a stream.
    text: String,
    /// Whether a stream has begun.
    begun: bool,
    /// Of the next event.
    number: u64,
    ended: Option<Ended>,
}

impl Response {
    /// The message that is the output.
    fn message(&self, status: &str, text: Option<&str>) -> Value {
        let content: Vec<Value> = text.map(part).into_iter().collect();
        json!({"id": self.item, "type": "message", "status": status, "role": "assistant", "content": content})
    }

    /// The response at its end.
    fn done(&self, text: &str, ended: Option<&Ended>, usage: Usage) -> Value {
        let is_cut = ended.is_some_and(is_cut);
        let status = if is_cut { "incomplete" } else { "completed" };
        let mut response = self.response.clone();
        response["status"] = json!(status);
        if is_cut {
            response["incomplete_details"] = json!({"reason": "max_output_tokens"});
        }
        response["output"] = json!([self.message(status, Some(text))]);
        response["usage"] = json!({
            "input_tokens": usage.prompt, "input_tokens_details": {"cached_tokens": usage.reused},
            "output_tokens": usage.generated, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage.prompt + usage.generated,
        });
        response
    }

    /// Writes an event with what every event has.
    fn event(&mut self, kind: &str, mut event: Value, events: &mut Events) {
        (event["type"], event["sequence_number"]) = (json!(kind), json!(self.number));
        self.number += 1;
        events.named(&event);
    }

    /// Writes an event about the text.
    fn text_event(&mut self, kind: &str, mut event: Value, events: &mut Events) {
        (event["item_id"], event["output_index"], event["content_index"]) =
            (json!(self.item), json!(0), json!(0));
        self.event(kind, event, events);
    }
}

impl Format for Response {
    fn id(&self) -> &str {
        self.response["id"].as_str().unwrap_or_default()
    }

    fn whole(&self, answers: &[Whole], usage: Usage) -> Value {
        let whole = answers.first();
        let text = whole.map_or("", |whole| whole.text.as_str());
        self.done(text, whole.and_then(|whole| whole.ended.as_ref()), usage)
    }

    fn piece(&mut self, _: usize, piece: Piece, events: &mut Events) {
        if !std::mem::replace(&mut self.begun, true) {
            let response = json!({"response": self.response});
            self.event("response.created", response.clone(), events);
            self.event("response.in_progress", response, events);
            let item = json!({"output_index": 0, "item": self.message("in_progress", None)});
            self.event("response.output_item.added", item, events);
            self.text_event("response.content_part.added", json!({"part": part("")}), events);
        }
        if !piece.text.is_empty() {
            let delta = json!({"delta": piece.text, "logprobs": []});
            self.text_event("response.output_text.delta", delta, events);
            self.text += &piece.text;
        }
    }

    fn end(&mut self, _: usize, ended: &Ended, events: &mut Events) {
        if !self.begun {
            self.piece(0, Piece::default(), events);
        }
        let text = std::mem::take(&mut self.text);
        self.text_event("response.output_text.done", json!({"text": text, "logprobs": []}), events);
        self.text_event("response.content_part.done", json!({"part": part(&text)}), events);
        let status = if is_cut(ended) { "incomplete" } else { "completed" };
        let item = json!({"output_index": 0, "item": self.message(status, Some(&text))});
        self.event("response.output_item.done", item, events);
        (self.text, self.ended) = (text, Some(ended.clone()));
    }

    fn close(&mut self, usage: Usage, events: &mut Events) {
        let response = self.done(&self.text, self.ended.as_ref(), usage);
        let is_cut = self.ended.as_ref().is_some_and(is_cut);
        let kind = if is_cut { "response.incomplete" } else { "response.completed" };
        self.event(kind, json!({"response": response}), events);
    }

    fn failure(&mut self, error: &ApiError, events: &mut Events) {
        let error = json!({"code": error.code, "message": error.message, "param": error.param});
        self.event("error", error, events);
    }
}

fn is_cut(ended: &Ended) -> bool {
    !matches!(ended.finished.reason, FinishReason::End | FinishReason::Stop)
}

/// Text as a part of a message.
fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}
