//! From a line of the input to a request, and from an answer to a line of the output.

use serde_json::{Map, Value, json};

use crate::runtime::batch::BatchError;
use crate::runtime::batch::identity::{Identity, RequestIdentity};
use crate::runtime::batch::input::InputLine;
use crate::runtime::server::{OfflineAnswer, OfflineItem, OfflineRequest};

/// A line of the input, read.
#[derive(Debug)]
pub(super) enum Parsed {
    /// A request, good or bad: it has an answer.
    Request { custom_id: String, request: OfflineRequest },
    /// No request at all.
    Invalid { custom_id: Option<String>, message: String },
}

impl Parsed {
    /// What is to be done about it.
    pub(super) fn item(&self) -> OfflineItem {
        match self {
            Parsed::Request { request, .. } => OfflineItem::Request(request.clone()),
            Parsed::Invalid { .. } => OfflineItem::Nothing,
        }
    }
}

/// Reads a line: `{"custom_id", "method", "url", "body"}`.
pub(super) fn parse(line: &InputLine, identity: &Identity<'_>) -> Parsed {
    let invalid = |custom_id, message: String| Parsed::Invalid {
        custom_id,
        message: format!("line {} of the input {message}", line.number),
    };
    let mut fields: Map<String, Value> = match serde_json::from_slice(&line.bytes) {
        Ok(fields) => fields,
        Err(error) => return invalid(None, format!("is no JSON object: {error}")),
    };
    let Some(Value::String(custom_id)) = fields.remove("custom_id") else {
        return invalid(None, "has no custom_id that is a string".to_owned());
    };
    let mut text = |field: &str| match fields.remove(field) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(format!("has no {field} that is a string")),
    };
    let (method, path) = match (text("method"), text("url")) {
        (Ok(method), Ok(path)) => (method, path),
        (Err(message), _) | (_, Err(message)) => return invalid(Some(custom_id), message),
    };
    let Some(mut body) = fields.remove("body") else {
        return invalid(Some(custom_id), "has no body".to_owned());
    };
    if let Some(body) = body.as_object_mut()
        && path.ends_with("/completions")
    {
        // Random, and the same each time.
        let seed = body.entry("seed").or_insert(Value::Null);
        if seed.is_null() {
            *seed = json!(identity.of(&line.bytes).seed());
        }
    }
    let request = OfflineRequest { method, path, body };
    Parsed::Request { custom_id, request }
}

/// The line of output, with its end, and whether the answer is a good one.
pub(super) fn output(
    identity: &RequestIdentity,
    line: &InputLine,
    parsed: Parsed,
    answer: Option<OfflineAnswer>,
) -> Result<(String, bool), BatchError> {
    let id = identity.line_id();
    let no_answer = || format!("line {} of the input got no answer", line.number);
    let (value, is_good) = match (parsed, answer) {
        (Parsed::Request { custom_id, .. }, Some(mut answer)) => {
            make_repeatable(&mut answer.body, *identity);
            let is_good = answer.status == 200;
            let response = json!({
                "status_code": answer.status, "request_id": identity.part_id("req_"), "body": answer.body,
            });
            (json!({"id": id, "custom_id": custom_id, "response": response, "error": null}), is_good)
        }
        (Parsed::Request { custom_id, .. }, None) => (failed(&id, Some(custom_id), &no_answer()), false),
        (Parsed::Invalid { custom_id, message }, _) => (failed(&id, custom_id, &message), false),
    };
    Ok((serde_json::to_string(&value)? + "\n", is_good))
}

fn failed(id: &str, custom_id: Option<String>, message: &str) -> Value {
    let error = json!({"code": "invalid_line", "message": message});
    json!({"id": id, "custom_id": custom_id, "response": null, "error": error})
}

/// Takes out of an answer what depends on when and beside what else it was made.
fn make_repeatable(body: &mut Value, identity: RequestIdentity) {
    if let Some(id) = body.get_mut("id") {
        let kind = id.as_str().and_then(|id| id.split_once('-')).map_or("", |(kind, _)| kind);
        *id = json!(identity.part_id(&format!("{kind}-")));
    }
    if let Some(created) = body.get_mut("created") {
        *created = json!(0);
    }
    // How much of a prompt another one had run already.
    if let Some(cached) = body.pointer_mut("/usage/prompt_tokens_details/cached_tokens") {
        *cached = json!(0);
    }
    let choices = body.get_mut("choices").and_then(Value::as_array_mut);
    for (index, choice) in choices.into_iter().flatten().enumerate() {
        let calls = choice.pointer_mut("/message/tool_calls").and_then(Value::as_array_mut);
        for (number, call) in calls.into_iter().flatten().enumerate() {
            call["id"] = json!(identity.part_id(&format!("call_{index}_{number}_")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_tells_nothing_of_time_and_chance() {
        let answer = |id: &str, created: u64, cached: u64| {
            let call = |number: u64| json!({"id": format!("call_{id}{number}"), "function": {"name": "f"}});
            json!({
                "id": format!("chatcmpl-{id}"), "created": created, "usage": {"prompt_tokens_details": {"cached_tokens": cached}},
                "choices": [{"message": {"tool_calls": [call(0), call(1)]}}, {"message": {"content": "a"}}],
            })
        };
        let identity = Identity { model: "m", plan: "p", context: 1, kv_cache: None };
        let [one, other] = [b"a", b"b"].map(|line| identity.of(line));
        let repeatable = |mut body: Value, identity| {
            make_repeatable(&mut body, identity);
            body
        };
        let body = repeatable(answer("x", 1, 2), one);
        assert_eq!(body, repeatable(answer("y", 3, 4), one));
        assert_ne!(body, repeatable(answer("x", 1, 2), other));
        assert!(body["id"].as_str().unwrap().starts_with("chatcmpl-"));
        let calls = &body["choices"][0]["message"]["tool_calls"];
        assert!(
            calls[0]["id"].as_str().unwrap().starts_with("call_0_0_") && calls[0]["id"] != calls[1]["id"]
        );
        assert_eq!(calls[0]["function"]["name"], "f");
    }
}
