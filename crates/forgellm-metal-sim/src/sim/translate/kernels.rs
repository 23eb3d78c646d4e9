//! Kernels: definitions, templates, explicit instantiations, and the entry functions that call them.

use super::attributes::{self, Attribute};
use super::declarations::{Declaration, matching, matching_angle};
use super::error::TranslateError;
use super::lexer::Kind;
use super::parameters::Bound;
use super::{KernelInfo, Purpose, Translator};

/// A kernel template, kept for its instantiations.
#[derive(Debug, Clone)]
pub(super) struct Template {
    name: String,
    parameters: Vec<Bound>,
    max_total_threads: Option<u32>,
}

/// How an entry function names the kernel that it calls.
struct Callee {
    /// The name a pipeline asks for.
    name: String,
    /// The namespaces around the function, from the outermost, each with its `::`.
    scope: String,
    /// The function within them, with its template arguments.
    function: String,
    /// A C++ type if the name alone is ambiguous: a pointer to a function.
    signature: Option<String>,
}

impl Callee {
    /// A C++ expression for a pointer to the function. Its name is looked up where it was declared and nowhere else: a
    /// kernel may be called like a function of the language's library.
    fn pointer(&self) -> String {
        let pointer = format!("(&::{}{})", self.scope, self.function);
        match &self.signature {
            Some(signature) => format!("static_cast<{signature}>{pointer}"),
            None => pointer,
        }
    }
}

impl<'t> Translator<'t> {
    /// Attributes in `from..to` outside of parentheses.
    fn attributes(&self, from: usize, to: usize) -> Vec<Attribute<'t>> {
        let tokens: &'t [_] = &self.tokens.all;
        let mut found = Vec::new();
        let mut i = from;
        while i < to {
            if attributes::starts(tokens, i) {
                match attributes::list(tokens, i) {
                    Some((list, after)) => {
                        found.extend(list);
                        i = after;
                        continue;
                    }
                    None => break,
                }
            }
            if tokens[i].is("(") || tokens[i].is("{") {
                i = matching(tokens, i).unwrap_or(to);
            }
            i += 1;
        }
        found
    }

    pub(super) fn has_attribute(&self, from: usize, to: usize, name: &str) -> bool {
        self.attributes(from, to).iter().any(|a| a.name == name)
    }

    /// Whether the declaration in `from..to` has the `kernel` qualifier or attribute.
    pub(super) fn is_kernel(&self, from: usize, to: usize) -> bool {
        let tokens = &self.tokens.all;
        let head = (from..to).find(|&i| tokens[i].is("(") && !self.follows_specifier(i)).unwrap_or(to);
        (from..head).any(|i| tokens[i].is("kernel")) || self.has_attribute(from, to, "kernel")
    }

    fn follows_specifier(&self, open: usize) -> bool {
        // The parentheses of `decltype(…)`, and of attributes such as `host_name("…")`, come before the kernel's name.
        const SPECIFIERS: [&str; 5] =
            ["decltype", "alignas", "__attribute__", "host_name", "max_total_threads_per_threadgroup"];
        open > 0 && SPECIFIERS.iter().any(|specifier| self.tokens.all[open - 1].is(specifier))
    }

    /// Removes `kernel` and all attribute lists of a declaration's head and parameters.
    pub(super) fn strip_kernel_words(&mut self, from: usize, to: usize) {
        let tokens = &self.tokens.all;
        let mut i = from;
        while i < to {
            if attributes::starts(tokens, i)
                && let Some((_, after)) = attributes::list(tokens, i)
            {
                self.edits.remove(i, after);
                i = after;
                continue;
            }
            if tokens[i].is("kernel") {
                self.edits.remove(i, i + 1);
            }
            i += 1;
        }
    }

    /// A function with a body.
    pub(super) fn function(
        &mut self,
        declaration: Declaration,
        head: usize,
        scope: &[&'t str],
    ) -> Result<(), TranslateError> {
        let tokens = &self.tokens.all;
        let Some((open, close)) = declaration.body else { return Ok(()) };
        if !self.is_kernel(head, open) {
            return self.body(open, close, None);
        }
        let Some((name_at, parameters_at)) = self.kernel_name(head, open) else {
            return self.syntax_at(head, "a kernel has no parameter list");
        };
        let name = tokens[name_at].text;
        let Some(parameters_end) = matching(tokens, parameters_at) else {
            return self.syntax_at(parameters_at, "the parameter list of a kernel does not end");
        };
        let parameters = self.parameters(name, parameters_at + 1, parameters_end)?;
        let list = self.attributes(head, open);
        let max_total_threads =
            list.iter().find(|a| a.name == "max_total_threads_per_threadgroup").and_then(Attribute::number);
        let host_name = list.iter().find(|a| a.name == "host_name").and_then(Attribute::string);
        self.strip_kernel_words(head, open);
        self.body(open, close, Some(name))?;
        let template = declaration.start != head;
        if template && !(tokens[declaration.start + 1].is("<") && tokens[declaration.start + 2].is(">")) {
            let name = qualified(scope, name);
            self.templates.push(Template { name, parameters, max_total_threads });
            return Ok(());
        }
        // A full specialisation `template <> kernel void f<T>(…)` is called with its arguments.
        let function: String =
            tokens[name_at..parameters_at].iter().map(|t| t.text).collect::<Vec<_>>().join(" ");
        let callee = Callee {
            name: host_name.unwrap_or_else(|| name.to_string()),
            scope: scope.iter().map(|space| format!("{space}::")).collect(),
            function,
            signature: None,
        };
        if !self.is_wanted(&callee.name) {
            // What is inline and not used costs the compiler nothing.
            self.edits.replace(name_at, format!("inline {name}"));
        }
        self.entry(name_at, declaration.end - 1, callee, &parameters, max_total_threads)
    }

    /// The kernel's name and the `(` of its parameters.
    fn kernel_name(&self, from: usize, to: usize) -> Option<(usize, usize)> {
        let tokens = &self.tokens.all;
        let mut i = from;
        while i < to {
            if attributes::starts(tokens, i) {
                i = attributes::list(tokens, i)?.1;
                continue;
            }
            if tokens[i].kind == Kind::Identifier {
                if matches!(tokens[i].text, "decltype" | "alignas" | "__attribute__")
                    && tokens.get(i + 1)?.is("(")
                {
                    i = matching(tokens, i + 1)? + 1;
                    continue;
                }
                let next = tokens.get(i + 1)?;
                if next.is("(") {
                    return Some((i, i + 1));
                }
                if next.is("<")
                    && let Some(close) = matching_angle(tokens, i + 1)
                {
                    if tokens.get(close + 1)?.is("(") {
                        return Some((i, close + 1));
                    }
                    i = close;
                }
            }
            i += 1;
        }
        None
    }

    /// `template [[host_name("x")]] kernel void f<half, 4>(…);` or `… kernel decltype(f<half>) f<half>;`.
    pub(super) fn instantiation(
        &mut self,
        declaration: Declaration,
        scope: &[&'t str],
    ) -> Result<(), TranslateError> {
        let tokens = &self.tokens.all;
        let (start, end) = (declaration.start, declaration.end - 1);
        let list = self.attributes(start, end);
        let host_name = list.iter().find(|a| a.name == "host_name").and_then(Attribute::string);
        if host_name.is_none() && !self.is_kernel(start + 1, end) {
            return Ok(());
        }
        // With a parameter list the name stands before it, without one it ends the declaration.
        let (name_at, name_end, with_parameters) = match self.kernel_name(start + 1, end) {
            Some((name, open)) => (name, open, Some(open)),
            None => {
                let last =
                    tokens[..end].iter().rposition(|t| !t.is(">") && t.kind != Kind::Pragma).unwrap_or(start);
                let mut name = None;
                let mut i = start;
                while i <= last {
                    if tokens[i].is("(") {
                        i = matching(tokens, i).unwrap_or(last);
                    } else if tokens[i].kind == Kind::Identifier && tokens[i + 1].is("<") {
                        match matching_angle(tokens, i + 1) {
                            Some(close) if close + 1 == end => {
                                name = Some(i);
                                break;
                            }
                            Some(close) => i = close,
                            None => {}
                        }
                    }
                    i += 1;
                }
                let Some(name) = name else {
                    return self.syntax_at(start, "this explicit instantiation names no template");
                };
                (name, end, None)
            }
        };
        let mut first = name_at;
        while first >= 2 && tokens[first - 1].is("::") && tokens[first - 2].kind == Kind::Identifier {
            first -= 2;
        }
        let path: Vec<&str> =
            tokens[first..=name_at].iter().filter(|t| t.kind == Kind::Identifier).map(|t| t.text).collect();
        let Some(template) = self.template(scope, &path).cloned() else {
            let name = path.join("::");
            return Err(TranslateError::UnknownTemplate { at: self.tokens.position(name_at), name });
        };
        let function = tokens[first..name_end].iter().map(|t| t.text).collect::<Vec<_>>().join(" ");
        let signature = match with_parameters {
            Some(open) if !tokens[name_at + 1].is("<") => {
                let Some(close) = matching(tokens, open) else {
                    return self.syntax_at(open, "the parameter list of a kernel does not end");
                };
                self.strip_kernel_words(open, close);
                let types: Vec<&str> = (open + 1..close).map(|i| self.edits.text(i)).collect();
                Some(format!("void (*)({})", types.join(" ")))
            }
            _ => None,
        };
        let name = host_name.unwrap_or_else(|| function.replace(' ', ""));
        let max_total_threads = list
            .iter()
            .find(|a| a.name == "max_total_threads_per_threadgroup")
            .and_then(Attribute::number)
            .or(template.max_total_threads);
        self.edits.remove(start, declaration.end);
        let scope = template.name.strip_suffix(tokens[name_at].text).unwrap_or_default().to_owned();
        let function = tokens[name_at..name_end].iter().map(|t| t.text).collect::<Vec<_>>().join(" ");
        let callee = Callee { name, scope, function, signature };
        self.entry(name_at, end, callee, &template.parameters, max_total_threads)
    }

    /// The template that `path` names when it is looked up in `scope`.
    fn template(&self, scope: &[&str], path: &[&str]) -> Option<&Template> {
        let path = path.join("::");
        (0..=scope.len()).rev().find_map(|depth| {
            let name = qualified(&scope[..depth], &path);
            self.templates.iter().rev().find(|t| t.name == name)
        })
    }

    /// Whether the kernel of that name is among those that are to be compiled.
    fn is_wanted(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    /// Writes the entry function of a kernel after token `after`, unless nobody wants it.
    fn entry(
        &mut self,
        at: usize,
        after: usize,
        callee: Callee,
        parameters: &[Bound],
        max_total_threads: Option<u32>,
    ) -> Result<(), TranslateError> {
        let position = self.tokens.position(at);
        if self.kernels.iter().any(|k| k.name == callee.name) {
            return Err(TranslateError::Twice { at: position, what: format!("kernel `{}`", callee.name) });
        }
        let entry = format!("ms_entry_{}", self.kernels.len());
        let wanted = self.is_wanted(&callee.name);
        let function = callee.pointer();
        let arguments: Vec<String> =
            parameters.iter().enumerate().map(|(i, bound)| bound.argument(i)).collect();
        let text = match self.purpose {
            Purpose::Run => format!(
                " extern \"C\" MS_EXPORT void {entry}(const ms_thread *ms_t) {{ \
                 using ms_a = ms::arguments<decltype({function})>; (void)sizeof(ms_a); (void)ms_t; \
                 ({function})({}); }}",
                arguments.join(", ")
            ),
            // The use makes the compiler look at the body of a template.
            Purpose::CheckSpaces => {
                format!(" [[maybe_unused]] static constexpr auto ms_use_{entry} = {function};")
            }
        };
        if wanted {
            self.edits.after(after, &text);
        }
        let (constants, possible_constants) = self.uses.constants(&callee.function, &self.constants.declared);
        self.kernels.push(KernelInfo {
            constants,
            possible_constants,
            name: callee.name,
            entry: wanted.then_some(entry),
            at: position,
            parameters: parameters.iter().map(|b| b.parameter.clone()).collect(),
            max_total_threads,
        });
        Ok(())
    }

    pub(super) fn syntax_at<T>(&self, at: usize, problem: &str) -> Result<T, TranslateError> {
        Err(TranslateError::Syntax { at: self.tokens.position(at), problem: problem.into() })
    }
}

fn qualified(scope: &[&str], name: &str) -> String {
    let mut path: Vec<&str> = scope.to_vec();
    path.push(name);
    path.join("::")
}
