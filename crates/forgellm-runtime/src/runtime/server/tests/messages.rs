use super::*;

/// Names and data of the events of a stream.
pub fn named_events(body: &str) -> Vec<(String, Value)> {
    let event = |event: &str| {
        let (name, data) = event.split_once('\n').unwrap();
        let name = name.strip_prefix("event: ").unwrap().to_owned();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(data["type"], name);
        (name, data)
    };
    body.trim_end().split("\n\n").map(event).collect()
}

fn body(extra: Value) -> Value {
    let mut body = json!({"model": "tiny", "messages": user("Hi"), "max_tokens": 20, "system": "Be kind."});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

fn expected_answer() -> (Vec<u32>, String, bool) {
    let prompt = chat_ids(&[("system", "Be kind."), ("user", "Hi")]);
    let (text, _, is_ended) = expected(&prompt, 20);
    (prompt, text, is_ended)
}

#[test]
fn a_message_is_answered() {
    let server = Server::start();
    let (prompt, text, is_ended) = expected_answer();
    let parts =
        json!([{"role": "user", "content": [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]}]);
    for extra in [json!({}), json!({"messages": parts, "system": [{"type": "text", "text": "Be kind."}]})] {
        let json = server.post("/v1/messages", &body(extra)).json();
        assert!(json["id"].as_str().unwrap().starts_with("msg-"));
        assert_eq!(
            (&json["type"], &json["role"], &json["model"]),
            (&json!("message"), &json!("assistant"), &json!("tiny"))
        );
        assert_eq!(json["content"], json!([{"type": "text", "text": text}]));
        assert_eq!(json["stop_reason"], if is_ended { "end_turn" } else { "max_tokens" });
        assert_eq!(json["usage"]["input_tokens"], prompt.len());
    }
    let format = json!({"format": {"type": "json_schema", "schema": {"const": [1, 2]}}});
    let json = server.post("/v1/messages", &body(json!({"output_config": format}))).json();
    let value: Value = serde_json::from_str(json["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!((value, &json["stop_reason"]), (json!([1, 2]), &json!("end_turn")));
    let stop = &text[3..5];
    let json = server.post("/v1/messages", &body(json!({"stop_sequences": ["never", stop]}))).json();
    assert_eq!((&json["stop_reason"], &json["stop_sequence"]), (&json!("stop_sequence"), &json!(stop)));
    assert_eq!(json["content"][0]["text"], text[..text.find(stop).unwrap()]);
    server.end();
}

#[test]
fn a_stream_of_a_message_has_its_events() {
    let server = Server::start();
    let (prompt, text, is_ended) = expected_answer();
    let reply = server.post("/v1/messages", &body(json!({"stream": true})));
    let events = named_events(&reply.body);
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names[..4], ["message_start", "ping", "content_block_start", "content_block_delta"]);
    assert_eq!(names[names.len() - 3..], ["content_block_stop", "message_delta", "message_stop"]);
    assert_eq!(events[0].1["message"]["usage"]["input_tokens"], prompt.len());
    assert_eq!(events[0].1["message"]["content"], json!([]));
    let deltas = events.iter().filter(|(name, _)| name == "content_block_delta");
    let texts: String = deltas.map(|(_, data)| data["delta"]["text"].as_str().unwrap()).collect();
    assert_eq!(texts, text);
    let delta = &events[events.len() - 2].1;
    assert_eq!(delta["delta"]["stop_reason"], if is_ended { "end_turn" } else { "max_tokens" });
    server.end();
}

#[test]
fn tools_are_called_by_messages_too() {
    let spec = ProgramSpec { chat_template: Some(tools::WITH_TOOLS), ..SPEC };
    let server = Server::with(options(), spec, |engine| engine);
    let schema = json!({"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": false});
    let used = json!([{"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [{"type": "text", "text": "Well"}, {"type": "tool_use", "id": "c1", "name": "add", "input": {"n": 1}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "2"}]}]}]);
    let extra = json!({"tools": [{"name": "add", "input_schema": schema}], "tool_choice": {"type": "tool", "name": "add"},
        "max_tokens": 200, "messages": used});
    let json = server.post("/v1/messages", &body(extra.clone())).json();
    assert_eq!((&json["stop_reason"], &json["content"][0]["type"]), (&json!("tool_use"), &json!("tool_use")));
    assert!([1, 2].contains(&json["content"][0]["input"]["n"].as_i64().unwrap()));
    let mut streamed = body(extra);
    streamed["stream"] = json!(true);
    let events = named_events(&server.post("/v1/messages", &streamed).body);
    let start = events.iter().find(|(name, _)| name == "content_block_start").unwrap();
    assert_eq!(
        (&start.1["content_block"]["name"], &start.1["content_block"]["input"]),
        (&json!("add"), &json!({}))
    );
    let deltas = events.iter().filter_map(|(_, data)| data["delta"]["partial_json"].as_str());
    let input: Value = serde_json::from_str(&deltas.collect::<String>()).unwrap();
    assert_eq!(input, json["content"][0]["input"]);
    server.end();
}

#[test]
fn errors_of_messages_have_their_own_shape() {
    let with_key = Options { api_key: Some("s3cret".into()), ..options() };
    let server = Server::with(with_key, SPEC, |engine| engine);
    let ask = |key: &str, body: &Value| {
        let (mut client, body) = (server.client(), body.to_string());
        let length = body.len();
        client.send(format!(
            "POST /v1/messages HTTP/1.1\r\nHost: x\r\nx-api-key: {key}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        let reply = client.reply();
        (reply.status, reply.json())
    };
    assert_eq!(ask("s3cret", &body(json!({}))).0, 200);
    let (status, error) = ask("wrong", &body(json!({})));
    assert_eq!(
        (status, &error["type"], &error["error"]["type"]),
        (401, &json!("error"), &json!("authentication_error"))
    );
    let message = |message: Value| json!({"messages": [message]});
    for (extra, part) in [
        (json!({"max_tokens": null}), "max_tokens"),
        (json!({"messages": []}), "messages"),
        (json!({"temperature": -1}), "temperature"),
        (json!({"thinking": {"type": "enabled"}}), "thinking"),
        (json!({"stop": "x"}), "`stop`"),
        (json!({"tools": [{"name": "add", "input_schema": {}}]}), "tools"),
        (json!({"tool_choice": {"type": "any"}}), "tool_choice"),
        (message(json!({"role": "assistant", "content": "Yes"})), "last message"),
        (message(json!({"role": "user", "content": [{"type": "image"}]})), "messages[0].content[0].type"),
        (json!({"output_config": {"format": {"type": "xml"}}}), "output_config.format.type"),
        (
            json!({"output_config": {"format": {"type": "json_schema", "schema": 5}}}),
            "output_config.format.schema",
        ),
        (json!({"colour": 1}), "colour"),
    ] {
        let (status, error) = ask("s3cret", &body(extra));
        assert_eq!((status, &error["error"]["type"]), (400, &json!("invalid_request_error")));
        assert!(error["error"]["message"].as_str().unwrap().contains(part), "{error}");
    }
    server.end();
}
