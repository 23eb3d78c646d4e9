//! Walks the declarations of a file: namespaces, classes, functions, variables, instantiations.

use super::Translator;
use super::attributes;
use super::error::TranslateError;
use super::lexer::{Kind, Token};

/// The index of the bracket that closes the one at `open`.
pub(super) fn matching(tokens: &[Token<'_>], open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (i, token) in tokens.iter().enumerate().skip(open) {
        if token.kind != Kind::Punctuation {
            continue;
        }
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(i);
                }
            }
            _ => {}
        }
    }
    None
}

/// The index of the `>` that closes the `<` at `open`. Brackets inside are skipped.
///
/// After a name, `<` may begin arguments or mean "less than": the reading under which all `<` are closed before the
/// text goes on with a `;` or a block is the right one.
pub(super) fn matching_angle(tokens: &[Token<'_>], open: usize) -> Option<usize> {
    let mut budget = 100_000;
    closing_angle(tokens, open + 1, 1, &mut budget)
}

/// Nested template arguments, classes or parentheses of an attribute: nobody writes more.
pub(super) const DEEPEST: usize = 64;

/// The end of `depth` argument lists that are open before `from`. Each token looked at costs one of `budget`, so that
/// trying both readings ends.
fn closing_angle(tokens: &[Token<'_>], from: usize, mut depth: usize, budget: &mut usize) -> Option<usize> {
    let mut i = from;
    while i < tokens.len() {
        *budget = budget.checked_sub(1)?;
        let token = &tokens[i];
        if token.kind == Kind::Punctuation {
            match token.text {
                "<" if tokens[i - 1].kind == Kind::Identifier && depth < DEEPEST => {
                    if let Some(close) = closing_angle(tokens, i + 1, depth + 1, budget) {
                        return Some(close);
                    }
                }
                ">" => {
                    depth -= 1;
                    if depth == 0 {
                        return Some(i);
                    }
                }
                "(" | "[" => i = matching(tokens, i)?,
                "{" => {
                    let close = matching(tokens, i)?;
                    if close > i + 2 {
                        return None;
                    }
                    i = close;
                }
                ")" | "]" | "}" | ";" => return None,
                _ => {}
            }
        }
        i += 1;
    }
    None
}

/// One declaration, as token indexes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Declaration {
    /// First token.
    pub start: usize,
    /// After the last one (`;` or `}`).
    pub end: usize,
    /// The braces of a function's body.
    pub body: Option<(usize, usize)>,
}

impl<'t> Translator<'t> {
    fn syntax<T>(&self, at: usize, problem: &str) -> Result<T, TranslateError> {
        Err(TranslateError::Syntax { at: self.tokens.position(at), problem: problem.into() })
    }

    /// Handles the declarations in `from..to`, which lie in `scope` (the names of namespaces and classes).
    pub(super) fn declarations(
        &mut self,
        from: usize,
        to: usize,
        scope: &[&'t str],
    ) -> Result<(), TranslateError> {
        let tokens = &self.tokens.all;
        if scope.len() > DEEPEST {
            return self.syntax(from, "namespaces or classes are nested too deeply");
        }
        let mut i = from;
        while i < to {
            if tokens[i].is(";") || tokens[i].kind == Kind::Pragma {
                i += 1;
                continue;
            }
            if let Some((open, names)) = self.block(i, to) {
                let Some(close) = matching(tokens, open) else {
                    return self.syntax(open, "a `{` has no matching `}`");
                };
                let inner: Vec<&str> = scope.iter().copied().chain(names).collect();
                self.declarations(open + 1, close, &inner)?;
                i = close + 1;
                continue;
            }
            // `public:` and the like in classes.
            if matches!(tokens[i].text, "public" | "private" | "protected")
                && i + 1 < to
                && tokens[i + 1].is(":")
            {
                i += 2;
                continue;
            }
            i = self.declaration(i, to, scope)?;
        }
        Ok(())
    }

    /// A namespace or linkage block that starts at `i`: its `{` and the names that it adds.
    fn block(&self, i: usize, to: usize) -> Option<(usize, Vec<&'t str>)> {
        let tokens = &self.tokens.all;
        let mut at = i;
        if tokens[at].is("inline") {
            at += 1;
        }
        let mut names = Vec::new();
        if at < to && tokens[at].is("namespace") {
            at += 1;
            while at < to && (tokens[at].kind == Kind::Identifier || tokens[at].is("::")) {
                if tokens[at].kind == Kind::Identifier {
                    names.push(tokens[at].text);
                }
                at += 1;
            }
        } else if at + 1 < to && tokens[at].is("extern") && tokens[at + 1].kind == Kind::Literal {
            at += 2;
        } else {
            return None;
        }
        (at < to && tokens[at].is("{")).then_some((at, names))
    }

    /// Handles the declaration at `start`; the index after it.
    fn declaration(&mut self, start: usize, to: usize, scope: &[&'t str]) -> Result<usize, TranslateError> {
        let tokens = &self.tokens.all;
        let mut i = start;
        // Skip `template <…>`, which may be repeated; `template` alone is an explicit instantiation.
        while i + 1 < to && tokens[i].is("template") && tokens[i + 1].is("<") {
            let Some(close) = matching_angle(tokens, i + 1) else {
                return self.syntax(i, "the parameter list of a template does not end");
            };
            i = close + 1;
        }
        let head = i;
        let (mut parentheses, mut assigned, mut class) = (false, false, false);
        while i < to {
            let token = &tokens[i];
            if attributes::starts(tokens, i) {
                let Some((_, after)) = attributes::list(tokens, i) else {
                    return self.syntax(i, "an attribute list does not end with `]]`");
                };
                i = after;
                continue;
            }
            match token.text {
                ";" => {
                    let declaration = Declaration { start, end: i + 1, body: None };
                    self.bodiless(declaration, head, parentheses, assigned, scope)?;
                    return Ok(i + 1);
                }
                "struct" | "class" | "union" | "enum" if !parentheses => class = true,
                "=" if !is_operator_name(tokens, i) => assigned = true,
                "(" | "[" => {
                    let Some(close) = matching(tokens, i) else {
                        return self.syntax(i, "a bracket is not closed");
                    };
                    parentheses |=
                        token.is("(") && !(i > start && is_specifier_with_arguments(tokens[i - 1].text));
                    i = close;
                }
                "{" => {
                    let Some(close) = matching(tokens, i) else {
                        return self.syntax(i, "a `{` has no matching `}`");
                    };
                    if class && !parentheses && !assigned {
                        if self.repeats(start, i, (i + 1, close), scope)? {
                            let end = (close..to).find(|&k| tokens[k].is(";")).map_or(to, |k| k + 1);
                            self.edits.remove(start, end);
                            return Ok(end);
                        }
                        if !(start..i).any(|k| tokens[k].is("enum")) {
                            let name = tokens[head..i]
                                .iter()
                                .skip_while(|t| !matches!(t.text, "struct" | "class" | "union"))
                                .find(|t| {
                                    t.kind == Kind::Identifier
                                        && !matches!(t.text, "struct" | "class" | "union")
                                })
                                .map_or("", |t| t.text);
                            let inner: Vec<&str> = scope.iter().copied().chain([name]).collect();
                            self.classes.push(start);
                            self.declarations(i + 1, close, &inner)?;
                            self.classes.pop();
                        }
                    } else if parentheses && !assigned && !self.initializer(i, head) {
                        if !self.is_kernel(head, i) && self.repeats(start, i, (i + 1, close), scope)? {
                            self.edits.remove(start, close + 1);
                            return Ok(close + 1);
                        }
                        self.function(
                            Declaration { start, end: close + 1, body: Some((i, close)) },
                            head,
                            scope,
                        )?;
                        return Ok(close + 1);
                    }
                    i = close;
                }
                "}" | ")" | "]" => {
                    return self.syntax(i, &format!("`{}` without its opening bracket", token.text));
                }
                _ => {}
            }
            i += 1;
        }
        self.syntax(start, "a declaration does not end")
    }

    /// Whether the `{` at `open` initialises a member in a constructor (`A() : x{1} {…}`) rather than opening a body.
    fn initializer(&self, open: usize, head: usize) -> bool {
        let tokens = &self.tokens.all;
        let named = tokens[open - 1].kind == Kind::Identifier
            && !matches!(tokens[open - 1].text, "const" | "noexcept" | "override" | "final" | "mutable");
        let colon = (head..open).any(|k| tokens[k].is(":") && k > head && tokens[k - 1].is(")"));
        named && colon
    }

    /// A declaration that ends in `;`: a variable, an alias, a forward declaration or an explicit instantiation.
    fn bodiless(
        &mut self,
        declaration: Declaration,
        head: usize,
        parentheses: bool,
        assigned: bool,
        scope: &[&'t str],
    ) -> Result<(), TranslateError> {
        let tokens = &self.tokens.all;
        if tokens[declaration.start].is("template") && head == declaration.start {
            return self.instantiation(declaration, scope);
        }
        if matches!(tokens[head].text, "using" | "typedef" | "static_assert" | "friend") {
            return Ok(());
        }
        if self.is_kernel(head, declaration.end) {
            // A forward declaration.
            self.strip_kernel_words(head, declaration.end);
            return Ok(());
        }
        if parentheses && !self.has_attribute(head, declaration.end, "function_constant") {
            let end = declaration.end - 1;
            let assign = (head + 1..end).find(|&i| {
                tokens[i].is("=") && tokens[i - 1].kind == Kind::Identifier
                    || tokens[i].is("=") && tokens[i - 1].is(")")
            });
            let value =
                assign.filter(|&i| i + 2 == end && matches!(tokens[i + 1].text, "default" | "delete"));
            if (!assigned || value.is_some())
                && self.repeats(declaration.start, value.unwrap_or(end), (end, end), scope)?
            {
                self.edits.remove(declaration.start, end);
            }
            if !assigned || value.is_some() {
                return Ok(());
            }
        }
        self.variable(declaration, head)
    }
}

/// Words whose parentheses do not make a declaration a function.
fn is_specifier_with_arguments(word: &str) -> bool {
    matches!(word, "decltype" | "alignas" | "__attribute__" | "__declspec" | "static_assert" | "explicit")
}

/// Whether the `=` at `i` belongs to the name of an operator: `operator=`, `operator>=`, `operator>>=`.
fn is_operator_name(tokens: &[Token<'_>], i: usize) -> bool {
    let before = tokens[..i].iter().rposition(|t| !t.is(">"));
    before.is_some_and(|k| tokens[k].is("operator"))
}
