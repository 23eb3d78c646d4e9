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
    collect(output, source, label, headers, lines, |first, _| {
        if to_bfloat(first) {
            return Some(format!("{}: the language wants a cast here, `bfloat(x)`", metal_words(first.text)));
        }
        first.severity.ends_with("error").then(|| metal_words(first.text))
    })
}

/// The errors of the pass over a text with address spaces that are about those: it finds fault with much else.
pub(super) fn of_spaces(
    output: &str,
    source: &str,
    label: &str,
    headers: &Path,
    lines: &LineMap,
) -> Vec<Diagnostic> {
    collect(output, source, label, headers, lines, |first, notes| {
        (first.severity.ends_with("error") && !is_own(first.file, headers) && about_spaces(first, notes))
            .then(|| metal_words(first.text))
    })
}

fn is_own(file: &str, headers: &Path) -> bool {
    file.starts_with(&*headers.to_string_lossy()) || file.ends_with(".cpp") || file.starts_with('<')
}

/// The messages that `select` gives a text for, with their notes, at places of the user's text.
fn collect(
    output: &str,
    source: &str,
    label: &str,
    headers: &Path,
    lines: &LineMap,
    select: impl Fn(&Message<'_>, &[&Message<'_>]) -> Option<String>,
) -> Vec<Diagnostic> {
    let messages: Vec<Message<'_>> = output.lines().filter_map(message).collect();
    let mut found: Vec<Diagnostic> = Vec::new();
    for (i, first) in messages.iter().enumerate() {
        let notes: Vec<&Message<'_>> =
            messages[i + 1..].iter().take_while(|m| m.severity == "note").collect();
        let Some(mut text) = select(first, &notes) else { continue };
        let place = std::iter::once(first).chain(notes.iter().copied()).find(|m| !is_own(m.file, headers));
        let Some(place) = place else { continue };
        for note in notes.iter().filter(|n| !is_own(n.file, headers) && !std::ptr::eq(**n, place)).take(4) {
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
        && message.text.contains("loses floating-point precision")
        && message.text.contains("to '__bf16'")
}

/// Whether an error of the pass with address spaces is one that the language's compiler would report too.
fn about_spaces(first: &Message<'_>, notes: &[&Message<'_>]) -> bool {
    let text = first.text;
    if text.starts_with("no matching function for call to") {
        let candidates = || notes.iter().filter(|n| n.text.starts_with("candidate"));
        return candidates().next().is_some() && candidates().all(|n| refuses_spaces(n.text));
    }
    let between_types = ["cannot initialize ", "assigning ", "reinterpret_cast from ", "static_cast from "];
    text.contains("changes address space")
        || text.contains("automatic variable qualified with an address space")
        || (between_types.iter().any(|start| text.starts_with(start)) && types_differ_in_spaces(text))
}

/// Whether a note says that a function does not fit because of an address space.
fn refuses_spaces(note: &str) -> bool {
    let pointer = note.contains("cannot pass pointer to") || note.contains("cannot bind reference in");
    pointer || (note.starts_with("candidate template ignored") && types_differ_in_spaces(note))
}

/// Whether the first two types that a message quotes are pointers into different address spaces.
fn types_differ_in_spaces(text: &str) -> bool {
    let quoted: Vec<&str> = text
        .split("(aka ")
        .enumerate()
        .flat_map(|(i, part)| {
            // What another name stands for is left out.
            let part = if i == 0 { part } else { part.split_once(')').map_or("", |(_, rest)| rest) };
            part.split('\'').skip(1).step_by(2)
        })
        .collect();
    let [first, second, ..] = quoted[..] else { return false };
    let space = |ty: &str| {
        let ty = metal_words(ty);
        ["device", "constant", "threadgroup"]
            .into_iter()
            .find(|space| ty.split(' ').any(|word| word == *space))
    };
    // The second may also be an array, which only its address space tells from a value.
    let pointers = first.ends_with('*') && (second.ends_with('*') || space(second).is_some());
    pointers && space(first) != space(second)
}

/// The language's names for what the headers call otherwise.
fn metal_words(text: &str) -> String {
    const WORDS: [(&str, &str); 11] = [
        ("_Float16", "half"),
        ("__bf16", "bfloat"),
        ("metal::ms_", "metal::"),
        ("__attribute__((address_space(1)))", "device"),
        ("const __attribute__((address_space(2)))", "constant"),
        ("__attribute__((address_space(2)))", "constant"),
        ("__attribute__((address_space(3)))", "threadgroup"),
        ("address space '1'", "device memory"),
        ("address space '2'", "constant memory"),
        ("address space '3'", "threadgroup memory"),
        ("generic address space", "thread memory"),
    ];
    without_helper_types(WORDS.iter().fold(text.to_owned(), |text, (word, metal)| text.replace(word, metal)))
}

/// `'threadgroup ms_type_0' (aka 'threadgroup float[64]')` becomes what it stands for: the name is the translator's.
fn without_helper_types(mut text: String) -> String {
    while let Some(name) = text.find("ms_type_") {
        let start = text[..name].rfind('\'');
        let meant = text[name..].find("(aka ").map(|at| name + at + "(aka ".len());
        let end = meant.and_then(|meant| text[meant..].find(')').map(|at| meant + at));
        let (Some(start), Some(meant), Some(end)) = (start, meant, end) else { break };
        text.replace_range(end..=end, "");
        text.replace_range(start..meant, "");
    }
    text
}
