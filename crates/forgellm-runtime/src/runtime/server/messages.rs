//! The messages of a chat.

use serde_json::Value;

use crate::runtime::chat_template::{ChatTemplate, Message, ToolCall};
use crate::runtime::server::error::ApiError;
use crate::runtime::server::fields::{Fields, wrong_type};
use crate::runtime::server::settings::is_empty;

/// Reads the messages; `template` says whether calls of tools and their results have a place among them.
pub(super) fn messages(value: Value, template: &ChatTemplate) -> Result<Vec<Message>, ApiError> {
    let Value::Array(values) = value else {
        return Err(wrong_type("messages", "a list of messages", &value));
    };
    if values.is_empty() {
        return Err(ApiError::param("messages", "`messages` must hold at least one message"));
    }
    values
        .into_iter()
        .enumerate()
        .map(|(index, value)| message(value, &format!("messages[{index}]"), template))
        .collect()
}

fn message(value: Value, name: &str, template: &ChatTemplate) -> Result<Message, ApiError> {
    let mut fields = Fields::of_value(value, name)?;
    let needed_role = fields.needed("role")?;
    let role = match needed_role.as_str() {
        // Newer clients call the system's instructions so.
        Some("system" | "developer") => "system",
        Some("user") => "user",
        Some("assistant") => "assistant",
        Some("tool") if template.knows("tools") => "tool",
        Some("tool") => {
            let role = fields.name("role");
            let message = format!("`{role}` is `tool`, of which this model's chat template knows nothing");
            return Err(ApiError::param(role, message).with_code("unsupported_parameter"));
        }
        _ => {
            let role = fields.name("role");
            let what = "`system`, `developer`, `user`, `assistant` or `tool`";
            let message = format!("`{role}` must be {what}, and is {needed_role}");
            return Err(ApiError::param(role, message).with_code("invalid_value"));
        }
    };
    let tool_calls = if role == "assistant" { tool_calls(&mut fields, template)? } else { Vec::new() };
    let value = if tool_calls.is_empty() { Some(fields.needed("content")?) } else { fields.take("content") };
    let content = match value {
        None => String::new(),
        Some(Value::String(text)) => text,
        Some(Value::Array(parts)) => content(parts, &fields.name("content"))?,
        Some(other) => {
            return Err(wrong_type(&fields.name("content"), "a string or a list of parts", &other));
        }
    };
    let tool_call_id = match (role, fields.string("tool_call_id")?) {
        ("tool", None) => return Err(fields.missing("tool_call_id")),
        ("tool", id) => id,
        _ => None,
    };
    fields.refuse("tool_calls", is_empty)?;
    // What clients send back of answers, and templates do not write.
    fields.ignore(&["name", "annotations", "audio", "function_call", "parsed"]);
    fields.refuse("refusal", is_empty)?;
    fields.finish()?;
    Ok(Message { tool_calls, tool_call_id, ..Message::new(role, &content) })
}

/// The calls of a message, whose arguments the API has as text.
fn tool_calls(fields: &mut Fields, template: &ChatTemplate) -> Result<Vec<ToolCall>, ApiError> {
    let name = fields.name("tool_calls");
    let values = match fields.take("tool_calls") {
        None => return Ok(Vec::new()),
        Some(Value::Array(values)) => values,
        Some(other) => return Err(wrong_type(&name, "a list of calls", &other)),
    };
    if !values.is_empty() && !template.knows("tool_calls") {
        let message = format!("`{name}` has no place in this model's chat template");
        return Err(ApiError::param(name, message).with_code("unsupported_parameter"));
    }
    let call = |(index, value): (usize, Value)| {
        let mut fields = Fields::of_value(value, &format!("{name}[{index}]"))?;
        let id = fields.string("id")?.ok_or_else(|| fields.missing("id"))?;
        let kind = fields.string("type")?;
        if kind.is_some_and(|kind| kind != "function") {
            let param = fields.name("type");
            return Err(ApiError::param(param.as_str(), format!("`{param}` must be \"function\"")));
        }
        let mut function = Fields::of_value(fields.needed("function")?, &fields.name("function"))?;
        fields.ignore(&["index"]);
        fields.finish()?;
        let tool = function.string("name")?.ok_or_else(|| function.missing("name"))?;
        let text = function.string("arguments")?.ok_or_else(|| function.missing("arguments"))?;
        let param = function.name("arguments");
        function.ignore(&["parsed_arguments"]);
        function.finish()?;
        // A call without arguments is an empty text for some clients.
        let text = if text.trim().is_empty() { "{}" } else { text.as_str() };
        match serde_json::from_str(text) {
            Ok(arguments @ Value::Object(_)) => Ok(ToolCall { id, name: tool, arguments }),
            _ => {
                let message = format!("`{param}` must be the text of a JSON object");
                Err(ApiError::param(param, message).with_code("invalid_value"))
            }
        }
    };
    values.into_iter().enumerate().map(call).collect()
}

/// The texts of a message that is given in parts, joined.
fn content(parts: Vec<Value>, name: &str) -> Result<String, ApiError> {
    let mut whole = String::new();
    for (index, part) in parts.into_iter().enumerate() {
        let mut fields = Fields::of_value(part, &format!("{name}[{index}]"))?;
        let kind = fields.needed("type")?;
        if kind != "text" {
            let name = fields.name("type");
            let message = format!("`{name}` must be \"text\", and is {kind}: this model reads text only");
            return Err(ApiError::param(name, message).with_code("unsupported_parameter"));
        }
        let missing = ApiError::param(fields.name("text"), format!("`{}` is missing", fields.name("text")));
        whole += &fields.string("text")?.ok_or(missing)?;
        fields.finish()?;
    }
    Ok(whole)
}

/// The texts of parts whose `type`, where they say it, is one of `kinds`, joined. What stands in the fields `harmless` does not matter.
pub(super) fn joined_texts(
    parts: Vec<Value>,
    name: &str,
    kinds: &[&str],
    harmless: &[&str],
) -> Result<String, ApiError> {
    let mut whole = String::new();
    for (index, part) in parts.into_iter().enumerate() {
        let mut part = Fields::of_value(part, &format!("{name}[{index}]"))?;
        part.refuse("type", |kind| kind.as_str().is_some_and(|kind| kinds.contains(&kind)))?;
        whole += &part.string("text")?.ok_or_else(|| part.missing("text"))?;
        part.ignore(harmless);
        part.finish()?;
    }
    Ok(whole)
}
