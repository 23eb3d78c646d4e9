//! The parameters of a kernel and what is bound to them.

use super::attributes::{self, Attribute};
use super::declarations::matching_angle;
use super::error::TranslateError;
use super::lexer::{Kind, Token};
use super::{AddressSpace, Parameter, ParameterKind, Translator};

/// Buffers and threadgroup arguments of a kernel have indexes below this.
const INDEXES: u32 = 31;

/// A parameter and how an entry function fetches it.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    pub parameter: Parameter,
    /// For built-in values, the C++ expression.
    expression: &'static str,
}

impl Bound {
    /// The C++ expression for argument `i` of the kernel.
    pub fn argument(&self, i: usize) -> String {
        match &self.parameter.kind {
            ParameterKind::Buffer { index, .. } => format!("ms::buffer<ms_a::type<{i}>>(ms_t, {index})"),
            ParameterKind::Threadgroup { index } => {
                format!("ms::threadgroup_buffer<ms_a::type<{i}>>(ms_t, {index})")
            }
            ParameterKind::Builtin(_) => format!("ms::builtin<ms_a::type<{i}>>({})", self.expression),
        }
    }
}

/// A parameter before its index is known.
struct Read<'t> {
    at: usize,
    name: &'t str,
    /// Tokens of the declaration without attributes.
    words: Vec<&'t Token<'t>>,
    attributes: Vec<Attribute<'t>>,
}

impl<'t> Read<'t> {
    fn has(&self, word: &str) -> bool {
        self.words.iter().any(|t| t.is(word))
    }

    fn attribute(&self, name: &str) -> Option<&Attribute<'t>> {
        self.attributes.iter().find(|a| a.name == name)
    }

    fn is_buffer(&self) -> bool {
        self.has("device") || self.has("constant")
    }
}

impl<'t> Translator<'t> {
    /// Reads the parameters in `from..to` (between the parentheses) of `kernel` and gives those without an index the
    /// first free ones.
    pub(super) fn parameters(
        &self,
        kernel: &str,
        from: usize,
        to: usize,
    ) -> Result<Vec<Bound>, TranslateError> {
        let read = self.split_parameters(from, to)?;
        let explicit = |attribute: &str, p: &Read<'t>| -> Result<Option<u32>, TranslateError> {
            match p.attribute(attribute) {
                None => Ok(None),
                Some(a) => match a.number() {
                    Some(number) => Ok(Some(number)),
                    None => self.syntax_at(a.at, &format!("`[[{}]]` needs a number as its index", a.text())),
                },
            }
        };
        let mut used: [Vec<u32>; 2] = [Vec::new(), Vec::new()];
        for p in &read {
            used[0].extend(explicit("buffer", p)?);
            used[1].extend(explicit("threadgroup", p)?);
        }
        let mut taken: [Vec<u32>; 2] = [Vec::new(), Vec::new()];
        let mut bound = Vec::new();
        for p in &read {
            let at = self.tokens.position(p.at);
            let builtin = p.attributes.iter().find_map(|a| attributes::builtin(&a.name));
            let (kind, expression) = if p.is_buffer() || (p.has("threadgroup") && builtin.is_none()) {
                let family = usize::from(!p.is_buffer());
                let family_name = ["buffer", "threadgroup"][family];
                let index = match explicit(family_name, p)? {
                    Some(index) => index,
                    None => first_free(&mut used[family]),
                };
                let refuse = |problem| {
                    Err(TranslateError::Index {
                        at: at.clone(),
                        kernel: kernel.into(),
                        parameter: p.name.into(),
                        kind: family_name,
                        index,
                        problem,
                    })
                };
                if index >= INDEXES {
                    return refuse("is too large: indexes go up to 30");
                }
                if taken[family].contains(&index) && p.attribute("function_constant").is_none() {
                    return refuse("is taken by another parameter");
                }
                taken[family].push(index);
                if !(p.has("*") || p.has("&") || p.has("[")) {
                    return self.syntax_at(
                        p.at,
                        &format!("parameter `{}` must be a pointer or a reference", p.name),
                    );
                }
                let kind = match family {
                    0 => buffer_kind(p, index),
                    _ => ParameterKind::Threadgroup { index },
                };
                (kind, "")
            } else if let Some((builtin, expression)) = builtin {
                (ParameterKind::Builtin(builtin), expression)
            } else {
                return Err(TranslateError::ParameterWithoutPlace {
                    at,
                    kernel: kernel.into(),
                    parameter: p.name.into(),
                });
            };
            if let Some(unknown) = p.attributes.iter().find(|a| !is_parameter_attribute(&a.name)) {
                return Err(TranslateError::UnknownAttribute {
                    at: self.tokens.position(unknown.at),
                    attribute: unknown.text(),
                    on: format!("parameter `{}` of kernel `{kernel}`", p.name),
                });
            }
            bound.push(Bound { parameter: Parameter { name: p.name.into(), kind, at }, expression });
        }
        Ok(bound)
    }

    fn split_parameters(&self, from: usize, to: usize) -> Result<Vec<Read<'t>>, TranslateError> {
        let tokens: &'t [Token<'t>] = &self.tokens.all;
        let mut read = Vec::new();
        let mut current = Read { at: from, name: "", words: Vec::new(), attributes: Vec::new() };
        // Depth of brackets other than `<>`: a comma there separates nothing.
        let mut depth = 0usize;
        let mut i = from;
        while i < to {
            let token = &tokens[i];
            if attributes::starts(tokens, i) {
                let Some((list, after)) = attributes::list(tokens, i) else {
                    return self.syntax_at(i, "an attribute list does not end with `]]`");
                };
                current.attributes.extend(list);
                i = after;
                continue;
            }
            if token.kind == Kind::Pragma {
                i += 1;
                continue;
            }
            if token.is("<")
                && let Some(close) = matching_angle(tokens, i)
            {
                current.words.extend(&tokens[i..=close]);
                i = close + 1;
                continue;
            }
            match token.text {
                "(" | "[" => depth += 1,
                ")" | "]" => depth = depth.saturating_sub(1),
                "," if depth == 0 => {
                    read.push(current);
                    current = Read { at: i + 1, name: "", words: Vec::new(), attributes: Vec::new() };
                    i += 1;
                    continue;
                }
                _ => {}
            }
            if token.kind == Kind::Identifier && !current.words.last().is_some_and(|t| t.is("[")) {
                current.name = token.text;
                current.at = i;
            }
            current.words.push(token);
            i += 1;
        }
        let nothing = current.words.is_empty() || current.words.len() == 1 && current.words[0].is("void");
        if !nothing {
            read.push(current);
        }
        Ok(read)
    }
}

fn buffer_kind(p: &Read<'_>, index: u32) -> ParameterKind {
    let declarator =
        p.words.iter().position(|t| t.is("*") || t.is("&") || t.is("(")).unwrap_or(p.words.len());
    let pointee = &p.words[..declarator];
    let element: Vec<&str> = pointee
        .iter()
        .filter(|t| !matches!(t.text, "device" | "constant" | "const" | "volatile" | "restrict"))
        .map(|t| t.text)
        .collect();
    let space = if p.has("constant") { AddressSpace::Constant } else { AddressSpace::Device };
    ParameterKind::Buffer {
        index,
        writable: space == AddressSpace::Device && !pointee.iter().any(|t| t.is("const")),
        space,
        element: joined(&element),
        reference: p.has("&"),
        optional: p.attribute("function_constant").is_some(),
    }
}

/// Tokens of a type, with spaces only between words.
fn joined(words: &[&str]) -> String {
    let mut text = String::new();
    for word in words {
        let glue = text.ends_with(|c: char| c.is_alphanumeric() || c == '_')
            && word.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        if glue {
            text.push(' ');
        }
        text.push_str(word);
        if *word == "," {
            text.push(' ');
        }
    }
    text
}

fn first_free(used: &mut Vec<u32>) -> u32 {
    let index = (0..).find(|i| !used.contains(i)).unwrap_or(INDEXES);
    used.push(index);
    index
}

fn is_parameter_attribute(name: &str) -> bool {
    matches!(name, "buffer" | "threadgroup" | "function_constant" | "maybe_unused" | "unused")
        || attributes::builtin(name).is_some()
}
