//! When each token was chosen, as lines of JSON, for those who measure how long it takes to its client.

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use serde_json::json;

use crate::runtime::generate::GenerateError;
use crate::runtime::scheduler::{Chosen, Finished, Listener};

/// Takes note of tokens. Clones write to the same place.
#[derive(Debug, Clone)]
pub struct Trace {
    messages: Sender<Message>,
    clock: Clock,
}

/// What writes the lines, on a thread of its own: the engine's must not wait for a disk.
#[derive(Debug)]
pub struct TraceWriter {
    messages: Sender<Message>,
    thread: JoinHandle<io::Result<()>>,
}

#[derive(Debug)]
enum Message {
    Token {
        request: String,
        choice: usize,
        /// Of the token in its answer.
        index: usize,
        token: u32,
        nanoseconds: u64,
    },
    End,
}

/// Begins a trace: `{"id", "choice", "index", "token", "ns"}` a line, where `ns` is the system's monotonic clock in nanoseconds, which
/// other programs on the machine can read, too (`CLOCK_MONOTONIC`; `time.monotonic_ns` in Python).
pub fn start(out: impl Write + Send + 'static) -> (Trace, TraceWriter) {
    let (messages, receiver) = channel();
    let thread = thread::spawn(move || write(&mut BufWriter::new(out), &receiver));
    (Trace { messages: messages.clone(), clock: Clock::now() }, TraceWriter { messages, thread })
}

impl TraceWriter {
    /// Writes what there is, and no more.
    ///
    /// # Errors
    /// When not all could be written.
    pub fn finish(self) -> io::Result<()> {
        // If the thread is gone, joining says why.
        let _ = self.messages.send(Message::End);
        self.thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread that writes the trace failed")))
    }
}

impl Trace {
    /// The listener, whose tokens are noted as those of an answer to a request.
    pub(super) fn watch(
        &self,
        request: &str,
        choice: usize,
        listener: Box<dyn Listener>,
    ) -> Box<dyn Listener> {
        Box::new(Watched { trace: self.clone(), request: request.to_owned(), choice, tokens: 0, listener })
    }
}

/// An answer whose tokens are noted.
struct Watched {
    trace: Trace,
    request: String,
    choice: usize,
    tokens: usize,
    listener: Box<dyn Listener>,
}

impl Listener for Watched {
    fn token(&mut self, chosen: Chosen) -> ControlFlow<()> {
        let (token, nanoseconds) = (chosen.token, self.trace.clock.nanoseconds(chosen.at));
        // First the client, then those who look on.
        let flow = self.listener.token(chosen);
        let (request, choice, index) = (self.request.clone(), self.choice, self.tokens);
        // A writer that failed says so at the end.
        let _ = self.trace.messages.send(Message::Token { request, choice, index, token, nanoseconds });
        self.tokens += 1;
        flow
    }

    fn embedding(&mut self, embedding: Vec<f32>) {
        self.listener.embedding(embedding);
    }

    fn end(self: Box<Self>, outcome: Result<Finished, GenerateError>) {
        self.listener.end(outcome);
    }

    fn is_gone(&self) -> bool {
        self.listener.is_gone()
    }
}

fn write(out: &mut impl Write, messages: &Receiver<Message>) -> io::Result<()> {
    loop {
        let message = match messages.try_recv() {
            Ok(message) => message,
            Err(TryRecvError::Disconnected) => return out.flush(),
            Err(TryRecvError::Empty) => {
                // Whoever reads along sees whole lines while nothing happens.
                out.flush()?;
                messages.recv().unwrap_or(Message::End)
            }
        };
        match message {
            Message::End => return out.flush(),
            Message::Token { request, choice, index, token, nanoseconds } => {
                let line = json!({
                    "id": request, "choice": choice, "index": index, "token": token, "ns": nanoseconds,
                });
                writeln!(out, "{line}")?;
            }
        }
    }
}

/// One moment on both clocks.
#[derive(Debug, Clone, Copy)]
struct Clock {
    instant: Instant,
    nanoseconds: u64,
}

impl Clock {
    fn now() -> Clock {
        Clock { instant: Instant::now(), nanoseconds: system_nanoseconds() }
    }

    fn nanoseconds(&self, at: Instant) -> u64 {
        let after = at.saturating_duration_since(self.instant).as_nanos();
        self.nanoseconds.saturating_add(u64::try_from(after).unwrap_or(u64::MAX))
    }
}

/// The system's monotonic clock.
#[cfg(unix)]
pub(super) fn system_nanoseconds() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec that lives through the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    if result == 0 { time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64 } else { 0 }
}

/// Times count from the start of the trace where the clock cannot be read.
#[cfg(not(unix))]
pub(super) fn system_nanoseconds() -> u64 {
    0
}
