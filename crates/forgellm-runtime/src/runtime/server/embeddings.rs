//! `/v1/embeddings`: a vector for each text, the mean hidden state of its tokens, of length 1.

use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, sleep_until};

use crate::runtime::generate::{FinishReason, GenerateError};
use crate::runtime::sampling::SamplingParams;
use crate::runtime::scheduler::{Chosen, Finished, Job, Listener};
use crate::runtime::server::Service;
use crate::runtime::server::body::{self, Body};
use crate::runtime::server::error::ApiError;
use crate::runtime::server::fields::Fields;
use crate::runtime::server::race::{First, race};
use crate::runtime::server::request::{check_model, check_prompts, prompt_ids};
use crate::runtime::server::route::aside;

/// Texts of a request at most, as the API has it.
const MOST_TEXTS: usize = 2048;
/// Texts that are in the queue at a time, if it takes so many, so that other requests find room beside them.
const WAVE: usize = 16;

/// What is asked for.
struct Asked {
    texts: Vec<Vec<u32>>,
    /// How many of a vector's first elements are wanted; none: all.
    dimensions: Option<usize>,
    is_base64: bool,
}

/// The vector of one text, or why there is none.
type Outcome = (usize, Result<(Vec<f32>, Finished), ApiError>);

/// Answers a request. Dropping the future ends the work on it.
pub(super) async fn respond(service: &Arc<Service>, body: Vec<u8>) -> Result<Response<Body>, ApiError> {
    let timeout = service.options.timeout;
    let deadline = Instant::now() + timeout;
    let Asked { texts, dimensions, is_base64 } = aside(service, move |service| read(service, &body)).await?;
    let mut vectors: Vec<Vec<f32>> = vec![Vec::new(); texts.len()];
    let mut prompt_tokens = 0;
    let wave = WAVE.min(service.queue.capacity()).max(1);
    for (number, wave_texts) in texts.chunks(wave).enumerate() {
        let (sender, mut outcomes) = mpsc::unbounded_channel();
        let job =
            |(index, text): (usize, &Vec<u32>)| job(text.clone(), number * wave + index, sender.clone());
        service.queue.submit(wave_texts.iter().enumerate().map(job).collect())?;
        drop(sender);
        for _ in wave_texts {
            let (index, outcome) = next(&mut outcomes, deadline, timeout.as_secs()).await?;
            let (vector, finished) = outcome?;
            prompt_tokens += finished.prompt_tokens;
            if let Some(slot) = vectors.get_mut(index) {
                *slot = unit(vector, dimensions)?;
            }
        }
    }
    let entry = |(index, vector): (usize, &Vec<f32>)| {
        let embedding = if is_base64 { json!(base64(vector)) } else { json!(vector) };
        json!({"object": "embedding", "index": index, "embedding": embedding})
    };
    let data: Vec<Value> = vectors.iter().enumerate().map(entry).collect();
    let usage = json!({"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens});
    let reply = json!({"object": "list", "data": data, "model": service.spec.name, "usage": usage});
    Ok(body::json(StatusCode::OK, &reply))
}

fn read(service: &Service, body: &[u8]) -> Result<Asked, ApiError> {
    let mut fields = Fields::of_body(body)?;
    check_model(service, &mut fields)?;
    let texts = prompt_ids(service, &fields.needed("input")?, "input")?;
    if texts.len() > MOST_TEXTS {
        let message = format!("`input` holds {} texts, and may hold {MOST_TEXTS}", texts.len());
        return Err(ApiError::param("input", message));
    }
    let dimensions = fields.integer("dimensions", 1..=u64::from(u32::MAX))?.map(|count| count as usize);
    let is_base64 = match fields.string("encoding_format")?.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(other) => {
            let message = format!("`encoding_format` must be `float` or `base64`, and is `{other}`");
            return Err(ApiError::param("encoding_format", message).with_code("invalid_value"));
        }
    };
    fields.ignore(&["user"]);
    fields.finish()?;
    check_prompts(service, &texts, "input")?;
    Ok(Asked { texts, dimensions, is_base64 })
}

fn job(prompt: Vec<u32>, index: usize, outcomes: UnboundedSender<Outcome>) -> Job {
    Job {
        prompt,
        max_tokens: 0,
        sampling: SamplingParams::GREEDY,
        logit_bias: Default::default(),
        logprobs: None,
        guide: None,
        embeds: true,
        end_ids: Vec::new(),
        listener: Box::new(Waiting { index, outcomes, vector: Vec::new() }),
    }
}

async fn next(
    outcomes: &mut UnboundedReceiver<Outcome>,
    deadline: Instant,
    seconds: u64,
) -> Result<Outcome, ApiError> {
    match race(pin!(outcomes.recv()), pin!(sleep_until(deadline))).await {
        // The engine's thread ends every job that it takes, unless it is torn down.
        First::Left(outcome) => outcome.ok_or_else(ApiError::shutting_down),
        First::Right(()) => Err(ApiError::timeout(seconds)),
    }
}

/// Who waits for a vector. Gone when the connection has dropped its receiver.
struct Waiting {
    index: usize,
    outcomes: UnboundedSender<Outcome>,
    vector: Vec<f32>,
}

impl Listener for Waiting {
    fn token(&mut self, _: Chosen) -> ControlFlow<()> {
        ControlFlow::Break(())
    }

    fn embedding(&mut self, embedding: Vec<f32>) {
        self.vector = embedding;
    }

    fn end(self: Box<Self>, outcome: Result<Finished, GenerateError>) {
        let outcome = match outcome {
            Ok(Finished { reason: FinishReason::Interrupted, .. }) => Err(ApiError::shutting_down()),
            Ok(finished) => Ok((self.vector, finished)),
            Err(error) => Err(error.into()),
        };
        // A connection that is gone needs nothing.
        let _ = self.outcomes.send((self.index, outcome));
    }

    fn is_gone(&self) -> bool {
        self.outcomes.is_closed()
    }
}

/// The first elements of a vector, scaled to length 1. One that is 0 stays so.
fn unit(mut vector: Vec<f32>, dimensions: Option<usize>) -> Result<Vec<f32>, ApiError> {
    let size = vector.len();
    match dimensions {
        Some(wanted) if wanted > size => {
            let message =
                format!("`dimensions` is {wanted}, and the vectors of this model have {size} elements");
            return Err(ApiError::param("dimensions", message).with_code("invalid_value"));
        }
        wanted => vector.truncate(wanted.unwrap_or(size)),
    }
    let length = vector.iter().map(|&element| f64::from(element).powi(2)).sum::<f64>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|element| *element = (f64::from(*element) / length) as f32);
    }
    Ok(vector)
}

/// The vector's bytes, each element as a little-endian f32, in base64.
fn base64(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|element| element.to_le_bytes()).collect();
    BASE64_STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_have_length_1_and_as_many_elements_as_asked_for() {
        assert_eq!(unit(vec![3.0, 4.0], None), Ok(vec![0.6, 0.8]));
        assert_eq!(unit(vec![3.0, 4.0, 9.0], Some(2)), Ok(vec![0.6, 0.8]));
        assert_eq!(unit(vec![0.0, 0.0], None), Ok(vec![0.0, 0.0]));
        assert_eq!(unit(vec![1e30, 0.0], None), Ok(vec![1.0, 0.0]));
        assert_eq!(unit(vec![1.0], Some(2)).unwrap_err().param.as_deref(), Some("dimensions"));
    }

    #[test]
    fn base64_is_that_of_the_standard() {
        // As Python's base64.b64encode(struct.pack("<3f", 1.0, -0.5, 0.1)) and so on.
        assert_eq!(base64(&[1.0, -0.5, 0.1]), "AACAPwAAAL/NzMw9");
        assert_eq!(base64(&[1.0]), "AACAPw==");
        assert_eq!(base64(&[1.0, -0.5]), "AACAPwAAAL8=");
        assert_eq!(base64(&[]), "");
    }
}
