//! Programs that are built, cached and run.

use std::fs::{self, File};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::forge::{Workplace, outcome};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_program_is_built_once_and_agrees_with_the_interpreter() {
    let place = Workplace::new().with_model("tiny-gemma3", "F16");
    let run = |arguments: &[&str]| outcome(&mut place.building(arguments)).succeeded();
    run(&["run", "model.gguf", "generate-ids", "--ids", "5,6,7", "--max-tokens", "4"]);
    let start = Instant::now();
    let ids =
        json(&run(&["run", "model.gguf", "--json", "generate-ids", "--ids", "5,6,7", "-n", "4"]).stdout);
    assert!(start.elapsed() < Duration::from_secs(10), "the second run took {:?}", start.elapsed());
    assert_eq!(ids["ids"].as_array().unwrap().len(), 4);

    fs::write(place.path("text"), "Some text that is longer than the window of sixteen positions, by far.")
        .unwrap();
    let perplexity = |target: &str| {
        let arguments = ["eval", "perplexity", "model.gguf", "--text", "text", "--json", "--target", target];
        json(&run(&arguments).stdout)
    };
    let (program, interpreter) = (perplexity("cpu"), perplexity("interp"));
    assert_eq!(program["tokens"], interpreter["tokens"]);
    let ratio = program["perplexity"].as_f64().unwrap() / interpreter["perplexity"].as_f64().unwrap();
    // What is left is the cache in f16.
    assert!((ratio - 1.0).abs() < 0.001, "{program} {interpreter}");

    outcome(&mut place.building(&["run", "model.gguf", "--no-such-option"])).failed(2, &["--no-such-option"]);
    let help = run(&["run", "model.gguf", "--help"]).stdout;
    assert!(help.contains("compiled for cpu by ForgeLLM"), "{help}");
}

#[test]
fn a_built_folder_can_be_moved() {
    let place = Workplace::new().with_model("tiny-llama", "Q4_0");
    let arguments = ["build", "model.gguf", "-o", "out", "--name", "Tiny One", "--json"];
    let built = json(&outcome(&mut place.building(&arguments)).succeeded().stdout);
    assert!(built["program"].as_str().unwrap().ends_with("out/tiny-one"), "{built}");
    fs::rename(place.path("out"), place.path("moved")).unwrap();
    let run = |arguments: &[&str]| outcome(Command::new(place.path("moved/tiny-one")).args(arguments));
    let answer = run(&["--json", "--max-tokens", "3", "Hello"]).succeeded();
    assert!(json(&answer.stdout)["text"].is_string(), "{}", answer.stdout);
    fs::remove_file(place.path("moved/tokenizer.json")).unwrap();
    run(&["Hello"]).failed(1, &["tokenizer.json"]);
}

/// Nothing for rustfmt or clippy to say, whatever the architecture.
#[test]
fn generated_projects_are_clean() {
    for (shape, dtype) in [("tiny-gemma3", "Q6_K"), ("tiny-qwen2", "Q5_0")] {
        let place = Workplace::new().with_model(shape, dtype);
        outcome(&mut place.building(&["compile", "model.gguf", "-o", "out"])).succeeded();
        let cargo = |arguments: &[&str]| {
            let mut cargo = Command::new("cargo");
            cargo.args(arguments).current_dir(place.path("out"));
            // The dependencies were built for another test, or will be.
            cargo.env("CARGO_TARGET_DIR", concat!(env!("CARGO_TARGET_TMPDIR"), "/forge-cache/cargo"));
            outcome(&mut cargo).succeeded();
        };
        cargo(&["fmt", "--check"]);
        cargo(&["clippy", "--quiet", "--release", "--", "-D", "warnings"]);
    }
}

/// Ctrl-C while cargo builds: cargo goes, and nothing is left of what was to be written.
#[test]
fn an_interrupted_build_leaves_nothing() {
    let place = Workplace::new().with_model("tiny-llama", "Q8_0");
    let mut forge = place.command(&["--quiet", "build", "model.gguf", "-o", "out"]).spawn().unwrap();
    let cargo_lock = place.path("cache/cargo/release/.cargo-lock");
    wait_for("cargo begins", || cargo_lock.exists());
    kill(Pid::from_raw(forge.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(forge.wait().unwrap().code(), Some(130));
    // Cargo holds its lock as long as it lives.
    let lock = File::open(&cargo_lock).unwrap();
    wait_for("cargo is gone", || lock.try_lock().is_ok());
    assert_eq!(place.files(), ["model.gguf"]);
}

#[track_caller]
fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(120), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
