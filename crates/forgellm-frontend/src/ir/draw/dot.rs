//! Graph to the language of Graphviz.

use std::fmt::Write;

use super::{Drawing, Kind, View};
use crate::ir::Graph;

/// The graph in Graphviz's DOT language: `dot -Tsvg` draws it.
pub fn to_dot(graph: &Graph, view: View) -> String {
    let drawing = Drawing::new(graph, view);
    let mut text = format!("digraph {} {{\n", quoted(&drawing.name));
    text.push_str("  node [shape=box, style=\"rounded,filled\", fontname=\"sans-serif\", fontsize=11];\n");
    text.push_str("  edge [fontname=\"sans-serif\", fontsize=9];\n");
    for (index, shown) in drawing.blocks.iter().enumerate() {
        let label = quoted(&shown.lines.join("\n"));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  n{index} [label={label}, fillcolor=\"{}\"];", colour(shown.kind));
    }
    for ((from, to), shape) in &drawing.edges {
        let _ = writeln!(text, "  n{from} -> n{to} [label={}];", quoted(shape));
    }
    text.push_str("}\n");
    text
}

/// The fill of a box.
pub(super) fn colour(kind: Kind) -> &'static str {
    match kind {
        Kind::Weighted => "#dbe9f6",
        Kind::Plain => "#f4f4f4",
        Kind::Cache => "#fbe6cf",
        Kind::Elided => "#ffffff",
        Kind::Output => "#dcf0dc",
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            c if c.is_control() => quoted.push('\u{fffd}'),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
