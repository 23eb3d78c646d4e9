//! Tokens of preprocessed text, with the file and line that each comes from.

use super::error::{Position, TranslateError};

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Identifier,
    Number,
    /// A string or character literal.
    Literal,
    Punctuation,
    /// A whole `#pragma` line.
    Pragma,
}

/// One token of the text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'t> {
    pub kind: Kind,
    pub text: &'t str,
    /// Index into [`Tokens::files`].
    pub file: usize,
    pub line: u32,
    /// Columns from the start of its line to the token, or spaces before it.
    pub spaces: usize,
}

impl Token<'_> {
    pub fn is(&self, text: &str) -> bool {
        self.text == text && self.kind != Kind::Literal
    }
}

/// The tokens of a preprocessed text.
#[derive(Debug)]
pub(super) struct Tokens<'t> {
    pub files: Vec<String>,
    pub all: Vec<Token<'t>>,
}

impl Tokens<'_> {
    /// Where token `i` stands (the last one, past the end).
    pub fn position(&self, i: usize) -> Position {
        match self.all.get(i).or(self.all.last()) {
            Some(token) => Position { file: self.files[token.file].clone(), line: token.line },
            None => Position { file: self.files.first().cloned().unwrap_or_default(), line: 1 },
        }
    }
}

/// Splits what clang's preprocessor wrote (`# line "file"` markers and all) into tokens.
pub(super) fn tokens<'t>(text: &'t str, label: &str) -> Result<Tokens<'t>, TranslateError> {
    let mut files = vec![label.to_string()];
    let mut all = Vec::new();
    let (mut file, mut line) = (0, 1);
    for row in text.split('\n') {
        let trimmed = row.trim_start();
        if let Some(marker) = trimmed.strip_prefix('#') {
            let marker = marker.trim();
            if marker.starts_with("pragma") {
                all.push(Token { kind: Kind::Pragma, text: trimmed.trim_end(), file, line, spaces: 0 });
            } else if let Some((number, name)) = line_marker(marker) {
                file = match files.iter().position(|f| *f == name) {
                    Some(known) => known,
                    None => {
                        files.push(name);
                        files.len() - 1
                    }
                };
                line = number;
                continue;
            }
            line += 1;
            continue;
        }
        row_tokens(row, file, line, &mut all).map_err(|problem| TranslateError::Syntax {
            at: Position { file: files[file].clone(), line },
            problem,
        })?;
        line += 1;
    }
    Ok(Tokens { files, all })
}

/// `12 "file.metal" 1 3`: the number and the name.
fn line_marker(marker: &str) -> Option<(u32, String)> {
    let (number, rest) = marker.split_once(' ')?;
    let name = rest.trim().strip_prefix('"')?;
    let mut unescaped = String::new();
    let mut characters = name.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => break,
            '\\' => unescaped.extend(characters.next()),
            c => unescaped.push(c),
        }
    }
    Some((number.parse().ok()?, unescaped))
}

/// Appends the tokens of one line. Tokens never cross lines here: the preprocessor has removed comments and joined
/// continued lines.
pub(super) fn row_tokens<'t>(
    row: &'t str,
    file: usize,
    line: u32,
    all: &mut Vec<Token<'t>>,
) -> Result<(), String> {
    let bytes = row.as_bytes();
    let mut at = 0;
    let mut spaces = 0;
    while at < bytes.len() {
        let start = at;
        let c = bytes[at];
        if c.is_ascii_whitespace() {
            at += 1;
            spaces += 1;
            continue;
        }
        let kind = if c == b'"' || c == b'\'' {
            at =
                literal_end(bytes, at).ok_or_else(|| format!("a literal does not end: {}", &row[start..]))?;
            Kind::Literal
        } else if c.is_ascii_digit() || (c == b'.' && bytes.get(at + 1).is_some_and(u8::is_ascii_digit)) {
            at = number_end(bytes, at);
            Kind::Number
        } else if is_identifier_byte(c) {
            while at < bytes.len() && is_identifier_byte(bytes[at]) {
                at += 1;
            }
            Kind::Identifier
        } else {
            at += punctuation_length(&bytes[at..]);
            Kind::Punctuation
        };
        all.push(Token { kind, text: &row[start..at], file, line, spaces });
        spaces = 0;
    }
    Ok(())
}

/// Letters, digits, `_`, `$` and all of a non-ASCII character.
fn is_identifier_byte(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c == b'_' || c == b'$' || c >= 0x80
}

fn literal_end(bytes: &[u8], start: usize) -> Option<usize> {
    let quote = bytes[start];
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            c if c == quote => return Some(at + 1),
            _ => at += 1,
        }
    }
    None
}

/// The end of a preprocessing number: digits, letters, `.`, signs after an exponent's letter, digit separators.
fn number_end(bytes: &[u8], start: usize) -> usize {
    let hexadecimal = bytes[start] == b'0' && matches!(bytes.get(start + 1), Some(b'x' | b'X'));
    let mut at = start;
    while at < bytes.len() {
        let exponent = match bytes[at] {
            b'e' | b'E' => !hexadecimal,
            b'p' | b'P' => true,
            _ => false,
        };
        if exponent && matches!(bytes.get(at + 1), Some(b'+' | b'-')) {
            at += 2;
        } else if is_identifier_byte(bytes[at])
            || bytes[at] == b'.'
            || (bytes[at] == b'\'' && bytes.get(at + 1).is_some_and(u8::is_ascii_alphanumeric))
        {
            at += 1;
        } else {
            break;
        }
    }
    at
}

/// Operators are kept whole so that they can be written next to each other again. `>` stays single: the caller must see
/// the ends of template argument lists.
fn punctuation_length(bytes: &[u8]) -> usize {
    const LONG: [&[u8]; 22] = [
        b"<<=", b"...", b"->*", b"<=>", b"::", b"->", b"++", b"--", b"<<", b"<=", b"==", b"!=", b"&&", b"||",
        b"+=", b"-=", b"*=", b"/=", b"%=", b"&=", b"|=", b"^=",
    ];
    LONG.iter().find(|operator| bytes.starts_with(operator)).map_or(1, |operator| operator.len())
}
