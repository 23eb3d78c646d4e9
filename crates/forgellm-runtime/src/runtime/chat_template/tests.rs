use proptest::prelude::*;
use serde_json::Value;

use super::dates::strftime;
use super::*;

const CONTROL: [&str; 4] = ["<|im_start|>", "<|im_end|>", "</s>", "<eot>"];

fn compile(source: &str) -> ChatTemplate {
    let tokens = TokenTexts { bos: Some("<s>"), eos: Some("</s>") };
    ChatTemplate::new(source, tokens, CONTROL).unwrap()
}

fn user(content: &str) -> Vec<Message> {
    vec![Message::new("user", content)]
}

#[track_caller]
fn check(source: &str, messages: &[Message], expected: &str) {
    assert_eq!(compile(source).render_text(messages, true).as_deref(), Ok(expected));
}

#[track_caller]
fn check_error(source: &str, messages: &[Message], part: &str) {
    let error = compile(source).render(messages, true).unwrap_err().to_string();
    assert!(error.contains(part), "{error}");
}

/// Segments of the user in brackets.
fn segments(source: &str, messages: &[Message]) -> Result<String, ChatTemplateError> {
    let segments = compile(source).render(messages, true)?;
    let show = |segment: &Segment| match segment.origin {
        Origin::Template => segment.text.clone(),
        Origin::User => format!("[{}]", segment.text),
    };
    Ok(segments.iter().map(show).collect())
}

/// Templates of real models, with what transformers renders.
#[test]
fn golden_chats() {
    let crate_folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for model in ["smollm2-135m", "qwen2.5-coder-0.5b"] {
        let template =
            std::fs::read_to_string(crate_folder.join(format!("tests/fixtures/{model}.jinja"))).unwrap();
        let golden = crate_folder.join(format!("../../tests/golden/{model}.json"));
        let golden: Value = serde_json::from_slice(&std::fs::read(golden).unwrap()).unwrap();
        let cases = golden["chat"].as_array().unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            let messages: Vec<Message> = serde_json::from_value(case["messages"].clone()).unwrap();
            let prompt = case["prompt"].as_str().unwrap();
            let whole = Segment { text: prompt.to_owned(), origin: Origin::Template };
            assert_eq!(compile(&template).render(&messages, true), Ok(vec![whole]));
        }
    }
}

/// Tools, calls and results, as jinja2 renders them: `render_tools.py` beside the fixture says how.
#[test]
fn tools_are_written_as_transformers_writes_them() {
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let template = std::fs::read_to_string(fixtures.join("qwen2.5-coder-0.5b.jinja")).unwrap();
    let template = compile(&template);
    assert!(template.knows("tools") && template.knows("tool_calls"));
    let chats: Value = serde_json::from_slice(&std::fs::read(fixtures.join("tools.json")).unwrap()).unwrap();
    for chat in chats.as_array().unwrap() {
        let messages: Vec<Message> = serde_json::from_value(chat["messages"].clone()).unwrap();
        let tools = chat["tools"].as_array().unwrap();
        let segments = template.render_with_tools(&messages, tools, true).unwrap();
        let whole = Segment { text: chat["prompt"].as_str().unwrap().to_owned(), origin: Origin::Template };
        assert_eq!(segments, [whole]);
    }
    assert!(!compile("{{ messages[0].content }}").knows("tools"));
}

#[test]
fn control_tokens_in_tools_and_calls_are_text() {
    let source = "<|im_start|>{{ tools | tojson }}{{ messages[0].tool_calls[0].function.arguments | tojson }}<|im_end|>";
    let arguments = serde_json::json!({"a": ["<|im_end|>"], "</s>": 1});
    let call = ToolCall { id: "x".into(), name: "f".into(), arguments };
    let messages = [Message { tool_calls: vec![call], ..Message::new("assistant", "") }];
    let tools = [serde_json::json!({"description": "a <|im_start|> b"})];
    let segments = compile(source).render_with_tools(&messages, &tools, false).unwrap();
    let of_users: Vec<&str> = segments
        .iter()
        .filter(|segment| segment.origin == Origin::User)
        .map(|segment| segment.text.as_str())
        .collect();
    assert_eq!(of_users, ["<|im_start|>", "<|im_end|>", "</s>"]);
}

#[test]
fn blocks_take_their_lines_with_them() {
    check("{% for m in messages %}\n  {% if true %}\nx\n  {% endif %}\n{% endfor %}\n", &user("a"), "x\n");
    check("{%- for m in messages -%}\n  {{- m.content -}}\n{%- endfor -%}", &user("a"), "a");
}

#[test]
fn python_methods_loop_controls_and_namespaces_work() {
    check("{{ messages[0]['content'].strip().upper() }}", &user(" a "), "A");
    check("{{ messages[0].content.split('</think>')[-1].lstrip('\\n') }}", &user("x</think>\n\ny"), "y");
    check(
        "{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
        &[],
        "02",
    );
    check(
        "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
        &user("a"),
        "1",
    );
    check(
        "{{ bos_token }}{{ eos_token }}{{ tools is none }}{{ missing is defined }}{{ add_generation_prompt }}",
        &[],
        "<s></s>TrueFalseTrue",
    );
    check("{{ messages[0] | tojson }}", &user("é<'\""), "{\"role\": \"user\", \"content\": \"é<'\\\"\"}");
    check("{{ {'a': [1, 2]} | tojson(indent=2) }}", &[], "{\n  \"a\": [\n    1,\n    2\n  ]\n}");
}

#[test]
fn failures_are_told() {
    let refusing = "{% if messages[0].role != 'system' %}{{ raise_exception('a system message must come first') }}{% endif %}";
    let error = compile(refusing).render(&user("a"), true).unwrap_err();
    assert_eq!(error, ChatTemplateError::Render("a system message must come first".to_owned()));
    check_error("a\n{{ nothing.at_all }}", &[], "line 2");
    check_error("{{ strftime_now('%Q') }}", &[], "%Q");
    let syntax = ChatTemplate::new("{% for %}", TokenTexts::default(), CONTROL).unwrap_err();
    assert!(matches!(syntax, ChatTemplateError::Syntax(_)), "{syntax}");
}

#[test]
fn dates_are_written_as_python_does() {
    #[track_caller]
    fn check(seconds: u64, expected: &str) {
        assert_eq!(strftime("%d %b %Y|%A, %B %-d|%H:%M:%S|%I %p|%j|%F|%%", seconds).unwrap(), expected);
    }
    check(0, "01 Jan 1970|Thursday, January 1|00:00:00|12 AM|001|1970-01-01|%");
    check(951_827_696, "29 Feb 2000|Tuesday, February 29|12:34:56|12 PM|060|2000-02-29|%");
    check(1_798_761_599, "31 Dec 2026|Thursday, December 31|23:59:59|11 PM|365|2026-12-31|%");
    check(4_107_542_400, "01 Mar 2100|Monday, March 1|00:00:00|12 AM|060|2100-03-01|%");
    assert!(strftime("%Y", u64::MAX).is_ok());
}

#[test]
fn golden_dates() {
    let golden =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/chat_templates/golden.json");
    let golden: Value = serde_json::from_slice(&std::fs::read(golden).unwrap()).unwrap();
    let dates = golden["dates"].as_array().unwrap();
    assert!(dates.len() > 10);
    for date in dates {
        let seconds = date["seconds"].as_u64().unwrap();
        for (format, expected) in date["formats"].as_object().unwrap() {
            let found = strftime(format, seconds).unwrap();
            assert_eq!(found, expected.as_str().unwrap(), "{format} of {seconds}");
        }
    }
}

const CHATML: &str =
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}";
const TRIMMING: &str = "{% for m in messages %}<eot>{{ m['content'] | trim }}</s>{% endfor %}";

#[test]
fn control_tokens_typed_by_a_user_are_told_apart() {
    #[track_caller]
    fn check(source: &str, content: &str, expected: &str) {
        assert_eq!(segments(source, &user(content)).as_deref(), Ok(expected));
    }
    check(CHATML, "a<|im_end|>b", "<|im_start|>user\na[<|im_end|>]b<|im_end|>\n");
    check(CHATML, "<|im_start|><|im_end|>", "<|im_start|>user\n[<|im_start|><|im_end|>]<|im_end|>\n");
    check(CHATML, "<|im_<|im_end|>end|>", "<|im_start|>user\n<|im_[<|im_end|>]end|><|im_end|>\n");
    check(TRIMMING, "  <eot> a </s>\n", "<eot>[<eot>] a [</s>]</s>");
    // Text that only resembles one needs nothing.
    check(CHATML, "<|im_end| >", "<|im_start|>user\n<|im_end| ><|im_end|>\n");
    // The first mark is taken.
    check(CHATML, "\u{f0000}</s>", "<|im_start|>user\n\u{f0000}[</s>]<|im_end|>\n");
}

#[test]
fn what_a_template_does_to_the_text_around_is_followed() {
    let splitting = "{{ messages[0].content.split('|')[-1] }}!";
    assert_eq!(segments(splitting, &user("<eot>|x</s>")).as_deref(), Ok("x[</s>]!"));
    let conditional = "{% if 'secret' in messages[0].content %}found {% endif %}{{ messages[0].content }}";
    assert_eq!(segments(conditional, &user("secret</s>")).as_deref(), Ok("found secret[</s>]"));
}

#[test]
fn a_message_that_the_template_would_treat_otherwise_is_refused() {
    let looking = "{{ messages[0].content.split('</s>')[-1] }}";
    check_error(looking, &user("a</s>b"), "</s>");
    let counting = "{{ messages[0].content | length }}{{ messages[0].content }}";
    check_error(counting, &user("</s>"), "</s>");
    let cutting = "{{ messages[0].content[0:4] }}";
    check_error(cutting, &user("</s>more"), "</s>");
    assert_eq!(segments(counting, &user("<s>")).as_deref(), Ok("3<s>"));
}

proptest! {
    #[test]
    fn segments_join_to_the_plain_prompt_and_hide_every_typed_token(
        contents in prop::collection::vec(
            prop::collection::vec(
                prop::sample::select(vec!["<|im_start|>", "<|im_end|>", "</s>", "<eot>", "</", "s>", " ", "\n", "é", "\u{f0000}"]),
                0..8,
            ),
            0..4,
        ),
        trims in any::<bool>(),
    ) {
        let source = if trims { TRIMMING } else { CHATML };
        let template = compile(source);
        let messages: Vec<Message> = contents.iter().map(|parts| Message::new("user", &parts.concat())).collect();
        let segments = template.render(&messages, true).unwrap();
        let joined: String = segments.iter().map(|segment| segment.text.as_str()).collect();
        prop_assert_eq!(joined, template.render_text(&messages, true).unwrap());
        let of_template: usize = segments
            .iter()
            .filter(|segment| segment.origin == Origin::Template)
            .map(|segment| CONTROL.iter().map(|token| segment.text.matches(token).count()).sum::<usize>())
            .sum();
        prop_assert_eq!(of_template, 2 * messages.len());
    }
}
