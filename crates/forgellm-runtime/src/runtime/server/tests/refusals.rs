use super::*;

/// Status and error of a refusal.
#[track_caller]
fn refused(reply: &Reply) -> (u16, Value) {
    let error = reply.json()["error"].clone();
    let keys: Vec<&String> = error.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["message", "type", "param", "code"]);
    assert!(!error["message"].as_str().unwrap().is_empty());
    (reply.status, error)
}

#[test]
fn a_wrong_parameter_is_named() {
    let server = Server::start();
    let chat = |field: &str, value: Value| {
        let mut body = json!({"messages": user("Hi"), "max_tokens": 1});
        body[field] = value;
        ("/v1/chat/completions", body)
    };
    let completion = |field: &str, value: Value| {
        let mut body = json!({"prompt": "Hi", "max_tokens": 1});
        body[field] = value;
        ("/v1/completions", body)
    };
    let message = |message: Value| chat("messages", json!([message]));
    let cases = [
        (chat("messages", json!(null)), "messages"),
        (chat("messages", json!([])), "messages"),
        (chat("messages", json!("Hi")), "messages"),
        (message(json!("Hi")), "messages[0]"),
        (message(json!({"content": "Hi"})), "messages[0].role"),
        (message(json!({"role": "tool", "content": "Hi"})), "messages[0].role"),
        (message(json!({"role": "user"})), "messages[0].content"),
        (message(json!({"role": "user", "content": 5})), "messages[0].content"),
        (message(json!({"role": "user", "content": [{"type": "image_url"}]})), "messages[0].content[0].type"),
        (message(json!({"role": "user", "content": [{"type": "text"}]})), "messages[0].content[0].text"),
        (message(json!({"role": "user", "content": "x", "tool_calls": [1]})), "messages[0].tool_calls"),
        (message(json!({"role": "user", "content": "x", "colour": "red"})), "messages[0].colour"),
        (chat("model", json!(7)), "model"),
        (chat("temperature", json!(-1)), "temperature"),
        (chat("temperature", json!("hot")), "temperature"),
        (chat("temperature", json!(1e300)), "temperature"),
        (chat("top_p", json!(1.5)), "top_p"),
        (chat("min_p", json!(2)), "min_p"),
        (chat("repetition_penalty", json!(0)), "repetition_penalty"),
        (chat("top_k", json!(-1)), "top_k"),
        (chat("n", json!(0)), "n"),
        (chat("n", json!(1.5)), "n"),
        (chat("n", json!(9)), "n"),
        (chat("n", json!(1u64 << 63)), "n"),
        (chat("max_tokens", json!(0)), "max_tokens"),
        (chat("max_completion_tokens", json!("5")), "max_completion_tokens"),
        (chat("seed", json!(0.5)), "seed"),
        (chat("stop", json!([1])), "stop"),
        (chat("stop", json!(vec!["x"; 17])), "stop"),
        (chat("stream", json!("yes")), "stream"),
        (chat("stream_options", json!({"include_usage": true})), "stream_options"),
        (chat("tools", json!([{"type": "function"}])), "tools[0].function"),
        (chat("tool_choice", json!("required")), "tool_choice"),
        (chat("logprobs", json!(1)), "logprobs"),
        (chat("top_logprobs", json!(3)), "top_logprobs"),
        (chat("top_logprobs", json!(21)), "top_logprobs"),
        (chat("logit_bias", json!({"x": 1})), "logit_bias"),
        (chat("logit_bias", json!({"5": 101})), "logit_bias"),
        (chat("logit_bias", json!({"130": 1})), "logit_bias"),
        (chat("logit_bias", json!([[5, 1]])), "logit_bias"),
        (chat("typical_p", json!(0)), "typical_p"),
        (chat("presence_penalty", json!(2.5)), "presence_penalty"),
        (chat("frequency_penalty", json!("much")), "frequency_penalty"),
        (chat("modalities", json!(["audio"])), "modalities"),
        (chat("temprature", json!(1)), "temprature"),
        (completion("prompt", json!(null)), "prompt"),
        (completion("prompt", json!("")), "prompt"),
        (completion("prompt", json!([])), "prompt"),
        (completion("prompt", json!([1, -1])), "prompt"),
        (completion("prompt", json!([1, 130])), "prompt"),
        (completion("prompt", json!(["a", 5])), "prompt"),
        (completion("prompt", json!(vec!["a"; 9])), "prompt"),
        (completion("echo", json!(true)), "echo"),
        (completion("best_of", json!(2)), "best_of"),
        (completion("suffix", json!("x")), "suffix"),
        (completion("logprobs", json!(21)), "logprobs"),
        (("/tokenize", json!({})), "content"),
        (("/tokenize", json!({"content": 5})), "content"),
        (("/tokenize", json!({"content": "x", "text": "x"})), "text"),
        (("/detokenize", json!({"tokens": ["x"]})), "tokens"),
    ];
    for ((path, body), param) in cases {
        let (status, error) = refused(&server.post(path, &body));
        assert_eq!((status, &error["param"]), (400, &json!(param)), "{body}: {error}");
        assert_eq!(error["type"], "invalid_request_error");
    }
    let streamed = json!({"messages": user("Hi"), "stream": true, "stream_options": {"include": 1}});
    let (status, error) = refused(&server.post("/v1/chat/completions", &streamed));
    assert_eq!((status, &error["param"]), (400, &json!("stream_options.include")));
    let (status, error) = refused(&server.post("/v1/chat/completions", &chat("model", json!("gpt-4")).1));
    assert_eq!((status, &error["param"], &error["code"]), (404, &json!("model"), &json!("model_not_found")));
    server.end();
}

#[test]
fn what_asks_for_nothing_is_no_error() {
    let server = Server::start();
    let body = json!({
        "messages": user("Hi"), "max_tokens": 1, "tools": [], "tool_choice": "auto", "functions": null,
        "response_format": {"type": "text"}, "logprobs": false, "top_logprobs": 0, "logit_bias": {},
        "presence_penalty": 0, "frequency_penalty": 0.0, "modalities": ["text"], "metadata": {"a": "b"},
        "store": true, "service_tier": "auto", "stop": null, "stream_options": null, "seed": null, "n": null,
    });
    assert_eq!(server.post("/v1/chat/completions", &body).status, 200);
    let body =
        json!({"prompt": "Hi", "echo": false, "best_of": 1, "suffix": "", "logprobs": null, "stop": []});
    assert_eq!(server.post("/v1/completions", &body).status, 200);
    server.end();
}

#[test]
fn a_prompt_that_does_not_fit_is_refused_as_clients_expect() {
    let server = Server::start();
    for (path, body, param) in [
        ("/v1/completions", json!({"prompt": "x".repeat(CONTEXT + 1)}), "prompt"),
        ("/v1/chat/completions", json!({"messages": user(&"x".repeat(CONTEXT))}), "messages"),
    ] {
        let (status, error) = refused(&server.post(path, &body));
        assert_eq!((status, &error["param"]), (400, &json!(param)));
        assert_eq!(error["code"], "context_length_exceeded");
    }
    let most = json!({"prompt": "x".repeat(CONTEXT)});
    assert_eq!(server.post("/v1/completions", &most).json()["usage"]["prompt_tokens"], CONTEXT);
    server.end();
}

#[test]
fn requests_that_are_no_requests_get_their_status_and_the_server_lives() {
    let server = Server::start();
    let deep = format!("{{\"prompt\": {}1{}}}", "[".repeat(4000), "]".repeat(4000));
    let bodies: [&[u8]; 9] = [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{\"prompt\": 1e999}",
        b"{\"prompt\": \"\xff\"}",
        b"{\"prompt\": \"\\ud800\"}",
        b"{\"prompt\": \"a\"} x",
        deep.as_bytes(),
    ];
    for body in bodies {
        let mut client = server.client();
        client.post("/v1/completions", body);
        let (status, error) = refused(&client.reply());
        assert_eq!((status, &error["type"]), (400, &json!("invalid_request_error")));
    }
    assert_eq!(refused(&server.get("/v2")).0, 404);
    assert_eq!(refused(&server.get("/v1/models/")).0, 404);
    let wrong_method = server.get("/v1/completions");
    assert_eq!((refused(&wrong_method).0, wrong_method.header("allow")), (405, Some("POST")));
    // Without CORS headers no foreign web page gets in.
    let mut client = server.client();
    client.send("OPTIONS /v1/models HTTP/1.1\r\nHost: x\r\nOrigin: http://evil\r\n\r\n");
    let reply = client.reply();
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (405, None));
    client.send(
        "POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}",
    );
    assert_eq!(refused(&client.reply()).0, 415);
    let mut client = server.client();
    client.send("NONSENSE\r\n\r\n");
    assert!(client.until("\r\n\r\n").starts_with("HTTP/1.1 400"));
    // One that stops in the middle of its body.
    let mut client = server.client();
    client.send(
        "POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
    );
    drop(client);
    assert_eq!(server.get("/health").status, 200);
    server.end();
}

#[test]
fn a_key_is_needed_where_there_is_one() {
    let server = Server::with(Options { api_key: Some("s3cret".into()), ..options() }, SPEC, |engine| engine);
    let get = |path: &str, key: &str| {
        let mut client = server.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n{key}\r\n"));
        client.reply()
    };
    assert_eq!(get("/v1/models", "Authorization: Bearer s3cret\r\n").status, 200);
    assert_eq!(get("/health", "").status, 200);
    for key in [
        "",
        "Authorization: Bearer s3cre\r\n",
        "Authorization: Bearer s3cretx\r\n",
        "Authorization: s3cret\r\n",
    ] {
        for path in ["/v1/models", "/metrics"] {
            let (status, error) = refused(&get(path, key));
            assert_eq!((status, &error["code"]), (401, &json!("invalid_api_key")));
        }
    }
    server.end();
}
