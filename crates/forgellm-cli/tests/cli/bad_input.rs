//! Wrong arguments and wrong files.

use std::fs;

use crate::forge::Workplace;

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
        (&["eval", "perplexity", "model.gguf", "--text", "t", "--target", "x"], "auto, cpu and interp"),
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
    assert_eq!(count, 9);
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
