use super::*;
use crate::runtime::tests::hidden;

/// The mean of the hidden states of a text's tokens, of length 1.
fn expected_vector(ids: &[u32], dimensions: usize) -> Vec<f64> {
    let states: Vec<Vec<f32>> = (1..=ids.len()).map(|length| hidden(&ids[..length])).collect();
    let sums = (0..dimensions).map(|at| states.iter().map(|state| f64::from(state[at])).sum::<f64>());
    let sums: Vec<f64> = sums.collect();
    let length = sums.iter().map(|sum| sum * sum).sum::<f64>().sqrt();
    sums.iter().map(|sum| sum / length).collect()
}

#[track_caller]
fn check_vector(embedding: &Value, expected: &[f64]) {
    let vector: Vec<f64> = serde_json::from_value(embedding.clone()).unwrap();
    assert_eq!(vector.len(), expected.len());
    let is_close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-6;
    assert!(vector.iter().zip(expected).all(is_close), "{vector:?}, not {expected:?}");
}

#[test]
fn a_text_has_the_same_vector_alone_and_among_others() {
    let server = Server::start();
    let embed = |body: Value| server.post("/v1/embeddings", &body).json();
    let long = "a long text ".repeat(20);
    let alone = embed(json!({"input": long, "model": "tiny"}));
    assert_eq!((&alone["object"], &alone["data"][0]["object"]), (&json!("list"), &json!("embedding")));
    assert_eq!(alone["usage"], json!({"prompt_tokens": long.len(), "total_tokens": long.len()}));
    check_vector(&alone["data"][0]["embedding"], &expected_vector(&ids(&long), 5));
    // More than are in the queue at a time, and one begins like another.
    let mut texts: Vec<String> = (0..20).map(|index| format!("text {index}")).collect();
    texts.extend([long.clone(), long + "and more"]);
    let all = embed(json!({"input": texts}));
    for (index, text) in texts.iter().enumerate() {
        assert_eq!(all["data"][index]["index"], index);
        check_vector(&all["data"][index]["embedding"], &expected_vector(&ids(text), 5));
    }
    assert_eq!(all["data"][20]["embedding"], alone["data"][0]["embedding"]);
    let by_ids = embed(json!({"input": [[72, 105], [72]], "dimensions": 3}));
    check_vector(&by_ids["data"][0]["embedding"], &expected_vector(&[72, 105], 3));
    assert_eq!(embed(json!({"input": [72, 105], "dimensions": 3}))["data"][0], by_ids["data"][0]);
    let coded = embed(json!({"input": "Hi", "encoding_format": "base64"}));
    assert_eq!(coded["data"][0]["embedding"].as_str().unwrap().len(), (5 * 4usize).div_ceil(3) * 4);
    server.end();
}

#[test]
fn what_has_no_vector_is_refused_by_name() {
    let server = Server::start();
    for (body, param) in [
        (json!({}), "input"),
        (json!({"input": ""}), "input"),
        (json!({"input": ["a", ""]}), "input"),
        (json!({"input": 5}), "input"),
        (json!({"input": [1, 130]}), "input"),
        (json!({"input": "x".repeat(CONTEXT + 1)}), "input"),
        (json!({"input": vec!["x"; 2049]}), "input"),
        (json!({"input": "a", "dimensions": 0}), "dimensions"),
        (json!({"input": "a", "dimensions": 6}), "dimensions"),
        (json!({"input": "a", "encoding_format": "hex"}), "encoding_format"),
        (json!({"input": "a", "temperature": 1}), "temperature"),
    ] {
        let reply = server.post("/v1/embeddings", &body);
        assert_eq!((reply.status, &reply.json()["error"]["param"]), (400, &json!(param)), "{}", reply.body);
    }
    server.end();
    let server = Server::with(options(), SPEC, |engine| engine.that_fails_at(97, EngineError::NoHiddenState));
    let reply = server.post("/v1/embeddings", &json!({"input": "a"}));
    assert_eq!((reply.status, &reply.json()["error"]["param"]), (400, &json!("model")));
    server.end();
}
