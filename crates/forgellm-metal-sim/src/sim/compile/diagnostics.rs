//! clang's messages, mapped back to the user's text.

use std::fmt;
use std::path::Path;

use crate::sim::translate::LineMap;

/// One error at one place of the user's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1.
    pub column: u32,
    /// What is wrong, with clang's notes.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

pub(super) fn listed(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// A line `file:line:column: severity: message`.
struct Message<'a> {
    file: &'a str,
    line: u32,
    column: u32,
    severity: &'a str,
    text: &'a str,
}

fn message(line: &str) -> Option<Message<'_>> {
    for severity in ["fatal error", "error", "warning", "note"] {
        let Some((place, text)) = line.split_once(&format!(": {severity}: ")) else { continue };
        let (place, column) = place.rsplit_once(':')?;
        let (file, number) = place.rsplit_once(':')?;
        return Some(Message {
            file,
            line: number.parse().ok()?,
            column: column.parse().ok()?,
            severity,
            text,
        });
    }
    None
}

/// The preprocessor's errors: it reads the user's text itself.
pub(super) fn of_preprocessor(output: &str) -> Vec<Diagnostic> {
    output
        .lines()
        .filter_map(message)
        .filter(|m| m.severity.ends_with("error"))
        .map(|m| Diagnostic { file: m.file.into(), line: m.line, column: m.column, message: m.text.into() })
        .collect()
}

/// The errors of a build. One that lies in the simulator's headers is moved to the first place of the user's text among
/// its notes (the call that led there).
pub(super) fn read(
    output: &str,
    source: &str,
    label: &str,
    headers: &Path,
    lines: &LineMap,
) -> Vec<Diagnostic> {
    let headers = headers.to_string_lossy();
    let own = |file: &str| file.starts_with(&*headers) || file.ends_with(".cpp") || file.starts_with('<');
    let messages: Vec<Message<'_>> = output.lines().filter_map(message).collect();
    let mut found: Vec<Diagnostic> = Vec::new();
    for (i, first) in
        messages.iter().enumerate().filter(|(_, m)| m.severity.ends_with("error") || to_bfloat(m))
    {
        let notes: Vec<&Message<'_>> =
            messages[i + 1..].iter().take_while(|m| m.severity == "note").collect();
        let place = std::iter::once(first).chain(notes.iter().copied()).find(|m| !own(m.file));
        let Some(place) = place else { continue };
        let mut text = metal_words(first.text);
        if to_bfloat(first) {
            text.push_str(": the language wants a cast here, `bfloat(x)`");
        }
        for note in notes.iter().filter(|n| !own(n.file) && !std::ptr::eq(**n, place)).take(4) {
            text.push_str(&format!("\n    {}:{}: note: {}", note.file, note.line, metal_words(note.text)));
        }
        let column = match source.lines().nth(place.line.saturating_sub(1) as usize) {
            Some(source_line) if place.file == label => {
                lines.column(place.file, place.line, place.column, source_line)
            }
            _ => place.column,
        };
        let diagnostic = Diagnostic { file: place.file.into(), line: place.line, column, message: text };
        if !found.contains(&diagnostic) {
            found.push(diagnostic);
        }
    }
    found
}

/// The one conversion that C++ makes silently and the language forbids. clang warns of it.
fn to_bfloat(message: &Message<'_>) -> bool {
    message.severity == "warning"
        && message.text.starts_with("implicit conversion")
        && message.text.contains("to '__bf16'")
}

/// The language's names for what the headers call otherwise.
fn metal_words(text: &str) -> String {
    text.replace("_Float16", "half").replace("__bf16", "bfloat").replace("metal::ms_", "metal::")
}
