//! Requests of OpenAI's newer API, from their JSON to a prompt.

use serde_json::{Value, json};

use crate::runtime::chat_template::Message;
use crate::runtime::guide::Grammar;
use crate::runtime::server::Service;
use crate::runtime::server::error::ApiError;
use crate::runtime::server::fields::{Fields, wrong_type};
use crate::runtime::server::messages::joined_texts;
use crate::runtime::server::request::{Asked, chat_of, check_model, no_template};
use crate::runtime::server::settings::{Settings, is_empty};
use crate::runtime::server::structured::{add, named_schema};

/// What of a request stands in its response.
pub(super) struct Echo {
    pub instructions: Value,
    pub metadata: Value,
    pub format: Value,
}

/// Reads a request.
pub(super) fn read(service: &Service, body: &[u8]) -> Result<(Asked, Echo), ApiError> {
    if service.template.is_none() {
        return Err(no_template());
    }
    let mut fields = Fields::of_body(body)?;
    check_model(service, &mut fields)?;
    let mut messages = Vec::new();
    let instructions = fields.string("instructions")?;
    messages.extend(instructions.as_deref().map(|text| Message::new("system", text)));
    match fields.needed("input")? {
        Value::String(text) => messages.push(Message::new("user", &text)),
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.into_iter().enumerate() {
                messages.push(message(item, &format!("input[{index}]"))?);
            }
        }
        other => return Err(wrong_type("input", "a string or a list of messages", &other)),
    }
    let metadata = fields.take("metadata").unwrap_or_else(|| json!({}));
    let most = fields.integer("max_output_tokens", 1..=u64::MAX)?;
    for field in ["max_tokens", "max_completion_tokens", "stop"] {
        fields.refuse(field, |_| false)?;
    }
    for field in ["tools", "include", "reasoning", "conversation", "prompt"] {
        fields.refuse(field, is_empty)?;
    }
    fields.refuse("n", |value| value.as_u64() == Some(1))?;
    fields.refuse("previous_response_id", |_| false)?;
    fields.refuse("background", |value| value == &Value::Bool(false))?;
    fields.refuse("truncation", |value| value == "disabled")?;
    fields.refuse("tool_choice", |value| matches!(value.as_str(), Some("auto" | "none")))?;
    fields.refuse("top_logprobs", |value| value.as_u64() == Some(0))?;
    fields.ignore(&["parallel_tool_calls", "max_tool_calls"]);
    let text = fields.take("text");
    let mut settings = Settings::read(&mut fields, &service.spec.sampling, service.vocab)?;
    fields.finish()?;
    settings.max_tokens = most.map(|most| usize::try_from(most).unwrap_or(usize::MAX));
    let mut format = json!({"type": "text"});
    if let Some(text) = text {
        let mut text = Fields::of_value(text, "text")?;
        if let Some(value) = text.take("format") {
            format = value.clone();
            read_format(value, &mut settings)?;
        }
        text.refuse("verbosity", |value| value == "medium")?;
        text.finish()?;
    }
    let echo = Echo { instructions: json!(instructions), metadata, format };
    let asked =
        chat_of(service, settings, &messages, None).map_err(|error| match error.param.as_deref() {
            Some("messages") => ApiError { param: Some("input".to_owned()), ..error },
            _ => error,
        })?;
    Ok((asked, echo))
}

/// `{"type": "json_schema", name, schema, strict}` and so on: flatter than in chats.
fn read_format(value: Value, settings: &mut Settings) -> Result<(), ApiError> {
    let mut format = Fields::of_value(value, "text.format")?;
    let kind = format.needed("type")?;
    match kind.as_str() {
        Some("text") => {}
        Some("json_object") => {
            add(&mut settings.rule, Grammar::json_object(), "text.format".to_owned())?;
        }
        Some("json_schema") => named_schema(&mut format, &mut settings.rule)?,
        _ => {
            let what = "must be `text`, `json_object` or `json_schema`";
            let message = format!("`text.format.type` {what}, and is {kind}");
            return Err(ApiError::param("text.format.type", message).with_code("invalid_value"));
        }
    }
    format.finish()
}

/// A message of the input, or of an earlier output.
fn message(item: Value, name: &str) -> Result<Message, ApiError> {
    let mut fields = Fields::of_value(item, name)?;
    fields.refuse("type", |kind| kind == "message")?;
    let role = fields.needed("role")?;
    let role = match role.as_str() {
        Some("system" | "developer") => "system",
        Some("user") => "user",
        Some("assistant") => "assistant",
        _ => {
            let param = fields.name("role");
            let what = "must be `system`, `developer`, `user` or `assistant`";
            let message = format!("`{param}` {what}, and is {role}");
            return Err(ApiError::param(param, message).with_code("invalid_value"));
        }
    };
    let param = fields.name("content");
    let content = match fields.needed("content")? {
        Value::String(text) => text,
        Value::Array(parts) => {
            joined_texts(parts, &param, &["input_text", "output_text"], &["annotations", "logprobs"])?
        }
        other => return Err(wrong_type(&param, "a string or a list of parts", &other)),
    };
    // What clients send back of outputs.
    fields.ignore(&["id", "status", "phase"]);
    fields.finish()?;
    Ok(Message::new(role, &content))
}
