//! Declarations that differ only in address spaces.
//!
//! The language overloads functions and specialises templates on address spaces, and has the compiler call one version
//! or the other. Here all memory is one, so of declarations that are the same text but for `device`, `threadgroup`,
//! `thread` and `constant` the first is kept.

use std::collections::HashMap;

use super::attributes;
use super::declarations::{matching, matching_angle};
use super::error::TranslateError;
use super::{Purpose, Translator};

/// Declarations so far: scope and head without address spaces, and what follows the head.
pub(super) type Seen = HashMap<String, Earlier>;

/// A declaration that others may repeat.
#[derive(Debug)]
pub(super) struct Earlier {
    body: String,
    has_spaces: bool,
}

impl<'t> Translator<'t> {
    /// Whether the declaration with the head `start..head_end` and the body `body` repeats an earlier one of the same
    /// scope but for address spaces.
    pub(super) fn repeats(
        &mut self,
        start: usize,
        head_end: usize,
        body: (usize, usize),
        scope: &[&'t str],
    ) -> Result<bool, TranslateError> {
        let qualifier = self.method_qualifier(start, head_end, scope);
        if let Some(qualifier) = qualifier {
            self.edits.remove(qualifier, qualifier + 1);
        }
        let (head, head_spaces) = self.erased(start, head_end, qualifier);
        let (body_text, body_spaces) = self.erased(body.0, body.1, None);
        let has_spaces = head_spaces || body_spaces;
        // A class is told from its specialisations by where it stands.
        let key = format!("{}::{:?}::{head}", scope.join("::"), self.classes);
        let Some(earlier) = self.seen.get(&key) else {
            self.seen.insert(key, Earlier { body: body_text, has_spaces });
            return Ok(false);
        };
        if !(has_spaces || earlier.has_spaces) || earlier.body.is_empty() && !body_text.is_empty() {
            // A real redefinition, which clang reports, or the definition after its declaration.
            self.seen.insert(key, Earlier { body: body_text, has_spaces });
            return Ok(false);
        }
        if !body_text.is_empty() && earlier.body != body_text {
            return Err(TranslateError::Unsupported {
                at: self.tokens.position(start),
                construct:
                    "an overload that differs from another only in address spaces but has another body".into(),
                reason: "the simulator has one memory: give the functions different names",
            });
        }
        Ok(true)
    }

    /// The text of `from..to` without address spaces, and whether there were any.
    fn erased(&self, from: usize, to: usize, without: Option<usize>) -> (String, bool) {
        let tokens = &self.tokens.all;
        let mut text = String::new();
        let mut found = false;
        let mut i = from;
        while i < to {
            if attributes::starts(tokens, i)
                && let Some((_, after)) = attributes::list(tokens, i)
            {
                i = after;
                continue;
            }
            // With address spaces to check, only what a method says of its object is left out.
            let erase = self.purpose == Purpose::Run;
            match tokens[i].text {
                _ if without == Some(i) => found = true,
                "device" | "threadgroup" | "thread" if erase => found = true,
                "constant" if erase => {
                    found = true;
                    text.push_str("const ");
                }
                word => {
                    text.push_str(word);
                    text.push(' ');
                }
            }
            i += 1;
        }
        (text.replace("const const ", "const "), found)
    }

    /// The address space after the parameters of a method: that of its object. C++ has no place for it. `constant`
    /// stays where it can mean `const`, that is, everywhere but on a constructor.
    fn method_qualifier(&self, start: usize, head_end: usize, scope: &[&'t str]) -> Option<usize> {
        let tokens = &self.tokens.all;
        let class = scope.last().filter(|_| !self.classes.is_empty())?;
        let open = self.parameter_list(start, head_end)?;
        let constructor = open > start && tokens[open - 1].is(class);
        let close = matching(tokens, open)?;
        (close..head_end).find(|&i| {
            matches!(tokens[i].text, "thread" | "device" | "threadgroup")
                || (tokens[i].is("constant") && (constructor || self.purpose == Purpose::CheckSpaces))
        })
    }

    /// The `(` of a function's parameters in the head of its declaration.
    fn parameter_list(&self, start: usize, head_end: usize) -> Option<usize> {
        let tokens = &self.tokens.all;
        let mut i = start;
        while i < head_end {
            if tokens[i].is("template") && tokens.get(i + 1)?.is("<") {
                i = matching_angle(tokens, i + 1)?;
            } else if tokens[i].is("(") {
                let before = if i > start { tokens[i - 1].text } else { "" };
                if !matches!(before, "__attribute__" | "decltype" | "alignas" | "explicit" | "operator") {
                    return Some(i);
                }
                i = matching(tokens, i)?;
            }
            i += 1;
        }
        None
    }
}
