//! The options that say how tokens are chosen.

use serde_json::json;

use super::*;
use crate::runtime::sampling::{Logprob, token_logprobs};
use crate::runtime::tests::logits;

#[test]
fn sampling_options_are_used() {
    let sampled =
        |seed: &str| run_json(&["Hello", "--temperature", "1", "--seed", seed, "--max-tokens", "30"]);
    assert_eq!(sampled("5")["ids"], sampled("5")["ids"]);
    assert_ne!(sampled("5")["ids"], sampled("6")["ids"]);
    assert_eq!(sampled("5")["seed"], 5);
    let top_1 = run_json(&["Hello", "--temperature", "1", "--top-k", "1", "--max-tokens", "30"]);
    assert_eq!(top_1["ids"], json!(answer(&ids("Hello"), 30)));
}

#[test]
fn penalties_and_a_bias_change_the_answer() {
    let run = |options: &[&str]| {
        let options = [&["Hello", "--max-tokens", "20", "--ignore-eos"], options].concat();
        run_json(&options)["ids"]
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    let plain = run(&[]);
    assert_eq!(plain, run(&["--presence-penalty", "0", "--frequency-penalty", "0"]));
    assert_eq!(run(&["--logit-bias", "65=100"]), [65; 20]);
    let two = run(&["--logit-bias", "65=100", "--logit-bias", "66=100", "--temperature", "9", "--seed", "1"]);
    assert!(two.iter().all(|id| [65, 66].contains(id)) && two.contains(&65) && two.contains(&66), "{two:?}");
    let without = run(&["--logit-bias", &format!("{}=-100", plain[0])]);
    assert!(!without.contains(&plain[0]), "{without:?}");
    // Far above all others, two tokens compete.
    let pair = ["--logit-bias", "65=99.5", "--logit-bias", "66=99.5"];
    let present = run(&[&pair[..], &["--presence-penalty", "-2", "--frequency-penalty", "-2"]].concat());
    assert!(present[1..].iter().all(|id| *id == present[1]), "each makes the next more certain: {present:?}");
    let absent = run(&[&pair[..], &["--frequency-penalty", "2"]].concat());
    let count = absent.iter().filter(|id| **id == 65).count();
    assert!((8..=12).contains(&count), "neither can be far ahead: {absent:?}");
    let typical = |p: &str| run(&["--temperature", "1", "--seed", "3", "--typical-p", p]);
    assert_ne!(typical("1"), typical("0.2"));
}

#[test]
fn an_answer_can_go_on_through_end_tokens() {
    let text = (0..500).map(|n| format!("text {n}")).find(|text| answer(&ids(text), 20).len() < 15).unwrap();
    let ended = run_json(&[&text, "--max-tokens", "20"]);
    assert_eq!(ended["finish_reason"], "end");
    let result = run_json(&[&text, "--max-tokens", "20", "--ignore-eos"]);
    assert_eq!(result["finish_reason"], "length");
    assert_eq!(result["ids"], json!(expected_continuation(&ids(&text), 20, VOCAB)));
}

#[test]
fn log_probabilities_stand_in_the_json() {
    let options = ["Hello", "--max-tokens", "5", "--temperature", "1", "--seed", "2", "--ignore-eos"];
    let result = run_json(&[&options[..], &["--logprobs", "2"]].concat());
    let tokens = result["logprobs"].as_array().unwrap();
    assert_eq!(tokens.len(), 5);
    // Reading a number back may lose its last bit.
    let check = |found: &Value, expected: &Logprob| {
        let logprob = found["logprob"].as_f64().unwrap();
        assert!(found["id"] == expected.token && (logprob - expected.logprob).abs() < 1e-12, "{found}");
    };
    let mut text = ids("Hello");
    for (token, id) in tokens.iter().zip(result["ids"].as_array().unwrap()) {
        let id = id.as_u64().unwrap() as u32;
        let expected = token_logprobs(&logits(&text, VOCAB), id, 2).unwrap();
        check(token, &expected.chosen);
        assert_eq!(token["top"].as_array().map(Vec::len), Some(2));
        check(&token["top"][0], &expected.top[0]);
        check(&token["top"][1], &expected.top[1]);
        text.push(id);
    }
    assert_eq!(run_json(&options).get("logprobs"), None);
    let none = run_json(&[&options[..], &["--logprobs", "0"]].concat());
    assert_eq!(none["logprobs"][4]["top"], json!([]));
}

#[test]
fn wrong_options_name_the_parameter_and_its_range() {
    let files = Files::new();
    let cases: &[(&[&str], &str)] = &[
        (&["Hi", "--top-p", "1.5"], "top_p is 1.5, it must be above 0, at most 1"),
        (&["Hi", "--typical-p", "0"], "typical_p is 0, it must be above 0, at most 1"),
        (&["Hi", "--presence-penalty", "-2.5"], "presence_penalty is -2.5, it must be from -2 to 2"),
        (&["Hi", "--frequency-penalty", "3"], "frequency_penalty is 3, it must be from -2 to 2"),
        (&["Hi", "--logit-bias", "1=101"], "logit_bias of token 1 is 101, it must be from -100 to 100"),
        (&["Hi", "--logit-bias", "130=1"], "logit_bias names token 130, which is not in the vocabulary"),
        (&["Hi", "--logit-bias", "1=1", "--logit-bias", "1=2"], "logit_bias names token 1 twice"),
        (&["Hi", "--logit-bias", "five"], "such as 42=-100"),
        (&["Hi", "--logit-bias", "x=1"], "`x` is not a token id"),
        (&["Hi", "--logit-bias", "1=y"], "`y` is not a number"),
        (&["Hi", "--logprobs", "2"], "--json"),
        (&["Hi", "--temperature", "nan"], "temperature"),
    ];
    for (arguments, part) in cases {
        let (code, out, err) = run_with(&SPEC, &files, arguments, false);
        assert!(code == 2 && out.is_empty() && err.contains(part), "{arguments:?}: {err}");
    }
}
