//! Answers as server-sent events, each sent when its token is there.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::Bytes;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::runtime::server::answer::{Event, EventKind};
use crate::runtime::server::error::ApiError;
use crate::runtime::server::reply::{Reply, Usage};

/// The events of a request on their way into its response. Dropping it, as happens when the client leaves, ends the answers.
pub(super) struct EventStream {
    /// The event whose arrival began the response.
    first: Option<Event>,
    events: UnboundedReceiver<Event>,
    reply: Reply,
    /// Whether each answer has begun.
    begun: Vec<bool>,
    /// Answers that have not ended.
    open: usize,
    /// Answers to each prompt.
    choices: usize,
    usage: Usage,
    deadline: Pin<Box<Sleep>>,
    timeout: Duration,
    is_done: bool,
}

impl EventStream {
    /// For `answers` answers, `choices` to each prompt.
    pub fn new(
        first: Event,
        events: UnboundedReceiver<Event>,
        reply: Reply,
        answers: usize,
        choices: usize,
        (deadline, timeout): (Instant, Duration),
    ) -> EventStream {
        EventStream {
            first: Some(first),
            events,
            reply,
            begun: vec![false; answers],
            open: answers,
            choices,
            usage: Usage::default(),
            deadline: Box::pin(sleep_until(deadline)),
            timeout,
            is_done: false,
        }
    }

    /// The next bytes of the body.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.is_done {
            return Poll::Ready(None);
        }
        let event = match self.first.take() {
            Some(event) => event,
            None if self.deadline.as_mut().poll(context).is_ready() => {
                return Poll::Ready(Some(self.fail(&ApiError::timeout(self.timeout.as_secs()))));
            }
            None => match ready!(self.events.poll_recv(context)) {
                Some(event) => event,
                // The engine's thread ends every answer that it takes, unless it is torn down.
                None => return Poll::Ready(Some(self.fail(&ApiError::shutting_down()))),
            },
        };
        Poll::Ready(Some(self.write(event)))
    }

    fn write(&mut self, Event { choice, kind }: Event) -> Bytes {
        match kind {
            EventKind::Piece(piece) => {
                let is_first =
                    self.begun.get_mut(choice).is_some_and(|begun| !std::mem::replace(begun, true));
                data(&self.reply.piece(choice, &piece, is_first)).into()
            }
            EventKind::End(Err(error)) => self.fail(&error),
            EventKind::End(Ok(ended)) => {
                self.usage.add(&ended.finished, choice.is_multiple_of(self.choices));
                self.open = self.open.saturating_sub(1);
                let mut text = data(&self.reply.end(choice, ended));
                if self.open == 0 {
                    self.is_done = true;
                    if self.reply.include_usage {
                        text += &data(&self.reply.usage(self.usage));
                    }
                    text += "data: [DONE]\n\n";
                }
                text.into()
            }
        }
    }

    /// The headers are sent already, so an error is an event, and ends the stream.
    fn fail(&mut self, error: &ApiError) -> Bytes {
        self.is_done = true;
        self.events.close();
        data(&error.body()).into()
    }
}

/// One event, <https://html.spec.whatwg.org/multipage/server-sent-events.html>. JSON on one line needs no escapes.
fn data(value: &Value) -> String {
    format!("data: {value}\n\n")
}
