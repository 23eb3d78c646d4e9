//! Finds the texts of control tokens in messages and follows them through a template.

use std::collections::HashSet;
use std::ops::Range;

use serde_json::Value;

use crate::runtime::chat_template::{Message, Origin, Segment, ToolCall};

/// Private-use characters, one of which becomes the mark.
const MARKS: std::ops::RangeInclusive<char> = '\u{f0000}'..='\u{ffffd}';

/// Breaks control-token texts by a mark after their first character, so that none is left whole.
#[derive(Debug)]
pub(super) struct Marker {
    /// Longest first.
    tokens: Vec<String>,
    first_characters: HashSet<char>,
    template_marks: HashSet<char>,
}

/// Messages with marks in them.
pub(super) struct Marked {
    pub(super) messages: Vec<Message>,
    pub(super) tools: Vec<Value>,
    mark: char,
}

/// Why messages with a control token in them cannot be marked: every mark occurs in them already.
pub(super) struct NoMarkLeft;

impl Marker {
    pub(super) fn new(template: &str, tokens: impl IntoIterator<Item = impl AsRef<str>>) -> Marker {
        let tokens = tokens.into_iter().map(|token| token.as_ref().to_owned());
        let mut tokens: Vec<String> = tokens.filter(|token| !token.is_empty()).collect();
        tokens.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        tokens.dedup();
        Marker {
            first_characters: tokens.iter().filter_map(|token| token.chars().next()).collect(),
            template_marks: template.chars().filter(|character| MARKS.contains(character)).collect(),
            tokens,
        }
    }

    /// The text of the first control token in the messages or tools.
    pub(super) fn first_token<'m>(&self, messages: &'m [Message], tools: &'m [Value]) -> Option<&'m str> {
        texts(messages, tools)
            .into_iter()
            .find_map(|text| self.tokens_in(text).next().map(|span| &text[span]))
    }

    /// Messages and tools with every control-token text broken by a mark.
    pub(super) fn mark(&self, messages: &[Message], tools: &[Value]) -> Result<Marked, NoMarkLeft> {
        let mut taken = self.template_marks.clone();
        for text in texts(messages, tools) {
            taken.extend(text.chars().filter(|character| MARKS.contains(character)));
        }
        let mark = MARKS.into_iter().find(|mark| !taken.contains(mark)).ok_or(NoMarkLeft)?;
        let call = |call: &ToolCall| ToolCall {
            id: self.mark_text(&call.id, mark),
            name: self.mark_text(&call.name, mark),
            arguments: self.mark_value(&call.arguments, mark),
        };
        let message = |message: &Message| Message {
            role: self.mark_text(&message.role, mark),
            content: self.mark_text(&message.content, mark),
            tool_calls: message.tool_calls.iter().map(call).collect(),
            tool_call_id: message.tool_call_id.as_ref().map(|id| self.mark_text(id, mark)),
        };
        let messages = messages.iter().map(message).collect();
        let tools = tools.iter().map(|tool| self.mark_value(tool, mark)).collect();
        Ok(Marked { messages, tools, mark })
    }

    /// Takes the marks out of a rendered prompt; what they stood in becomes segments of the user.
    pub(super) fn split(&self, rendered: &str, marked: &Marked) -> Vec<Segment> {
        let mut text = String::with_capacity(rendered.len());
        let mut starts = Vec::new();
        for character in rendered.chars() {
            if character == marked.mark {
                starts.extend(text.char_indices().next_back().map(|(start, _)| start));
            } else {
                text.push(character);
            }
        }
        let mut segments: Vec<Segment> = Vec::new();
        let mut add = |range: Range<usize>, origin| match segments.last_mut() {
            _ if range.is_empty() => {}
            Some(last) if last.origin == origin => last.text.push_str(&text[range]),
            _ => segments.push(Segment { text: text[range].to_owned(), origin }),
        };
        let mut done = 0;
        for start in starts {
            // A mark that the template moved away from its token still splits the text where it stands.
            let end = self.token_at(&text, start).unwrap_or_else(|| next_boundary(&text, start));
            if start > done {
                add(done..start, Origin::Template);
                done = start;
            }
            if end > done {
                add(done..end, Origin::User);
                done = end;
            }
        }
        add(done..text.len(), Origin::Template);
        segments
    }

    fn mark_value(&self, value: &Value, mark: char) -> Value {
        match value {
            Value::String(text) => Value::from(self.mark_text(text, mark)),
            Value::Array(values) => values.iter().map(|value| self.mark_value(value, mark)).collect(),
            Value::Object(map) => {
                let entry = |(key, value): (&String, &Value)| {
                    (self.mark_text(key, mark), self.mark_value(value, mark))
                };
                map.iter().map(entry).collect()
            }
            other => other.clone(),
        }
    }

    fn mark_text(&self, text: &str, mark: char) -> String {
        let mut out = String::with_capacity(text.len());
        let mut done = 0;
        for span in self.tokens_in(text) {
            let after_first = next_boundary(text, span.start);
            out.push_str(&text[done..after_first]);
            out.push(mark);
            done = after_first;
        }
        out.push_str(&text[done..]);
        out
    }

    /// Every control token in `text`, those that overlap included.
    fn tokens_in<'t>(&'t self, text: &'t str) -> impl Iterator<Item = Range<usize>> + 't {
        let starts = text.char_indices().filter(|(_, character)| self.first_characters.contains(character));
        starts.filter_map(|(start, _)| self.token_at(text, start).map(|end| start..end))
    }

    /// Where the longest control token that starts at `start` ends.
    fn token_at(&self, text: &str, start: usize) -> Option<usize> {
        let rest = &text[start..];
        self.tokens.iter().find(|token| rest.starts_with(token.as_str())).map(|token| start + token.len())
    }
}

/// All texts of messages and tools.
fn texts<'m>(messages: &'m [Message], tools: &'m [Value]) -> Vec<&'m str> {
    let mut texts = Vec::new();
    for message in messages {
        texts.extend([message.role.as_str(), message.content.as_str()]);
        texts.extend(message.tool_call_id.as_deref());
        for call in &message.tool_calls {
            texts.extend([call.id.as_str(), call.name.as_str()]);
            add_texts(&call.arguments, &mut texts);
        }
    }
    tools.iter().for_each(|tool| add_texts(tool, &mut texts));
    texts
}

fn add_texts<'v>(value: &'v Value, texts: &mut Vec<&'v str>) {
    match value {
        Value::String(text) => texts.push(text),
        Value::Array(values) => values.iter().for_each(|value| add_texts(value, texts)),
        Value::Object(map) => {
            for (key, value) in map {
                texts.push(key);
                add_texts(value, texts);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The end of the character at `start`.
fn next_boundary(text: &str, start: usize) -> usize {
    start + text[start..].chars().next().map_or(0, char::len_utf8)
}
