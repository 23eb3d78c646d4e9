use super::*;

#[test]
fn a_body_that_is_too_large_is_refused_with_or_without_its_length() {
    let server = Server::start();
    let mut client = server.client();
    client.send("POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10001\r\n\r\n");
    assert_eq!(client.reply().status, 413);
    let mut client = server.client();
    let head = "POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(head);
    client.send(format!("2711\r\n{}\r\n", " ".repeat(0x2711)));
    assert_eq!(client.reply().status, 413);
    let most = format!("{{\"content\": \"{}\"}}", "x".repeat(10_000 - 15));
    assert_eq!(most.len(), 10_000);
    let mut client = server.client();
    client.post("/tokenize", most);
    assert_eq!(client.reply().status, 200);
    server.end();
}

#[test]
fn a_chat_of_too_many_messages_is_refused() {
    let server = Server::start_gated(Options { body_limit: 1_000_000, ..options() });
    let chat = |count: usize| {
        let messages = vec![json!({"role": "user", "content": ""}); count];
        server.post("/v1/chat/completions", &json!({"messages": messages})).json()["error"].clone()
    };
    let error = chat(2049);
    assert_eq!((&error["param"], &error["code"]), (&json!("messages"), &Value::Null));
    assert!(error["message"].as_str().unwrap().contains("2049 messages"), "{error}");
    // So many may be sent, but have no room in the context.
    assert_eq!(chat(2048)["code"], "context_length_exceeded");
}

#[test]
fn a_full_queue_is_told_and_nothing_of_the_request_is_kept() {
    let server = Server::start_gated(Options { parallel: 1, queue: 2, ..options() });
    let ask = |n: usize| {
        let mut client = server.client();
        client.post(
            "/v1/completions",
            json!({"prompt": "a", "n": n, "max_tokens": 2, "ignore_eos": true}).to_string(),
        );
        client
    };
    let mut clients = vec![ask(1)];
    server.wait_for("running_sequences", 1.0);
    clients.push(ask(1));
    server.wait_for("queue_length", 1.0);
    let reply = ask(2).reply();
    assert_eq!((reply.status, reply.header("retry-after")), (429, Some("1")));
    let error = &reply.json()["error"];
    assert_eq!((&error["type"], &error["code"]), (&json!("requests"), &json!("rate_limit_exceeded")));
    assert_eq!(server.metric("queue_length"), 1.0);
    clients.push(ask(1));
    server.wait_for("queue_length", 2.0);
    assert_eq!(ask(1).reply().status, 429);
    server.gate.open(1000);
    for mut client in clients {
        assert_eq!(client.reply().json()["usage"]["completion_tokens"], 2);
    }
    server.end();
}

#[test]
fn an_answer_that_takes_too_long_ends_with_an_error() {
    let server = Server::start_gated(Options { timeout: Duration::from_millis(300), ..options() });
    let body = |stream: bool| json!({"prompt": "a", "stream": stream, "max_tokens": 50, "ignore_eos": true});
    let mut streaming = server.client();
    streaming.post("/v1/completions", body(true).to_string());
    server.wait_for("running_sequences", 1.0);
    server.gate.open(1);
    streaming.until("\r\n\r\n");
    assert!(streaming.chunk().contains("\"text\""));
    let error = streaming.chunk();
    assert!(error.starts_with("data: {\"error\":{") && error.contains("\"code\":\"timeout\""), "{error}");
    assert_eq!(streaming.chunk(), "", "the stream ends without [DONE]");
    let reply = server.post("/v1/completions", &body(false));
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (504, &json!("timeout")));
    server.gate.open(1000);
    server.wait_for("running_sequences", 0.0);
    assert!(server.metric("generated_tokens_total") < 50.0, "it was not worked on to its end");
    server.end();
}

#[test]
fn running_answers_finish_before_the_end_and_no_request_is_taken_meanwhile() {
    let server = Server::start_gated(options());
    let mut running = server.client();
    let mut idle = server.client();
    let body = json!({"prompt": "Hello", "stream": true, "max_tokens": 3, "ignore_eos": true});
    running.post("/v1/completions", body.to_string());
    server.wait_for("running_sequences", 1.0);
    server.gate.open(1);
    running.until("\r\n\r\n");
    idle.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(idle.reply().status, 200);
    server.tell_to_end();
    assert!(idle.is_closed(), "idle connections end at once");
    assert!(std::net::TcpStream::connect(server.address).is_err(), "nobody listens");
    server.gate.open(2);
    let chunks: Vec<String> =
        std::iter::repeat_with(|| running.chunk()).take_while(|chunk| !chunk.is_empty()).collect();
    assert!(chunks.last().unwrap().ends_with("data: [DONE]\n\n"), "{chunks:?}");
    assert_eq!(chunks.len(), 4, "three tokens and the end: {chunks:?}");
    server.end();
}

#[test]
fn an_answer_that_is_not_done_at_the_end_is_an_error() {
    let server = Server::start_gated(Options { shutdown_time: Duration::from_millis(200), ..options() });
    let body = |stream: bool| json!({"prompt": "a", "stream": stream, "max_tokens": 100, "ignore_eos": true});
    let mut streaming = server.client();
    streaming.post("/v1/completions", body(true).to_string());
    server.wait_for("running_sequences", 1.0);
    let mut whole = server.client();
    whole.post("/v1/completions", body(false).to_string());
    server.wait_for("queue_length", 1.0);
    server.gate.open(1);
    server.wait_for("running_sequences", 2.0);
    server.tell_to_end();
    thread::sleep(Duration::from_millis(400));
    // The step that is under way ends.
    server.gate.open(2);
    let reply = whole.reply();
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (503, &json!("shutting_down")));
    assert!(streaming.until("shutting_down").contains("\"text\""));
    server.end();
}

#[test]
fn a_lost_device_ends_the_server_with_its_error() {
    let lost = || EngineError::DeviceLost("unplugged".into());
    let server = Server::with(options(), SPEC, |engine| {
        engine.that_fails_at(u32::from(b'!'), EngineError::DeviceLost("unplugged".into()))
    });
    let reply = server.post("/v1/completions", &json!({"prompt": "Oh no!"}));
    assert_eq!((reply.status, &reply.json()["error"]["type"]), (503, &json!("server_error")));
    let (result, _) = server.thread.join().unwrap();
    assert!(matches!(result, Err(ServeError::Engine(error)) if error == lost()));
}

#[test]
fn a_request_that_does_not_arrive_is_not_waited_for() {
    let server =
        Server::with(Options { request_time: Duration::from_millis(200), ..options() }, SPEC, |engine| {
            engine
        });
    let mut half_a_head = server.client();
    half_a_head.send("GET /health HTTP/1.1\r\nHost: ");
    let mut half_a_body = server.client();
    half_a_body.send(
        "POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 30\r\n\r\n{",
    );
    let mut idle = server.client();
    idle.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(idle.reply().status, 200);
    assert_eq!(half_a_body.reply().status, 408);
    assert!(half_a_head.is_closed());
    assert!(idle.is_closed());
    server.end();
}

#[test]
fn a_client_that_takes_nothing_of_its_answer_loses_its_place() {
    let server = Server::with(
        Options { request_time: Duration::from_millis(200), body_limit: 8 << 20, ..options() },
        SPEC,
        |engine| engine,
    );
    let mut client = server.client();
    // More than the system buffers.
    client.post("/tokenize", json!({"content": "x".repeat(6 << 20)}).to_string());
    let start = Instant::now();
    while !server.get("/metrics").body.contains("{path=\"/tokenize\",status=\"200\"} 1") {
        assert!(start.elapsed() < Duration::from_secs(20));
        thread::sleep(Duration::from_millis(10));
    }
    thread::sleep(Duration::from_secs(1));
    let received = client.everything();
    assert!(received < 20 << 20, "the connection was not closed: {received} bytes");
    server.end();
}
