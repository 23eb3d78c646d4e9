//! Writes the edited tokens as C++ and remembers where each came from.

use super::lexer::{Token, Tokens, row_tokens};

/// Changes to a text: tokens removed or replaced, text added after one.
pub(super) struct Edits<'t> {
    tokens: &'t Tokens<'t>,
    changes: Vec<Change>,
    end: String,
}

#[derive(Default, Clone)]
struct Change {
    replacement: Option<String>,
    after: String,
}

impl<'t> Edits<'t> {
    pub fn new(tokens: &'t Tokens<'t>) -> Self {
        Edits { tokens, changes: vec![Change::default(); tokens.all.len()], end: String::new() }
    }

    pub fn remove(&mut self, from: usize, to: usize) {
        for change in &mut self.changes[from..to] {
            change.replacement = Some(String::new());
        }
    }

    pub fn replace(&mut self, i: usize, text: impl Into<String>) {
        self.changes[i].replacement = Some(text.into());
    }

    pub fn after(&mut self, i: usize, text: &str) {
        self.changes[i].after.push_str(text);
    }

    pub fn at_end(&mut self, text: &str) {
        self.end.push_str(text);
    }

    /// The token's text as it stands now.
    pub fn text(&self, i: usize) -> &str {
        self.changes[i].replacement.as_deref().unwrap_or(self.tokens.all[i].text)
    }

    /// The text, with `#line` directives, and the way back from it.
    pub fn write(self) -> (String, LineMap) {
        // Functions that call a function of the simdgroup must stay where they are in the flow of control.
        let mut text =
            String::from("#pragma clang attribute push(__attribute__((convergent)), apply_to = function)\n");
        let mut lines = LineMap { places: Vec::new() };
        // File and line of the current row; none before the first token.
        let mut current: Option<(usize, u32)> = None;
        let mut column = 1;
        let mut seen: Vec<&str> = Vec::new();
        for (token, change) in self.tokens.all.iter().zip(&self.changes) {
            let here = (token.file, token.line);
            if current != Some(here) || token.text.starts_with("#pragma") {
                match current {
                    Some((file, line)) if file == here.0 && line < here.1 && here.1 - line < 10 => {
                        text.push_str(&"\n".repeat((here.1 - line) as usize));
                    }
                    _ => {
                        text.push_str(&format!("\n#line {} {}\n", here.1, quoted(&self.tokens.files[here.0])))
                    }
                }
                current = Some(here);
                column = 1;
                seen.clear();
            }
            let mut piece = " ".repeat(token.spaces);
            let start = column + piece.len() as u32;
            match &change.replacement {
                Some(replacement) => piece.push_str(replacement),
                None => piece.push_str(token.text),
            }
            piece.push_str(&change.after);
            lines.places.push(Place {
                file: self.tokens.files[here.0].clone(),
                line: here.1,
                column: start,
                token: token.text.to_string(),
                occurrence: seen.iter().filter(|t| **t == token.text).count(),
            });
            seen.push(token.text);
            column += piece.len() as u32;
            text.push_str(&piece);
            if token.text.starts_with("#pragma") {
                current = None;
                text.push('\n');
            }
        }
        text.push('\n');
        text.push_str(&self.end);
        text.push_str("#pragma clang attribute pop\n");
        lines.places.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        (text, lines)
    }
}

/// Where the tokens of a translated text came from.
#[derive(Debug, Clone)]
pub struct LineMap {
    /// Sorted by file, line and column of the translated text.
    places: Vec<Place>,
}

#[derive(Debug, Clone)]
struct Place {
    file: String,
    line: u32,
    column: u32,
    token: String,
    /// How many equal tokens stand before it on its line.
    occurrence: usize,
}

impl LineMap {
    /// The column in `source_line` (the user's text of that line) of what stands at `column` of the translated line.
    /// A token that is not in the line comes from a macro; then the line's first column that is not blank.
    pub fn column(&self, file: &str, line: u32, column: u32, source_line: &str) -> u32 {
        let first = source_line.len() - source_line.trim_start().len() + 1;
        let before =
            self.places.partition_point(|p| (p.file.as_str(), p.line, p.column) <= (file, line, column));
        let Some(place) = before.checked_sub(1).map(|i| &self.places[i]) else { return first as u32 };
        if place.file != file || place.line != line {
            return first as u32;
        }
        let mut tokens: Vec<Token> = Vec::new();
        if row_tokens(source_line, 0, line, &mut tokens).is_err() {
            return first as u32;
        }
        let base = source_line.as_ptr() as usize;
        tokens
            .iter()
            .filter(|t| t.text == place.token)
            .nth(place.occurrence)
            .map_or(first, |t| t.text.as_ptr() as usize - base + 1) as u32
    }
}

/// A file's name as a `#line` directive wants it.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}
