//! Templates that use what those of popular models use, against what transformers renders (`tests/chat_templates/make_golden.py`).

use std::fs;
use std::path::{Path, PathBuf};

use forgellm_runtime::runtime::chat_template::{ChatTemplate, Message, TokenTexts, ToolCall};
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/chat_templates")
}

/// A message as requests have it.
fn message(value: &Value) -> Message {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let call = |value: &Value| ToolCall {
        id: text(&value["id"]),
        name: text(&value["function"]["name"]),
        arguments: value["function"]["arguments"].clone(),
    };
    Message {
        tool_calls: value["tool_calls"].as_array().into_iter().flatten().map(call).collect(),
        tool_call_id: value["tool_call_id"].as_str().map(str::to_owned),
        ..Message::new(value["role"].as_str().unwrap(), value["content"].as_str().unwrap())
    }
}

/// What the template makes of a chat: the prompt, or its error.
fn render(source: &str, chat: &Value) -> Result<String, String> {
    let tokens = TokenTexts { bos: Some("<s>"), eos: Some("</s>") };
    let template = ChatTemplate::new(source, tokens, [""; 0]).map_err(|error| error.to_string())?;
    let messages: Vec<Message> = chat["messages"].as_array().unwrap().iter().map(message).collect();
    let tools = chat["tools"].as_array().cloned().unwrap_or_default();
    let add_generation_prompt = chat["add_generation_prompt"].as_bool().unwrap();
    let segments = template.render_with_tools(&messages, &tools, add_generation_prompt);
    segments
        .map(|segments| segments.into_iter().map(|segment| segment.text).collect())
        .map_err(|error| error.to_string())
}

#[test]
fn golden_templates() {
    let golden: Value = serde_json::from_slice(&fs::read(folder().join("golden.json")).unwrap()).unwrap();
    let templates = golden["templates"].as_object().unwrap();
    assert!(templates.len() > 12);
    let mut wrong = String::new();
    for (name, cases) in templates {
        let source = fs::read_to_string(folder().join(format!("{name}.jinja"))).unwrap();
        for (case, expected) in cases.as_object().unwrap() {
            let rendered = render(&source, &golden["chats"][case]);
            match (rendered, expected["prompt"].as_str(), expected["error"].as_str()) {
                (Ok(prompt), Some(expected), _) => {
                    let pairs = expected.lines().zip(prompt.lines());
                    for (line, (expected, found)) in pairs.enumerate().filter(|(_, (a, b))| a != b) {
                        wrong += &format!(
                            "{name}, {case}, line {line}:\n  {found:?}\n  must be\n  {expected:?}\n"
                        );
                    }
                    if prompt.lines().count() != expected.lines().count() || prompt.len() != expected.len() {
                        wrong += &format!("{name}, {case}: {} bytes, not {}\n", prompt.len(), expected.len());
                    }
                }
                (Err(error), None, Some(expected)) if error.contains(expected) => {}
                (rendered, _, _) => wrong += &format!("{name}, {case}: {rendered:?}, not {expected}\n"),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
