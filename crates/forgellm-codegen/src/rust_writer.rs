//! Writes Rust as rustfmt would, with the settings of [`RUSTFMT`].

use std::fmt::Display;

/// The settings that go into every generated project; the runtime is formatted with the same.
pub const RUSTFMT: &str = "edition = \"2024\"\nmax_width = 110\nuse_small_heuristics = \"Max\"\n";

const MAX_WIDTH: usize = 110;
const INDENT: usize = 4;

/// Text of a Rust file in the making.
#[derive(Debug, Default)]
pub struct RustWriter {
    text: String,
    depth: usize,
}

impl RustWriter {
    /// An empty file.
    pub fn new() -> RustWriter {
        RustWriter::default()
    }

    /// The text so far.
    pub fn finish(self) -> String {
        self.text
    }

    /// One line, indented.
    pub fn line(&mut self, line: impl Display) {
        self.text.push_str(&" ".repeat(self.depth * INDENT));
        self.text.push_str(&line.to_string());
        self.text.push('\n');
    }

    /// An empty line.
    pub fn gap(&mut self) {
        self.text.push('\n');
    }

    /// `head {`, what `body` writes one level deeper, and `}`.
    pub fn block(&mut self, head: impl Display, body: impl FnOnce(&mut RustWriter)) {
        self.enclosed(head, "{", "}", body);
    }

    /// `head` and `open`, what `body` writes one level deeper, and `close`.
    pub fn enclosed(
        &mut self,
        head: impl Display,
        open: &str,
        close: &str,
        body: impl FnOnce(&mut RustWriter),
    ) {
        let head = head.to_string();
        let space = if head.is_empty() || open != "{" { "" } else { " " };
        self.line(format!("{head}{space}{open}"));
        self.depth += 1;
        body(self);
        self.depth -= 1;
        self.line(close);
    }

    /// `head(items…)tail` on one line where it fits, one item a line where not. A value behind `head`'s `=` that fits on a line of its
    /// own gets one, as rustfmt does it.
    pub fn list(&mut self, head: &str, (open, close): (&str, &str), items: &[String], tail: &str) {
        let space = if open == "{" { " " } else { "" };
        let one_line = format!("{head}{space}{open}{space}{}{space}{close}{tail}", items.join(", "));
        let fits = |depth: usize, line: &str| depth * INDENT + line.chars().count() <= MAX_WIDTH;
        if fits(self.depth, &one_line) {
            self.line(one_line);
        } else if head.contains(" = ")
            && let Some((name, value)) = one_line.split_once(" = ")
            && fits(self.depth + 1, value)
        {
            self.line(format!("{name} ="));
            self.depth += 1;
            self.line(value);
            self.depth -= 1;
        } else {
            self.enclosed(head, open, &format!("{close}{tail}"), |w| {
                for item in items {
                    w.line(format!("{item},"));
                }
            });
        }
    }

    /// The statement `function(arguments…);`.
    pub fn call(&mut self, function: &str, arguments: &[String]) {
        self.list(function, ("(", ")"), arguments, ";");
    }

    /// `use path::{names…};`, names sorted as rustfmt does.
    pub fn imports(&mut self, path: &str, names: &[String]) {
        let mut names = names.to_vec();
        names.sort();
        names.dedup();
        match &names[..] {
            [] => {}
            [name] => self.line(format!("use {path}::{name};")),
            _ => {
                let one_line = format!("use {path}::{{{}}};", names.join(", "));
                if one_line.len() <= MAX_WIDTH {
                    self.line(one_line);
                } else {
                    self.line(format!("use {path}::{{"));
                    self.depth += 1;
                    self.filled(&names);
                    self.depth -= 1;
                    self.line("};");
                }
            }
        }
    }

    /// Items with commas between, as many a line as fit.
    fn filled(&mut self, items: &[String]) {
        let width = MAX_WIDTH - self.depth * INDENT;
        let mut line = String::new();
        for item in items {
            // rustfmt leaves the last column of such a list free.
            if !line.is_empty() && line.len() + item.len() + 2 >= width {
                self.line(&line);
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(item);
            line.push(',');
        }
        self.line(line);
    }
}

/// `attn_q` → `ATTN_Q`.
pub fn constant_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_break_where_they_do_not_fit() {
        let mut w = RustWriter::new();
        w.call("f", &["a".into(), "b".into()]);
        w.block("fn g()", |w| w.call("f", &vec!["x".repeat(60); 2]));
        let long = "x".repeat(60);
        assert_eq!(
            w.finish(),
            format!("f(a, b);\nfn g() {{\n    f(\n        {long},\n        {long},\n    );\n}}\n")
        );
    }

    #[test]
    fn a_value_that_just_does_not_fit_goes_to_the_next_line() {
        let list = |length: usize| {
            let mut w = RustWriter::new();
            w.list("let value = f", ("(", ")"), &["x".repeat(length)], ";");
            w.finish()
        };
        let argument = |length: usize| "x".repeat(length);
        assert_eq!(list(94), format!("let value = f({});\n", argument(94)));
        assert_eq!(list(95), format!("let value =\n    f({});\n", argument(95)));
        assert_eq!(list(102), format!("let value =\n    f({});\n", argument(102)));
        assert_eq!(list(103), format!("let value = f(\n    {},\n);\n", argument(103)));
    }

    #[test]
    fn imports_are_sorted_and_filled() {
        let mut w = RustWriter::new();
        w.imports("a", &["c".into(), "b".into(), "b".into()]);
        w.imports("a", &["b".into()]);
        assert_eq!(w.finish(), "use a::{b, c};\nuse a::b;\n");
    }
}
