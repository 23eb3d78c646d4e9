use std::io::{self, Write};
use std::sync::Mutex;

use super::*;
use crate::runtime::server::trace;

/// What several writers wrote.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_trace_names_each_token_and_when_it_was_chosen() {
    let lines = Lines::default();
    let (trace, writer) = trace::start(lines.clone());
    let server = Server::with(Options { trace: Some(trace), ..options() }, SPEC, |engine| engine);
    let before = trace::system_nanoseconds();
    let body = json!({"prompt": ["Hello", "World"], "max_tokens": 3, "ignore_eos": true});
    let answer = server.post("/v1/completions", &body).json();
    let after = trace::system_nanoseconds();
    server.end();
    writer.finish().unwrap();
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 6);
    for (choice, prompt) in ["Hello", "World"].into_iter().enumerate() {
        let of_choice: Vec<&Value> = lines.iter().filter(|line| line["choice"] == choice).collect();
        let tokens: Vec<u64> = of_choice.iter().map(|line| line["token"].as_u64().unwrap()).collect();
        let expected = expected_continuation(&ids(prompt), 3, VOCAB);
        assert_eq!(tokens, expected.iter().map(|&id| u64::from(id)).collect::<Vec<_>>());
        let times: Vec<u64> = of_choice.iter().map(|line| line["ns"].as_u64().unwrap()).collect();
        assert!(times.is_sorted() && before <= times[0] && times[2] <= after, "{before} {times:?} {after}");
        for (index, line) in of_choice.iter().enumerate() {
            assert_eq!((&line["id"], &line["index"]), (&answer["id"], &json!(index)));
        }
    }
}

#[test]
fn a_trace_that_cannot_be_written_is_an_error_at_the_end_and_no_sooner() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (trace, writer) = trace::start(Full);
    let server = Server::with(Options { trace: Some(trace), ..options() }, SPEC, |engine| engine);
    for _ in 0..2 {
        assert_eq!(server.post("/v1/completions", &json!({"prompt": "Hello", "max_tokens": 3})).status, 200);
    }
    server.end();
    assert_eq!(writer.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
}
