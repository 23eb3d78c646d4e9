//! Serving by the command line, over an engine without a model.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use serde_json::Value;

use super::automaton::Automaton;
use super::program::{Files, SPEC, open};
use crate::runtime::engine::Capacity;
use crate::runtime::open::OpenOptions;
use crate::runtime::program::{Streams, run};

/// Hands on what is written.
struct Told(Sender<Vec<u8>>);

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.send(bytes.to_owned());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

#[test]
fn both_forms_serve_until_they_are_interrupted() {
    let by_option = ["--weights", "@model.weights", "--tokenizer", "@tokenizer.json"];
    let command =
        [&["serve", "--port", "0", "--parallel", "2", "--keep", "0", "--json"], &by_option[..]].concat();
    let flag = [&["--serve", "--port", "0", "--parallel", "2", "--json"], &by_option[..]].concat();
    let by_place =
        ["@model.weights", "@tokenizer.json", "--serve", "--port", "0", "--parallel", "2", "--json"];
    for arguments in [&command[..], &flag, &by_place] {
        let files = Files::new();
        let expand = |argument: &&str| match argument.strip_prefix('@') {
            Some(name) => OsString::from(files.path(name)),
            None => OsString::from(argument),
        };
        let arguments: Vec<OsString> =
            [OsString::from("tiny")].into_iter().chain(arguments.iter().map(expand)).collect();
        // Two answers, and where nothing else is said, two sequences that are kept.
        let sequences = if arguments.iter().any(|argument| argument == "--keep") { 2 } else { 4 };
        let interrupted = AtomicBool::new(false);
        let (sender, told) = channel();
        let code = thread::scope(|scope| {
            let server = scope.spawn(|| {
                let mut streams = Streams { out: &mut Told(sender), err: &mut io::sink() };
                run(&SPEC, open, arguments, &mut streams, &interrupted)
            });
            let line: Value = serde_json::from_slice(&told.recv().unwrap()).unwrap();
            assert_eq!(
                (&line["model"], &line["parallel"], &line["context"]),
                (&"tiny".into(), &2.into(), &64.into())
            );
            // 64 positions a sequence, and 16 rows a step, of 4 bytes each.
            assert_eq!(line["memory"]["cache_at_most"], sequences * 64 * 4, "{line}");
            assert_eq!((&line["memory"]["step"], line["memory"]["weights"].is_u64()), (&64.into(), true));
            let address = line["url"].as_str().unwrap().strip_prefix("http://").unwrap();
            let reply = get(address, "/v1/models");
            assert!(reply.starts_with("HTTP/1.1 200") && reply.contains("\"id\":\"tiny\""), "{reply}");
            interrupted.store(true, Ordering::Relaxed);
            server.join().unwrap()
        });
        assert_eq!(code, 0);
    }
}

#[test]
fn a_port_that_is_taken_is_an_error_that_says_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut err = Vec::new();
    let mut streams = Streams { out: &mut io::sink(), err: &mut err };
    let arguments = ["tiny", "serve", "--port", &port].map(OsString::from);
    assert_eq!(run(&SPEC, open, arguments, &mut streams, &AtomicBool::new(false)), 1);
    let err = String::from_utf8(err).unwrap();
    assert!(
        err.contains(&format!("cannot listen on 127.0.0.1 port {port}")) && err.contains("--port"),
        "{err}"
    );
}

#[test]
fn more_memory_than_there_is_is_an_error_that_says_what_to_do() {
    let open_large = |options: &OpenOptions| {
        let capacity = Capacity { sequences: options.sequences, positions: 1 << 40, rows: 16 };
        Ok(Automaton::new(SPEC.vocab, capacity))
    };
    let mut err = Vec::new();
    let mut streams = Streams { out: &mut io::sink(), err: &mut err };
    let files = Files::new();
    let place = ["model.weights", "tokenizer.json"].map(|name| OsString::from(files.path(name)));
    let options = ["--serve", "--port", "0", "--parallel", "2"].map(OsString::from);
    let arguments = [OsString::from("tiny")].into_iter().chain(place).chain(options);
    assert_eq!(run(&SPEC, open_large, arguments, &mut streams, &AtomicBool::new(false)), 1);
    let err = String::from_utf8(err).unwrap();
    // Two answers and two sequences that are kept, 4 bytes a position.
    assert!(err.contains("need 17592186 MB") && err.contains("lower --parallel"), "{err}");
}
