//! Finds calls of tools in the text of an answer, while it comes.
//!
//! The format is that of Hermes and Qwen: `<tool_call>`, a line with `{"name": …, "arguments": …}`, `</tool_call>`. Answers in which
//! calls are looked for are guided (`tools`), so the parts of a call stand exactly as here.

use std::hash::BuildHasher;

/// Begins a call. Models write it as one token where they have one.
pub(super) const OPEN: &str = "<tool_call>";
/// Between that and the tool's name.
pub(super) const BEFORE_NAME: &str = "\n{\"name\": \"";
/// Between the name and the arguments, which are a JSON object.
pub(super) const BEFORE_ARGUMENTS: &str = "\", \"arguments\": ";
/// Ends a call.
pub(super) const AFTER_ARGUMENTS: &str = "}\n</tool_call>";

/// A part of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CallPart {
    /// Which call of the answer.
    pub index: usize,
    /// Id and name, in the first part of a call.
    pub begin: Option<(String, String)>,
    /// More of the arguments' JSON.
    pub arguments: String,
}

/// What a piece of text holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Text outside calls. White space around calls belongs to them.
    pub text: String,
    pub calls: Vec<CallPart>,
}

/// Takes an answer's text and tells calls from the rest.
#[derive(Debug, Default)]
pub(super) struct CallParser {
    /// What was not passed on yet.
    held: String,
    state: State,
    /// Calls that have begun.
    calls: usize,
    /// Whether nothing came since the last call: white space there belongs to it.
    is_behind_call: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// Outside calls.
    #[default]
    Text,
    /// Behind the tag, before the arguments.
    Head,
    /// Within the arguments' JSON object.
    Arguments(Depth),
    /// Behind the arguments.
    Tail,
}

/// Where in a JSON text one is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Depth {
    /// Objects and lists that are open.
    open: usize,
    in_string: bool,
    escaped: bool,
}

impl CallParser {
    /// Takes more text.
    pub fn push(&mut self, text: &str) -> Found {
        self.held.push_str(text);
        let mut found = Found::default();
        while self.step(&mut found) {}
        found
    }

    /// The text that is left at the end. A call that is not complete stays so.
    pub fn finish(&mut self) -> String {
        match self.state {
            State::Text if self.is_behind_call => std::mem::take(&mut self.held).trim_start().to_owned(),
            State::Text => std::mem::take(&mut self.held),
            _ => String::new(),
        }
    }

    /// Whether a call has begun.
    pub fn has_calls(&self) -> bool {
        self.calls > 0
    }

    /// Passes on what is certain; whether there may be more.
    fn step(&mut self, found: &mut Found) -> bool {
        match self.state {
            State::Text => {
                let (end, next) = match self.held.find(OPEN) {
                    Some(at) => (at, Some(at + OPEN.len())),
                    None => (self.held.len() - possible_start(&self.held), None),
                };
                let text = self.held[..end].trim_end();
                let text = if self.is_behind_call { text.trim_start() } else { text };
                self.is_behind_call &= text.is_empty();
                found.text.push_str(text);
                self.held.drain(..next.unwrap_or(end));
                if next.is_some() {
                    self.state = State::Head;
                }
                next.is_some()
            }
            State::Head => {
                let Some(at) = self.held.find(BEFORE_ARGUMENTS) else { return false };
                let name = self.held[..at].strip_prefix(BEFORE_NAME).unwrap_or_default().to_owned();
                let begin = Some((fresh_id(), name));
                found.calls.push(CallPart { index: self.calls, begin, arguments: String::new() });
                self.calls += 1;
                self.held.drain(..at + BEFORE_ARGUMENTS.len());
                self.state = State::Arguments(Depth::default());
                true
            }
            State::Arguments(mut depth) => {
                let end = self.held.bytes().position(|byte| depth.is_end(byte)).map(|at| at + 1);
                let arguments: String = self.held.drain(..end.unwrap_or(self.held.len())).collect();
                match found.calls.last_mut() {
                    _ if arguments.is_empty() => {}
                    Some(part) if part.index + 1 == self.calls => part.arguments.push_str(&arguments),
                    _ => found.calls.push(CallPart { index: self.calls - 1, begin: None, arguments }),
                }
                self.state = if end.is_some() { State::Tail } else { State::Arguments(depth) };
                end.is_some()
            }
            State::Tail => {
                let Some(at) = self.held.find(AFTER_ARGUMENTS) else { return false };
                self.held.drain(..at + AFTER_ARGUMENTS.len());
                self.state = State::Text;
                self.is_behind_call = true;
                true
            }
        }
    }
}

impl Depth {
    /// Takes a byte; whether it closes the outermost object.
    fn is_end(&mut self, byte: u8) -> bool {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return false;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.open += 1,
            b'}' | b']' => {
                self.open = self.open.saturating_sub(1);
                return self.open == 0;
            }
            _ => {}
        }
        false
    }
}

/// Bytes at the end of a text that a call may begin with, white space before it included.
fn possible_start(text: &str) -> usize {
    let prefix = (1..OPEN.len()).rev().find(|&length| text.ends_with(&OPEN[..length])).unwrap_or(0);
    let before = &text[..text.len() - prefix];
    prefix + before.len() - before.trim_end().len()
}

/// An id that no other call has.
fn fresh_id() -> String {
    let random = std::hash::RandomState::new();
    format!("call_{:016x}{:08x}", random.hash_one(0), random.hash_one(1) as u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Text, and the calls as `name(arguments)`, of an answer in pieces.
    fn parse<'a>(pieces: impl IntoIterator<Item = &'a str>) -> (String, Vec<String>) {
        let mut parser = CallParser::default();
        let mut text = String::new();
        let mut calls: Vec<String> = Vec::new();
        for piece in pieces {
            let found = parser.push(piece);
            text += &found.text;
            for part in found.calls {
                if let Some((id, name)) = part.begin {
                    assert!(id.starts_with("call_") && part.index == calls.len());
                    calls.push(format!("{name} "));
                }
                calls[part.index] += &part.arguments;
            }
        }
        assert_eq!(parser.has_calls(), !calls.is_empty());
        (text + &parser.finish(), calls)
    }

    const CALL: &str =
        "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"}\\\"{\", \"b\": [{}]}}\n</tool_call>";
    const CALLED: &str = "f {\"a\": \"}\\\"{\", \"b\": [{}]}";

    #[test]
    fn calls_are_told_from_text() {
        let called = || vec![CALLED.to_owned()];
        assert_eq!(parse([CALL]), (String::new(), called()));
        assert_eq!(parse([format!("Yes:\n{CALL}\n").as_str()]), ("Yes:".to_owned(), called()));
        assert_eq!(parse([format!("{CALL}\n{CALL}").as_str()]), (String::new(), vec![CALLED.to_owned(); 2]));
        assert_eq!(parse(["a <tool_box> b\n"]), ("a <tool_box> b\n".to_owned(), vec![]));
        assert_eq!(parse(["<tool_call>\n{\"na"]), (String::new(), vec![]));
        assert_eq!(
            parse([&CALL[..CALL.len() - 25]]).1,
            [&CALLED[..CALLED.len() - (25 - AFTER_ARGUMENTS.len())]]
        );
    }

    #[test]
    fn arguments_come_as_they_are_written() {
        let mut parser = CallParser::default();
        assert_eq!(parser.push("Well <tool"), Found { text: "Well".into(), calls: vec![] });
        let found = parser.push("_call>\n{\"name\": \"f\", \"arguments\": {\"a");
        let part = &found.calls[0];
        assert_eq!((part.begin.as_ref().unwrap().1.as_str(), part.arguments.as_str()), ("f", "{\"a"));
        let part = CallPart { index: 0, begin: None, arguments: "\": 1}".into() };
        assert_eq!(parser.push("\": 1}}\n</tool_"), Found { text: String::new(), calls: vec![part] });
        assert_eq!(parser.push("call> ok"), Found { text: "ok".into(), calls: vec![] });
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(cuts in prop::collection::vec(0usize..400, 0..30), texts in prop::collection::vec("[a-z<>é \n]{0,6}", 3)) {
            let whole = format!("{}{CALL}{}{CALL}{}", texts[0], texts[1], texts[2]);
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| whole.is_char_boundary(*cut) && *cut < whole.len()).collect();
            cuts.extend([0, whole.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|cut| &whole[cut[0]..cut[1]]);
            let (text, calls) = parse(pieces);
            prop_assert_eq!(&calls, &vec![CALLED.to_owned(); 2]);
            let bare = |text: &str| text.split_whitespace().collect::<String>();
            prop_assert_eq!(bare(&text), bare(&texts.concat()));
        }
    }
}
