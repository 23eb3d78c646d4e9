//! From a request's path to what answers it.

use std::hint::black_box;
use std::sync::Arc;

use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode, header};
use serde_json::json;

use crate::runtime::server::api::Api;
use crate::runtime::server::body::{self, Body};
use crate::runtime::server::error::ApiError;
use crate::runtime::server::{Service, answers, embeddings, metrics, page, tokens};

/// What a path stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    Answers(Api),
    Embeddings,
    Models,
    Model,
    Tokenize,
    Detokenize,
    Health,
    Metrics,
    Page,
}

/// All paths. `{model}` stands for a name.
const PATHS: [(&str, Endpoint); 12] = [
    ("/", Endpoint::Page),
    ("/v1/chat/completions", Endpoint::Answers(Api::Chat)),
    ("/v1/completions", Endpoint::Answers(Api::Completion)),
    ("/v1/responses", Endpoint::Answers(Api::Responses)),
    ("/v1/messages", Endpoint::Answers(Api::Messages)),
    ("/v1/embeddings", Endpoint::Embeddings),
    ("/v1/models", Endpoint::Models),
    ("/v1/models/{model}", Endpoint::Model),
    ("/tokenize", Endpoint::Tokenize),
    ("/detokenize", Endpoint::Detokenize),
    ("/health", Endpoint::Health),
    ("/metrics", Endpoint::Metrics),
];

impl Endpoint {
    fn method(self) -> Method {
        match self {
            Endpoint::Answers(_) | Endpoint::Embeddings | Endpoint::Tokenize | Endpoint::Detokenize => {
                Method::POST
            }
            Endpoint::Models | Endpoint::Model | Endpoint::Health | Endpoint::Metrics | Endpoint::Page => {
                Method::GET
            }
        }
    }
}

/// Answers one request, and counts it.
pub(super) async fn respond(service: Arc<Service>, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path();
    let found = PATHS.iter().find(|(pattern, _)| match pattern.strip_suffix("{model}") {
        Some(start) => path.strip_prefix(start).is_some_and(|name| !name.is_empty()),
        None => *pattern == path,
    });
    let response = match found {
        Some((_, endpoint)) => dispatch(&service, *endpoint, request).await,
        None => {
            let message = format!("there is no {path} here");
            let error = ApiError::invalid(message).with_status(StatusCode::NOT_FOUND);
            Err(error.with_code("unknown_url"))
        }
    };
    let is_anthropic = found.is_some_and(|(_, endpoint)| *endpoint == Endpoint::Answers(Api::Messages));
    let response = response.unwrap_or_else(|error| {
        let body = if is_anthropic { error.anthropic_body() } else { error.body() };
        body::error(&error, &body)
    });
    let counted = found.map_or("other", |(pattern, _)| pattern);
    service.metrics.response(counted, response.status().as_u16());
    response
}

async fn dispatch(
    service: &Arc<Service>,
    endpoint: Endpoint,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    // Whoever watches over the server need not know its key, and the page asks for it.
    if !matches!(endpoint, Endpoint::Health | Endpoint::Page) {
        authorize(service, &request)?;
    }
    let method = endpoint.method();
    if request.method() != method && !(method == Method::GET && request.method() == Method::HEAD) {
        let message = format!("use {method} for {}", request.uri().path());
        let error = ApiError::invalid(message).with_status(StatusCode::METHOD_NOT_ALLOWED);
        let mut response = body::error(&error, &error.body());
        let allow =
            header::HeaderValue::from_static(if method == Method::GET { "GET, HEAD" } else { "POST" });
        response.headers_mut().insert(header::ALLOW, allow);
        return Ok(response);
    }
    let model = json!({
        "id": service.spec.name, "object": "model", "created": service.started, "owned_by": "forgellm",
    });
    Ok(match endpoint {
        Endpoint::Answers(api) => answers::respond(service, api, json_body(service, request).await?).await?,
        Endpoint::Embeddings => embeddings::respond(service, json_body(service, request).await?).await?,
        Endpoint::Models => body::json(StatusCode::OK, &json!({"object": "list", "data": [model]})),
        Endpoint::Model => {
            let name = request.uri().path().trim_start_matches("/v1/models/");
            if name != service.spec.name {
                let message =
                    format!("the model `{name}` does not exist; this server has `{}`", service.spec.name);
                let error = ApiError::param("model", message).with_code("model_not_found");
                return Err(error.with_status(StatusCode::NOT_FOUND));
            }
            body::json(StatusCode::OK, &model)
        }
        Endpoint::Tokenize => {
            let body = json_body(service, request).await?;
            body::json(
                StatusCode::OK,
                &aside(service, move |service| tokens::tokenize(service, &body)).await?,
            )
        }
        Endpoint::Detokenize => {
            let body = json_body(service, request).await?;
            body::json(
                StatusCode::OK,
                &aside(service, move |service| tokens::detokenize(service, &body)).await?,
            )
        }
        Endpoint::Health => {
            service.queue.check()?;
            body::json(StatusCode::OK, &json!({"status": "ok"}))
        }
        Endpoint::Metrics => {
            let page = Body::Whole(Bytes::from(metrics::page(service)));
            body::response(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", page)
        }
        Endpoint::Page => page::response(),
    })
}

/// Does work that may take a while on a thread of its own, so that other connections go on meanwhile.
pub(super) async fn aside<T: Send + 'static>(
    service: &Arc<Service>,
    work: impl FnOnce(&Service) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let service = service.clone();
    let failed = |_| ApiError::server(StatusCode::INTERNAL_SERVER_ERROR, "the request could not be read");
    tokio::task::spawn_blocking(move || work(&service)).await.map_err(failed)?
}

/// Reads a body that must be JSON. Browsers send other types to foreign servers without asking, so those are refused.
async fn json_body(service: &Service, request: Request<Incoming>) -> Result<Vec<u8>, ApiError> {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        let message = "the header `Content-Type: application/json` is missing";
        return Err(ApiError::invalid(message).with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    body::read(request.into_body(), service.options.body_limit, service.options.request_time).await
}

/// Checks the key, where there is one. Clients of Anthropic's API send it in a header of its own.
fn authorize(service: &Service, request: &Request<Incoming>) -> Result<(), ApiError> {
    let Some(key) = &service.options.api_key else { return Ok(()) };
    let given = request.headers().get(header::AUTHORIZATION).map(header::HeaderValue::as_bytes);
    let given = given.and_then(|value| value.strip_prefix(b"Bearer "));
    let given = given.or(request.headers().get("x-api-key").map(header::HeaderValue::as_bytes));
    let message = match given {
        Some(given) if equal_in_constant_time(given, key.as_bytes()) => return Ok(()),
        Some(_) => "the API key is wrong",
        None => "an API key is needed: send the header `Authorization: Bearer KEY`",
    };
    let error = ApiError::invalid(message).with_status(StatusCode::UNAUTHORIZED);
    Err(error.with_code("invalid_api_key"))
}

/// Compares without telling by the time it takes where the difference is; only the length can be learnt.
fn equal_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    let differences = a.iter().zip(b).fold(0, |all, (a, b)| black_box(all | (a ^ b)));
    a.len() == b.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::equal_in_constant_time;

    #[test]
    fn keys_are_equal_only_as_a_whole() {
        let equal = |a: &str, b: &str| equal_in_constant_time(a.as_bytes(), b.as_bytes());
        assert!(equal("secret", "secret") && equal("", ""));
        for wrong in ["", "secre", "secrets", "Secret", "secreT", "terces"] {
            assert!(!equal(wrong, "secret") && !equal("secret", wrong), "{wrong}");
        }
    }
}
