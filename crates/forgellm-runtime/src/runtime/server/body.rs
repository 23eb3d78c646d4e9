//! Bodies of requests and responses.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use hyper::{Response, StatusCode, header};
use serde_json::Value;

use crate::runtime::server::error::ApiError;
use crate::runtime::server::race::{First, race};
use crate::runtime::server::stream::EventStream;

/// The body of a response.
pub(super) enum Body {
    Whole(Bytes),
    Events(Box<EventStream>),
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Body::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Body::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Body::Events(events) => {
                events.poll_next(context).map(|next| next.map(|data| Ok(Frame::data(data))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Body::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Body::Events(_) => SizeHint::default(),
        }
    }
}

/// A response with a body of this type.
pub(super) fn response(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

/// A response of JSON.
pub(super) fn json(status: StatusCode, value: &Value) -> Response<Body> {
    let body = Body::Whole(Bytes::from(format!("{value}\n")));
    response(status, "application/json", body)
}

/// An error as a response, whose body has the shape that the API gives errors.
pub(super) fn error(error: &ApiError, body: &Value) -> Response<Body> {
    let mut response = json(error.status, body);
    if let Some(seconds) = error.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// Reads a request's body of at most `limit` bytes, which must be there within `time`.
pub(super) async fn read(mut body: Incoming, limit: usize, time: Duration) -> Result<Vec<u8>, ApiError> {
    let too_large = || {
        let message = format!("the body is larger than {limit} bytes, which is the limit of this server");
        ApiError::invalid(message).with_status(StatusCode::PAYLOAD_TOO_LARGE)
    };
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let reading = async {
        let mut bytes = Vec::new();
        while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            let frame =
                frame.map_err(|error| ApiError::invalid(format!("the body cannot be read: {error}")))?;
            let Some(data) = frame.data_ref() else { continue };
            if data.len() > limit - bytes.len() {
                return Err(too_large());
            }
            bytes.extend_from_slice(data);
        }
        Ok(bytes)
    };
    match race(pin!(reading), pin!(tokio::time::sleep(time))).await {
        First::Left(result) => result,
        First::Right(()) => {
            let message = format!("the body was not complete after {} s", time.as_secs());
            Err(ApiError::invalid(message).with_status(StatusCode::REQUEST_TIMEOUT))
        }
    }
}
