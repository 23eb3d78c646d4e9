//! Chat and completion requests, from their JSON to prompts.

use serde_json::Value;

use crate::runtime::chat_template::Message;
use crate::runtime::guide::Guide;
use crate::runtime::prompt;
use crate::runtime::server::Service;
use crate::runtime::server::error::ApiError;
use crate::runtime::server::fields::{Fields, wrong_type};
use crate::runtime::server::messages::messages;
use crate::runtime::server::settings::{Settings, is_empty, logprobs_of_chat, logprobs_of_completion};
use crate::runtime::server::structured::response_format;
use crate::runtime::server::tools::{self, Tools};
use crate::runtime::tokenizer::Special;

/// Tokens of a completion unless the request says otherwise, as the API has it.
const COMPLETION_TOKENS: usize = 16;
/// Messages of a chat at most.
const MOST_MESSAGES: usize = 2048;

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
    let Some(template) = &service.template else { return Err(no_template()) };
    let messages = messages(fields.needed("messages")?, template)?;
    let mut settings = Settings::read(&mut fields, &service.spec.sampling, service.vocab)?;
    settings.logprobs = logprobs_of_chat(&mut fields)?;
    response_format(&mut fields, &mut settings.rule)?;
    let tools = tools::read(&mut fields)?;
    fields.refuse("functions", is_empty)?;
    fields.refuse("function_call", |value| matches!(value.as_str(), Some("none" | "auto")))?;
    fields
        .refuse("modalities", |value| value.as_array().is_some_and(|all| all.iter().all(|m| m == "text")))?;
    for field in ["audio", "web_search_options", "reasoning_effort", "verbosity"] {
        fields.refuse(field, |_| false)?;
    }
    fields.finish()?;
    settings.use_tools(tools.as_ref(), template)?;
    chat_of(service, settings, &messages, tools.as_ref())
}

/// The chat that continues these messages.
pub(super) fn chat_of(
    service: &Service,
    settings: Settings,
    messages: &[Message],
    tools: Option<&Tools>,
) -> Result<Asked, ApiError> {
    let Some(template) = &service.template else { return Err(no_template()) };
    if messages.len() > MOST_MESSAGES {
        let count = messages.len();
        let message = format!("the chat has {count} messages, and may have {MOST_MESSAGES}");
        return Err(ApiError::param("messages", message));
    }
    let told = tools.map(Tools::for_template).unwrap_or_default();
    let ids = prompt::chat_with_tools(&service.spec, &service.tokenizer, template, messages, &told)?;
    Asked { settings, guide: None, prompts: vec![ids] }.checked(service, "messages")
}

/// Reads a request of `/v1/completions`.
pub(super) fn completion(service: &Service, body: &[u8]) -> Result<Asked, ApiError> {
    let mut fields = Fields::of_body(body)?;
    check_model(service, &mut fields)?;
    let prompts = prompt_ids(service, &fields.needed("prompt")?, "prompt")?;
    let mut settings = Settings::read(&mut fields, &service.spec.sampling, service.vocab)?;
    settings.max_tokens = settings.max_tokens.or(Some(COMPLETION_TOKENS));
    settings.logprobs = logprobs_of_completion(&mut fields)?;
    let choices = settings.choices as u64;
    fields.refuse("best_of", |value| value.as_u64() == Some(choices))?;
    fields.refuse("echo", |value| value == &Value::Bool(false))?;
    fields.refuse("suffix", is_empty)?;
    fields.finish()?;
    Asked { settings, guide: None, prompts }.checked(service, "prompt")
}

/// The token ids of texts, or of what else `param` may hold.
pub(super) fn prompt_ids(service: &Service, value: &Value, param: &str) -> Result<Vec<Vec<u32>>, ApiError> {
    let ids = prompts(value, param)?.into_iter().map(|prompt| match prompt {
        Text::Ids(ids) => Ok(ids),
        Text::Text(text) => {
            prompt::text(&service.spec, &service.tokenizer, &text, Special::Plain).map_err(ApiError::from)
        }
    });
    ids.collect()
}

/// There is nothing that could write a chat as this model knows it.
pub(super) fn no_template() -> ApiError {
    let message = "this model has no chat template; use /v1/completions";
    ApiError::param("messages", message).with_code("unsupported_parameter")
}

impl Asked {
    /// Checks the prompts against the limits of the server, and makes the guide; `param` is where the prompts came from.
    fn checked(mut self, service: &Service, param: &str) -> Result<Asked, ApiError> {
        check_prompts(service, &self.prompts, param)?;
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

/// Checks prompts against the limits of the model and the server.
pub(super) fn check_prompts(service: &Service, prompts: &[Vec<u32>], param: &str) -> Result<(), ApiError> {
    let vocab = service.vocab;
    for prompt in prompts {
        if prompt.is_empty() {
            let message = format!("`{param}` holds an empty text, and this model has no token to start with");
            return Err(ApiError::param(param, message));
        }
        if prompt.len() > service.context {
            return Err(ApiError::prompt_too_long(param, prompt.len(), service.context));
        }
        if let Some(id) = prompt.iter().find(|&&id| id as usize >= vocab) {
            return Err(ApiError::param(param, format!("there is no token {id}: this model has {vocab}")));
        }
    }
    Ok(())
}

/// Another model's name is an error: its answers would be another's.
pub(super) fn check_model(service: &Service, fields: &mut Fields) -> Result<(), ApiError> {
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

/// A text, token ids, or a list of texts or of lists of token ids.
fn prompts(value: &Value, param: &str) -> Result<Vec<Text>, ApiError> {
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
    prompts.ok_or_else(|| wrong_type(param, what, value))
}
