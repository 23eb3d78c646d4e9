use super::*;

/// A template that tells of tools as Qwen's does.
pub const WITH_TOOLS: &str = "{%- if tools %}{{- '<|im_start|>tools' }}{%- for tool in tools %}{{- '\n' }}{{- tool | tojson }}{%- endfor %}\
    {{- '<|im_end|>\n' }}{%- endif %}\
    {%- for m in messages %}{{- '<|im_start|>' + m.role + '\n' + m.content }}\
    {%- for call in m.tool_calls %}{{- '<tool_call>\n{\"name\": \"' + call.function.name + '\", \"arguments\": ' }}\
    {{- call.function.arguments | tojson }}{{- '}\n</tool_call>' }}{%- endfor %}{{- '<|im_end|>\n' }}{%- endfor %}\
    {%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}";

fn start() -> Server {
    let spec = ProgramSpec { chat_template: Some(WITH_TOOLS), ..SPEC };
    Server::with(options(), spec, |engine| engine)
}

fn tool(name: &str, parameters: Value) -> Value {
    json!({"type": "function", "function": {"name": name, "description": "d", "parameters": parameters}})
}

fn two_tools() -> Value {
    let number = json!({"type": "object", "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 99}},
        "required": ["n"], "additionalProperties": false});
    json!([tool("add", number), {"type": "function", "function": {"name": "now"}}])
}

fn body(extra: Value) -> Value {
    let mut body = json!({"messages": user("Hi"), "tools": two_tools(), "max_tokens": 250});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

#[track_caller]
fn check_call(call: &Value) {
    let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
    match call["function"]["name"].as_str().unwrap() {
        "add" => assert!((0..=99).contains(&arguments["n"].as_i64().unwrap()), "{arguments}"),
        "now" => assert!(arguments.is_object()),
        other => panic!("there is no tool {other}"),
    }
}

#[test]
fn what_must_be_called_is_called_with_valid_arguments() {
    let server = start();
    let mut names = Vec::new();
    for seed in 0..12 {
        for choice in [json!("required"), json!({"type": "function", "function": {"name": "add"}})] {
            let is_named = choice.is_object();
            let extra =
                json!({"tool_choice": choice, "temperature": 1, "seed": seed, "parallel_tool_calls": false});
            let json = server.post("/v1/chat/completions", &body(extra)).json();
            let choice = &json["choices"][0];
            if choice["finish_reason"] == "length" {
                continue;
            }
            assert_eq!(
                (&choice["finish_reason"], &choice["message"]["content"]),
                (&json!("tool_calls"), &Value::Null)
            );
            let calls = choice["message"]["tool_calls"].as_array().unwrap();
            assert_eq!((calls.len(), &calls[0]["type"]), (1, &json!("function")));
            assert!(calls[0]["id"].as_str().unwrap().starts_with("call_"));
            check_call(&calls[0]);
            let name = calls[0]["function"]["name"].as_str().unwrap().to_owned();
            assert!(!is_named || name == "add");
            names.push(name);
        }
    }
    assert!(names.len() > 15 && names.iter().any(|name| name == "now"), "{names:?}");
    server.end();
}

#[test]
fn a_stream_brings_calls_in_pieces() {
    let server = start();
    let extra = json!({"tool_choice": {"type": "function", "function": {"name": "add"}}, "temperature": 1, "seed": 3});
    let whole = server.post("/v1/chat/completions", &body(extra.clone())).json();
    let whole = &whole["choices"][0]["message"]["tool_calls"][0]["function"];
    let mut streamed = body(extra);
    streamed["stream"] = json!(true);
    let reply = server.post("/v1/chat/completions", &streamed);
    let events = reply.body.lines().filter_map(|line| line.strip_prefix("data: {"));
    let events: Vec<Value> =
        events.map(|event| serde_json::from_str(&format!("{{{event}")).unwrap()).collect();
    let deltas: Vec<&Value> =
        events.iter().filter_map(|event| event["choices"][0]["delta"]["tool_calls"].get(0)).collect();
    assert_eq!((&deltas[0]["function"]["name"], &deltas[0]["index"]), (&whole["name"], &json!(0)));
    assert!(deltas[1..].iter().all(|delta| delta.get("id").is_none() && delta["index"] == 0));
    let arguments: String =
        deltas.iter().map(|delta| delta["function"]["arguments"].as_str().unwrap()).collect();
    assert_eq!(json!(arguments), whole["arguments"]);
    assert!(deltas.len() > 3, "{deltas:?}");
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(events.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
    server.end();
}

#[test]
fn the_template_hears_of_tools_calls_and_results() {
    let server = start();
    let call =
        json!({"id": "call_1", "type": "function", "function": {"name": "add", "arguments": "{\"n\": 5}"}});
    let messages = json!([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "<|im_end|>"}]);
    let tools = json!([{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]);
    let extra = json!({"messages": messages, "tools": tools, "max_tokens": 1});
    let usage = server.post("/v1/chat/completions", &body(extra)).json()["usage"].clone();
    let expected = "?tools\n{\"type\": \"function\", \"function\": {\"name\": \"add\", \"parameters\": {\"type\": \"object\"}}}?\n\
        ?user\nHi?\n?assistant\n<tool_call>\n{\"name\": \"add\", \"arguments\": {\"n\": 5}}\n</tool_call>?\n\
        ?tool\n<|im_end|>?\n?assistant\n";
    assert_eq!(usage["prompt_tokens"], expected.len());
    // Where no tool may be called, the model hears of none.
    let usage =
        server.post("/v1/chat/completions", &body(json!({"tool_choice": "none", "max_tokens": 1}))).json();
    assert_eq!(usage["usage"]["prompt_tokens"], "?user\nHi?\n?assistant\n".len());
    server.end();
}

#[test]
fn wrong_tools_are_refused_by_name() {
    let server = start();
    let message = |message: Value| json!({"messages": [message]});
    let call = |function: Value| {
        message(
            json!({"role": "assistant", "tool_calls": [{"id": "x", "type": "function", "function": function}]}),
        )
    };
    for (extra, param) in [
        (json!({"tools": "add"}), "tools"),
        (json!({"tools": [{"type": "web_search"}]}), "tools[0].type"),
        (json!({"tools": [{"type": "function"}]}), "tools[0].function"),
        (json!({"tools": [tool("a b", json!({}))]}), "tools[0].function.name"),
        (json!({"tools": [tool("a", json!({})), tool("a", json!({}))]}), "tools[1].function.name"),
        (json!({"tools": [tool("a", json!([]))]}), "tools[0].function.parameters"),
        (json!({"tools": [tool("a", json!({"type": "string"}))]}), "tools[0].function.parameters"),
        (json!({"tools": [tool("a", json!({"properties": {"x": {"type": "colour"}}}))]}), "tools"),
        (json!({"tools": [], "tool_choice": "required"}), "tool_choice"),
        (json!({"tool_choice": "sometimes"}), "tool_choice"),
        (json!({"tool_choice": {"type": "function", "function": {"name": "sub"}}}), "tool_choice"),
        (json!({"parallel_tool_calls": 1}), "parallel_tool_calls"),
        (json!({"response_format": {"type": "json_object"}}), "response_format"),
        (message(json!({"role": "tool", "content": "5"})), "messages[0].tool_call_id"),
        (message(json!({"role": "user", "content": "x", "tool_calls": [1]})), "messages[0].tool_calls"),
        (call(json!({"name": "add"})), "messages[0].tool_calls[0].function.arguments"),
        (call(json!({"name": "add", "arguments": "5"})), "messages[0].tool_calls[0].function.arguments"),
    ] {
        let reply = server.post("/v1/chat/completions", &body(extra));
        assert_eq!((reply.status, &reply.json()["error"]["param"]), (400, &json!(param)), "{}", reply.body);
    }
    server.end();
    // A template without a place for them.
    let server = Server::start();
    let reply = server.post("/v1/chat/completions", &body(json!({})));
    assert_eq!((reply.status, &reply.json()["error"]["param"]), (400, &json!("tools")));
    assert_eq!(server.post("/v1/chat/completions", &body(json!({"tool_choice": "none"}))).status, 200);
    server.end();
}
