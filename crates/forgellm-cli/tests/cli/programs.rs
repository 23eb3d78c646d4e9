//! Programs that are built, cached and run.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::process::Command;
use std::time::{Duration, Instant};

use forgellm_frontend::checkpoint::Value as Entry;
use forgellm_frontend::ir::DType;
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
    // The same commands through the compiler.
    outcome(&mut place.building(&["serve", "model.gguf", "--port", "x"])).failed(2, &["--port"]);
    outcome(&mut place.building(&["chat", "model.gguf", "--temperature", "x"])).failed(2, &["--temperature"]);
    let bench = [
        "bench",
        "model.gguf",
        "--json",
        "-p",
        "20",
        "-n",
        "4",
        "-d",
        "0,30",
        "-b",
        "1,2",
        "-r",
        "1",
        "--no-bandwidth",
    ];
    let bench = json(&run(&bench).stdout);
    let bytes = |case: usize| bench["generations"][case]["bytes_a_token"].as_u64().unwrap();
    // Two sequences share the weights, which are most of it, and behind a longer text there are more keys and values to read.
    assert!(bytes(0) > bytes(1) && bytes(0) < 2 * bytes(1) && bytes(2) > bytes(0), "{bench}");
    // The CPU keeps keys and values in f16.
    run(&["run", "model.gguf", "--kv-cache", "f16", "generate-ids", "--ids", "5,6,7"]);
    let other = ["run", "model.gguf", "--kv-cache", "q8_0", "generate-ids", "--ids", "5,6,7"];
    outcome(&mut place.building(&other)).failed(2, &["--kv-cache", "kept in f16"]);
    let help = run(&["run", "model.gguf", "--help"]).stdout;
    assert!(help.contains("compiled for cpu by ForgeLLM"), "{help}");
}

/// Rope scaling that a file asks for, in keys and as a tensor of factors: the program does what the interpreter does, and
/// that is not what it does without.
#[test]
fn rope_scaling_of_the_file_reaches_the_program() {
    let linear: &[(&str, Entry)] = &[
        ("llama.rope.scaling.type", Entry::String("linear".to_owned())),
        ("llama.rope.scaling.factor", Entry::F32(4.0)),
    ];
    let yarn: &[(&str, Entry)] = &[
        ("qwen2.rope.scaling.type", Entry::String("yarn".to_owned())),
        ("qwen2.rope.scaling.factor", Entry::F32(16.0)),
        ("qwen2.rope.scaling.original_context_length", Entry::U64(512)),
    ];
    let ids: Vec<String> = (0..60).map(|index| (index * 37 % 500).to_string()).collect();
    let ids = ids.join(",");
    let logits = |place: &Workplace, target: &str| {
        let arguments =
            ["eval", "logits", "model.gguf", "--ids", &ids, "--top", "512", "--json", "--target", target];
        let all = json(&outcome(&mut place.building(&arguments)).succeeded().stdout);
        let last = &all["positions"][59];
        let ids = last["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap());
        let logits = last["logits"].as_array().unwrap().iter().map(|logit| logit.as_f64().unwrap());
        ids.zip(logits).collect::<BTreeMap<_, _>>()
    };
    for (shape, keys, factors) in [("tiny-llama3", linear, true), ("tiny-qwen2", yarn, false)] {
        let place = |scaled: bool| {
            Workplace::new().with_changed_model(shape, "F16", |file| {
                if scaled {
                    for (key, value) in keys {
                        file.metadata.insert((*key).to_owned(), value.clone());
                    }
                }
                let before = file.tensors.len();
                file.tensors.retain(|(spec, _)| scaled || spec.name != "rope_freqs.weight");
                assert_eq!(file.tensors.len() < before, factors && !scaled);
            })
        };
        let scaled = place(true);
        let expected = logits(&scaled, "interp");
        let (program, plain) = (logits(&scaled, "cpu"), logits(&place(false), "interp"));
        let error = |found: &BTreeMap<u64, f64>| {
            let square = |sum: f64, value: f64| sum + value * value;
            let difference = expected.iter().map(|(id, logit)| found[id] - logit).fold(0.0, square);
            difference / expected.values().copied().fold(0.0, square)
        };
        println!("{shape}: program {:.1e}, without scaling {:.1e}", error(&program), error(&plain));
        // What is left is the cache in f16.
        assert!(error(&program) < 1e-5, "{shape}: {:e}", error(&program));
        assert!(error(&plain) > 1e-2, "{shape}: {:e}", error(&plain));
    }
}

/// One NaN in any tensor that a prompt uses ends a greedy run with a message, whatever lies between it and the logits.
#[test]
fn a_damaged_weight_is_told() {
    let place = Workplace::new().with_model("tiny-llama", "Q4_0");
    let built = ["build", "model.gguf", "-o", "out", "--name", "program"];
    outcome(&mut place.building(&built)).succeeded();
    let run = |arguments: &[&str]| {
        let ids = ["generate-ids", "--ids", "9,1,2", "--max-tokens", "2"];
        outcome(Command::new(place.path("out/program")).args(ids).args(arguments))
    };
    run(&[]).succeeded();
    // (tensor, row): the embedding of a token of the prompt, one row of the head, otherwise the first.
    for (tensor, row) in [
        ("token_embd.weight", 1),
        ("blk.0.attn_norm.weight", 0),
        ("blk.1.attn_q.weight", 0),
        ("blk.1.attn_k.weight", 0),
        ("blk.0.attn_v.weight", 0),
        ("blk.1.attn_output.weight", 0),
        ("blk.0.ffn_norm.weight", 0),
        ("blk.0.ffn_gate.weight", 3),
        ("blk.1.ffn_up.weight", 3),
        ("blk.1.ffn_down.weight", 0),
        ("output_norm.weight", 0),
        ("output.weight", 300),
    ] {
        let damaged = Workplace::new().with_changed_model("tiny-llama", "Q4_0", |file| {
            let (spec, bytes) = file.tensors.iter_mut().find(|(spec, _)| spec.name == tensor).unwrap();
            let at = bytes.len() / spec.shape[0] * if spec.shape.len() > 1 { row } else { 0 };
            match spec.dtype {
                DType::F32 => bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes()),
                // The scale of a block of Q4_0, an f16.
                DType::Q4_0 => bytes[at..at + 2].copy_from_slice(&[0x00, 0x7e]),
                other => panic!("{tensor} is {other}"),
            }
        });
        damaged.forge(&["export-weights", "model.gguf", "-o", "weights"]).succeeded();
        let weights = damaged.path("weights");
        let outcome = run(&["--weights", weights.to_str().unwrap()]);
        println!("{tensor}: {}", outcome.stderr.trim());
        outcome.failed(1, &["the model gave the logit NaN", "the weights file may be damaged"]);
    }
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
    run(&["A few more words", "--context", "2"]).failed(1, &["raise --context"]);
    run(&["Hello", "--context", "5000"]).failed(1, &["at most 4096"]);
    run(&["generate-ids", "--ids", "1,99999"]).failed(1, &["token 99999 is not in the vocabulary"]);
    // A weights file of another model, one that ends early, and none at all.
    let other = Workplace::new().with_model("tiny-qwen2", "Q4_0");
    other.forge(&["export-weights", "model.gguf", "-o", "weights"]).succeeded();
    let weights = fs::read(place.path("moved/weights.safetensors")).unwrap();
    fs::write(place.path("short"), &weights[..weights.len() - 1]).unwrap();
    let (other, short) = (other.path("weights"), place.path("short"));
    run(&["Hello", "--weights", other.to_str().unwrap()]).failed(1, &["made for another"]);
    run(&["Hello", "--weights", short.to_str().unwrap()]).failed(1, &["short"]);
    run(&["Hello", "--weights", "none"]).failed(1, &["none"]);
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

/// A project that replaces another: interrupted at any time, and stopped by an error, the folder holds the one or the other.
#[test]
fn an_interrupted_replacement_leaves_one_whole_project() {
    let place = Workplace::new().with_model("tiny-gemma3", "Q8_0");
    fs::rename(place.path("model.gguf"), place.path("other.gguf")).unwrap();
    let place = place.with_model("tiny-llama", "Q4_0");
    let compile = |model: &str| place.command(&["--quiet", "compile", model, "-o", "out"]);
    let content = || -> BTreeMap<String, Vec<u8>> {
        let files = place.files().into_iter().filter(|file| file.starts_with("out/"));
        files.map(|file| (file.clone(), fs::read(place.path(&file)).unwrap())).collect()
    };
    outcome(&mut compile("other.gguf")).succeeded();
    fs::write(place.path("out/notes.txt"), b"mine").unwrap();
    let other = content();
    let start = Instant::now();
    outcome(&mut compile("model.gguf")).succeeded();
    let whole = start.elapsed();
    let model = content();
    assert!(other != model && other.contains_key("out/notes.txt") && model.contains_key("out/notes.txt"));

    const TIMES: u32 = 25;
    let mut interrupted = 0;
    let mut now = &model;
    for time in 0..TIMES {
        let (to, name) = if now == &model { (&other, "other.gguf") } else { (&model, "model.gguf") };
        let mut forge = compile(name).spawn().unwrap();
        std::thread::sleep(whole * time / TIMES);
        // It may be done already.
        let _ = kill(Pid::from_raw(forge.id() as i32), Signal::SIGINT);
        interrupted += u32::from(forge.wait().unwrap().code() == Some(130));
        let found = content();
        let names = || found.keys().collect::<Vec<_>>();
        assert!(found == *now || found == *to, "neither the one nor the other: {:?}", names());
        now = if found == *to { to } else { now };
    }
    assert!(interrupted > TIMES / 4, "only {interrupted} of {TIMES} runs were interrupted");

    // The last file to be replaced cannot be: everything else is as before.
    fs::remove_file(place.path("out/tokenizer.json")).unwrap();
    fs::create_dir(place.path("out/tokenizer.json")).unwrap();
    fs::write(place.path("out/tokenizer.json/file"), b"").unwrap();
    let before = content();
    let name = if now == &model { "other.gguf" } else { "model.gguf" };
    outcome(&mut compile(name)).failed(1, &["tokenizer.json"]);
    assert!(content() == before);
}

#[track_caller]
fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(120), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
