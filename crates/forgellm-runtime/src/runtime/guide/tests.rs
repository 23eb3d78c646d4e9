use serde_json::{Value, json};

use super::*;
use crate::runtime::sampling::{Sampler, SamplingParams};
use crate::runtime::tests::{SPEC, logits, tokenizer};
use crate::runtime::tokenizer::Tokenizer;

/// Ends an answer.
const END: u32 = 129;

fn vocabulary() -> Vocabulary {
    let tokenizer = Tokenizer::from_bytes(tokenizer().to_string().as_bytes()).unwrap();
    Vocabulary::new(&tokenizer, SPEC.vocab).unwrap()
}

/// A guided answer of random tokens; its text if the guide ended it within so many tokens.
fn random(guide: &Guide, seed: u64, tokens: usize) -> Option<String> {
    let mut guide = guide.clone();
    let params = SamplingParams { temperature: 1.0, seed: Some(seed), ..SamplingParams::GREEDY };
    let mut sampler = Sampler::new(params).unwrap();
    let mut answer: Vec<u32> = Vec::new();
    while answer.len() < tokens {
        let mut logits = logits(&answer, SPEC.vocab);
        let token = match guide.restrict(&mut logits, &[END]).unwrap() {
            Next::End => END,
            Next::Token => sampler.sample(&logits, &[], &answer).unwrap(),
        };
        if token == END {
            return Some(answer.iter().map(|&token| char::from(token as u8)).collect());
        }
        guide.accept(token).unwrap();
        answer.push(token);
    }
    None
}

/// Random guided answers, of which at least some must be complete.
fn answers(grammar: &Grammar) -> Vec<String> {
    let guide = vocabulary().guide(grammar).unwrap();
    let answers: Vec<String> = (0..40).filter_map(|seed| random(&guide, seed, 400)).collect();
    assert!(answers.len() > 10, "{answers:?}");
    answers
}

#[test]
fn each_kind_of_grammar_is_followed_to_its_end() {
    for answer in answers(&Grammar::Regex("a[bc]{2,4}d?".into())) {
        let middle = answer.strip_prefix('a').unwrap().trim_end_matches('d');
        assert!(
            (2..=4).contains(&middle.len()) && middle.bytes().all(|byte| b"bc".contains(&byte)),
            "{answer}"
        );
    }
    for answer in answers(&Grammar::Lark("start: \"<\" (\"x\" | start)? \">\"".into())) {
        assert!(answer.replace('x', "").replace("<>", "").len() < answer.len(), "{answer}");
    }
    let choice = answers(&Grammar::Choice(vec!["yes".into(), "no \"quoted\"\n".into()]));
    assert!(choice.iter().all(|answer| ["yes", "no \"quoted\"\n"].contains(&answer.as_str())), "{choice:?}");
    let schema = json!({"type": "object", "required": ["n", "s"], "additionalProperties": false,
        "properties": {"n": {"type": "integer", "minimum": 3, "maximum": 12}, "s": {"enum": ["a", "b", null]}}});
    for answer in answers(&Grammar::JsonSchema(schema)) {
        let value: Value = serde_json::from_str(&answer).unwrap();
        assert!((3..=12).contains(&value["n"].as_i64().unwrap()), "{answer}");
        assert!(json!(["a", "b", null]).as_array().unwrap().contains(&value["s"]), "{answer}");
    }
    for answer in answers(&Grammar::json_object()) {
        assert!(serde_json::from_str::<Value>(&answer).unwrap().is_object());
    }
}

#[test]
fn end_tokens_count_only_where_the_text_is_complete_and_nothing_follows_it() {
    let mut guide = vocabulary().guide(&Grammar::Regex("ab?".into())).unwrap();
    let left = |guide: &mut Guide| {
        let mut logits = vec![0.0; SPEC.vocab];
        let next = guide.restrict(&mut logits, &[END]).unwrap();
        (next, (0..SPEC.vocab as u32).filter(|&token| logits[token as usize] == 0.0).collect::<Vec<u32>>())
    };
    assert_eq!(left(&mut guide), (Next::Token, vec![97]));
    assert!(guide.clone().accept(98).is_err());
    guide.accept(97).unwrap();
    assert!(!guide.is_complete());
    assert_eq!(left(&mut guide), (Next::Token, vec![98, END]));
    guide.accept(98).unwrap();
    assert!(guide.is_complete());
    assert_eq!(left(&mut guide).0, Next::End);
}

#[test]
fn what_cannot_be_followed_is_told() {
    let vocabulary = vocabulary();
    let deep = (0..300).fold(json!({"type": "null"}), |schema, _| json!({"type": "array", "items": schema}));
    for grammar in [
        Grammar::Regex("(".into()),
        Grammar::Lark("begin: \"x\"".into()),
        Grammar::Lark("start: missing".into()),
        Grammar::Lark(String::new()),
        Grammar::Choice(vec![]),
        Grammar::Choice(vec![String::new()]),
        Grammar::JsonSchema(json!({"type": "colour"})),
        Grammar::JsonSchema(json!({"type": "string", "minLength": 5, "maxLength": 2})),
        Grammar::JsonSchema(json!({"$ref": "http://127.0.0.1:9/schema.json"})),
        Grammar::JsonSchema(json!({"$ref": "#/nowhere"})),
        Grammar::JsonSchema(json!({"not": {"type": "string"}})),
        Grammar::JsonSchema(json!(5)),
    ] {
        match vocabulary.guide(&grammar) {
            Err(GuideError::Invalid { kind, reason }) => {
                assert_eq!(kind, grammar.kind());
                assert!(!reason.is_empty() && !reason.contains('\n'), "{reason}");
            }
            Err(error) => panic!("{grammar:?}: {error}"),
            Ok(_) => panic!("{grammar:?} is no error"),
        }
    }
    // Deep, and no problem.
    vocabulary.guide(&Grammar::JsonSchema(deep)).unwrap();
}

/// Grammars that are deep or long in every way that a text can be.
#[test]
fn no_grammar_is_too_deep_for_the_stack() {
    let vocabulary = vocabulary();
    let nest = |open: &str, inner: &str, close: &str, depth: usize| {
        open.repeat(depth) + inner + &close.repeat(depth)
    };
    let chain = |count: usize| {
        let rules: String = (0..count).map(|index| format!("r{index}: r{}\n", index + 1)).collect();
        format!("start: r0\n{rules}r{count}: \"x\"\n")
    };
    let terminals = |count: usize| {
        let rules: String = (0..count).map(|index| format!("T{index}: T{}\n", index + 1)).collect();
        format!("start: T0\n{rules}T{count}: \"x\"\n")
    };
    let references = |count: usize| {
        let entry = |index: usize| (format!("d{index}"), json!({"$ref": format!("#/$defs/d{}", index + 1)}));
        let mut all: serde_json::Map<String, Value> = (0..count).map(entry).collect();
        all.insert(format!("d{count}"), json!({"type": "null"}));
        json!({"$defs": all, "$ref": "#/$defs/d0"})
    };
    let grammars = [
        Grammar::Regex(nest("(", "x", ")", 100_000)),
        Grammar::Regex(nest("(", "x", ")", 2000)),
        Grammar::Regex("[^".repeat(100_000)),
        Grammar::Regex("x".repeat(100_000)),
        Grammar::Regex("x".repeat(8000)),
        Grammar::Regex("x|".repeat(4000)),
        Grammar::Regex("(x".repeat(20) + &"{2,3})".repeat(20)),
        Grammar::Lark(format!("start: {}", nest("(", "\"x\"", ")", 100_000))),
        Grammar::Lark(format!("start: {}", nest("[", "\"x\"", "]", 2000))),
        Grammar::Lark(format!("start: A\nA: {}\n", nest("(", "\"x\"", ")?", 2000))),
        Grammar::Lark(chain(100_000)),
        Grammar::Lark(chain(15_000)),
        Grammar::Lark(terminals(15_000)),
        Grammar::Lark("start: start start | \"x\"".into()),
        Grammar::Lark("start: start\n".into()),
        Grammar::JsonSchema(references(100_000)),
        Grammar::JsonSchema(references(7000)),
        Grammar::JsonSchema(json!({"$ref": "#"})),
        Grammar::JsonSchema(json!({"type": "string", "pattern": nest("(", "x", ")", 100_000)})),
        Grammar::JsonSchema(json!({"enum": (0..8000).collect::<Vec<u32>>()})),
        Grammar::Choice((0..2000).map(|number| number.to_string()).collect()),
    ];
    let followed: Vec<usize> = (0..grammars.len())
        .filter(|&index| match vocabulary.guide(&grammars[index]) {
            Ok(mut guide) => guide.restrict(&mut vec![0.0; SPEC.vocab], &[END]).is_ok(),
            Err(GuideError::Invalid { reason, .. }) => {
                assert!(!reason.is_empty() && reason.len() <= 300, "{reason}");
                false
            }
            Err(error) => panic!("{index}: {error}"),
        })
        .collect();
    assert_eq!(followed, [3, 4, 5, 6, 11, 12, 13, 16, 19, 20]);
}
