//! From lines to messages.

use std::io::BufRead;
use std::path::PathBuf;

use crate::runtime::program::ProgramError;

/// Shown where a message begins.
const PROMPT: &str = "> ";
/// Shown where a message goes on.
const MORE: &str = ". ";
/// Stands around messages of several lines.
const QUOTES: &str = "\"\"\"";

/// What came of waiting for a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// A line, without its end.
    Text(String),
    /// Ctrl-C.
    Interrupted,
    /// There is no more.
    End,
}

/// Where lines come from.
pub(super) trait Lines {
    /// The next line; `prompt` is shown where somebody sees it.
    fn line(&mut self, prompt: &str) -> Result<Line, ProgramError>;

    /// Remembers a message that was typed.
    fn remember(&mut self, message: &str);
}

/// Lines of a file or a pipe.
pub(super) struct PlainLines<R>(pub R);

impl<R: BufRead> Lines for PlainLines<R> {
    fn line(&mut self, _prompt: &str) -> Result<Line, ProgramError> {
        let mut line = String::new();
        let failed = |source| ProgramError::Input { path: PathBuf::from("standard input"), source };
        if self.0.read_line(&mut line).map_err(failed)? == 0 {
            return Ok(Line::End);
        }
        let text = line.strip_suffix('\n').unwrap_or(&line);
        Ok(Line::Text(text.strip_suffix('\r').unwrap_or(text).to_owned()))
    }

    fn remember(&mut self, _message: &str) {}
}

/// Reads a message that may have several lines.
pub(super) fn message(lines: &mut dyn Lines) -> Result<Line, ProgramError> {
    let first = lines.line(PROMPT)?;
    let Line::Text(first) = first else { return Ok(first) };
    let message = match first.trim_start().strip_prefix(QUOTES) {
        Some(quoted) => quoted_message(quoted, lines)?,
        None => continued_message(first, lines)?,
    };
    if let Line::Text(message) = &message
        && !message.trim().is_empty()
    {
        lines.remember(message);
    }
    Ok(message)
}

/// Up to the line that ends with quotes; `first` is what follows the opening ones.
fn quoted_message(first: &str, lines: &mut dyn Lines) -> Result<Line, ProgramError> {
    let mut message = String::new();
    let mut line = first.to_owned();
    loop {
        if let Some(last) = line.trim_end().strip_suffix(QUOTES) {
            message.push_str(last);
            // The quotes may stand on lines of their own.
            let message = message.strip_prefix('\n').unwrap_or(&message);
            return Ok(Line::Text(message.strip_suffix('\n').unwrap_or(message).to_owned()));
        }
        message.push_str(&line);
        message.push('\n');
        line = match lines.line(MORE)? {
            Line::Text(line) => line,
            other => return Ok(other),
        };
    }
}

/// As long as lines end with a backslash.
fn continued_message(first: String, lines: &mut dyn Lines) -> Result<Line, ProgramError> {
    let mut message = first;
    while message.ends_with('\\') {
        message.pop();
        message.push('\n');
        match lines.line(MORE)? {
            Line::Text(line) => message.push_str(&line),
            other => return Ok(other),
        }
    }
    Ok(Line::Text(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &str, expected: &[&str]) {
        let mut lines = PlainLines(input.as_bytes());
        let mut messages = Vec::new();
        while let Line::Text(text) = message(&mut lines).unwrap() {
            messages.push(text);
        }
        assert_eq!(messages, expected);
    }

    #[test]
    fn messages_may_have_several_lines() {
        check("one\ntwo\r\nthree", &["one", "two", "three"]);
        check("one\\\ntwo\\\nthree\nfour", &["one\ntwo\nthree", "four"]);
        check("\"\"\"\nfn f() {\n\n}\n\"\"\"\nnext", &["fn f() {\n\n}", "next"]);
        check("  \"\"\"one\ntwo\"\"\" \n\"\"\"three\"\"\"", &["one\ntwo", "three"]);
        check("\"\"\"\n\"\"\"\n\"\"\"\"\"\"\n", &["", ""]);
        // What is not brought to an end is no message.
        check("\"\"\"one\ntwo", &[]);
        check("one\\", &[]);
    }
}
