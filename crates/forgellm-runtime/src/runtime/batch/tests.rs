//! Batches over an engine without a model, stopped everywhere.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::runtime::engine::{Capacity, EngineError};
use crate::runtime::prompt;
use crate::runtime::tests::{Automaton, SPEC, tokenizer};
use crate::runtime::tokenizer::Tokenizer;

const IDENTITY: Identity<'static> = Identity { model: "tiny", plan: "p1", context: 300, kv_cache: None };

/// A folder with an input.
struct Place(TempDir);

impl Place {
    fn new(lines: &[String]) -> Place {
        let place = Place(TempDir::new().unwrap());
        fs::write(place.path("in"), lines.join("\n") + "\n").unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn open(&self, identity: Identity<'static>, run: impl FnOnce(Batch<'_>)) -> Result<(), BatchError> {
        let (input, output) = (self.path("in"), self.path("out"));
        run(Batch::open(BatchOptions { input: &input, output: &output, parallel: 3 }, identity)?);
        Ok(())
    }

    /// Works until `most` more lines are written; gives the counts.
    fn work(&self, engine: Automaton, most: usize) -> Result<Counts, BatchError> {
        let (input, output) = (self.path("in"), self.path("out"));
        let mut batch = Batch::open(BatchOptions { input: &input, output: &output, parallel: 3 }, IDENTITY)?;
        let written = AtomicUsize::new(0);
        let mut engine = engine;
        if !batch.is_done() {
            let tokenizer = Tokenizer::from_bytes(tokenizer().to_string().as_bytes()).unwrap();
            let template = prompt::chat_template(&SPEC, &tokenizer).unwrap();
            let mut progress = |_: Counts| {
                written.fetch_add(1, Ordering::Relaxed);
            };
            let is_to_end = || written.load(Ordering::Relaxed) >= most;
            batch.answer(
                &mut engine,
                Model { spec: SPEC, tokenizer, template },
                &mut progress,
                &is_to_end,
            )?;
        }
        assert_eq!(engine.open_sequences(), 0);
        let counts = batch.counts();
        if batch.is_done() {
            batch.finish()?;
        }
        Ok(counts)
    }

    fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("out")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn engine() -> Automaton {
    Automaton::new(SPEC.vocab, Capacity { sequences: 6, positions: 300, rows: 16 })
}

fn chat(id: &str, text: &str, more: Value) -> String {
    let mut body = json!({"messages": [{"role": "user", "content": text}], "max_tokens": 9});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"custom_id": id, "method": "POST", "url": "/v1/chat/completions", "body": body}).to_string()
}

/// Requests of all kinds, some of which begin alike.
fn requests() -> Vec<String> {
    let mut lines: Vec<String> = (0..12)
        .map(|index| {
            let more =
                json!({"temperature": (index % 2) as f32, "max_tokens": 3 + index % 5, "n": 1 + index % 2});
            chat(&format!("r{index}"), &format!("The same beginning, then {index}"), more)
        })
        .collect();
    lines.insert(4, "not JSON".to_owned());
    lines.insert(5, String::new());
    for (id, url, body) in [
        ("c", "/v1/completions", json!({"prompt": ["a", "b"], "max_tokens": 4})),
        ("e", "/v1/embeddings", json!({"input": ["The same beginning, then", "more"]})),
    ] {
        lines.push(json!({"custom_id": id, "method": "POST", "url": url, "body": body}).to_string());
    }
    lines
}

#[test]
fn each_line_has_its_answer_or_its_error() {
    let no_method = json!({"custom_id": "f", "url": "/v1/completions", "body": {}}).to_string();
    let no_id = json!({"method": "POST", "url": "/v1/completions", "body": {}}).to_string();
    let other = |method: &str, url: &str| {
        json!({"custom_id": format!("{method}{url}"), "method": method, "url": url, "body": {}}).to_string()
    };
    let lines = [
        chat("a", "Hi", json!({"temperature": 0})),
        chat("b", "Hi", json!({"temperature": -1})),
        chat("c", "Hi", json!({"stream": true})),
        chat("d", "Hi", json!({"model": "other"})),
        chat("e", &"x".repeat(400), json!({})),
        "{".to_owned(),
        no_id,
        no_method,
        other("GET", "/v1/completions"),
        other("POST", "/v1/nonsense"),
        "{\"custom_id\": \"g\", \"method\": \"POST\", \"url\": \"/v1/completions\", \"body\": 7}".to_owned(),
        "[1]".to_owned(),
    ];
    let place = Place::new(&lines);
    let counts = place.work(engine(), usize::MAX).unwrap();
    assert_eq!(counts, Counts { requests: 12, done: 12, before: 0, failed: 11 });
    let answers = place.lines();
    let statuses: Vec<u64> =
        answers.iter().map(|line| line["response"]["status_code"].as_u64().unwrap_or(0)).collect();
    assert_eq!(statuses, [200, 400, 400, 404, 400, 0, 0, 0, 405, 404, 400, 0]);
    let ids: Vec<&str> = answers.iter().map(|line| line["custom_id"].as_str().unwrap_or("")).collect();
    assert_eq!(
        ids,
        ["a", "b", "c", "d", "e", "", "", "f", "GET/v1/completions", "POST/v1/nonsense", "g", ""]
    );
    assert!(answers[0]["error"].is_null() && answers[0]["response"]["body"]["created"] == 0);
    assert_eq!(answers[1]["response"]["body"]["error"]["param"], "temperature");
    assert_eq!(answers[2]["response"]["body"]["error"]["param"], "stream");
    for (index, part) in [(5, "line 6"), (6, "line 7"), (7, "no method"), (11, "line 12")] {
        let error = &answers[index]["error"];
        assert!(
            error["code"] == "invalid_line" && error["message"].as_str().unwrap().contains(part),
            "{error}"
        );
        assert!(answers[index]["response"].is_null());
    }
    let distinct: std::collections::BTreeSet<_> = answers.iter().map(|line| line["id"].to_string()).collect();
    assert_eq!(distinct.len(), 12);
}

#[test]
fn an_output_that_was_stopped_anywhere_ends_up_the_same() {
    let lines = requests();
    let whole = Place::new(&lines);
    let counts = whole.work(engine(), usize::MAX).unwrap();
    assert_eq!((counts.requests, counts.failed), (15, 1));
    let expected = fs::read(whole.path("out")).unwrap();
    assert!(!whole.path("out.partial").exists());
    for stop in 0..15 {
        let place = Place::new(&lines);
        assert_eq!(place.work(engine(), stop).unwrap().done, stop as u64);
        assert!(!place.path("out").exists());
        // A line that was being written when the end came.
        let mut partial = fs::read(place.path("out.partial")).unwrap();
        assert!(expected.starts_with(&partial));
        let torn = expected[partial.len()..].iter().position(|byte| *byte == b'\n').unwrap();
        partial.extend_from_slice(&expected[partial.len()..][..torn / 2]);
        fs::write(place.path("out.partial"), partial).unwrap();
        let counts = place.work(engine(), usize::MAX).unwrap();
        assert_eq!((counts.done, counts.before, counts.failed), (15, stop as u64, 1));
        assert_eq!(fs::read(place.path("out")).unwrap(), expected, "stopped after {stop}");
    }
    // Nothing is left to be done, and nothing is.
    assert_eq!(whole.work(engine(), 0).unwrap().before, 15);
    assert_eq!(fs::read(whole.path("out")).unwrap(), expected);
    // All lines were there, but not under their name.
    fs::rename(whole.path("out"), whole.path("out.partial")).unwrap();
    assert_eq!(whole.work(engine(), 0).unwrap().before, 15);
    assert_eq!(fs::read(whole.path("out")).unwrap(), expected);
}

#[test]
fn what_belongs_to_something_else_is_refused() {
    let lines = requests();
    let place = Place::new(&lines);
    place.work(engine(), 6).unwrap();
    let refused = |part: &str| {
        let error = place.open(IDENTITY, |_| ()).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    let mut changed = lines.clone();
    changed[2] = changed[2].replace("beginning", "start");
    fs::write(place.path("in"), changed.join("\n")).unwrap();
    refused("line 3 answers another request");
    fs::write(place.path("in"), lines[..3].join("\n")).unwrap();
    refused("line 4 answers another request");
    fs::write(place.path("in"), lines.join("\n")).unwrap();
    for other in [Identity { context: 301, ..IDENTITY }, Identity { plan: "p2", ..IDENTITY }] {
        assert!(matches!(place.open(other, |_| ()), Err(BatchError::Foreign { line: 1, .. })));
    }
    // More at the end changes nothing about what is there.
    let longer = [lines.clone(), vec![chat("new", "Hi", json!({}))]].concat();
    fs::write(place.path("in"), longer.join("\n")).unwrap();
    assert_eq!(place.work(engine(), usize::MAX).unwrap().before, 6);
    fs::write(place.path("in"), [longer, vec![chat("newer", "Hi", json!({}))]].concat().join("\n")).unwrap();
    refused("ends after 16 of 17 answers");
    fs::write(place.path("out"), "something of the user's").unwrap();
    refused("ends after 0");
    fs::write(place.path("out"), "something of the user's\n").unwrap();
    refused("line 1 answers another request");
    assert_eq!(fs::read(place.path("out")).unwrap(), b"something of the user's\n");
    // Two requests of one name.
    fs::write(
        place.path("in"),
        format!("\n{}\n{}", chat("twice", "a", json!({})), chat("twice", "b", json!({}))),
    )
    .unwrap();
    refused("line 3: the custom_id \"twice\" is also that of line 2");
    fs::remove_file(place.path("in")).unwrap();
    refused("cannot read");
}

#[test]
fn two_runs_do_not_write_one_output() {
    let place = Place::new(&requests());
    place
        .open(IDENTITY, |_batch| {
            assert!(matches!(place.open(IDENTITY, |_| ()), Err(BatchError::Busy { .. })));
        })
        .unwrap();
    place.open(IDENTITY, |_| ()).unwrap();
}

#[test]
fn an_engine_that_fails_costs_no_answer() {
    let lines: Vec<String> = ["a", "b", "c!", "d"].iter().map(|text| chat(text, text, json!({}))).collect();
    let whole = Place::new(&lines);
    whole.work(engine(), usize::MAX).unwrap();
    for error in [EngineError::DeviceLost("gone".into()), EngineError::NoFreePage] {
        let place = Place::new(&lines);
        let failed = place.work(engine().that_fails_at(u32::from(b'!'), error), usize::MAX);
        let message = failed.unwrap_err().to_string();
        assert!(message.contains("gone") || message.contains("--parallel"), "{message}");
        place.work(engine(), usize::MAX).unwrap();
        assert_eq!(fs::read(place.path("out")).unwrap(), fs::read(whole.path("out")).unwrap());
    }
}
