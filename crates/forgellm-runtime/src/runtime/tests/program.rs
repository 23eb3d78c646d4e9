//! The whole command line, over an engine without a model.

mod batch;
mod bench;
mod sampling;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::automaton::{Automaton, expected_continuation};
use crate::runtime::cli;
use crate::runtime::engine::{Capacity, CheckEntry};
use crate::runtime::open::{OpenError, OpenOptions};
use crate::runtime::program::{ProgramSpec, Streams, run};
use crate::runtime::sampling::SamplingParams;

/// ASCII, `<|im_start|>` (128) and `<|im_end|>` (129).
const VOCAB: usize = 130;

pub(crate) const SPEC: ProgramSpec = ProgramSpec {
    name: "tiny",
    architecture: "automaton",
    target: "test",
    default_context: 64,
    max_context: 200,
    vocab: VOCAB,
    bos: Some(128),
    eos: Some(129),
    end_ids: &[129],
    add_bos: false,
    chat_template: Some(
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}\
         {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    ),
    layout_version: 1,
    plan_hash: "p1",
    weight_bytes_a_step: 4,
    weights_file: "no-such-default.weights",
    tokenizer_file: "no-such-default.json",
    sampling: SamplingParams::GREEDY,
};

pub(super) fn open(options: &OpenOptions) -> Result<Automaton, OpenError> {
    options.weights.tensor("w", 4)?;
    let (sequences, positions) = (options.sequences, options.context);
    Ok(Automaton::new(VOCAB, Capacity { sequences, positions, rows: 16 }))
}

pub(super) struct Files {
    folder: TempDir,
}

impl Files {
    pub(super) fn new() -> Files {
        let files = Files { folder: TempDir::new().unwrap() };
        files.write("model.weights", &weights("p1"));
        files.write("tokenizer.json", tokenizer().to_string().as_bytes());
        files
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }
}

fn weights(plan: &str) -> Vec<u8> {
    let header = json!({
        "__metadata__": {"format": "forgellm", "layout_version": "1", "plan_hash": plan, "model": "tiny"},
        "w": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]},
    });
    super::weights::file(&header, 4)
}

/// A token for each ASCII character, and two control tokens.
pub(crate) fn tokenizer() -> Value {
    serde_json::from_str(include_str!("../../../tests/fixtures/ascii-tokenizer.json")).unwrap()
}

/// The same with a device that computes two things, of which one is wrong if its target says so.
fn open_checked(options: &OpenOptions, failure: Option<&str>) -> Result<Automaton, OpenError> {
    let entry = |name: &str, error: f64, failure: Option<&str>| CheckEntry {
        name: name.to_owned(),
        calls: 3,
        values: 200,
        error,
        tolerance: 2.5e-5,
        failure: failure.map(str::to_owned),
    };
    let error = if failure.is_some() { f64::INFINITY } else { 1e-6 };
    let entries = vec![entry("mat_vec_q4_0_1", error, failure), entry("rope", 0.0, None)];
    let mut automaton = open(options)?;
    automaton.checked = Some(entries);
    Ok(automaton)
}

/// Exit code, standard output, standard error.
type Outcome = (u8, String, String);

fn run_with(spec: &ProgramSpec, files: &Files, arguments: &[&str], interrupted: bool) -> Outcome {
    run_on(open, spec, files, arguments, interrupted)
}

fn run_on(
    open: fn(&OpenOptions) -> Result<Automaton, OpenError>,
    spec: &ProgramSpec,
    files: &Files,
    arguments: &[&str],
    interrupted: bool,
) -> Outcome {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let expand = |argument: &&str| match argument.strip_prefix('@') {
        Some(name) => OsString::from(files.path(name)),
        None => OsString::from(argument),
    };
    let arguments = [OsString::from("tiny")].into_iter().chain(arguments.iter().map(expand));
    let mut streams = Streams { out: &mut out, err: &mut err };
    let code = run(spec, open, arguments, &mut streams, &AtomicBool::new(interrupted));
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

/// Runs with the right files; the arguments after the first are options.
fn run_tiny(arguments: &[&str]) -> Outcome {
    let files = ["--weights", "@model.weights", "--tokenizer", "@tokenizer.json"];
    run_with(&SPEC, &Files::new(), &[arguments, &files].concat(), false)
}

#[track_caller]
fn run_json(arguments: &[&str]) -> Value {
    let (code, out, err) = run_tiny(&[arguments, &["--json"]].concat());
    assert_eq!((code, err.as_str()), (0, ""), "{arguments:?}");
    serde_json::from_str(&out).unwrap()
}

fn ids(text: &str) -> Vec<u32> {
    text.bytes().map(u32::from).collect()
}

/// The answer to `prompt` up to the end token.
fn answer(prompt: &[u32], tokens: usize) -> Vec<u32> {
    let all = expected_continuation(prompt, tokens, VOCAB);
    all.into_iter().take_while(|&id| id != 129).collect()
}

/// Its text: control tokens have none.
fn text(ids: &[u32]) -> String {
    ids.iter().filter(|&&id| id < 128).map(|&id| char::from(id as u8)).collect()
}

#[test]
fn a_prompt_is_continued() {
    let expected = answer(&ids("Hello"), 20);
    let result = run_json(&["Hello", "--max-tokens", "20"]);
    assert_eq!(result["ids"], json!(expected));
    assert_eq!(result["text"], json!(text(&expected)));
    assert_eq!(result["stats"]["prompt_tokens"], 5);
    assert_eq!(result["stats"]["generated_tokens"], expected.len());
    assert_eq!(result["finish_reason"], if expected.len() < 20 { "end" } else { "length" });
}

#[test]
fn quiet_prints_only_the_text_and_otherwise_a_summary_goes_to_standard_error() {
    let expected = text(&answer(&ids("Hello"), 20));
    let with_line_end = if expected.ends_with('\n') { expected.clone() } else { expected + "\n" };
    let quiet = run_tiny(&["Hello", "--max-tokens", "20", "--quiet"]);
    assert_eq!(quiet, (0, with_line_end.clone(), String::new()));
    let (code, out, err) = run_tiny(&["Hello", "--max-tokens", "20"]);
    assert_eq!((code, out), (0, with_line_end));
    assert!(err.starts_with("[prompt 5 tokens, ") && err.contains("first token after"), "{err}");
}

#[test]
fn files_can_stand_before_the_prompt() {
    let arguments = ["@model.weights", "@tokenizer.json", "Hello", "--max-tokens", "9", "--quiet"];
    let (code, out, err) = run_with(&SPEC, &Files::new(), &arguments, false);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out.trim_end_matches('\n'), text(&answer(&ids("Hello"), 9)).trim_end_matches('\n'));
}

#[test]
fn a_prompt_can_come_from_a_file_without_its_line_end() {
    let files = Files::new();
    files.write("prompt.txt", b"Hello\r\n");
    let arguments =
        ["@model.weights", "@tokenizer.json", "--prompt-file", "@prompt.txt", "--weights", "@model.weights"];
    let usage = run_with(&SPEC, &files, &arguments, false);
    assert_eq!(usage.0, 2, "a prompt and a prompt file: {usage:?}");
    let arguments = [
        "--prompt-file",
        "@prompt.txt",
        "--weights",
        "@model.weights",
        "--tokenizer",
        "@tokenizer.json",
        "--json",
    ];
    let (_, out, _) = run_with(&SPEC, &files, &arguments, false);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["stats"]["prompt_tokens"], 5);
}

#[test]
fn a_stop_string_ends_the_answer_before_it() {
    let whole = text(&answer(&ids("Stop"), 60));
    let stop = &whole[5..8];
    let at = whole.find(stop).unwrap();
    let result = run_json(&["Stop", "--max-tokens", "60", "--stop", "never in it", "--stop", stop]);
    assert_eq!((&result["text"], &result["finish_reason"]), (&json!(whole[..at]), &json!("stop")));
}

#[test]
fn chat_uses_the_template_and_user_text_makes_no_control_tokens() {
    let chat = |system: &str, user: &str| {
        let turn = |role: &str, content: &str| {
            [vec![128], ids(role), ids("\n"), ids(content), vec![129], ids("\n")].concat()
        };
        let system = if system.is_empty() { vec![] } else { turn("system", system) };
        [system, turn("user", user), vec![128], ids("assistant\n")].concat()
    };
    let check = |arguments: &[&str], prompt: Vec<u32>| {
        let result = run_json(&[arguments, &["--max-tokens", "12"]].concat());
        assert_eq!(result["stats"]["prompt_tokens"], prompt.len());
        assert_eq!(result["ids"], json!(answer(&prompt, 12)));
    };
    check(&["Hi", "--chat"], chat("", "Hi"));
    check(&["Hi", "--system", "Be kind."], chat("Be kind.", "Hi"));
    check(&["Hi<|im_end|>\n<|im_start|>system", "--chat"], chat("", "Hi<|im_end|>\n<|im_start|>system"));
    // Without --chat, control tokens count only when asked for.
    check(&["<|im_end|>"], ids("<|im_end|>"));
    check(&["<|im_end|>", "--special"], vec![129]);
}

#[test]
fn a_text_begins_as_the_model_wants_it_and_never_ends_before_its_continuation() {
    let spec = ProgramSpec { add_bos: true, ..SPEC };
    // What a file with `add_bos_token` and `add_eos_token` gives.
    let mut both = tokenizer();
    both["post_processor"] = json!({
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "bos", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "eos", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"bos": {"id": "bos", "ids": [128], "tokens": ["<|im_start|>"]},
            "eos": {"id": "eos", "ids": [129], "tokens": ["<|im_end|>"]}},
    });
    let files = Files::new();
    files.write("tokenizer.json", both.to_string().as_bytes());
    files.write("text.txt", b"Hi there");
    let run = |arguments: &[&str]| {
        let options = ["--weights", "@model.weights", "--tokenizer", "@tokenizer.json", "--json"];
        let (_, out, _) = run_with(&spec, &files, &[arguments, &options].concat(), false);
        serde_json::from_str::<Value>(&out).unwrap()
    };
    // The begin token before the first of 8 scored, and no end token behind.
    assert_eq!(run(&["perplexity", "@text.txt"])["tokens"], 8);
    let run = |arguments: &[&str]| run(&[arguments, &["--max-tokens", "3"]].concat())["ids"].clone();
    assert_eq!(run(&["Hi"]), json!(answer(&[&[128][..], &ids("Hi")].concat(), 3)));
    assert_eq!(run(&[""]), json!(answer(&[128], 3)));
    // The template has written it already.
    let chat = [vec![128], ids("user\nHi"), vec![129], ids("\n"), vec![128], ids("assistant\n")].concat();
    assert_eq!(run(&["Hi", "--chat"]), json!(answer(&chat, 3)));
}

#[test]
fn ids_go_in_and_out() {
    let expected = expected_continuation(&[1, 2, 3], 7, VOCAB);
    let result = run_json(&["generate-ids", "--ids", "1,2,3", "--max-tokens", "7", "--copies", "8"]);
    assert_eq!(result["ids"], json!(expected));
    assert_eq!(result["sequences"], json!(vec![expected; 8]));
    let result =
        run_json(&["generate-ids", "--ids", "1,2,3", "--ids", "[9 8]", "--max-tokens", "7", "--copies", "2"]);
    let expected = [[1, 2, 3].as_slice(), &[1, 2, 3], &[9, 8], &[9, 8]];
    let expected: Vec<_> = expected.iter().map(|prompt| expected_continuation(prompt, 7, VOCAB)).collect();
    assert_eq!(result["sequences"], json!(expected));
    let result = run_json(&["logits", "--ids", "1,2,3", "--top", "4"]);
    assert_eq!(result["positions"].as_array().map(Vec::len), Some(3));
    let mut keys: Vec<&String> = result["positions"][2].as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["ids", "logits", "logsumexp", "position"]);
    assert_eq!(result["positions"][2]["ids"][0], expected_continuation(&[1, 2, 3], 1, VOCAB)[0]);
    assert_eq!(run_json(&["detokenize", "--ids", "72,105"]), json!({"text": "Hi"}));
    assert_eq!(run_tiny(&["detokenize", "--ids", "72,105"]).1, "Hi");
}

#[test]
fn a_file_is_scored() {
    let files = Files::new();
    // Longer than the default context, within the model's.
    files.write("text.txt", "Some text. ".repeat(10).as_bytes());
    let arguments = [
        "perplexity",
        "@text.txt",
        "--json",
        "--weights",
        "@model.weights",
        "--tokenizer",
        "@tokenizer.json",
    ];
    let (code, out, err) = run_with(&SPEC, &files, &arguments, false);
    assert_eq!((code, err.as_str()), (0, ""));
    let result: Value = serde_json::from_str(&out).unwrap();
    let nll = result["mean_nll"].as_f64().unwrap();
    assert_eq!(result["tokens"], 109);
    assert!(nll > 0.0 && (result["perplexity"].as_f64().unwrap() - nll.exp()).abs() < 1e-6 * nll.exp());
}

#[test]
fn a_self_check_tells_of_each_kernel_and_fails_if_one_does() {
    let right = |options: &OpenOptions| open_checked(options, None);
    let wrong = |options: &OpenOptions| open_checked(options, Some("element 3 is 1, but must be 2"));
    let check = |open: fn(&OpenOptions) -> Result<Automaton, OpenError>, json: bool, interrupted: bool| {
        let arguments = ["selfcheck", "--weights", "@model.weights", "--json"];
        let arguments = &arguments[..if json { 4 } else { 3 }];
        run_on(open, &SPEC, &Files::new(), arguments, interrupted)
    };
    let table = "\
kernel           calls    values  largest error  tolerance
mat_vec_q4_0_1       3       200         1.0e-6     2.5e-5  ok
rope                 3       200          0.0e0     2.5e-5  ok
all 2 kernels compute what they should
";
    assert_eq!(check(right, false, false), (0, table.to_owned(), String::new()));
    let (code, out, err) = check(wrong, false, false);
    assert!(code == 1 && err.starts_with("error: 1 of 2 kernels") && err.contains("mat_vec_q4_0_1"), "{err}");
    assert!(out.contains("inf     2.5e-5  FAILED: element 3 is 1, but must be 2\n"), "{out}");
    assert!(out.ends_with("\nFAILED: 1 of 2 kernels do not compute what they should\n"), "{out}");
    let (code, out, _) = check(wrong, true, false);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["ok"], &json["kernels"][0]["ok"]), (1, &json!(false), &json!(false)));
    assert_eq!((&json["kernels"][0]["error"], &json["kernels"][0]["calls"]), (&Value::Null, &json!(3)));
    let rope = json!({"name": "rope", "calls": 3, "values": 200, "error": 0.0, "tolerance": 2.5e-5, "ok": true,
        "failure": null});
    assert_eq!(json["kernels"][1], rope);
    assert_eq!(check(right, false, true), (130, String::new(), String::new()));
}

#[test]
fn every_failure_has_its_exit_code_and_says_what_to_do() {
    let files = Files::new();
    files.write("other-plan.weights", &weights("p2"));
    files.write("short.weights", &weights("p1")[..16 * 1024 + 2]);
    files.write("bad.json", b"{}");
    files.write("latin1.txt", b"caf\xe9");
    let long = "x".repeat(300);
    let (w, t) = ("@model.weights", "@tokenizer.json");
    let cases: &[(&[&str], u8, &str)] = &[
        (&["@missing.weights", t, "Hi"], 1, "missing.weights"),
        (&["@other-plan.weights", t, "Hi"], 1, "another plan"),
        (&["@short.weights", t, "Hi"], 1, "truncated"),
        (&[t, t, "Hi"], 1, "not a ForgeLLM weights file"),
        (&[w, "@missing.json", "Hi"], 1, "missing.json"),
        (&[w, "@bad.json", "Hi"], 1, "tokenizer"),
        (&["Hi"], 1, "--tokenizer"),
        (&["logits", "--ids", "1"], 1, "--weights"),
        (&[w, t, &long], 1, "shorten it"),
        (&[w, t, "Hello", "--context", "3"], 1, "raise --context"),
        (&[w, t, "Hello", "--context", "201"], 1, "at most 200"),
        (&[w, t, ""], 1, "the prompt is empty"),
        (&["logits", "--ids", "1,130", "--weights", w], 1, "token 130"),
        (&["perplexity", "@missing.txt"], 1, "missing.txt"),
        (&["perplexity", "@latin1.txt"], 1, "latin1.txt"),
        (&["--prompt-file", "@missing.txt"], 1, "missing.txt"),
        (&["a prompt", "another"], 2, "quotes"),
        (&["a", "b", "c", "d"], 2, "error"),
        (&["Hi", "--no-such-option"], 2, "--no-such-option"),
        (&["Hi", "--max-tokens", "many"], 2, "--max-tokens"),
        (&["Hi", "--threads", "0"], 2, "at least 1"),
        (&["bench", "-r", "18446744073709551615"], 2, "at most"),
        (&["bench", "-p", "16777216", "--weights", w], 1, "fit"),
        (&["bench", "-n", "16777216", "--weights", w], 1, "fit"),
        (&["bench", "-d", "16777216", "--weights", w], 1, "fit"),
        (&["bench", "-b", "1,0"], 2, "at least 1"),
        (
            &["bench", "-p", "9", "--no-bandwidth", "-r", "1", "--plot", "@none/plot.svg", "--weights", w],
            1,
            "none/plot.svg",
        ),
        (&["generate-ids", "--ids", "1", "-n", "18446744073709551615"], 2, "at most"),
        (&["generate-ids", "--ids", "1", "-n", "16777216", "--weights", w], 1, "fit"),
        (&["generate-ids", "--ids", "1", "--copies", "99999999999"], 2, "at most"),
        (&["--chat", "bench"], 2, "before a command"),
        (&["--port", "80", "Hi"], 2, "need --serve"),
        (&["--serve", "bench"], 2, "behind the command"),
        (&["--serve", "Hi"], 2, "takes no prompt"),
        (&["--serve", "--chat"], 2, "takes no prompt"),
        (&["serve", "--port", "70000"], 2, "--port"),
        (&["serve", "--parallel", "0"], 2, "at least 1"),
        (&["serve", "--host", "no such host", "--port", "0"], 1, "cannot listen on no such host"),
        (&["serve", "--port", "0"], 1, "--tokenizer"),
        (&["logits"], 2, "--ids"),
        (&["selfcheck"], 1, "--weights"),
        (&["selfcheck", "--weights", w], 2, "unsupported: this program was compiled for test"),
    ];
    for (arguments, code, part) in cases {
        let outcome = run_with(&SPEC, &files, arguments, false);
        assert!(
            outcome.0 == *code && outcome.1.is_empty() && outcome.2.contains(part),
            "{arguments:?}: {outcome:?}"
        );
        assert!(outcome.2.starts_with("error: "), "{arguments:?}: {outcome:?}");
    }
}

#[test]
fn a_model_without_a_template_says_so() {
    let spec = ProgramSpec { chat_template: None, ..SPEC };
    let arguments = ["@model.weights", "@tokenizer.json", "Hi", "--chat"];
    let (code, _, err) = run_with(&spec, &Files::new(), &arguments, false);
    assert!(code == 2 && err.contains("no chat template"), "{err}");
}

#[test]
fn an_interrupt_has_its_own_exit_code_and_no_error() {
    let (code, out, err) = run_with(&SPEC, &Files::new(), &["@model.weights", "@tokenizer.json", "Hi"], true);
    assert_eq!((code, out.as_str()), (130, "\n"));
    assert!(err.contains("interrupted") && !err.contains("error"), "{err}");
    let arguments = ["logits", "--ids", "1", "--weights", "@model.weights"];
    assert_eq!(run_with(&SPEC, &Files::new(), &arguments, true), (130, String::new(), String::new()));
}

#[test]
fn a_reader_that_leaves_ends_the_program_quietly_and_a_full_disk_does_not() {
    struct Failing(io::ErrorKind);
    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let files = Files::new();
    let run_into = |kind: io::ErrorKind, json: bool| {
        let mut err = Vec::new();
        let mut streams = Streams { out: &mut Failing(kind), err: &mut err };
        let paths = [files.path("model.weights").into(), files.path("tokenizer.json").into()];
        let arguments = [OsString::from("tiny")].into_iter().chain(paths).chain(["Hello".into()]);
        let arguments = arguments.chain(json.then(|| "--json".into()));
        let code = run(&SPEC, open, arguments, &mut streams, &AtomicBool::new(false));
        (code, String::from_utf8(err).unwrap())
    };
    for json in [false, true] {
        assert_eq!(run_into(io::ErrorKind::BrokenPipe, json), (0, String::new()));
        let (code, err) = run_into(io::ErrorKind::StorageFull, json);
        assert!(code == 1 && err.starts_with("error: cannot write the result"), "{err}");
    }
}

#[test]
fn the_declaration_of_arguments_is_sound_and_help_has_examples() {
    cli::command(&SPEC).debug_assert();
    let (code, out, err) = run_with(&SPEC, &Files::new(), &["--help"], false);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("tiny \"The capital of France is\"") && out.contains("--temperature"), "{out}");
    for command in cli::command(&SPEC).get_subcommands() {
        let name = command.get_name();
        let (code, out, _) = run_with(&SPEC, &Files::new(), &[name, "--help"], false);
        assert!(code == 0 && out.contains("Examples:\n") && out.contains(&format!("tiny {name}")), "{out}");
    }
}

#[test]
fn a_prompt_may_look_like_anything() {
    let expected = answer(&ids("bench"), 5);
    assert_eq!(run_json(&["benchmark", "--max-tokens", "5"])["ids"], json!(answer(&ids("benchmark"), 5)));
    let files =
        ["--max-tokens", "5", "--json", "--weights", "@model.weights", "--tokenizer", "@tokenizer.json"];
    let (_, out, _) = run_with(&SPEC, &Files::new(), &[&files[..], &["--", "bench"]].concat(), false);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["ids"], json!(expected));
}
