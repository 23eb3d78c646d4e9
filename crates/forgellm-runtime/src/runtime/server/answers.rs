//! Answers, from the body of a request to the response, whichever API it is.

use std::pin::pin;
use std::sync::Arc;

use hyper::{Response, StatusCode};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::{Instant, sleep_until};

use crate::runtime::scheduler::Job;
use crate::runtime::server::Service;
use crate::runtime::server::answer::{Answer, Event, EventKind};
use crate::runtime::server::api::Api;
use crate::runtime::server::body::{self, Body};
use crate::runtime::server::error::ApiError;
use crate::runtime::server::format::{Usage, Whole};
use crate::runtime::server::race::{First, race};
use crate::runtime::server::request::Asked;
use crate::runtime::server::route::aside;
use crate::runtime::server::stream::EventStream;
use crate::runtime::tokenizer::TextStream;

/// Answers a request. Dropping the future ends the answers.
pub(super) async fn respond(
    service: &Arc<Service>,
    api: Api,
    body: Vec<u8>,
) -> Result<Response<Body>, ApiError> {
    let timeout = service.options.timeout;
    let deadline = Instant::now() + timeout;
    // Templates and tokenizers may take a while for long prompts.
    let (asked, format) = aside(service, move |service| api.read(service, &body)).await?;
    let (choices, stream) = (asked.settings.choices, asked.settings.stream);
    let answers = asked.prompts.len() * choices;
    let mut events = submit(service, api, format.id(), asked)?;
    let late = || ApiError::timeout(timeout.as_secs());
    if stream {
        // The response begins with the first token, so that what fails before that has its status.
        return match next(&mut events, deadline).await.ok_or_else(late)? {
            Event { kind: EventKind::End(Err(error)), .. } => Err(error),
            first => {
                let limit = (deadline, timeout);
                let stream = EventStream::new(first, events, format, answers, choices, limit);
                let body = Body::Events(Box::new(stream));
                Ok(body::response(StatusCode::OK, "text/event-stream; charset=utf-8", body))
            }
        };
    }
    let mut wholes = vec![Whole::default(); answers];
    let mut usage = Usage::default();
    let mut open = answers;
    while open > 0 {
        let Event { choice, kind } = next(&mut events, deadline).await.ok_or_else(late)?;
        let Some(whole) = wholes.get_mut(choice) else { continue };
        match kind {
            EventKind::Piece(piece) => whole.push(piece),
            EventKind::End(finished) => {
                let ended = finished?;
                usage.add(&ended.finished, choice.is_multiple_of(choices));
                whole.ended = Some(ended);
                open -= 1;
            }
        }
    }
    Ok(body::json(StatusCode::OK, &format.whole(&wholes, usage)))
}

/// Puts the answers into the queue; dropping the receiver ends them.
fn submit(service: &Service, api: Api, id: &str, asked: Asked) -> Result<UnboundedReceiver<Event>, ApiError> {
    let Asked { settings, guide, prompts } = asked;
    let (sender, events) = mpsc::unbounded_channel();
    let pairs = prompts.iter().flat_map(|prompt| (0..settings.choices).map(move |choice| (prompt, choice)));
    let jobs = pairs.enumerate().map(|(index, (prompt, choice))| {
        let tokenizer = service.tokenizer.clone();
        let text = match api {
            Api::Completion => TextStream::continuation(tokenizer),
            Api::Chat | Api::Messages | Api::Responses => TextStream::beginning(tokenizer),
        };
        let mut sampling = settings.sampling;
        // The answers to one prompt differ, and all repeat with the seed.
        sampling.seed = sampling.seed.map(|seed| seed.wrapping_add(choice as u64));
        let end_ids = if settings.ignore_eos { Vec::new() } else { service.spec.end_ids.to_vec() };
        let answer =
            Answer::new(index, sender.clone(), text, &settings.stop, settings.calls, service.metrics.clone());
        Job {
            prompt: prompt.clone(),
            max_tokens: settings.max_tokens.unwrap_or(usize::MAX),
            sampling,
            logit_bias: settings.logit_bias.clone(),
            logprobs: settings.logprobs,
            guide: guide.clone(),
            embeds: false,
            end_ids,
            listener: match &service.options.trace {
                Some(trace) => trace.watch(id, index, Box::new(answer)),
                None => Box::new(answer),
            },
        }
    });
    service.queue.submit(jobs.collect())?;
    Ok(events)
}

/// The next event; `None` if it has not come by the deadline.
async fn next(events: &mut UnboundedReceiver<Event>, deadline: Instant) -> Option<Event> {
    match race(pin!(events.recv()), pin!(sleep_until(deadline))).await {
        // The engine's thread ends every answer that it takes, unless it is torn down.
        First::Left(None) => Some(Event { choice: 0, kind: EventKind::End(Err(ApiError::shutting_down())) }),
        First::Left(event) => event,
        First::Right(()) => None,
    }
}
