//! `hf:` against a server that answers what the Hub's client asks, instead of the Hub.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::thread;

use serde_json::{Value, json};

use crate::forge::{Outcome, Workplace, outcome};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A hub with one repository, `org/repo`, that holds these files. It serves until the test's process ends.
fn hub(files: &[(&'static str, &[u8])]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let files: Arc<Vec<(&str, Vec<u8>)>> =
        Arc::new(files.iter().map(|(name, bytes)| (*name, bytes.to_vec())).collect());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let files = files.clone();
            thread::spawn(move || while answer(&stream, &files).is_some() {});
        }
    });
    address
}

/// Answers one request; `None` when the client is gone.
fn answer(mut stream: &TcpStream, files: &[(&str, Vec<u8>)]) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next()?.ok()?;
    let headers: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let path = request.split(' ').nth(1)?;
    let found = files.iter().find(|(name, _)| path == format!("/org/repo/resolve/main/{name}"));
    let (status, more, body) = if path == "/api/models/org/repo/revision/main" {
        let siblings: Vec<Value> = files.iter().map(|(name, _)| json!({ "rfilename": name })).collect();
        ("200 OK", String::new(), json!({ "sha": COMMIT, "siblings": siblings }).to_string().into_bytes())
    } else if let Some((name, bytes)) = found {
        let range = headers.iter().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case("range").then(|| value.strip_prefix("bytes="))?
        })?;
        let (first, last) = range.split_once('-')?;
        let first: usize = first.parse().ok()?;
        let end = last.parse().map_or(bytes.len(), |last: usize| last + 1);
        let place = format!("content-range: bytes {first}-{}/{}\r\n", end - 1, bytes.len());
        let identity = format!("etag: \"{name}-1\"\r\nx-repo-commit: {COMMIT}\r\n");
        ("206 Partial Content", place + &identity, bytes[first..end].to_vec())
    } else {
        ("404 Not Found", String::new(), b"{}".to_vec())
    };
    let head = format!("HTTP/1.1 {status}\r\n{more}content-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).ok()
}

fn command(place: &Workplace, hub: &str, arguments: &[&str]) -> Command {
    let mut command = place.command(arguments);
    command.env("HF_ENDPOINT", hub).env("HF_HOME", place.path("huggingface"));
    command
}

fn forge(place: &Workplace, hub: &str, arguments: &[&str]) -> Outcome {
    outcome(&mut command(place, hub, arguments))
}

#[test]
fn a_model_comes_from_its_repository_once() {
    let place = Workplace::new().with_model("tiny-llama", "Q8_0");
    let bytes = fs::read(place.path("model.gguf")).unwrap();
    let address = hub(&[("README.md", b"# A model"), ("some.Q8_0.gguf", &bytes)]);
    let first = forge(&place, &address, &["info", "hf:org/repo", "--json"]).succeeded();
    let info: Value = serde_json::from_str(&first.stdout).unwrap();
    assert_eq!(fs::read(info["file"].as_str().unwrap()).unwrap(), bytes);
    // Nothing listens on the discard port: the model is here.
    for model in ["hf:org/repo", "hf:org/repo/some.Q8_0.gguf"] {
        let again = forge(&place, "http://127.0.0.1:9", &["info", model, "--json"]).succeeded();
        assert_eq!(again.stdout, first.stdout, "{model}");
    }
}

#[test]
fn one_of_several_models_is_asked_for() {
    let place = Workplace::new().with_model("tiny-llama", "Q8_0");
    let bytes = fs::read(place.path("model.gguf")).unwrap();
    let address = hub(&[("a.gguf", b"no model"), ("more/b.gguf", &bytes)]);
    forge(&place, &address, &["info", "hf:org/repo"]).failed(1, &["several models", "a.gguf, more/b.gguf"]);
    forge(&place, &address, &["info", "hf:org/repo/more/b.gguf"]).succeeded();
    forge(&place, &address, &["info", "hf:org/repo/c.gguf"]).failed(1, &["c.gguf", "404"]);
    forge(&place, &address, &["info", "hf:org/other"]).failed(1, &["org/other", "404"]);
}
