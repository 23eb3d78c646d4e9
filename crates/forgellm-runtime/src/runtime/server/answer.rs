//! An answer on its way from the engine's thread to the connection.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;

use crate::runtime::generate::{FinishReason, GenerateError};
use crate::runtime::scheduler::{Chosen, Finished, Listener};
use crate::runtime::server::error::ApiError;
use crate::runtime::server::logprobs::{Aligned, Told};
use crate::runtime::server::metrics::Metrics;
use crate::runtime::server::tool_calls::{CallParser, CallPart, Found};
use crate::runtime::stop::StopFilter;
use crate::runtime::tokenizer::{TextStream, Tokenizer};

/// What happens to an answer of a request.
#[derive(Debug)]
pub(super) struct Event {
    /// Which of the request's answers.
    pub choice: usize,
    pub kind: EventKind,
}

#[derive(Debug)]
pub(super) enum EventKind {
    /// More of it. Empty if the first token of an answer has no text yet.
    Piece(Piece),
    /// The end.
    End(Result<Ended, ApiError>),
}

/// An answer that came to its end.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub finished: Finished,
    /// Whether it calls tools.
    pub has_calls: bool,
    /// The stop string that ended it.
    pub stop: Option<String>,
}

/// Text, calls of tools behind it, and the log-probabilities of the tokens that begin in both, if they are wanted.
#[derive(Debug, Default)]
pub(super) struct Piece {
    pub text: String,
    pub calls: Vec<CallPart>,
    pub tokens: Vec<Told>,
}

/// Turns tokens into text, ends at stop strings, and tells the connection. Gone when the connection has dropped its receiver.
///
/// The channel has no limit of its own: an answer has one, and the engine must not wait for a client that reads slowly.
pub(super) struct Answer {
    choice: usize,
    events: UnboundedSender<Event>,
    text: TextStream<Arc<Tokenizer>>,
    stops: StopFilter,
    aligned: Aligned,
    /// Tells calls from text, where tools may be called.
    calls: Option<CallParser>,
    failure: Option<ApiError>,
    /// When the request came; none after the first token.
    waiting_since: Option<Instant>,
    metrics: Arc<Metrics>,
}

impl Answer {
    pub fn new(
        choice: usize,
        events: UnboundedSender<Event>,
        text: TextStream<Arc<Tokenizer>>,
        stop: &[String],
        calls: bool,
        metrics: Arc<Metrics>,
    ) -> Answer {
        let (stops, waiting_since) = (StopFilter::new(stop), Some(Instant::now()));
        Answer {
            choice,
            events,
            text,
            stops,
            aligned: Aligned::default(),
            calls: calls.then(CallParser::default),
            failure: None,
            waiting_since,
            metrics,
        }
    }

    /// A connection that is gone is noticed before the next step.
    fn send(&self, kind: EventKind) {
        let _ = self.events.send(Event { choice: self.choice, kind });
    }
}

impl Answer {
    /// Sends what text and tokens hold, if that is anything, or in any case if it `must`.
    fn pass(&mut self, text: String, tokens: Vec<Told>, must: bool) {
        let Found { text, calls } = match &mut self.calls {
            Some(parser) => parser.push(&text),
            None => Found { text, calls: Vec::new() },
        };
        if must || !text.is_empty() || !calls.is_empty() || !tokens.is_empty() {
            self.send(EventKind::Piece(Piece { text, calls, tokens }));
        }
    }
}

impl Listener for Answer {
    fn token(&mut self, Chosen { token, logprobs, at }: Chosen) -> ControlFlow<()> {
        let is_first = match self.waiting_since.take() {
            Some(since) => {
                self.metrics.first_token(at.saturating_duration_since(since));
                true
            }
            None => false,
        };
        let (text, is_stopped) = match self.text.push(token) {
            Ok(text) => {
                let text = text.unwrap_or_default();
                if let Some(logprobs) = logprobs {
                    self.aligned.push(logprobs, &text);
                }
                self.stops.push(&text)
            }
            Err(error) => {
                self.failure = Some(error.into());
                return ControlFlow::Break(());
            }
        };
        if is_first || !text.is_empty() {
            let tokens = self.aligned.pass(&text);
            self.pass(text, tokens, is_first);
        }
        if is_stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn end(mut self: Box<Self>, outcome: Result<Finished, GenerateError>) {
        let failure = self.failure.take();
        let outcome = failure.map_or_else(|| outcome.map_err(ApiError::from), Err);
        let outcome = outcome.and_then(|mut finished| match finished.reason {
            FinishReason::Interrupted => Err(ApiError::shutting_down()),
            FinishReason::Stop => Ok(finished),
            FinishReason::End | FinishReason::Length | FinishReason::Context => {
                let (mut text, is_stopped) = self.stops.push(&self.text.finish().unwrap_or_default());
                let mut tokens = self.aligned.pass(&text);
                if is_stopped {
                    finished.reason = FinishReason::Stop;
                } else {
                    text += &self.stops.finish();
                    tokens.extend(self.aligned.finish());
                }
                self.pass(text, tokens, false);
                Ok(finished)
            }
        });
        let rest = self.calls.as_mut().map(CallParser::finish).unwrap_or_default();
        if outcome.is_ok() && !rest.is_empty() {
            self.send(EventKind::Piece(Piece { text: rest, ..Piece::default() }));
        }
        let stop = self.stops.matched().map(str::to_owned);
        let has_calls = self.calls.as_ref().is_some_and(CallParser::has_calls);
        self.send(EventKind::End(outcome.map(|finished| Ended { finished, has_calls, stop })));
    }

    fn is_gone(&self) -> bool {
        self.events.is_closed()
    }
}
