//! Chat and completion requests, from their JSON to prompts.

use serde_json::Value;

use crate::runtime::chat_template::Message;
use crate::runtime::guide::Guide;
use crate::runtime::prompt;
use crate::runtime::server::Service;
use crate::runtime::server::error::ApiError;
use crate::runtime::server::fields::{Fields, wrong_type};
use crate::runtime::server::settings::{Settings, is_empty, logprobs_of_chat, logprobs_of_completion};
use crate::runtime::server::structured::response_format;
use crate::runtime::tokenizer::Special;

/// Tokens of a completion unless the request says otherwise, as the API has it.
const COMPLETION_TOKENS: usize = 16;

/// What is asked for, ready to be run.
pub(super) struct Asked {
    pub settings: Settings,
    /// What every answer must follow.
    pub guide: Option<Guide>,
    /// At least one; each gets as many answers as the settings say.
    pub prompts: Vec<Vec<u32>>,
}

/// A prompt of a completion.
enum Text {
    Text(String),
    Ids(Vec<u32>),
}

/// Reads a request of `/v1/chat/completions`.
pub(super) fn chat(service: &Service, body: &[u8]) -> Result<Asked, ApiError> {
    let mut fields = Fields::of_body(body)?;
    check_model(service, &mut fields)?;
    let messages = messages(fields.needed("messages")?)?;
    let mut settings = Settings::read(&mut fields, &service.spec.sampling, service.vocab)?;
    settings.logprobs = logprobs_of_chat(&mut fields)?;
    response_format(&mut fields, &mut settings.rule)?;
    fields.refuse("tools", is_empty)?;
    fields.refuse("functions", is_empty)?;
    fields.refuse("tool_choice", |value| matches!(value.as_str(), Some("none" | "auto")))?;
    fields.refuse("function_call", |value| matches!(value.as_str(), Some("none" | "auto")))?;
    fields
        .refuse("modalities", |value| value.as_array().is_some_and(|all| all.iter().all(|m| m == "text")))?;
    for field in ["audio", "web_search_options", "reasoning_effort", "verbosity"] {
        fields.refuse(field, |_| false)?;
    }
    fields.finish()?;
    let Some(template) = &service.template else {
        let message = "this model has no chat template; use /v1/completions";
        return Err(ApiError::param("messages", message).with_code("unsupported_parameter"));
    };
    let ids = prompt::chat(&service.spec, &service.tokenizer, template, &messages)?;
    Asked { settings, guide: None, prompts: vec![ids] }.checked(service, "messages")
}

/// Reads a request of `/v1/completions`.
pub(super) fn completion(service: &Service, body: &[u8]) -> Result<Asked, ApiError> {
    let mut fields = Fields::of_body(body)?;
    check_model(service, &mut fields)?;
    let prompts = prompts(&fields.needed("prompt")?)?;
    let mut settings = Settings::read(&mut fields, &service.spec.sampling, service.vocab)?;
    settings.max_tokens = settings.max_tokens.or(Some(COMPLETION_TOKENS));
    settings.logprobs = logprobs_of_completion(&mut fields)?;
    let choices = settings.choices as u64;
    fields.refuse("best_of", |value| value.as_u64() == Some(choices))?;
    fields.refuse("echo", |value| value == &Value::Bool(false))?;
    fields.refuse("suffix", is_empty)?;
    fields.finish()?;
    let ids = prompts.into_iter().map(|prompt| match prompt {
        Text::Ids(ids) => Ok(ids),
        Text::Text(text) => {
            prompt::text(&service.spec, &service.tokenizer, &text, Special::Plain).map_err(ApiError::from)
        }
    });
    Asked { settings, guide: None, prompts: ids.collect::<Result<_, _>>()? }.checked(service, "prompt")
}

impl Asked {
    /// Checks the prompts against the limits of the server, and makes the guide; `param` is where the prompts came from.
    fn checked(mut self, service: &Service, param: &str) -> Result<Asked, ApiError> {
        let vocab = service.vocab;
        for prompt in &self.prompts {
            if prompt.is_empty() {
                return Err(ApiError::param(
                    param,
                    "the prompt is empty, and this model has no token to start with",
                ));
            }
            if prompt.len() > service.context {
                return Err(ApiError::prompt_too_long(param, prompt.len(), service.context));
            }
            if let Some(id) = prompt.iter().find(|&&id| id as usize >= vocab) {
                return Err(ApiError::param(
                    param,
                    format!("there is no token {id}: this model has {vocab}"),
                ));
            }
        }
        let answers = self.prompts.len().saturating_mul(self.settings.choices);
        let most = service.queue.capacity();
        if answers > most {
            let param = if self.settings.choices > 1 { "n" } else { param };
            let message = format!("{answers} answers are asked for, and this server takes {most} at a time");
            return Err(ApiError::param(param, message));
        }
        self.guide = self.settings.rule.as_ref().map(|rule| rule.guide(service)).transpose()?;
        Ok(self)
    }
}

/// Another model's name is an error: its answers would be another's.
fn check_model(service: &Service, fields: &mut Fields) -> Result<(), ApiError> {
    match fields.string("model")? {
        Some(model) if model != service.spec.name => {
            let message =
                format!("the model `{model}` does not exist; this server has `{}`", service.spec.name);
            let error = ApiError::param("model", message).with_code("model_not_found");
            Err(error.with_status(hyper::StatusCode::NOT_FOUND))
        }
        _ => Ok(()),
    }
}

fn messages(value: Value) -> Result<Vec<Message>, ApiError> {
    let Value::Array(values) = value else {
        return Err(wrong_type("messages", "a list of messages", &value));
    };
    if values.is_empty() {
        return Err(ApiError::param("messages", "`messages` must hold at least one message"));
    }
    values
        .into_iter()
        .enumerate()
        .map(|(index, value)| message(value, &format!("messages[{index}]")))
        .collect()
}

fn message(value: Value, name: &str) -> Result<Message, ApiError> {
    let mut fields = Fields::of_value(value, name)?;
    let needed_role = fields.needed("role")?;
    let role = match needed_role.as_str() {
        // Newer clients call the system's instructions so.
        Some("system" | "developer") => "system",
        Some("user") => "user",
        Some("assistant") => "assistant",
        _ => {
            let role = fields.name("role");
            let what = "`system`, `developer`, `user` or `assistant`";
            let message = format!("`{role}` must be {what}, and is {needed_role}");
            return Err(ApiError::param(role, message).with_code("invalid_value"));
        }
    };
    let content = match fields.needed("content")? {
        Value::String(text) => text,
        Value::Array(parts) => content(parts, &fields.name("content"))?,
        other => return Err(wrong_type(&fields.name("content"), "a string or a list of parts", &other)),
    };
    fields.refuse("tool_calls", is_empty)?;
    // Templates write roles and contents only; the rest is what clients send back of answers.
    fields.ignore(&["name", "annotations"]);
    fields.refuse("refusal", is_empty)?;
    fields.finish()?;
    Ok(Message::new(role, &content))
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

/// A text, token ids, or a list of texts or of lists of token ids.
fn prompts(value: &Value) -> Result<Vec<Text>, ApiError> {
    let ids = |values: &[Value]| -> Option<Text> {
        let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        values.iter().map(id).collect::<Option<Vec<u32>>>().map(Text::Ids)
    };
    let one = |value: &Value| match value {
        Value::String(text) => Some(Text::Text(text.clone())),
        Value::Array(values) => ids(values),
        _ => None,
    };
    let prompts = match value {
        Value::String(text) => Some(vec![Text::Text(text.clone())]),
        Value::Array(values) if values.is_empty() => None,
        Value::Array(values) if values.iter().all(Value::is_number) => ids(values).map(|ids| vec![ids]),
        Value::Array(values) => values.iter().map(one).collect(),
        _ => None,
    };
    let what = "a string, a list of token ids, or a list of these that is not empty";
    prompts.ok_or_else(|| wrong_type("prompt", what, value))
}
