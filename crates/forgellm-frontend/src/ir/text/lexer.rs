//! Lines to tokens.

use super::ParseError;
use super::print::is_bare;

/// A token and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    pub kind: Kind,
    pub column: usize,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A word or a number.
    Word(String),
    /// `%7`.
    Value(u32),
    /// `@name` or `@"name"`.
    Weight(String),
    /// `"text"`.
    Text(String),
    /// One of `: , = [ ]`.
    Mark(char),
}

impl Kind {
    /// What to call it in a message.
    pub fn describe(&self) -> String {
        match self {
            Kind::Word(word) => format!("`{word}`"),
            Kind::Value(id) => format!("`%{id}`"),
            Kind::Weight(name) => format!("`@{name}`"),
            Kind::Text(text) => format!("{text:?}"),
            Kind::Mark(mark) => format!("`{mark}`"),
        }
    }
}

/// The tokens of line number `line`.
pub fn tokens(line: usize, text: &str) -> Result<Vec<Token>, ParseError> {
    let chars: Vec<char> = text.chars().collect();
    let mut lexer = Lexer { line, chars: &chars, next: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.take_while(char::is_whitespace);
        let column = lexer.next + 1;
        let kind = match lexer.chars.get(lexer.next) {
            None => return Ok(tokens),
            Some('/') if lexer.chars.get(lexer.next + 1) == Some(&'/') => return Ok(tokens),
            Some(mark @ (':' | ',' | '=' | '[' | ']')) => {
                lexer.next += 1;
                Kind::Mark(*mark)
            }
            Some('"') => Kind::Text(lexer.quoted()?),
            Some('@') => {
                lexer.next += 1;
                match lexer.chars.get(lexer.next) {
                    Some('"') => Kind::Weight(lexer.quoted()?),
                    _ => Kind::Weight(lexer.non_empty(is_bare, column, "a weight's name behind `@`")?),
                }
            }
            Some('%') => {
                lexer.next += 1;
                let digits = lexer.non_empty(|c| c.is_ascii_digit(), column, "a number behind `%`")?;
                let id =
                    digits.parse().map_err(|_| lexer.error(column, format!("%{digits} is too large")))?;
                Kind::Value(id)
            }
            Some(_) => {
                let word = |c: char| c.is_ascii_alphanumeric() || "_.+-".contains(c);
                Kind::Word(lexer.non_empty(word, column, "a word, a value, a weight or a text")?)
            }
        };
        tokens.push(Token { kind, column });
    }
}

struct Lexer<'a> {
    line: usize,
    chars: &'a [char],
    next: usize,
}

impl Lexer<'_> {
    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> String {
        let rest = self.chars.get(self.next..).unwrap_or(&[]);
        let taken: String = rest.iter().copied().take_while(|c| accept(*c)).collect();
        self.next += taken.chars().count();
        taken
    }

    fn non_empty(
        &mut self,
        accept: impl Fn(char) -> bool,
        column: usize,
        what: &str,
    ) -> Result<String, ParseError> {
        let taken = self.take_while(accept);
        if taken.is_empty() { Err(self.error(column, format!("expected {what}"))) } else { Ok(taken) }
    }

    /// A text in quotes; `next` is at the opening one.
    fn quoted(&mut self) -> Result<String, ParseError> {
        let start = self.next + 1;
        self.next += 1;
        let mut text = String::new();
        loop {
            let column = self.next + 1;
            let Some(c) = self.chars.get(self.next) else {
                return Err(self.error(start, "the text has no closing quote".to_owned()));
            };
            self.next += 1;
            match c {
                '"' => return Ok(text),
                '\\' => text.push(self.escape(column)?),
                c => text.push(*c),
            }
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self, column: usize) -> Result<char, ParseError> {
        let kind = self.chars.get(self.next).copied();
        self.next += 1;
        match kind {
            Some(c @ ('"' | '\\')) => return Ok(c),
            Some('u') if self.chars.get(self.next) == Some(&'{') => {
                self.next += 1;
                let digits = self.take_while(|c| c.is_ascii_hexdigit());
                let closed = self.chars.get(self.next) == Some(&'}');
                self.next += 1;
                if let Some(c) = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32)
                    && closed
                {
                    return Ok(c);
                }
            }
            _ => {}
        }
        Err(self.error(column, "unknown escape; known: \\\" \\\\ \\u{hexadecimal}".to_owned()))
    }

    fn error(&self, column: usize, message: String) -> ParseError {
        ParseError { line: self.line, column, message }
    }
}
