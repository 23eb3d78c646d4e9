//! What a client is told when its request cannot be served, in the shape that clients of the OpenAI API know.

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::runtime::chat_template::ChatTemplateError;
use crate::runtime::engine::EngineError;
use crate::runtime::generate::GenerateError;
use crate::runtime::guide::GuideError;
use crate::runtime::prompt::PromptError;
use crate::runtime::sampling::SamplingError;
use crate::runtime::scheduler::SubmitError;
use crate::runtime::tokenizer::TokenizerError;

/// An error of one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct ApiError {
    pub status: StatusCode,
    pub message: String,
    /// `invalid_request_error`, `requests` or `server_error`.
    pub kind: &'static str,
    /// The parameter that is wrong: `messages[0].role`.
    pub param: Option<String>,
    /// For programs.
    pub code: Option<&'static str>,
    /// Seconds after which to try again.
    pub retry_after: Option<u32>,
}

impl ApiError {
    /// The client asked for something that cannot be.
    pub fn invalid(message: impl Into<String>) -> ApiError {
        ApiError {
            status: StatusCode::BAD_REQUEST,
            message: message.into(),
            kind: "invalid_request_error",
            param: None,
            code: None,
            retry_after: None,
        }
    }

    /// A parameter is wrong.
    pub fn param(param: impl Into<String>, message: impl Into<String>) -> ApiError {
        ApiError { param: Some(param.into()), ..ApiError::invalid(message) }
    }

    /// We failed.
    pub fn server(status: StatusCode, message: impl Into<String>) -> ApiError {
        ApiError { status, kind: "server_error", ..ApiError::invalid(message) }
    }

    /// The request took too long.
    pub fn timeout(seconds: u64) -> ApiError {
        let message =
            format!("the answer was not complete after {seconds} s; ask for fewer tokens or try again later");
        ApiError { code: Some("timeout"), ..ApiError::server(StatusCode::GATEWAY_TIMEOUT, message) }
    }

    /// The server ends before the answer does.
    pub fn shutting_down() -> ApiError {
        ApiError {
            code: Some("shutting_down"),
            retry_after: Some(1),
            ..ApiError::server(StatusCode::SERVICE_UNAVAILABLE, "the server is shutting down")
        }
    }

    /// The prompt does not fit the context.
    pub fn prompt_too_long(param: impl Into<String>, tokens: usize, room: usize) -> ApiError {
        let message = format!(
            "the prompt has {tokens} tokens, and this server's context holds {room} with the answer; shorten it"
        );
        ApiError { code: Some("context_length_exceeded"), ..ApiError::param(param, message) }
    }

    pub fn with_code(self, code: &'static str) -> ApiError {
        ApiError { code: Some(code), ..self }
    }

    pub fn with_status(self, status: StatusCode) -> ApiError {
        ApiError { status, ..self }
    }

    /// `{"error": {message, type, param, code}}`.
    pub fn body(&self) -> Value {
        json!({"error": {
            "message": shortened(&self.message), "type": self.kind, "param": self.param.as_deref().map(shortened),
            "code": self.code,
        }})
    }
}

impl ApiError {
    /// The same as Anthropic's API has it: `{"type": "error", "error": {type, message}}`.
    pub fn anthropic_body(&self) -> Value {
        let kind = match self.status.as_u16() {
            401 => "authentication_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            503 => "overloaded_error",
            504 => "timeout_error",
            _ => "api_error",
        };
        json!({"type": "error", "error": {"type": kind, "message": shortened(&self.message)}})
    }
}

/// Messages and names of parameters may repeat what the client sent, but not megabytes of it.
const LONGEST: usize = 400;

fn shortened(text: &str) -> String {
    if text.len() <= LONGEST {
        return text.to_owned();
    }
    let half = LONGEST / 2;
    let (start, end) = (text.floor_char_boundary(half), text.ceil_char_boundary(text.len() - half));
    format!("{}…{}", &text[..start], &text[end..])
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> ApiError {
        match error {
            SubmitError::Full { .. } => ApiError {
                kind: "requests",
                code: Some("rate_limit_exceeded"),
                retry_after: Some(1),
                ..ApiError::invalid(error.to_string()).with_status(StatusCode::TOO_MANY_REQUESTS)
            },
            SubmitError::Closed => ApiError::shutting_down(),
            SubmitError::Lost(error) => error.into(),
        }
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> ApiError {
        let status = match error {
            EngineError::NoHiddenState => {
                let error = ApiError::param("model", error.to_string());
                return error.with_code("unsupported_parameter");
            }
            EngineError::DeviceLost(_) | EngineError::NoFreePage => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        ApiError::server(status, error.to_string())
    }
}

impl From<GenerateError> for ApiError {
    fn from(error: GenerateError) -> ApiError {
        match error {
            GenerateError::Interrupted => ApiError::shutting_down(),
            GenerateError::Engine(error) => error.into(),
            GenerateError::EmptyPrompt => ApiError::param("prompt", error.to_string()),
            GenerateError::PromptTooLong { tokens, room } => {
                ApiError::prompt_too_long("prompt", tokens, room)
            }
            GenerateError::Sampling(error) => error.into(),
            GenerateError::Guide(error) => error.into(),
            GenerateError::Contract { .. } => {
                ApiError::server(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
            }
        }
    }
}

impl From<SamplingError> for ApiError {
    fn from(error: SamplingError) -> ApiError {
        match error.parameter() {
            Some(parameter) => ApiError::param(parameter, error.to_string()),
            None => ApiError::server(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }
}

impl From<GuideError> for ApiError {
    fn from(error: GuideError) -> ApiError {
        match error {
            GuideError::RuledOut => ApiError::param("logit_bias", error.to_string()),
            GuideError::Invalid { .. } | GuideError::Failed(_) => ApiError::invalid(error.to_string()),
            GuideError::Vocabulary(_) => {
                ApiError::server(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
            }
        }
    }
}

impl From<PromptError> for ApiError {
    fn from(error: PromptError) -> ApiError {
        match error {
            PromptError::ChatTemplate(error @ ChatTemplateError::Syntax(_)) => {
                ApiError::server(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
            }
            PromptError::ChatTemplate(error) => ApiError::param("messages", error.to_string()),
            PromptError::Tokenizer(error) => error.into(),
        }
    }
}

impl From<TokenizerError> for ApiError {
    fn from(error: TokenizerError) -> ApiError {
        ApiError::server(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}
