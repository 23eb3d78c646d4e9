//! The server: an HTTP front in the shape of the OpenAI API, over the [`Scheduler`].
//!
//! Two threads: the one that calls [`serve`] owns the engine and runs the scheduler; another runs all connections. What they share is
//! `Service`. A request becomes jobs in the queue; tokens come back over a channel, whose end, when the client leaves, ends the jobs.

mod answer;
mod answers;
mod anthropic;
mod api;
mod body;
mod connection;
mod embeddings;
mod error;
mod fields;
mod format;
mod logprobs;
mod messages;
mod metrics;
mod offline;
mod page;
mod patient;
mod race;
pub mod reader;
mod reply;
mod request;
mod responses;
mod route;
mod settings;
mod stream;
mod structured;
mod tokens;
mod tool_calls;
mod tools;
pub mod trace;

use std::hash::BuildHasher;
use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::runtime::chat_template::ChatTemplate;
use crate::runtime::engine::{Engine, EngineError};
use crate::runtime::guide::{GuideError, Vocabulary};
use crate::runtime::program::ProgramSpec;
use crate::runtime::scheduler::{Counters, Queue, Scheduler};
use crate::runtime::tokenizer::Tokenizer;
use metrics::Metrics;
pub use offline::{EngineFailed, OfflineAnswer, OfflineItem, OfflineRequest, answer_offline};
use trace::Trace;

/// Limits of a server.
#[derive(Debug, Clone)]
pub struct Options {
    /// Answers that are worked on at a time.
    pub parallel: usize,
    /// Answers that may wait beside those.
    pub queue: usize,
    /// What clients must send to be served; none: nothing.
    pub api_key: Option<String>,
    /// Bytes of a request's body at most.
    pub body_limit: usize,
    /// Within this time a request's head must be there, and then its body; idle connections, and those of clients that take nothing of
    /// their answers, are closed after it.
    pub request_time: Duration,
    /// Within this time an answer must be complete.
    pub timeout: Duration,
    /// So long running requests have to finish when the server is to end.
    pub shutdown_time: Duration,
    /// Takes note of each token; none: nothing does.
    pub trace: Option<Trace>,
}

/// Why a server ended that nobody ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The connections cannot be served.
    #[error("cannot serve connections: {0}")]
    Connections(#[from] io::Error),
    /// The thread of the connections panicked.
    #[error("the thread that serves connections failed; please report it")]
    Thread,
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// The model that is served.
pub struct Model {
    /// What the compiler knows about it.
    pub spec: ProgramSpec,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Its chat template, if it has one.
    pub template: Option<ChatTemplate>,
}

/// What both threads and all connections share.
struct Service {
    spec: ProgramSpec,
    tokenizer: Arc<Tokenizer>,
    template: Option<ChatTemplate>,
    /// Made when the first request needs it.
    guides: OnceLock<Result<Vocabulary, GuideError>>,
    options: Options,
    /// Positions of a sequence.
    context: usize,
    vocab: usize,
    queue: Arc<Queue>,
    counters: Arc<Counters>,
    metrics: Arc<Metrics>,
    /// When the server started, in seconds since 1970.
    started: u64,
    requests: AtomicU64,
}

impl Service {
    /// The service of a model whose engine has these limits.
    fn new(
        model: Model,
        options: Options,
        (context, vocab): (usize, usize),
        queue: Arc<Queue>,
        counters: Arc<Counters>,
    ) -> Service {
        Service {
            spec: model.spec,
            tokenizer: Arc::new(model.tokenizer),
            template: model.template,
            guides: OnceLock::new(),
            options,
            context,
            vocab,
            queue,
            counters,
            metrics: Arc::default(),
            started: unix_seconds(),
            requests: AtomicU64::new(0),
        }
    }

    /// An id that no other response has: random, and counted.
    fn fresh_id(&self, kind: &str) -> String {
        let count = self.requests.fetch_add(1, Ordering::Relaxed);
        let random = std::hash::RandomState::new().hash_one(count);
        format!("{kind}-{random:016x}{count:08x}")
    }
}

/// Serves the model until it `is_to_end`; then no more requests are taken, and the running ones finish within the limit. All
/// sequences of the engine must be free, and are so again afterwards.
///
/// # Errors
/// When the device is lost or the connections cannot be served.
pub fn serve<E: Engine>(
    engine: &mut E,
    model: Model,
    options: Options,
    listener: TcpListener,
    is_to_end: &(dyn Fn() -> bool + Sync),
) -> Result<(), ServeError> {
    run(engine, model, options, |service| connection::serve(listener, service, is_to_end))
}

/// Works on what the `front` puts into the queue, on a thread of its own, until that ends and everything in the queue is done.
fn run<E: Engine, T: Send>(
    engine: &mut E,
    model: Model,
    options: Options,
    front: impl FnOnce(&Arc<Service>) -> Result<T, io::Error> + Send,
) -> Result<T, ServeError> {
    let queue = Arc::new(Queue::new(options.queue));
    let counters: Arc<Counters> = Arc::default();
    let parallel = options.parallel;
    let limits = (engine.capacity().positions, engine.vocab());
    let service = Arc::new(Service::new(model, options, limits, queue.clone(), counters.clone()));
    thread::scope(|scope| {
        let connections = scope.spawn(|| {
            // However this thread ends, the engine's thread must not wait for jobs any more.
            let _abort = AbortWhenDropped(&queue);
            front(&service)
        });
        let worked = Scheduler::new(engine, queue.clone(), counters, parallel).run();
        let served = connections.join().map_err(|_| ServeError::Thread)?;
        worked?;
        Ok(served?)
    })
}

struct AbortWhenDropped<'a>(&'a Queue);

impl Drop for AbortWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

#[cfg(test)]
mod tests;
