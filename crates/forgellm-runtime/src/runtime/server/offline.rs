//! Requests that come without a connection: they are answered as the server answers them.

use std::collections::VecDeque;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::interval;

use crate::runtime::engine::Engine;
use crate::runtime::server::api::Api;
use crate::runtime::server::body::Body;
use crate::runtime::server::connection::{LOOK, PROMPT_THREADS};
use crate::runtime::server::error::ApiError;
use crate::runtime::server::race::{First, race};
use crate::runtime::server::{Model, Options, ServeError, Service, answers, embeddings, run};

/// Requests that are read ahead of those that are worked on, so that the engine never waits for one.
const AHEAD: usize = 2;
/// No answer is given up, however long it takes.
const NO_LIMIT: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// What would come over a connection.
#[derive(Debug, Clone, PartialEq)]
pub struct OfflineRequest {
    /// `POST`.
    pub method: String,
    /// `/v1/chat/completions`, `/v1/completions` or `/v1/embeddings`.
    pub path: String,
    /// The JSON.
    pub body: Value,
}

/// What would go over a connection.
#[derive(Debug, Clone, PartialEq)]
pub struct OfflineAnswer {
    /// The status of HTTP.
    pub status: u16,
    /// The JSON, also of an error.
    pub body: Value,
}

/// One of a row of things to do.
#[derive(Debug, Clone, PartialEq)]
pub enum OfflineItem {
    /// A request to be answered.
    Request(OfflineRequest),
    /// Nothing: it only keeps its place in the row.
    Nothing,
}

/// Answers what `next` gives, up to `parallel` requests at a time, and hands the answers to `done` in the same order; an item that is nothing
/// gets none. Ends after the last item, when it `is_to_end`, or with an error of either.
///
/// # Errors
/// Inside, those of `next` and `done`, and an answer that the engine could not give for want of memory, as an error of `F`.
pub fn answer_offline<E: Engine, F: Send + From<EngineFailed>>(
    engine: &mut E,
    model: Model,
    parallel: usize,
    next: &mut (dyn FnMut() -> Result<Option<OfflineItem>, F> + Send),
    done: &mut (dyn FnMut(Option<OfflineAnswer>) -> Result<(), F> + Send),
    is_to_end: &(dyn Fn() -> bool + Sync),
) -> Result<Result<(), F>, ServeError> {
    let options = Options {
        parallel,
        // What is read is taken.
        queue: usize::MAX,
        api_key: None,
        body_limit: usize::MAX,
        request_time: NO_LIMIT,
        timeout: NO_LIMIT,
        shutdown_time: Duration::ZERO,
        trace: None,
    };
    run(engine, model, options, |service| {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().max_blocking_threads(PROMPT_THREADS).build()?;
        let result = runtime.block_on(work(service, parallel, next, done, is_to_end));
        // Nobody waits for what is still under way.
        service.queue.abort();
        runtime.shutdown_background();
        Ok::<_, io::Error>(result)
    })
}

/// The engine has no memory left for an answer, or is gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EngineFailed(pub String);

async fn work<F: From<EngineFailed>>(
    service: &Arc<Service>,
    parallel: usize,
    next: &mut (dyn FnMut() -> Result<Option<OfflineItem>, F> + Send),
    done: &mut (dyn FnMut(Option<OfflineAnswer>) -> Result<(), F> + Send),
    is_to_end: &(dyn Fn() -> bool + Sync),
) -> Result<(), F> {
    let mut under_way: VecDeque<Option<JoinHandle<OfflineAnswer>>> = VecDeque::new();
    let mut look = interval(LOOK);
    loop {
        while under_way.len() < AHEAD * parallel {
            let Some(item) = next()? else { break };
            under_way.push_back(match item {
                OfflineItem::Request(request) => Some(tokio::spawn(answer(service.clone(), request))),
                OfflineItem::Nothing => None,
            });
        }
        if is_to_end() {
            return Ok(());
        }
        let Some(first) = under_way.pop_front() else { return Ok(()) };
        let Some(mut first) = first else {
            done(None)?;
            continue;
        };
        let answered = loop {
            if is_to_end() {
                return Ok(());
            }
            match race(pin!(&mut first), pin!(look.tick())).await {
                First::Left(answered) => break answered.map_err(|error| EngineFailed(error.to_string()))?,
                First::Right(_) => {}
            }
        };
        if answered.status == StatusCode::SERVICE_UNAVAILABLE.as_u16() {
            let message = answered.body.pointer("/error/message").and_then(Value::as_str).unwrap_or_default();
            return Err(EngineFailed(message.to_owned()).into());
        }
        done(Some(answered))?;
    }
}

async fn answer(service: Arc<Service>, request: OfflineRequest) -> OfflineAnswer {
    let body = || request.body.to_string().into_bytes();
    let answered = match check(&request) {
        Ok(Endpoint::Answers(api)) => answers::respond(&service, api, body()).await,
        Ok(Endpoint::Embeddings) => embeddings::respond(&service, body()).await,
        Err(error) => Err(error),
    };
    let failed = |error: &ApiError| OfflineAnswer { status: error.status.as_u16(), body: error.body() };
    match answered {
        Ok(response) => {
            let status = response.status().as_u16();
            match response.into_body() {
                Body::Whole(bytes) => match serde_json::from_slice(&bytes) {
                    Ok(body) => OfflineAnswer { status, body },
                    Err(error) => failed(&ApiError::server(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        format!("the answer is no JSON: {error}"),
                    )),
                },
                Body::Events(_) => failed(&no_stream()),
            }
        }
        Err(error) => failed(&error),
    }
}

/// What answers a request.
enum Endpoint {
    Answers(Api),
    Embeddings,
}

/// Reads what of the request is not in its body.
fn check(request: &OfflineRequest) -> Result<Endpoint, ApiError> {
    if request.method != "POST" {
        let error =
            ApiError::param("method", format!("`method` must be \"POST\", and is {:?}", request.method));
        return Err(error.with_status(StatusCode::METHOD_NOT_ALLOWED));
    }
    let endpoint = match request.path.as_str() {
        "/v1/chat/completions" => Endpoint::Answers(Api::Chat),
        "/v1/completions" => Endpoint::Answers(Api::Completion),
        "/v1/embeddings" => Endpoint::Embeddings,
        path => {
            let message = format!(
                "`url` must be \"/v1/chat/completions\", \"/v1/completions\" or \"/v1/embeddings\", and is {path:?}"
            );
            let error = ApiError::param("url", message).with_status(StatusCode::NOT_FOUND);
            return Err(error.with_code("unknown_url"));
        }
    };
    let is_streamed = request.body.get("stream").and_then(Value::as_bool) == Some(true);
    if is_streamed { Err(no_stream()) } else { Ok(endpoint) }
}

fn no_stream() -> ApiError {
    ApiError::param(
        "stream",
        "answers that are not sent over a connection cannot be streamed; leave `stream` out",
    )
}
