//! The server's reading of requests without connections and engine, for tests with hostile bodies.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::runtime::scheduler::Queue;
use crate::runtime::server::api::Api;
use crate::runtime::server::error::ApiError;
use crate::runtime::server::{Model, Options, Service, tokens};

/// Reads bodies of requests as [`serve`](super::serve) does.
pub struct Reader(Service);

/// Why a request was not taken, as the client is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    /// The HTTP status.
    pub status: u16,
    /// `{"error": {message, type, param, code}}`.
    pub body: Value,
}

impl Reader {
    /// For a model whose engine holds sequences of `context` positions and has so many tokens.
    pub fn new(model: Model, context: usize, vocab: usize) -> Reader {
        let options = Options {
            parallel: 1,
            queue: 16,
            api_key: None,
            body_limit: usize::MAX,
            request_time: Duration::MAX,
            timeout: Duration::MAX,
            shutdown_time: Duration::ZERO,
            trace: None,
        };
        let queue = Arc::new(Queue::new(options.queue));
        Reader(Service::new(model, options, (context, vocab), queue, Arc::default()))
    }

    /// The prompts that a body of `/v1/chat/completions` asks to continue.
    pub fn chat(&self, body: &[u8]) -> Result<Vec<Vec<u32>>, Refused> {
        Ok(Api::Chat.read(&self.0, body)?.0.prompts)
    }

    /// The prompts that a body of `/v1/completions` asks to continue.
    pub fn completion(&self, body: &[u8]) -> Result<Vec<Vec<u32>>, Refused> {
        Ok(Api::Completion.read(&self.0, body)?.0.prompts)
    }

    /// The prompts that a body of `/v1/responses` asks to continue.
    pub fn responses(&self, body: &[u8]) -> Result<Vec<Vec<u32>>, Refused> {
        Ok(Api::Responses.read(&self.0, body)?.0.prompts)
    }

    /// The prompts that a body of `/v1/messages` asks to continue.
    pub fn messages(&self, body: &[u8]) -> Result<Vec<Vec<u32>>, Refused> {
        Ok(Api::Messages.read(&self.0, body)?.0.prompts)
    }

    /// The answer to a body of `/tokenize`.
    pub fn tokenize(&self, body: &[u8]) -> Result<Value, Refused> {
        Ok(tokens::tokenize(&self.0, body)?)
    }

    /// The answer to a body of `/detokenize`.
    pub fn detokenize(&self, body: &[u8]) -> Result<Value, Refused> {
        Ok(tokens::detokenize(&self.0, body)?)
    }
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Refused {
        Refused { status: error.status.as_u16(), body: error.body() }
    }
}
