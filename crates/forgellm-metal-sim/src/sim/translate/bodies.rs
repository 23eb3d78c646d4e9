//! Function bodies: threadgroup variables and literals.

use super::Translator;
use super::declarations::{matching, matching_angle};
use super::error::TranslateError;
use super::lexer::Kind;

impl<'t> Translator<'t> {
    /// Rewrites the body between the braces `open` and `close`. `kernel` is the function's name if it is a kernel.
    pub(super) fn body(
        &mut self,
        open: usize,
        close: usize,
        kernel: Option<&str>,
    ) -> Result<(), TranslateError> {
        let tokens = &self.tokens.all;
        let mut start = open + 1;
        for (i, token) in tokens.iter().enumerate().take(close).skip(open + 1) {
            if matches!(token.text, ";" | "{" | "}") || token.kind == Kind::Pragma {
                start = i + 1;
            } else if token.is("threadgroup")
                && self.begins_declaration(start, i)
                && let Some(end) = self.storage(start)
            {
                if kernel.is_none() {
                    return Err(TranslateError::Unsupported {
                        at: self.tokens.position(i),
                        construct: "a threadgroup variable in a function that is not a kernel".into(),
                        reason: "declare it in the kernel and pass a pointer",
                    });
                }
                self.threadgroup_variables(start, end)?;
            }
        }
        Ok(())
    }

    /// Whether only qualifiers and a type's name stand between a statement's start and `i`.
    fn begins_declaration(&self, start: usize, i: usize) -> bool {
        let tokens = &self.tokens.all[start..i];
        tokens.iter().all(|t| t.kind == Kind::Identifier || t.is("::") || t.is("<") || t.is(">") || t.is(","))
            && !tokens.iter().any(|t| matches!(t.text, "return" | "using" | "typedef"))
    }

    /// If the declaration at `start` declares storage rather than a pointer or reference, its `;`.
    fn storage(&self, start: usize) -> Option<usize> {
        let tokens = &self.tokens.all;
        let mut i = start;
        loop {
            let token = tokens.get(i)?;
            match token.text {
                "<" => i = matching_angle(tokens, i)?,
                "[" => i = matching(tokens, i)?,
                "(" if i > start && tokens[i - 1].is("alignas") => i = matching(tokens, i)?,
                "*" | "&" | "&&" | "(" | ")" => return None,
                ";" => return Some(i),
                "=" | "{" => return (i..).find(|&k| tokens.get(k).is_none_or(|t| t.is(";"))),
                _ => {}
            }
            i += 1;
        }
    }

    /// `threadgroup T a[N], b;` in `start..end`: each variable becomes a reference to memory that the simulator gives
    /// to all threads of a threadgroup.
    fn threadgroup_variables(&mut self, start: usize, end: usize) -> Result<(), TranslateError> {
        let tokens = &self.tokens.all;
        // Declarators are separated by commas outside of brackets; the type ends before the first one's name.
        let mut declarators = Vec::new();
        let mut first_name = None;
        let (mut i, mut from) = (start, start);
        while i < end {
            match tokens[i].text {
                "<" if declarators.is_empty() && first_name.is_none() => {
                    i = matching_angle(tokens, i).unwrap_or(i);
                }
                "(" => i = matching(tokens, i).unwrap_or(i),
                "[" => {
                    first_name.get_or_insert(i - 1);
                    i = matching(tokens, i).unwrap_or(i);
                }
                "=" | "{" => {
                    return Err(TranslateError::Unsupported {
                        at: self.tokens.position(i),
                        construct: "a threadgroup variable with an initial value".into(),
                        reason: "threadgroup memory starts undefined: let threads assign it, then use a barrier",
                    });
                }
                "," => {
                    first_name.get_or_insert(i - 1);
                    declarators.push((from, i));
                    from = i + 1;
                }
                _ => {}
            }
            i += 1;
        }
        let name_at = first_name.unwrap_or(end - 1);
        declarators.push((from, end));
        declarators[0].0 = name_at;
        let prefix: Vec<&str> = (start..name_at)
            .map(|k| tokens[k].text)
            .filter(|t| !matches!(*t, "threadgroup" | "static"))
            .collect();
        let prefix = prefix.join(" ");
        if tokens[name_at].kind != Kind::Identifier || prefix.is_empty() {
            return self.syntax_at(start, "this declaration of a threadgroup variable is not understood");
        }
        let mut text = String::new();
        for (from, to) in declarators {
            let name = tokens[from].text;
            let extents: Vec<&str> = (from + 1..to).map(|k| self.edits.text(k)).collect();
            let site = self.threadgroup_variables;
            self.threadgroup_variables += 1;
            // `threadgroup` is a macro: empty when the text is to run, an address space when it is to be checked.
            text.push_str(&format!(
                "typedef {prefix} ms_type_{site}{extents}; threadgroup ms_type_{site} &{name} = \
                 ms::threadgroup_variable<threadgroup ms_type_{site}>({site}, \"{name}\")",
                extents = extents.join(" "),
            ));
            if to != end {
                text.push_str("; ");
            }
        }
        self.edits.remove(start, end);
        self.edits.replace(start, text);
        Ok(())
    }
}
