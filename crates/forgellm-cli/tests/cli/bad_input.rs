//! Wrong arguments and wrong files.

use std::fs;

use forgellm_frontend::checkpoint::Value;

use crate::forge::{Changed, Workplace};

#[test]
fn wrong_arguments_are_status_2() {
    let place = Workplace::new();
    for (arguments, message) in [
        (&["nonsense"][..], "unrecognized subcommand"),
        (&["info"], "<MODEL>"),
        (&["info", ""], "the model is empty"),
        (&["info", "pypi:--index-url"], "is no package"),
        (&["info", "pypi:model-part2"], "not the first part"),
        (&["info", "hf:only-one-name"], "is no repository"),
        (&["run"], "<MODEL>"),
        (&["run", "hf:only-one-name", "Hello"], "is no repository"),
        (&["run", "--nonsense"], "--nonsense"),
        (&["run", "--target", "abacus", "model.gguf"], "possible values: auto, cpu"),
        (&["eval", "logits", "model.gguf"], "--ids"),
        (&["eval", "logits", "model.gguf", "--ids", "1,x"], "invalid digit"),
        (
            &["eval", "perplexity", "model.gguf", "--text", "t", "--target", "x"],
            "auto, cpu, metal, metal-sim and interp",
        ),
        (&["synth", "enormous", "Q4_K", "-o", "x.gguf"], "unknown shape `enormous`; known: "),
        (&["synth", "tiny-llama", "Q9", "-o", "x.gguf"], "unknown tensor type `Q9`; known: "),
        (&["compile", "model.gguf"], "--output"),
    ] {
        place.forge(arguments).failed(2, &[message]);
    }
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn every_command_has_help_with_an_example() {
    let place = Workplace::new();
    let help = place.forge(&["--help"]).succeeded().stdout;
    let commands: Vec<&str> =
        help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap().lines().collect();
    let names =
        commands.iter().filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    let mut count = 0;
    for name in names {
        let help = place.forge(&[name, "--help"]).succeeded().stdout;
        assert!(help.contains(&format!("forge {name} ")) && help.contains("Examples:"), "{help}");
        count += 1;
    }
    assert!(count >= 9, "the help names {count} commands");
}

#[test]
fn a_missing_file_and_a_folder() {
    let place = Workplace::new();
    place.forge(&["info", "none.gguf"]).failed(1, &["error: there is no file none.gguf"]);
    place.forge(&["run", "none.gguf", "Hello"]).failed(1, &["error: there is no file none.gguf"]);
    place.forge(&["info", "."]).failed(1, &[". is a folder"]);
}

#[test]
fn shards_are_refused_with_advice() {
    let place = Workplace::new();
    fs::write(place.path("m-00001-of-00002.gguf"), b"GGUF").unwrap();
    place.forge(&["info", "m-00001-of-00002.gguf"]).failed(1, &["one shard of a split model", "--merge"]);
}

#[test]
fn files_that_are_no_models() {
    let place = Workplace::new();
    fs::write(place.path("empty.gguf"), b"").unwrap();
    fs::write(place.path("text.gguf"), b"Once upon a time there was a file").unwrap();
    for name in ["empty.gguf", "text.gguf"] {
        for command in ["info", "tokenize", "run"] {
            place.forge(&[command, name]).failed(1, &[name]);
        }
        place.forge(&["compile", name, "-o", "out"]).failed(1, &[name]);
        place.forge(&["export-weights", name, "-o", "out"]).failed(1, &[name]);
    }
    assert_eq!(place.files(), ["empty.gguf", "text.gguf"]);
}

#[test]
fn truncated_files_are_refused_everywhere() {
    let place = Workplace::new().with_model("tiny-llama", "Q8_0");
    let whole = fs::read(place.path("model.gguf")).unwrap();
    for twentieth in 0..20 {
        fs::write(place.path("cut.gguf"), &whole[..whole.len() * twentieth / 20]).unwrap();
        place.forge(&["compile", "cut.gguf", "-o", "out"]).failed(1, &["cut.gguf"]);
    }
    assert_eq!(place.files(), ["cut.gguf", "model.gguf"]);
}

/// What makes something of `bad.gguf`.
const MAKING: [&[&str]; 5] = [
    &["compile", "bad.gguf", "-o", "out"],
    &["build", "bad.gguf", "-o", "out"],
    &["export-weights", "bad.gguf", "-o", "out"],
    &["run", "bad.gguf", "Hello"],
    &["eval", "logits", "bad.gguf", "--ids", "1"],
];
/// What runs it without a tokenizer.
const INTERPRETING: &[&str] = &["eval", "logits", "bad.gguf", "--ids", "1", "--target", "interp"];

/// All these commands refuse the file, say so in these words, and leave nothing.
#[track_caller]
fn is_refused_by(place: &Workplace, commands: &[&[&str]], message: &[&str]) {
    let before = place.files();
    for command in commands {
        place.forge(command).failed(1, &[&["bad.gguf"], message].concat());
    }
    println!("{}", place.forge(commands[0]).stderr.trim_end());
    assert_eq!(place.files(), before);
    let programs = fs::read_dir(place.path("cache/programs")).into_iter().flatten().flatten();
    assert!(programs.into_iter().all(|entry| !entry.path().join("program").exists()));
}

#[track_caller]
fn is_refused(place: &Workplace, message: &[&str]) {
    is_refused_by(place, &[&MAKING[..], &[INTERPRETING]].concat(), message);
}

/// Where the description of tensor `name` has its first dimension, and where its type, which the offset follows.
fn tensor_at(bytes: &[u8], name: &str) -> (usize, usize) {
    let spelled = [&(name.len() as u64).to_le_bytes(), name.as_bytes()].concat();
    let at = bytes.windows(spelled.len()).position(|window| window == spelled).unwrap() + spelled.len();
    let dimensions = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    (at + 4, at + 4 + 8 * dimensions)
}

#[test]
fn damaged_headers_are_refused_everywhere() {
    let place = Workplace::new().with_model("tiny-llama", "Q8_0");
    let good = fs::read(place.path("model.gguf")).unwrap();
    let damage = |change: &dyn Fn(&mut [u8]), message: &[&str]| {
        let mut bytes = good.clone();
        change(&mut bytes);
        fs::write(place.path("bad.gguf"), bytes).unwrap();
        is_refused(&place, message);
    };
    let huge = (u64::MAX / 2).to_le_bytes();
    let (_, embedding) = tensor_at(&good, "token_embd.weight");
    let (dimension, query) = tensor_at(&good, "blk.0.attn_q.weight");
    // Wrong magic: another format of the same family, nothing like it, and the other byte order.
    damage(&|bytes| bytes[..4].copy_from_slice(b"ggjt"), &["not a GGUF file"]);
    damage(&|bytes| bytes[..4].copy_from_slice(b"\x7fELF"), &["not a GGUF file"]);
    damage(&|bytes| bytes[4..8].copy_from_slice(&3u32.to_be_bytes()), &["big-endian"]);
    damage(&|bytes| bytes[4..8].copy_from_slice(&9u32.to_le_bytes()), &["version 9"]);
    // Huge counts and lengths.
    damage(&|bytes| bytes[8..16].copy_from_slice(&huge), &["tensor count", "9223372036854775807"]);
    damage(&|bytes| bytes[16..24].copy_from_slice(&huge), &["9223372036854775807"]);
    damage(&|bytes| bytes[24..32].copy_from_slice(&huge), &["9223372036854775807"]);
    damage(&|bytes| bytes[dimension..dimension + 8].copy_from_slice(&huge), &["blk.0.attn_q.weight"]);
    // Types: one that nobody knows, and one that is known by name and not supported.
    damage(&|bytes| bytes[query..query + 4].copy_from_slice(&999u32.to_le_bytes()), &["attn_q", "999"]);
    damage(&|bytes| bytes[query..query + 4].copy_from_slice(&16u32.to_le_bytes()), &["attn_q", "IQ2_XXS"]);
    // Two tensors in one place, and one behind the end.
    let offset = good[embedding + 4..embedding + 12].to_vec();
    damage(
        &|bytes| bytes[query + 4..query + 12].copy_from_slice(&offset),
        &["token_embd.weight", "blk.0.attn_q.weight", "overlap"],
    );
    let far = (1u64 << 40).to_le_bytes();
    damage(&|bytes| bytes[query + 4..query + 12].copy_from_slice(&far), &["blk.0.attn_q.weight"]);
}

#[test]
fn models_that_are_not_known_are_refused_everywhere() {
    let bad = |change: &dyn Fn(&mut Changed)| {
        let place = Workplace::new().with_changed_model("tiny-llama", "Q8_0", change);
        fs::rename(place.path("model.gguf"), place.path("bad.gguf")).unwrap();
        place
    };
    let set = |key: &'static str, value: Value| {
        bad(&move |file: &mut Changed| {
            file.metadata.insert(key.to_owned(), value.clone());
        })
    };
    let text = |text: &str| Value::String(text.to_owned());
    is_refused(
        &set("general.architecture", text("mamba")),
        &["architecture `mamba` is not supported", "llama, qwen2, gemma3"],
    );
    is_refused_by(&set("tokenizer.ggml.model", text("wordpiece")), &MAKING, &["wordpiece"]);
    is_refused_by(&set("tokenizer.ggml.pre", text("no-such-pre")), &MAKING, &["no-such-pre"]);
    is_refused(&set("llama.embedding_length", Value::U64(512)), &["token_embd.weight"]);
    is_refused(&set("llama.block_count", Value::U64(3)), &["blk.2."]);
    is_refused(&set("llama.block_count", Value::U64(u64::MAX)), &["num_layers"]);
    let one_less = |file: &mut Changed| file.tensors.retain(|(spec, _)| spec.name != "blk.1.ffn_up.weight");
    is_refused(&bad(&one_less), &["no tensor `blk.1.ffn_up.weight`"]);
    let one_more = |file: &mut Changed| {
        let (mut spec, bytes) = file.tensors[0].clone();
        spec.name = "blk.0.extra.weight".to_owned();
        file.tensors.push((spec, bytes));
    };
    is_refused(&bad(&one_more), &["`blk.0.extra.weight`", "no use for it"]);
}

#[test]
fn outputs_that_cannot_be_written() {
    let place = Workplace::new().with_model("tiny-llama", "F16");
    fs::write(place.path("file"), b"precious").unwrap();
    place.forge(&["compile", "model.gguf", "-o", "file/out"]).failed(1, &["file"]);
    place.forge(&["export-weights", "model.gguf", "-o", "file/out"]).failed(1, &["file"]);
    place.forge(&["export-weights", "model.gguf", "-o", "."]).failed(2, &["is a folder"]);
    place.forge(&["synth", "tiny-llama", "F16", "-o", "none/out.gguf"]).failed(1, &["none"]);
    assert_eq!(fs::read(place.path("file")).unwrap(), b"precious");
    assert_eq!(place.files(), ["file", "model.gguf"]);
}

#[test]
fn a_folder_of_someone_else_is_left_alone() {
    let place = Workplace::new().with_model("tiny-llama", "F16");
    fs::create_dir_all(place.path("mine/src")).unwrap();
    fs::write(place.path("mine/src/main.rs"), b"fn main() {}").unwrap();
    place.forge(&["compile", "model.gguf", "-o", "mine"]).failed(1, &["holds no project that forge wrote"]);
    assert_eq!(place.files(), ["mine/src/main.rs", "model.gguf"]);
}

#[test]
fn an_unreachable_hub_is_named() {
    let place = Workplace::new();
    for model in ["hf:org/repo", "hf:org/repo/model.gguf"] {
        let mut command = place.command(&["info", model]);
        // Nothing listens on the discard port.
        command.env("HF_ENDPOINT", "http://127.0.0.1:9");
        crate::forge::outcome(&mut command).failed(1, &["org/repo", "caused by: "]);
    }
    place.forge(&["info", "hf:org/repo/m-00001-of-00002.gguf"]).failed(1, &["shard", "--merge"]);
}
