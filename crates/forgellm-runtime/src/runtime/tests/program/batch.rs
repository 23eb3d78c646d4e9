//! `batch` from the command line.

use serde_json::{Value, json};

use super::{Files, Outcome, SPEC, run_with};

#[test]
fn a_file_of_requests_is_answered_and_gone_on_with() {
    let files = Files::new();
    let request = |id: &str, body: Value| {
        json!({"custom_id": id, "method": "POST", "url": "/v1/completions", "body": body}).to_string()
    };
    let lines =
        [request("a", json!({"prompt": "Hi", "max_tokens": 5, "temperature": 0})), request("b", json!({}))];
    files.write("in.jsonl", lines.join("\n").as_bytes());
    let run = |more: &[&str], interrupted: bool| -> Outcome {
        let files_of_model = ["--weights", "@model.weights", "--tokenizer", "@tokenizer.json"];
        let arguments = [&["batch", "@in.jsonl", "@out.jsonl"], more, &files_of_model].concat();
        run_with(&SPEC, &files, &arguments, interrupted)
    };
    let (code, out, err) = run(&[], true);
    assert_eq!((code, out.as_str()), (130, ""));
    assert!(err.contains("0 of 2 requests are answered; run the command again to go on"), "{err}");
    assert!(files.path("out.jsonl.partial").exists() && !files.path("out.jsonl").exists());

    let (code, out, err) = run(&[], false);
    assert_eq!((code, out.as_str()), (0, ""));
    assert!(err.starts_with("2 requests answered; 1 got an error; the answers are in "), "{err}");
    let text = std::fs::read_to_string(files.path("out.jsonl")).unwrap();
    let answers: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers[0]["response"]["body"]["usage"]["completion_tokens"], 5);
    assert_eq!(answers[1]["response"]["body"]["error"]["param"], "prompt");

    let (code, out, err) = run(&["--json", "--quiet"], false);
    let summary: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, err.as_str(), &summary["answered_before"], &summary["failed"]),
        (0, "", &json!(2), &json!(1))
    );
    // The same requests with another context are another batch.
    let (code, out, err) = run(&["--context", "100"], false);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("out.jsonl exists and is not the output of this input (line 1"), "{err}");
    let missing = ["batch", "@none.jsonl", "@out2.jsonl"];
    let (code, _, err) = run_with(&SPEC, &files, &missing, false);
    assert!(code == 1 && err.contains("cannot read") && err.contains("none.jsonl"), "{err}");
    assert!(!files.path("out2.jsonl.partial").exists());
}
