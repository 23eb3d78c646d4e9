//! `chat` of a compiled program, at a terminal and in a script.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::forge::{Workplace, outcome};

/// A terminal, an answer that Ctrl-C stops, and a program that goes on until Ctrl-C comes twice at the prompt.
#[test]
fn ctrl_c_at_a_terminal_stops_the_answer_and_not_the_program() {
    let place = Workplace::new().with_model("tiny-llama", "Q8_0");
    let built = ["build", "model.gguf", "-o", "out", "--name", "program"];
    outcome(&mut place.building(&built)).succeeded();
    let talk = |arguments: &[&str]| {
        let mut python = Command::new("python3");
        python.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/terminal.py"));
        python.arg(place.path("out/program")).arg("chat").args(arguments);
        python.args(["--ignore-eos", "--max-tokens", "100000", "--context", "4096", "--threads", "1"]);
        python.env("XDG_STATE_HOME", place.path("state")).env("SAVED", place.path("talk.json"));
        python.env("TERM", "xterm").env_remove("NO_COLOR").stdin(Stdio::null());
        outcome(&mut python).succeeded()
    };
    talk(&[]);
    let saved: Value = serde_json::from_slice(&fs::read(place.path("talk.json")).unwrap()).unwrap();
    let content = |index: usize| saved[index]["content"].as_str().unwrap();
    assert_eq!((content(0), content(1)), ("Be kind.", "Hello,\nworld!"));
    assert!(!content(2).is_empty() && saved.as_array().unwrap().len() == 3, "{saved}");
    if cfg!(target_os = "linux") {
        let history = fs::read_to_string(place.path("state/forgellm/chat-history")).unwrap();
        assert!(history.lines().any(|line| line == r#""Hello,\nworld!""#), "{history}");
    }

    // Without a terminal: plain text, and the same conversation as JSON.
    let script = |arguments: &[&str]| {
        let mut program = Command::new(place.path("out/program"));
        program.arg("chat").args(arguments).args(["--max-tokens", "5", "--seed", "1", "--threads", "1"]);
        program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = program.spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"Hello\n/reset\nHello again\n").unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), b"".as_slice()));
        output.stdout
    };
    let text = String::from_utf8_lossy(&script(&[])).into_owned();
    let json = String::from_utf8(script(&["--json"])).unwrap();
    let answers: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 2);
    let mut expected = String::new();
    for answer in &answers {
        expected += answer["text"].as_str().unwrap();
        if !expected.ends_with('\n') {
            expected.push('\n');
        }
    }
    assert!(!text.contains('\x1b') && text == expected, "{text:?} {expected:?}");
}
