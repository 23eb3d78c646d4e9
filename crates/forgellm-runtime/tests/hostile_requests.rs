//! Bodies of requests that no client should send.

#[path = "hostile_requests/rules.rs"]
mod rules;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

const FIELDS: [&str; 34] = [
    "messages",
    "prompt",
    "role",
    "content",
    "type",
    "text",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "typical_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "seed",
    "n",
    "stop",
    "stream",
    "stream_options",
    "include_usage",
    "ignore_eos",
    "model",
    "user",
    "logprobs",
    "top_logprobs",
    "response_format",
    "tools",
    "tool_choice",
    "tokens",
    "parse_special",
    "x",
];

fn scalar() -> impl Strategy<Value = Value> {
    let texts = [
        "",
        "user",
        "system",
        "assistant",
        "text",
        "tiny",
        "<|im_start|>",
        "é\0\u{10ffff}",
        "Hello",
        "5",
        "auto",
    ];
    let numbers = [
        json!(0),
        json!(1),
        json!(-1),
        json!(0.5),
        json!(1e300),
        json!(-1e-300),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(129),
        json!(130),
    ];
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::sample::select(numbers.to_vec()),
        prop::sample::select(texts.to_vec()).prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        Just(Value::from("x".repeat(5000))),
    ]
}

/// JSON in which the names of fields are those that requests have.
fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 40, 6, |inner| {
        let name =
            prop_oneof![8 => prop::sample::select(FIELDS.to_vec()).prop_map(str::to_owned), 1 => ".{0,6}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((name, inner), 0..6)
                .prop_map(|fields| Value::from(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// A request that is right.
fn right() -> Value {
    json!({
        "model": "tiny", "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
        "max_tokens": 5, "temperature": 0.5, "top_k": 3, "seed": 1, "stop": ["a", "b"], "stream": true,
        "stream_options": {"include_usage": true}, "logit_bias": {"5": -100}, "n": 2,
    })
}

#[test]
fn long_names_and_values_are_not_repeated() {
    let reader = rules::reader();
    let long = "é".repeat(100_000);
    for body in [
        json!({"messages": [{"role": long, "content": "x"}]}),
        json!({"messages": [{"role": "user", "content": [{"type": long}]}]}),
        json!({"messages": [{"role": "user", "content": "x"}], &long: 1}),
        json!({"model": long}),
    ] {
        rules::check(&reader, body.to_string().as_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        rules::check(&rules::reader(), &bytes);
    }

    #[test]
    fn any_json_is_read_or_refused(value in value()) {
        rules::check(&rules::reader(), value.to_string().as_bytes());
    }

    #[test]
    fn a_request_with_fields_changed_is_read_or_refused(
        changes in prop::collection::vec((prop::sample::select(FIELDS.to_vec()), value()), 1..3),
    ) {
        let mut request = right();
        for (field, value) in changes {
            request[field] = value;
        }
        rules::check(&rules::reader(), request.to_string().as_bytes());
    }

    #[test]
    fn a_request_with_bytes_changed_is_read_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        length in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let mut bytes = right().to_string().into_bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if cut {
            bytes.truncate(length.index(bytes.len()));
        }
        rules::check(&rules::reader(), &bytes);
    }
}
