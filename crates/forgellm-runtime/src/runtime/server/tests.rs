//! The server over an engine without a model, through real connections.

mod client;
mod embeddings;
mod endpoints;
mod limits;
mod messages;
mod page;
mod refusals;
mod responses;
mod streams;
mod structured;
mod tools;
mod trace;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;
use crate::runtime::engine::Capacity;
use crate::runtime::prompt;
use crate::runtime::sampling::token_logprobs;
use crate::runtime::tests::{Automaton, Gate, SPEC, expected_continuation, logits, tokenizer};
use client::{Client, Reply};

const VOCAB: usize = SPEC.vocab;
const CONTEXT: usize = 800;
/// Ends an answer.
const END: u32 = 129;

/// A server on a thread of its own.
struct Server {
    address: SocketAddr,
    is_to_end: Arc<AtomicBool>,
    gate: Arc<Gate>,
    thread: JoinHandle<(Result<(), ServeError>, Automaton)>,
}

fn options() -> Options {
    Options {
        parallel: 4,
        queue: 8,
        api_key: None,
        body_limit: 10_000,
        request_time: Duration::from_secs(20),
        timeout: Duration::from_secs(20),
        shutdown_time: Duration::from_secs(10),
        trace: None,
    }
}

impl Server {
    /// A server whose engine runs as fast as it can.
    fn start() -> Server {
        Server::with(options(), SPEC, |engine| engine)
    }

    /// A server whose engine waits for the gate before each step.
    fn start_gated(options: Options) -> Server {
        Server::build(options, SPEC, |engine| engine, 0)
    }

    fn with(options: Options, spec: ProgramSpec, change: fn(Automaton) -> Automaton) -> Server {
        Server::build(options, spec, change, usize::MAX / 4)
    }

    fn build(
        options: Options,
        spec: ProgramSpec,
        change: fn(Automaton) -> Automaton,
        steps: usize,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let is_to_end: Arc<AtomicBool> = Arc::default();
        let gate: Arc<Gate> = Arc::default();
        gate.open(steps);
        let (ends, waits_at) = (is_to_end.clone(), gate.clone());
        let thread = thread::spawn(move || {
            let capacity = Capacity { sequences: 6, positions: CONTEXT, rows: 16 };
            let mut engine = change(Automaton::new(VOCAB, capacity).that_waits_at(waits_at));
            let tokenizer = Tokenizer::from_bytes(tokenizer().to_string().as_bytes()).unwrap();
            let template = prompt::chat_template(&spec, &tokenizer).unwrap();
            let model = Model { spec, tokenizer, template };
            let is_to_end = move || ends.load(Ordering::Relaxed);
            let result = serve(&mut engine, model, options, listener, &is_to_end);
            (result, engine)
        });
        Server { address, is_to_end, gate, thread }
    }

    fn client(&self) -> Client {
        Client::connect(self.address)
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Reply {
        let mut client = self.client();
        client.post(path, body.to_string());
        client.reply()
    }

    #[track_caller]
    fn get(&self, path: &str) -> Reply {
        let mut client = self.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        client.reply()
    }

    /// A number of the page `/metrics`.
    #[track_caller]
    fn metric(&self, name: &str) -> f64 {
        let page = self.get("/metrics").body;
        let line = page.lines().find_map(|line| line.strip_prefix(&format!("forgellm_{name} ")));
        line.unwrap_or_else(|| panic!("{name} is not in {page}")).parse().unwrap()
    }

    /// Waits until a metric has a value.
    #[track_caller]
    fn wait_for(&self, name: &str, value: f64) {
        let start = Instant::now();
        while self.metric(name) != value {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "{name} is {}, not {value}",
                self.metric(name)
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn tell_to_end(&self) {
        self.is_to_end.store(true, Ordering::Relaxed);
    }

    /// Ends the server; no sequence may be left.
    #[track_caller]
    fn end(self) {
        self.tell_to_end();
        self.gate.open(usize::MAX / 4);
        let (result, engine) = self.thread.join().unwrap();
        result.unwrap();
        assert_eq!(engine.open_sequences(), 0);
    }
}

fn ids(text: &str) -> Vec<u32> {
    text.bytes().map(u32::from).collect()
}

/// The token ids of a chat, as the template of [`SPEC`] writes it.
fn chat_ids(messages: &[(&str, &str)]) -> Vec<u32> {
    let turn = |(role, content): &(&str, &str)| {
        [vec![128], ids(role), ids("\n"), ids(content), vec![END], ids("\n")].concat()
    };
    [messages.iter().flat_map(turn).collect(), vec![128], ids("assistant\n")].concat()
}

/// What greedy generation must give: the text, its tokens, and whether the model ended it.
fn expected(prompt: &[u32], tokens: usize) -> (String, usize, bool) {
    let all = expected_continuation(prompt, tokens, VOCAB);
    let answer: Vec<u32> = all.iter().copied().take_while(|&id| id != END).collect();
    let text = answer.iter().filter(|&&id| id < 128).map(|&id| char::from(id as u8)).collect();
    (text, answer.len(), answer.len() < tokens)
}

fn user(content: &str) -> Value {
    json!([{"role": "user", "content": content}])
}
