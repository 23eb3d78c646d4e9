//! Requests of Anthropic's API, from their JSON to a prompt.

use serde_json::Value;

use crate::runtime::chat_template::{Message, ToolCall};
use crate::runtime::server::Service;
use crate::runtime::server::error::ApiError;
use crate::runtime::server::fields::{Fields, wrong_type};
use crate::runtime::server::messages::joined_texts;
use crate::runtime::server::request::{Asked, chat_of, check_model, no_template};
use crate::runtime::server::settings::Settings;
use crate::runtime::server::structured::{Rule, named_schema};
use crate::runtime::server::tools::{self, Choice, Tool, Tools};

/// Fields that do not change what this server answers.
const HARMLESS: [&str; 8] = [
    "metadata",
    "service_tier",
    "inference_geo",
    "cache_control",
    "diagnostics",
    "speed",
    "user_profile_id",
    "workspace_id",
];

/// Reads a request: text, tools, and the settings that this server has.
pub(super) fn read(service: &Service, body: &[u8]) -> Result<Asked, ApiError> {
    let Some(template) = &service.template else { return Err(no_template()) };
    let mut fields = Fields::of_body(body)?;
    check_model(service, &mut fields)?;
    let mut messages = Vec::new();
    if let Some(system) = fields.take("system") {
        messages.push(Message::new("system", &text(system, "system")?));
    }
    let values = match fields.needed("messages")? {
        Value::Array(values) if !values.is_empty() => values,
        other => return Err(wrong_type("messages", "a list of messages that is not empty", &other)),
    };
    for (index, value) in values.into_iter().enumerate() {
        message(value, &format!("messages[{index}]"), &mut messages)?;
    }
    if messages.last().is_some_and(|message| message.role == "assistant") {
        let message = "the last message must not be the assistant's: this server does not continue answers";
        return Err(ApiError::param("messages", message));
    }
    fields.ignore(&HARMLESS);
    fields.refuse("thinking", |value| value["type"] == "disabled")?;
    fields.refuse("n", |value| value.as_u64() == Some(1))?;
    fields.refuse("stop", |_| false)?;
    let stop = fields.convert("stop_sequences", "a list of strings", |value| {
        let stops = value.as_array()?.iter();
        stops.map(|stop| stop.as_str().map(str::to_owned)).collect::<Option<Vec<String>>>()
    })?;
    let tools = choose(tools(&mut fields)?, fields.take("tool_choice"))?;
    let output = fields.take("output_config");
    let mut settings = Settings::read(&mut fields, &service.spec.sampling, service.vocab)?;
    settings.stop = stop.unwrap_or_default();
    output_config(output, &mut settings.rule)?;
    if settings.max_tokens.is_none() {
        return Err(fields.missing("max_tokens"));
    }
    fields.finish()?;
    settings.use_tools(tools.as_ref(), template)?;
    chat_of(service, settings, &messages, tools.as_ref())
}

/// Reads `{"format": {"type": "json_schema", "schema"}}`.
fn output_config(config: Option<Value>, rule: &mut Option<Rule>) -> Result<(), ApiError> {
    let Some(config) = config else { return Ok(()) };
    let mut config = Fields::of_value(config, "output_config")?;
    if let Some(format) = config.take("format") {
        let mut format = Fields::of_value(format, "output_config.format")?;
        let kind = format.needed("type")?;
        if kind != "json_schema" {
            let message = format!("`output_config.format.type` must be \"json_schema\", and is {kind}");
            return Err(ApiError::param("output_config.format.type", message).with_code("invalid_value"));
        }
        named_schema(&mut format, rule)?;
        format.finish()?;
    }
    config.refuse("effort", |_| false)?;
    config.finish()
}

/// Adds a message; results of tools become messages of their own.
fn message(value: Value, name: &str, messages: &mut Vec<Message>) -> Result<(), ApiError> {
    let mut fields = Fields::of_value(value, name)?;
    let role = fields.needed("role")?;
    let role = match role.as_str() {
        Some(role @ ("user" | "assistant" | "system")) => role.to_owned(),
        _ => {
            let param = fields.name("role");
            let message = format!("`{param}` must be `user` or `assistant`, and is {role}");
            return Err(ApiError::param(param, message).with_code("invalid_value"));
        }
    };
    let content = fields.needed("content")?;
    let param = fields.name("content");
    fields.finish()?;
    let blocks = match content {
        Value::String(text) => {
            messages.push(Message::new(&role, &text));
            return Ok(());
        }
        Value::Array(blocks) => blocks,
        other => return Err(wrong_type(&param, "a string or a list of blocks", &other)),
    };
    let mut message = Message::new(&role, "");
    let mut has_results = false;
    for (index, block) in blocks.into_iter().enumerate() {
        let mut block = Fields::of_value(block, &format!("{param}[{index}]"))?;
        let kind = block.needed("type")?;
        block.ignore(&["cache_control", "citations"]);
        match (kind.as_str(), role.as_str()) {
            (Some("text"), _) => {
                message.content += &block.string("text")?.ok_or_else(|| block.missing("text"))?;
            }
            (Some("tool_use"), "assistant") => message.tool_calls.push(ToolCall {
                id: block.string("id")?.ok_or_else(|| block.missing("id"))?,
                name: block.string("name")?.ok_or_else(|| block.missing("name"))?,
                arguments: block.needed("input")?,
            }),
            (Some("tool_result"), "user") => {
                let id = block.string("tool_use_id")?.ok_or_else(|| block.missing("tool_use_id"))?;
                let name = block.name("content");
                let result = block.take("content").map_or(Ok(String::new()), |value| text(value, &name))?;
                block.boolean("is_error")?;
                has_results = true;
                messages.push(Message { tool_call_id: Some(id), ..Message::new("tool", &result) });
            }
            _ => {
                let param = block.name("type");
                let message =
                    format!("`{param}` is {kind}, which this model does not read in such a message");
                return Err(ApiError::param(param, message).with_code("unsupported_parameter"));
            }
        }
        block.finish()?;
    }
    // Results may stand alone.
    if !has_results || !message.content.is_empty() {
        messages.push(message);
    }
    Ok(())
}

/// A text, or blocks of text, joined.
fn text(value: Value, name: &str) -> Result<String, ApiError> {
    match value {
        Value::String(text) => Ok(text),
        Value::Array(blocks) => joined_texts(blocks, name, &["text"], &["cache_control", "citations"]),
        other => Err(wrong_type(name, "a string or a list of texts", &other)),
    }
}

fn tools(fields: &mut Fields) -> Result<Vec<Tool>, ApiError> {
    let values = match fields.take("tools") {
        None => Vec::new(),
        Some(Value::Array(values)) => values,
        Some(other) => return Err(wrong_type("tools", "a list of tools", &other)),
    };
    let mut tools = Vec::new();
    for (index, value) in values.into_iter().enumerate() {
        let mut fields = Fields::of_value(value, &format!("tools[{index}]"))?;
        fields.refuse("type", |kind| kind == "custom")?;
        let tool = tools::tool(&mut fields, "input_schema")?;
        fields.ignore(&["cache_control", "strict"]);
        let param = fields.name("name");
        fields.finish()?;
        tools::add(&mut tools, tool, &param)?;
    }
    Ok(tools)
}

/// The tools with what `tool_choice` says of them.
fn choose(tools: Vec<Tool>, choice: Option<Value>) -> Result<Option<Tools>, ApiError> {
    let (mut chosen, mut parallel) = (Some(Choice::Auto), true);
    if let Some(choice) = choice {
        let mut fields = Fields::of_value(choice, "tool_choice")?;
        let kind = fields.needed("type")?;
        chosen = match kind.as_str() {
            Some("auto") => Some(Choice::Auto),
            Some("any") => Some(Choice::Required),
            Some("none") => None,
            Some("tool") => {
                Some(Choice::Named(fields.string("name")?.ok_or_else(|| fields.missing("name"))?))
            }
            _ => {
                let message =
                    format!("`tool_choice.type` must be `auto`, `any`, `tool` or `none`, and is {kind}");
                return Err(ApiError::param("tool_choice.type", message).with_code("invalid_value"));
            }
        };
        parallel = !fields.boolean("disable_parallel_tool_use")?;
        fields.finish()?;
    }
    tools::checked(tools, chosen, parallel)
}
