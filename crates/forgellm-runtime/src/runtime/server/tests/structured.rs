use super::*;

#[track_caller]
fn text_of(reply: &Reply) -> (String, String) {
    let choice = &reply.json()["choices"][0];
    let text = choice["message"]["content"].as_str().or(choice["text"].as_str());
    (text.unwrap_or_default().to_owned(), choice["finish_reason"].as_str().unwrap_or_default().to_owned())
}

fn schema() -> Value {
    json!({"type": "object", "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 50}, "ok": {"type": "boolean"}},
        "required": ["n", "ok"], "additionalProperties": false})
}

#[test]
fn answers_follow_a_schema_whatever_the_sampling_and_however_they_are_sent() {
    let server = Server::with(options(), SPEC, Automaton::that_runs_ahead);
    let format =
        json!({"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema": schema()}});
    let mut greedy = Vec::new();
    for extra in [
        json!({}),
        json!({"top_k": 3, "temperature": 1, "seed": 5}),
        json!({"temperature": 1.5, "top_p": 0.3, "seed": 6, "n": 3}),
        json!({"min_p": 0.9, "temperature": 0.5, "seed": 7, "frequency_penalty": 1}),
        json!({"logprobs": true, "logit_bias": {"32": 5}}),
        json!({"ignore_eos": true}),
    ] {
        let mut body = json!({"messages": user("Hi"), "response_format": format});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let whole = server.post("/v1/chat/completions", &body).json();
        for choice in whole["choices"].as_array().unwrap() {
            let text = choice["message"]["content"].as_str().unwrap();
            let value: Value = serde_json::from_str(text).unwrap();
            assert!((0..=50).contains(&value["n"].as_i64().unwrap()) && value["ok"].is_boolean(), "{text}");
            assert_eq!(choice["finish_reason"], "stop");
            greedy.push(text.to_owned());
        }
        body["stream"] = json!(true);
        let streamed = server.post("/v1/chat/completions", &body).body;
        let texts = streamed.lines().filter_map(|line| line.strip_prefix("data: {")).map(|line| {
            let event: Value = serde_json::from_str(&format!("{{{line}")).unwrap();
            let choice = &event["choices"][0];
            let text = choice["delta"]["content"].as_str().unwrap_or_default().to_owned();
            (choice["index"].clone(), text)
        });
        let first: String = texts.filter(|(index, _)| *index == json!(0)).map(|(_, text)| text).collect();
        assert_eq!(first, whole["choices"][0]["message"]["content"].as_str().unwrap());
    }
    // That end tokens are ignored, or log-probabilities told, changes no choice.
    assert_eq!(greedy.first(), greedy.last());
    server.end();
}

#[test]
fn every_kind_of_rule_is_followed_by_both_apis_and_length_cuts_it() {
    let server = Server::start();
    let ask = |extra: Value| {
        let mut body = json!({"prompt": "Hi", "max_tokens": 100});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        text_of(&server.post("/v1/completions", &body))
    };
    let stop = |text: &str| (text.to_owned(), "stop".to_owned());
    assert_eq!(ask(json!({"guided_regex": "abc"})), stop("abc"));
    assert_eq!(ask(json!({"guided_choice": ["only"]})), stop("only"));
    assert_eq!(ask(json!({"guided_grammar": "start: \"x\" y\ny: \"z\""})), stop("xz"));
    assert_eq!(ask(json!({"guided_json": {"const": 5}})), stop("5"));
    assert_eq!(ask(json!({"guided_json": "{\"const\": 5}"})), stop("5"));
    assert_eq!(ask(json!({"structured_outputs": {"regex": "q{3}"}})), stop("qqq"));
    assert_eq!(ask(json!({"guided_regex": "abc", "stop": "bc"})), stop("a"));
    assert_eq!(ask(json!({"guided_regex": "a{40}", "max_tokens": 7})), ("a".repeat(7), "length".to_owned()));
    assert_eq!(ask(json!({"guided_regex": "a{7}", "max_tokens": 7})), stop("aaaaaaa"));
    let object = json!({"messages": user("Hi"), "response_format": {"type": "json_object"}, "max_tokens": 1});
    assert_eq!(text_of(&server.post("/v1/chat/completions", &object)), ("{".to_owned(), "length".to_owned()));
    server.end();
}

#[test]
fn a_rule_that_cannot_be_followed_is_refused_by_name() {
    let server = Server::start();
    let format = |schema: Value| json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}});
    for (extra, param) in [
        (json!({"response_format": "json"}), "response_format"),
        (json!({"response_format": {"type": "xml"}}), "response_format.type"),
        (json!({"response_format": {"type": "json_schema"}}), "response_format.json_schema"),
        (format(json!("object")), "response_format.json_schema.schema"),
        (format(json!({"type": "colour"})), "response_format.json_schema.schema"),
        (format(json!({"$ref": "#/nowhere"})), "response_format.json_schema.schema"),
        (json!({"guided_regex": "("}), "guided_regex"),
        (json!({"guided_grammar": "nonsense"}), "guided_grammar"),
        (json!({"guided_json": "{"}), "guided_json"),
        (json!({"guided_choice": []}), "guided_choice"),
        (json!({"guided_choice": ["x"], "guided_regex": "x"}), "guided_choice"),
        (json!({"structured_outputs": {"yaml": 1}}), "structured_outputs.yaml"),
        (json!({"guided_regex": "ab", "logit_bias": {"97": -100}}), "logit_bias"),
    ] {
        let mut body = json!({"messages": user("Hi")});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let reply = server.post("/v1/chat/completions", &body);
        assert_eq!((reply.status, &reply.json()["error"]["param"]), (400, &json!(param)), "{}", reply.body);
    }
    server.end();
}
