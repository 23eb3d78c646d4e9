//! The APIs by which answers can be asked for.

use crate::runtime::server::error::ApiError;
use crate::runtime::server::format::Format;
use crate::runtime::server::reply::{Kind, Reply};
use crate::runtime::server::request::{self, Asked};
use crate::runtime::server::{Service, anthropic, responses, unix_seconds};

/// Which API a client uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    /// OpenAI's chat completions.
    Chat,
    /// OpenAI's completions.
    Completion,
    /// OpenAI's responses.
    Responses,
    /// Anthropic's messages.
    Messages,
}

impl Api {
    /// What a request asks for, and how its answers are written.
    pub fn read(self, service: &Service, body: &[u8]) -> Result<(Asked, Box<dyn Format>), ApiError> {
        let reply = |asked: &Asked, kind: Kind, id: &str| Reply {
            kind,
            id: service.fresh_id(id),
            created: unix_seconds(),
            model: service.spec.name,
            fingerprint: format!("fp_{}", service.spec.plan_hash.get(..16).unwrap_or(service.spec.plan_hash)),
            include_usage: asked.settings.include_usage,
            logprobs: asked.settings.logprobs.is_some(),
            tokenizer: service.tokenizer.clone(),
            begun: vec![false; asked.prompts.len() * asked.settings.choices],
        };
        Ok(match self {
            Api::Chat => {
                let asked = request::chat(service, body)?;
                let reply = reply(&asked, Kind::Chat, "chatcmpl");
                (asked, Box::new(reply))
            }
            Api::Completion => {
                let asked = request::completion(service, body)?;
                let reply = reply(&asked, Kind::Completion, "cmpl");
                (asked, Box::new(reply))
            }
            Api::Responses => responses::read(service, body)?,
            Api::Messages => anthropic::read(service, body)?,
        })
    }
}
