use super::*;

/// The JSON of a piece of a stream.
#[track_caller]
fn event(chunk: &str) -> Value {
    let data = chunk.strip_prefix("data: ").and_then(|rest| rest.strip_suffix("\n\n"));
    serde_json::from_str(data.unwrap_or_else(|| panic!("{chunk:?} is no event"))).unwrap()
}

/// The events of a whole stream.
fn events(body: &str) -> Vec<Value> {
    let body = body.strip_suffix("data: [DONE]\n\n").unwrap_or_else(|| panic!("no end: {body}"));
    body.split_inclusive("\n\n").map(event).collect()
}

#[test]
fn bytes_leave_with_each_token() {
    let server = Server::start_gated(options());
    let mut client = server.client();
    let body = json!({"messages": user("Hi"), "max_tokens": 4, "stream": true, "ignore_eos": true});
    client.post("/v1/chat/completions", body.to_string());
    let prompt = chat_ids(&[("user", "Hi")]);
    let tokens = expected_continuation(&prompt, 4, VOCAB);
    assert!(client.is_silent(), "nothing comes before the first token");
    // The prompt takes two steps of at most 16 rows.
    assert!((17..=32).contains(&prompt.len()));
    server.gate.open(1);
    assert!(client.is_silent());
    server.gate.open(1);
    let head = client.until("\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");
    for (index, &token) in tokens.iter().enumerate() {
        let text = char::from(token as u8).to_string();
        let delta = match index {
            0 => json!({"role": "assistant", "content": text, "refusal": null}),
            _ => json!({"content": text}),
        };
        let piece = event(&client.chunk());
        assert_eq!(
            (&piece["choices"][0]["delta"], &piece["choices"][0]["finish_reason"]),
            (&delta, &Value::Null)
        );
        assert_eq!(piece["object"], "chat.completion.chunk");
        if index < 3 {
            assert!(client.is_silent(), "nothing comes before the next step");
            server.gate.open(1);
        }
    }
    let rest = client.chunk();
    let end = rest.strip_suffix("data: [DONE]\n\n").unwrap();
    assert_eq!(
        event(end)["choices"][0],
        json!({"index": 0, "delta": {}, "finish_reason": "length", "logprobs": null})
    );
    assert_eq!(client.chunk(), "");
    server.end();
}

#[test]
fn a_stream_is_the_answer_in_pieces_with_its_token_counts() {
    let server = Server::start();
    for (path, ask) in [
        ("/v1/chat/completions", json!({"messages": user("Hi")})),
        ("/v1/completions", json!({"prompt": ["Hi", "Ho"]})),
    ] {
        let mut whole = ask.clone();
        (whole["n"], whole["max_tokens"], whole["temperature"], whole["seed"]) =
            (json!(2), json!(25), json!(1), json!(3));
        let mut stream = whole.clone();
        (stream["stream"], stream["stream_options"]) = (json!(true), json!({"include_usage": true}));
        let whole = server.post(path, &whole).json();
        let reply = server.post(path, &stream);
        let pieces = events(&reply.body);
        let (last, pieces) = pieces.split_last().unwrap();
        assert_eq!(
            (&last["choices"], &last["usage"]["total_tokens"]),
            (&json!([]), &whole["usage"]["total_tokens"])
        );
        let choices = whole["choices"].as_array().unwrap();
        let mut texts = vec![(String::new(), Value::Null); choices.len()];
        for piece in pieces {
            assert_eq!((&piece["id"], &piece["usage"]), (&last["id"], &Value::Null));
            assert!(piece.as_object().unwrap().contains_key("usage"));
            let choice = &piece["choices"][0];
            let (text, reason) = &mut texts[choice["index"].as_u64().unwrap() as usize];
            assert!(reason.is_null(), "nothing comes after the end");
            text.push_str(
                choice["delta"]["content"].as_str().or(choice["text"].as_str()).unwrap_or_default(),
            );
            *reason = choice["finish_reason"].clone();
        }
        for (choice, (text, reason)) in choices.iter().zip(texts) {
            let whole = choice["message"]["content"].as_str().or(choice["text"].as_str());
            assert_eq!((whole, &choice["finish_reason"]), (Some(text.as_str()), &reason));
        }
    }
    server.end();
}

#[test]
fn no_part_of_a_stop_string_is_sent() {
    let server = Server::start();
    let (text, ..) = expected(&ids("Hello"), 60);
    let at = text.find(&text[5..8]).unwrap();
    let body = json!({"prompt": "Hello", "max_tokens": 60, "stop": text[5..8], "stream": true});
    let pieces = events(&server.post("/v1/completions", &body).body);
    let texts: String = pieces.iter().map(|piece| piece["choices"][0]["text"].as_str().unwrap()).collect();
    assert_eq!(texts, text[..at]);
    assert_eq!(pieces.last().unwrap()["choices"][0]["finish_reason"], "stop");
    server.end();
}

#[test]
fn a_client_that_leaves_frees_its_sequence() {
    // While the first token is waited for, while others are, streaming or not, and while the request is in the queue.
    for (stream, tokens, queued) in [
        (true, 0, false),
        (true, 2, false),
        (false, 0, false),
        (false, 2, false),
        (true, 0, true),
        (false, 0, true),
    ] {
        let server = Server::start_gated(Options { parallel: 1, ..options() });
        let mut other = server.client();
        if queued {
            other.post("/v1/completions", json!({"prompt": "x", "max_tokens": 2}).to_string());
            server.wait_for("running_sequences", 1.0);
        }
        let mut client = server.client();
        let body = json!({"prompt": "Hello", "max_tokens": 200, "stream": stream, "ignore_eos": true});
        client.post("/v1/completions", body.to_string());
        server.wait_for(if queued { "queue_length" } else { "running_sequences" }, 1.0);
        server.gate.open(tokens);
        if stream && tokens > 0 {
            client.until("\r\n\r\n");
            (0..tokens).for_each(|_| assert!(!client.chunk().is_empty()));
        }
        drop(client);
        if queued {
            server.wait_for("queue_length", 0.0);
            server.gate.open(2);
            assert_eq!(other.reply().status, 200);
        } else {
            // The step that is under way ends, and once it is known that the client has left, no other begins.
            while server.metric("running_sequences") > 0.0 {
                thread::sleep(Duration::from_millis(20));
                server.gate.open(1);
            }
            assert_eq!(server.metric("answers_total{outcome=\"cancelled\"}"), 1.0);
            assert_eq!(server.metric("kept_sequences"), 0.0);
            assert!(server.metric("steps_total") < 100.0);
        }
        server.end();
    }
}
