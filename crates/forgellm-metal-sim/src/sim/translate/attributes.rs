//! `[[…]]` attributes and what those of kernels mean.

use super::declarations::{self, DEEPEST};
use super::lexer::{Kind, Token};

/// A value that a thread knows of itself and of its grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the attributes of the language")]
pub enum Builtin {
    ThreadPositionInGrid,
    ThreadPositionInThreadgroup,
    ThreadIndexInThreadgroup,
    ThreadIndexInSimdgroup,
    ThreadIndexInQuadgroup,
    ThreadgroupPositionInGrid,
    ThreadgroupsPerGrid,
    ThreadsPerGrid,
    ThreadsPerThreadgroup,
    SimdgroupIndexInThreadgroup,
    SimdgroupsPerThreadgroup,
    QuadgroupIndexInThreadgroup,
    QuadgroupsPerThreadgroup,
    ThreadsPerSimdgroup,
    GridOrigin,
}

/// The attribute's name, the value, and how an entry function computes it from `ms_t`, its `ms_thread`.
const BUILTINS: [(&str, Builtin, &str); 20] = [
    ("thread_position_in_grid", Builtin::ThreadPositionInGrid, "ms_t->position_in_grid"),
    ("thread_position_in_threadgroup", Builtin::ThreadPositionInThreadgroup, "ms_t->position_in_threadgroup"),
    ("thread_index_in_threadgroup", Builtin::ThreadIndexInThreadgroup, "ms_t->index_in_threadgroup"),
    ("thread_index_in_simdgroup", Builtin::ThreadIndexInSimdgroup, "ms_t->lane"),
    ("thread_index_in_quadgroup", Builtin::ThreadIndexInQuadgroup, "ms_t->lane & 3u"),
    ("threadgroup_position_in_grid", Builtin::ThreadgroupPositionInGrid, "ms_t->threadgroup_position"),
    ("threadgroups_per_grid", Builtin::ThreadgroupsPerGrid, "ms_t->threadgroups_per_grid"),
    ("threads_per_grid", Builtin::ThreadsPerGrid, "ms_t->threads_per_grid"),
    ("grid_size", Builtin::ThreadsPerGrid, "ms_t->threads_per_grid"),
    ("threads_per_threadgroup", Builtin::ThreadsPerThreadgroup, "ms_t->threads_per_threadgroup"),
    ("dispatch_threads_per_threadgroup", Builtin::ThreadsPerThreadgroup, "ms_t->threads_per_threadgroup"),
    ("simdgroup_index_in_threadgroup", Builtin::SimdgroupIndexInThreadgroup, "ms_t->simdgroup"),
    ("simdgroups_per_threadgroup", Builtin::SimdgroupsPerThreadgroup, "ms_t->simdgroups_per_threadgroup"),
    (
        "dispatch_simdgroups_per_threadgroup",
        Builtin::SimdgroupsPerThreadgroup,
        "ms_t->simdgroups_per_threadgroup",
    ),
    (
        "quadgroup_index_in_threadgroup",
        Builtin::QuadgroupIndexInThreadgroup,
        "ms_t->index_in_threadgroup / 4u",
    ),
    ("quadgroups_per_threadgroup", Builtin::QuadgroupsPerThreadgroup, QUADGROUPS),
    ("dispatch_quadgroups_per_threadgroup", Builtin::QuadgroupsPerThreadgroup, QUADGROUPS),
    ("threads_per_simdgroup", Builtin::ThreadsPerSimdgroup, "32u"),
    ("thread_execution_width", Builtin::ThreadsPerSimdgroup, "32u"),
    ("grid_origin", Builtin::GridOrigin, "ms::zero_origin"),
];
const QUADGROUPS: &str = "ms::quadgroups(ms_t)";

/// A built-in value by its attribute, with the C++ expression for it.
pub(super) fn builtin(attribute: &str) -> Option<(Builtin, &'static str)> {
    BUILTINS
        .iter()
        .find(|(name, ..)| *name == attribute)
        .map(|(_, builtin, expression)| (*builtin, *expression))
}

/// One attribute: `name` or `name(arguments)`, as token indexes.
#[derive(Debug, Clone)]
pub(super) struct Attribute<'t> {
    /// With its scope: `clang::noinline`.
    pub name: String,
    /// The tokens between its parentheses.
    pub arguments: &'t [Token<'t>],
    /// Index of its first token.
    pub at: usize,
}

impl Attribute<'_> {
    /// The argument's value, if it is an expression of numbers: `3`, `(600 + 1)`.
    pub fn number(&self) -> Option<u32> {
        let mut rest = self.arguments;
        let value = sum(&mut rest, 0)?;
        if rest.is_empty() { u32::try_from(value).ok() } else { None }
    }

    /// The argument as string literals, joined: `("a" "b")`.
    pub fn string(&self) -> Option<String> {
        let mut joined = String::new();
        for token in self.arguments {
            joined.push_str(token.text.strip_prefix('"')?.strip_suffix('"')?);
        }
        (!joined.is_empty()).then_some(joined)
    }

    pub fn text(&self) -> String {
        if self.arguments.is_empty() {
            return self.name.clone();
        }
        let arguments: Vec<&str> = self.arguments.iter().map(|t| t.text).collect();
        format!("{}({})", self.name, arguments.join(""))
    }
}

/// Whether an attribute list `[[` starts at `i`.
pub(super) fn starts(tokens: &[Token<'_>], i: usize) -> bool {
    i + 1 < tokens.len() && tokens[i].is("[") && tokens[i + 1].is("[")
}

/// The attributes of the list that starts at `i`, and the index after its `]]`. None if it does not end.
pub(super) fn list<'t>(tokens: &'t [Token<'t>], i: usize) -> Option<(Vec<Attribute<'t>>, usize)> {
    let mut found = Vec::new();
    let mut at = i + 2;
    loop {
        let token = tokens.get(at)?;
        if token.is("]") && tokens.get(at + 1)?.is("]") {
            return Some((found, at + 2));
        }
        if token.is(",") {
            at += 1;
            continue;
        }
        let first = at;
        let mut name = token.text.to_string();
        at += 1;
        while tokens.get(at)?.is("::") {
            name.push_str("::");
            name.push_str(tokens.get(at + 1)?.text);
            at += 2;
        }
        let mut arguments: &[Token<'_>] = &[];
        if tokens.get(at)?.is("(") {
            let end = declarations::matching(tokens, at)?;
            arguments = &tokens[at + 1..end];
            at = end + 1;
        }
        found.push(Attribute { name, arguments, at: first });
    }
}

/// `a + b - c` at the start of `tokens`, which then starts after it. `depth` counts parentheses around it.
fn sum(tokens: &mut &[Token<'_>], depth: usize) -> Option<i64> {
    let mut value = product(tokens, depth)?;
    while let [operator, rest @ ..] = *tokens
        && (operator.is("+") || operator.is("-"))
    {
        *tokens = rest;
        let right = product(tokens, depth)?;
        value = if operator.is("+") { value.checked_add(right)? } else { value.checked_sub(right)? };
    }
    Some(value)
}

fn product(tokens: &mut &[Token<'_>], depth: usize) -> Option<i64> {
    let mut value = operand(tokens, depth)?;
    while let [operator, rest @ ..] = *tokens
        && (operator.is("*") || operator.is("/"))
    {
        *tokens = rest;
        let right = operand(tokens, depth)?;
        value = if operator.is("*") { value.checked_mul(right)? } else { value.checked_div(right)? };
    }
    Some(value)
}

fn operand(tokens: &mut &[Token<'_>], depth: usize) -> Option<i64> {
    let [first, rest @ ..] = *tokens else { return None };
    *tokens = rest;
    if first.is("(") && depth < DEEPEST {
        let value = sum(tokens, depth + 1)?;
        let [close, rest @ ..] = *tokens else { return None };
        *tokens = rest;
        return close.is(")").then_some(value);
    }
    if first.kind != Kind::Number {
        return None;
    }
    let digits = first.text.trim_end_matches(['u', 'U', 'l', 'L']);
    match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        Some(hexadecimal) => i64::from_str_radix(hexadecimal, 16).ok(),
        None => digits.parse().ok(),
    }
}
