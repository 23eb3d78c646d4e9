//! Answers as server-sent events, each sent when its token is there.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::Bytes;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::runtime::server::answer::{Event, EventKind};
use crate::runtime::server::error::ApiError;
use crate::runtime::server::format::{Events, Format, Usage};

/// The events of a request on their way into its response. Dropping it, as happens when the client leaves, ends the answers.
pub(super) struct EventStream {
    /// The event whose arrival began the response.
    first: Option<Event>,
    events: UnboundedReceiver<Event>,
    format: Box<dyn Format>,
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
        format: Box<dyn Format>,
        answers: usize,
        choices: usize,
        (deadline, timeout): (Instant, Duration),
    ) -> EventStream {
        EventStream {
            first: Some(first),
            events,
            format,
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
        loop {
            let bytes = ready!(self.poll_event(context));
            // Some pieces are nothing in some formats.
            if self.is_done || !bytes.is_empty() {
                return Poll::Ready(Some(bytes));
            }
        }
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Bytes> {
        let event = match self.first.take() {
            Some(event) => event,
            None if self.deadline.as_mut().poll(context).is_ready() => {
                return Poll::Ready(self.fail(&ApiError::timeout(self.timeout.as_secs())));
            }
            None => match ready!(self.events.poll_recv(context)) {
                Some(event) => event,
                // The engine's thread ends every answer that it takes, unless it is torn down.
                None => return Poll::Ready(self.fail(&ApiError::shutting_down())),
            },
        };
        Poll::Ready(self.write(event))
    }

    fn write(&mut self, Event { choice, kind }: Event) -> Bytes {
        let mut events = Events::default();
        match kind {
            EventKind::Piece(piece) => self.format.piece(choice, piece, &mut events),
            EventKind::End(Err(error)) => return self.fail(&error),
            EventKind::End(Ok(ended)) => {
                self.usage.add(&ended.finished, choice.is_multiple_of(self.choices));
                self.open = self.open.saturating_sub(1);
                self.format.end(choice, &ended, &mut events);
                if self.open == 0 {
                    self.is_done = true;
                    self.format.close(self.usage, &mut events);
                }
            }
        }
        events.into_bytes()
    }

    /// The headers are sent already, so an error is an event, and ends the stream.
    fn fail(&mut self, error: &ApiError) -> Bytes {
        self.is_done = true;
        self.events.close();
        let mut events = Events::default();
        self.format.failure(error, &mut events);
        events.into_bytes()
    }
}
