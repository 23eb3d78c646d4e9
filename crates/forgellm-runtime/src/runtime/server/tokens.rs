//! `/tokenize` and `/detokenize`.

use serde_json::{Value, json};

use crate::runtime::server::Service;
use crate::runtime::server::error::ApiError;
use crate::runtime::server::fields::{Fields, wrong_type};
use crate::runtime::tokenizer::{Special, TokenizerError};

/// `{"content", "parse_special"?, "add_special"?}` to `{"tokens"}`. As in prompts, control tokens in a text are text unless asked for.
pub(super) fn tokenize(service: &Service, body: &[u8]) -> Result<Value, ApiError> {
    let mut fields = Fields::of_body(body)?;
    let content = fields.needed("content")?;
    let Value::String(content) = content else { return Err(wrong_type("content", "a string", &content)) };
    let special = if fields.boolean("parse_special")? { Special::Parse } else { Special::Plain };
    let add_special = fields.boolean("add_special")?;
    fields.finish()?;
    let tokens = service.tokenizer.encode(&content, special, add_special)?;
    Ok(json!({ "tokens": tokens }))
}

/// `{"tokens"}` to `{"content"}`.
pub(super) fn detokenize(service: &Service, body: &[u8]) -> Result<Value, ApiError> {
    let mut fields = Fields::of_body(body)?;
    let tokens = fields.needed("tokens")?;
    fields.finish()?;
    let ids = tokens.as_array().and_then(|tokens| {
        tokens
            .iter()
            .map(|id| id.as_u64().and_then(|id| u32::try_from(id).ok()))
            .collect::<Option<Vec<u32>>>()
    });
    let ids = ids.ok_or_else(|| wrong_type("tokens", "a list of token ids", &tokens))?;
    match service.tokenizer.decode(&ids) {
        Ok(content) => Ok(json!({ "content": content })),
        Err(error @ TokenizerError::UnknownToken(_)) => Err(ApiError::param("tokens", error.to_string())),
        Err(error) => Err(error.into()),
    }
}
