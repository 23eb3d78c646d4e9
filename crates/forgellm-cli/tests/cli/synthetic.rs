//! Commands on a tiny model.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use forgellm_frontend::checkpoint::Value as Entry;
use serde_json::Value;

use crate::forge::Workplace;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn info_tells_what_is_in_the_file() {
    let place = Workplace::new().with_model("tiny-qwen2", "Q8_0");
    let info = json(&place.forge(&["info", "model.gguf", "--json", "--tensors"]).succeeded().stdout);
    assert_eq!(info["config"]["architecture"], "qwen2");
    assert_eq!(info["bytes"], fs::metadata(place.path("model.gguf")).unwrap().len());
    let tensors = info["tensors"].as_array().unwrap();
    let counted: u64 = info["tensor_types"]
        .as_object()
        .unwrap()
        .values()
        .map(|kind| kind["tensors"].as_u64().unwrap())
        .sum();
    assert_eq!(tensors.len() as u64, counted);
    let text = place.forge(&["info", "model.gguf"]).succeeded().stdout;
    assert!(text.contains(info["sha256"].as_str().unwrap()), "{text}");
}

#[test]
fn the_graph_that_is_printed_can_be_read_again() {
    let place = Workplace::new().with_model("tiny-gemma3", "F16");
    for arguments in
        [&["info", "model.gguf", "--graph"][..], &["info", "model.gguf", "--graph", "--optimized"]]
    {
        let text = place.forge(arguments).succeeded().stdout;
        let graph: forgellm_frontend::ir::Graph = text.parse().unwrap();
        assert_eq!(graph.to_string(), text);
    }
}

#[test]
fn one_layer_is_drawn_alone() {
    let place = Workplace::new().with_model("tiny-llama", "F16");
    for format in ["--graph=dot", "--graph=svg"] {
        let whole = place.forge(&["info", "model.gguf", format]).succeeded().stdout;
        let layer = place.forge(&["info", "model.gguf", format, "--layer", "1"]).succeeded().stdout;
        assert!(layer.len() < whole.len());
    }
    place.forge(&["info", "model.gguf", "--graph=svg", "--layer", "99"]).failed(2, &["no layer 99"]);
    place.forge(&["info", "model.gguf", "--graph", "--layer", "1"]).failed(2, &["--graph=svg"]);
}

#[test]
fn the_same_seed_gives_the_same_file() {
    let place = Workplace::new().with_model("tiny-llama", "Q4_0");
    place.forge(&["synth", "tiny-llama", "Q4_0", "-o", "again.gguf"]).succeeded();
    let other = place
        .forge(&["synth", "tiny-llama", "Q4_0", "-o", "other.gguf", "--seed", "1", "--json"])
        .succeeded();
    let read = |name: &str| fs::read(place.path(name)).unwrap();
    assert_eq!(read("model.gguf"), read("again.gguf"));
    assert_ne!(read("model.gguf"), read("other.gguf"));
    assert_eq!(json(&other.stdout)["bytes"], read("other.gguf").len());
}

#[test]
fn text_becomes_ids_and_text_again() {
    let place = Workplace::new().with_model("tiny-llama", "F16");
    let text = "Hello,  world! Größe 😀\n";
    let ids = with_input(&place, &["tokenize", "model.gguf", "--json"], text.as_bytes()).succeeded().stdout;
    assert!(!json(&ids)["ids"].as_array().unwrap().is_empty());
    let back =
        with_input(&place, &["detokenize", "model.gguf", "--json"], json(&ids)["ids"].to_string().as_bytes());
    assert_eq!(json(&back.succeeded().stdout)["text"], text);
    with_input(&place, &["tokenize", "model.gguf"], b"ab\xff").failed(2, &["not UTF-8 at byte 2"]);
    with_input(&place, &["detokenize", "model.gguf"], b"1 two").failed(2, &["`two` is not a token id"]);
    place.forge(&["detokenize", "model.gguf", "--ids", "99999999"]).failed(1, &["99999999"]);
}

fn with_input(place: &Workplace, arguments: &[&str], input: &[u8]) -> crate::forge::Outcome {
    let mut child = place
        .command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses the model may not read its input.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    crate::forge::Outcome {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// Tokens around a text are added where they are asked for, the end token too, but none where a text is to go on.
#[test]
fn the_tokens_around_a_text_are_those_of_the_file() {
    let place = Workplace::new().with_changed_model("tiny-llama", "F16", |file| {
        for key in ["add_bos_token", "add_eos_token"] {
            file.metadata.insert(format!("tokenizer.ggml.{key}"), Entry::Bool(true));
        }
    });
    let info = json(&place.forge(&["info", "model.gguf", "--json"]).succeeded().stdout);
    let (bos, eos) = (&info["tokenizer"]["bos"], &info["tokenizer"]["eos"]);
    assert!(bos.is_u64() && eos.is_u64(), "{info}");
    let text = "a few words";
    let ids = |options: &[&str]| {
        let arguments = [&["tokenize", "model.gguf", "--json"], options].concat();
        json(&with_input(&place, &arguments, text.as_bytes()).succeeded().stdout)["ids"].clone()
    };
    let plain = ids(&[]).as_array().unwrap().clone();
    let around: Vec<Value> = [vec![bos.clone()], plain.clone(), vec![eos.clone()]].concat();
    assert_eq!(ids(&["--bos-eos"]), Value::from(around));
    fs::write(place.path("text"), text).unwrap();
    for target in ["interp", "cpu"] {
        let arguments = ["eval", "perplexity", "model.gguf", "--target", target, "--text", "text", "--json"];
        let result = json(&crate::forge::outcome(&mut place.building(&arguments)).succeeded().stdout);
        assert_eq!(result["tokens"], plain.len(), "{target}");
    }
    let run = ["run", "model.gguf", "--json", "--max-tokens", "1", text];
    let run = json(&crate::forge::outcome(&mut place.building(&run)).succeeded().stdout);
    assert_eq!(run["stats"]["prompt_tokens"], plain.len() + 1);
}

#[test]
fn perplexity_follows_from_the_logits() {
    let place = Workplace::new().with_model("tiny-qwen2", "F32");
    let text = "a few words";
    fs::write(place.path("text"), text).unwrap();
    let ids = with_input(&place, &["tokenize", "model.gguf", "--json"], text.as_bytes()).succeeded().stdout;
    let mut ids: Vec<u64> =
        json(&ids)["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect();
    let info = json(&place.forge(&["info", "model.gguf", "--json"]).succeeded().stdout);
    if info["tokenizer"]["add_bos"] == true {
        ids.insert(0, info["tokenizer"]["bos"].as_u64().unwrap());
    }
    let vocab = info["config"]["vocab"].to_string();
    let list = ids.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    let logits = place
        .forge(&[
            "eval",
            "logits",
            "model.gguf",
            "--target",
            "interp",
            "--ids",
            &list,
            "--top",
            &vocab,
            "--json",
        ])
        .succeeded();
    let positions = json(&logits.stdout)["positions"].as_array().unwrap().clone();
    let mut sum = 0.0;
    for (position, next) in positions.iter().zip(&ids[1..]) {
        let best = position["ids"].as_array().unwrap();
        let place = best.iter().position(|id| id.as_u64() == Some(*next)).unwrap();
        sum += position["logsumexp"].as_f64().unwrap() - position["logits"][place].as_f64().unwrap();
    }
    let result = place
        .forge(&["eval", "perplexity", "model.gguf", "--target", "interp", "--text", "text", "--json"])
        .succeeded();
    let result = json(&result.stdout);
    assert_eq!(result["tokens"], ids.len() - 1);
    let expected = sum / (ids.len() - 1) as f64;
    assert!((result["mean_nll"].as_f64().unwrap() - expected).abs() < 1e-5, "{result} {expected}");
    fs::write(place.path("text"), "").unwrap();
    place
        .forge(&["eval", "perplexity", "model.gguf", "--target", "interp", "--text", "text"])
        .failed(2, &["fewer than two tokens"]);
}

#[test]
fn a_project_is_written_whole_and_brought_up_to_date() {
    let place = Workplace::new().with_model("tiny-llama", "Q4_0");
    let written = json(&place.forge(&["compile", "model.gguf", "-o", "out", "--json"]).succeeded().stdout);
    let files = place.files();
    for file in ["out/Cargo.toml", "out/src/model.rs", "out/tokenizer.json", "out/weights.safetensors"] {
        assert!(files.iter().any(|name| name == file), "{file} is not in {files:?}");
    }
    let weights = fs::read(place.path("out/weights.safetensors")).unwrap();
    fs::write(place.path("out/weights.safetensors"), b"spoiled").unwrap();
    fs::write(place.path("out/notes.txt"), b"mine").unwrap();
    place.forge(&["compile", "model.gguf", "-o", "out"]).succeeded();
    assert_eq!(fs::read(place.path("out/weights.safetensors")).unwrap(), weights);
    assert_eq!(fs::read(place.path("out/notes.txt")).unwrap(), b"mine");
    assert_eq!(place.files().len(), files.len() + 1);
    let exported =
        json(&place.forge(&["export-weights", "model.gguf", "-o", "w", "--json"]).succeeded().stdout);
    assert_eq!(exported["plan_hash"], written["plan_hash"]);
    assert_eq!(fs::read(place.path("w")).unwrap(), weights);
}
