use super::messages::named_events;
use super::*;

fn body(extra: Value) -> Value {
    let mut body = json!({"model": "tiny", "input": "Hi", "max_output_tokens": 20});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

#[test]
fn a_response_holds_the_answer() {
    let server = Server::start();
    let (text, tokens, is_ended) = expected(&chat_ids(&[("user", "Hi")]), 20);
    let parts = json!([{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]);
    for extra in [json!({}), json!({"input": parts})] {
        let json = server.post("/v1/responses", &body(extra)).json();
        assert!(json["id"].as_str().unwrap().starts_with("resp-"));
        assert_eq!((&json["object"], &json["store"]), (&json!("response"), &json!(false)));
        assert_eq!(json["status"], if is_ended { "completed" } else { "incomplete" });
        let output = &json["output"][0];
        assert_eq!((&output["role"], &output["content"][0]["text"]), (&json!("assistant"), &json!(text)));
        assert_eq!(json["usage"]["output_tokens"], tokens);
    }
    let instructed = server.post("/v1/responses", &body(json!({"instructions": "Be kind."}))).json();
    let (text, ..) = expected(&chat_ids(&[("system", "Be kind."), ("user", "Hi")]), 20);
    assert_eq!(instructed["output"][0]["content"][0]["text"], text);
    let format = json!({"type": "json_schema", "name": "x", "schema": {"const": [1, 2]}, "strict": true});
    let guided = server.post("/v1/responses", &body(json!({"text": {"format": format}}))).json();
    let text: Value =
        serde_json::from_str(guided["output"][0]["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!((text, &guided["status"]), (json!([1, 2]), &json!("completed")));
    server.end();
}

#[test]
fn a_stream_of_a_response_has_its_events() {
    let server = Server::start();
    let (text, _, is_ended) = expected(&chat_ids(&[("user", "Hi")]), 20);
    let events = named_events(&server.post("/v1/responses", &body(json!({"stream": true}))).body);
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names[..5],
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta"
        ]
    );
    let last = if is_ended { "response.completed" } else { "response.incomplete" };
    assert_eq!(
        names[names.len() - 4..],
        ["response.output_text.done", "response.content_part.done", "response.output_item.done", last]
    );
    assert!(events.iter().enumerate().all(|(number, (_, data))| data["sequence_number"] == number));
    let deltas = events.iter().filter(|(name, _)| name == "response.output_text.delta");
    let texts: String = deltas.map(|(_, data)| data["delta"].as_str().unwrap()).collect();
    assert_eq!(texts, text);
    let done = &events.last().unwrap().1["response"];
    assert_eq!(
        (&done["output"][0]["content"][0]["text"], &done["id"]),
        (&json!(text), &events[0].1["response"]["id"])
    );
    server.end();
}

#[test]
fn what_a_response_cannot_be_is_refused_by_name() {
    let server = Server::start();
    for (extra, param) in [
        (json!({"input": null}), "input"),
        (json!({"input": []}), "input"),
        (json!({"input": [{"type": "function_call_output"}]}), "input[0].type"),
        (
            json!({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}),
            "input[0].content[0].type",
        ),
        (json!({"input": "x".repeat(CONTEXT)}), "input"),
        (json!({"previous_response_id": "resp-1"}), "previous_response_id"),
        (json!({"tools": [{"type": "web_search"}]}), "tools"),
        (json!({"background": true}), "background"),
        (json!({"max_tokens": 5}), "max_tokens"),
        (json!({"max_output_tokens": 0}), "max_output_tokens"),
        (json!({"text": {"format": {"type": "xml"}}}), "text.format.type"),
        (
            json!({"text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "colour"}}}}),
            "text.format.schema",
        ),
        (json!({"temperature": -1}), "temperature"),
        (json!({"colour": 1}), "colour"),
    ] {
        let reply = server.post("/v1/responses", &body(extra));
        assert_eq!((reply.status, &reply.json()["error"]["param"]), (400, &json!(param)), "{}", reply.body);
    }
    server.end();
}
