//! `batch` of a compiled program, killed at random moments.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use crate::forge::{Workplace, outcome};

const REQUESTS: usize = 150;
const KILLS: u32 = 10;

/// Greedy and sampled chats and completions, prompts that begin alike, embeddings, and errors.
fn requests() -> String {
    let request = |index: usize| {
        let tokens = 100 + index * 37 % 200;
        let mut body = json!({"max_tokens": tokens, "temperature": index % 2, "ignore_eos": true});
        let url = if index % 10 == 9 {
            body = json!({"input": [format!("{index} bottles"), "a wall"]});
            "/v1/embeddings"
        } else if index.is_multiple_of(3) {
            body["prompt"] = json!(format!("{index} bottles stood on the wall"));
            "/v1/completions"
        } else {
            let text = format!("Tell a long story about the number {}.", index / 4);
            body["messages"] = json!([{"role": "user", "content": text}]);
            "/v1/chat/completions"
        };
        if index % 13 == 5 {
            body["max_tokens"] = json!("many");
        }
        json!({"custom_id": format!("request-{index}"), "method": "POST", "url": url, "body": body})
            .to_string()
    };
    (0..REQUESTS).map(|index| request(index) + "\n").collect()
}

#[test]
fn a_batch_that_is_killed_ten_times_gives_the_same_bytes() {
    let place = Workplace::new().with_model("tiny-llama", "Q8_0");
    let built = ["build", "model.gguf", "-o", "out", "--name", "program"];
    outcome(&mut place.building(&built)).succeeded();
    fs::write(place.path("in.jsonl"), requests()).unwrap();
    let batch = |output: &str, parallel: &str| {
        let mut program = Command::new(place.path("out/program"));
        program.args([
            "batch",
            "in.jsonl",
            output,
            "--threads",
            "1",
            "--context",
            "512",
            "--parallel",
            parallel,
        ]);
        program.current_dir(place.path(".")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        program
    };
    let start = Instant::now();
    assert!(batch("whole.jsonl", "4").status().unwrap().success());
    let time = start.elapsed();
    let whole = fs::read(place.path("whole.jsonl")).unwrap();
    let lines: Vec<Value> =
        whole.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    assert_eq!(lines.len(), REQUESTS);
    for (index, line) in lines.iter().enumerate() {
        assert_eq!(line["custom_id"], format!("request-{index}"));
        let status = if index % 13 == 5 { 400 } else { 200 };
        assert_eq!(line["response"]["status_code"], status, "{line}");
    }

    // Each run gets a random part of the time; those that are done before do not count, and the work begins anew.
    let mut kills: u32 = 0;
    let mut killed_between = 0;
    while kills < KILLS {
        let wait = time.mul_f64((RandomState::new().hash_one(kills) % 1000) as f64 / 1000.0);
        let mut program = batch("killed.jsonl", ["4", "1", "7"][kills as usize % 3]).spawn().unwrap();
        std::thread::sleep(wait);
        program.kill().unwrap();
        if program.wait().unwrap().signal() != Some(9) {
            assert!(fs::read(place.path("killed.jsonl")).unwrap() == whole, "after {kills} kills");
            fs::remove_file(place.path("killed.jsonl")).unwrap();
            continue;
        }
        kills += 1;
        // It may have been killed just when all was done.
        let done =
            fs::read(place.path("killed.jsonl")).or_else(|_| fs::read(place.path("killed.jsonl.partial")));
        let done = done.unwrap_or_default();
        assert!(whole.starts_with(&done), "after {kills} kills");
        killed_between += u32::from((1..whole.len()).contains(&done.len()));
        println!("killed after {wait:?} of {time:?}: {} of {} bytes", done.len(), whole.len());
    }
    assert!(killed_between >= KILLS / 3, "only {killed_between} times it was killed between two answers");
    assert!(batch("killed.jsonl", "4").status().unwrap().success());
    assert!(fs::read(place.path("killed.jsonl")).unwrap() == whole);
    assert!(!place.path("killed.jsonl.partial").exists());
    // Once more changes nothing.
    assert!(batch("killed.jsonl", "4").status().unwrap().success());
    assert!(fs::read(place.path("killed.jsonl")).unwrap() == whole);
}
