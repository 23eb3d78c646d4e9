//! Which function constants a kernel needs.
//!
//! By name: a function uses what its parameters and its body name, and all that those use. That may find too much where
//! two functions share a name, and never too little; so what a function names itself is certain, the rest is not.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::FunctionConstant;
use super::lexer::{Kind, Token, Tokens};

/// The identifiers that each function and each constant of a text names.
#[derive(Debug)]
pub(super) struct Uses<'t> {
    tokens: &'t Tokens<'t>,
    named: HashMap<&'t str, Vec<Range<usize>>>,
    /// Constants for which the text asks whether they are defined: they need no value.
    optional: HashSet<&'t str>,
}

impl<'t> Uses<'t> {
    pub fn new(tokens: &'t Tokens<'t>) -> Self {
        let all = &tokens.all;
        let mut named: HashMap<&str, Vec<Range<usize>>> = HashMap::new();
        let mut optional = HashSet::new();
        let mut open: Vec<usize> = Vec::new();
        for (i, token) in all.iter().enumerate() {
            match token.text {
                "{" | "(" if token.kind == Kind::Punctuation => open.push(i),
                "}" if token.kind == Kind::Punctuation => {
                    let start = open.pop().and_then(|brace| Some((brace, signature(all, brace)?)));
                    if let Some((_, (name, start))) = start {
                        named.entry(name).or_default().push(start..i);
                    }
                }
                ")" if token.kind == Kind::Punctuation => {
                    open.pop();
                }
                // At file scope only: a local variable is nobody else's.
                "=" if open.is_empty() && i > 0 => {
                    let end = all[i..].iter().position(|token| token.is(";")).map_or(all.len(), |n| i + n);
                    if all[i - 1].kind == Kind::Identifier {
                        named.entry(all[i - 1].text).or_default().push(i..end);
                    }
                }
                "is_function_constant_defined" => {
                    optional.extend(all.get(i + 2).map(|token| token.text));
                }
                _ => {}
            }
        }
        Self { tokens, named, optional }
    }

    /// The indexes of the function constants that `function`, an expression, names itself, and of those that it may use by way of
    /// others.
    pub fn constants(&self, function: &str, declared: &[FunctionConstant]) -> (Vec<u32>, Vec<u32>) {
        let words = function.split(|c: char| !c.is_alphanumeric() && c != '_');
        let mut pending: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        let mut seen: HashSet<&str> = pending.iter().copied().collect();
        let named = self.follow(&mut seen, std::mem::take(&mut pending));
        let of = |seen: &HashSet<&str>| -> Vec<u32> {
            let needed = |constant: &&FunctionConstant| {
                seen.contains(constant.name.as_str()) && !self.optional.contains(constant.name.as_str())
            };
            declared.iter().filter(needed).map(|constant| constant.index).collect()
        };
        let certain = of(&seen);
        pending.extend(named);
        while !pending.is_empty() {
            pending = self.follow(&mut seen, pending);
        }
        let possible = of(&seen).into_iter().filter(|index| !certain.contains(index)).collect();
        (certain, possible)
    }

    /// Adds to `seen` what the functions and constants of these names name, and gives what was not seen before.
    fn follow<'a>(&'a self, seen: &mut HashSet<&'a str>, names: Vec<&str>) -> Vec<&'a str> {
        let mut found = Vec::new();
        for name in names {
            for range in self.named.get(name).into_iter().flatten() {
                for token in &self.tokens.all[range.clone()] {
                    if token.kind == Kind::Identifier && seen.insert(token.text) {
                        found.push(token.text);
                    }
                }
            }
        }
        found
    }
}

/// The name of the function whose body opens at `brace`, and where its parameters begin.
fn signature<'t>(all: &[Token<'t>], brace: usize) -> Option<(&'t str, usize)> {
    let mut close = brace.checked_sub(1)?;
    // `f(…) const {` and the like.
    while all[close].kind == Kind::Identifier {
        close = close.checked_sub(1)?;
    }
    if !all[close].is(")") {
        return None;
    }
    let mut depth = 0usize;
    let mut at = close;
    loop {
        if all[at].is(")") {
            depth += 1;
        } else if all[at].is("(") {
            depth -= 1;
            if depth == 0 {
                break;
            }
        }
        at = at.checked_sub(1)?;
    }
    let name = &all[at.checked_sub(1)?];
    let control = matches!(name.text, "if" | "for" | "while" | "switch" | "constexpr");
    (name.kind == Kind::Identifier && !control).then_some((name.text, at))
}

#[cfg(test)]
mod tests {
    use super::super::translate;

    /// What the kernel names itself, and what it may use.
    fn needed(kernel: &str) -> (Vec<u32>, Vec<u32>) {
        let text = "
            constant uint a [[function_constant(0)]];
            constant bool b [[function_constant(1)]];
            constant float c [[function_constant(2)]];
            constant uint d [[function_constant(3)]];
            constant uint twice = a * 2;
            constant float offset = is_function_constant_defined(c) ? c : 0;
            inline uint inner(uint x) { return x + d; }
            template <typename T> T outer(T x) { if (x > 1) { return inner(x); } return x; }
            kernel void none(device uint *x [[buffer(0)]]) { x[0] = 1; }
            kernel void direct(device uint *x [[buffer(0)]]) { for (;b;) { x[0] = 1; } }
            kernel void derived(device uint *x [[buffer(0)]]) { x[0] = twice + uint(offset); }
            kernel void called(device uint *x [[buffer(0)]]) { x[0] = outer<uint>(x[1]); }
            kernel void local(device uint *x [[buffer(0)]]) { if (x[0] > 1) { uint y = a; x[0] = y; } }
            kernel void namesake(device uint *x [[buffer(0)]]) { uint y = 1; x[0] = y; }
            kernel void parameter(device uint *x [[buffer(0), function_constant(b)]]) { }
        ";
        let translation = translate(text, "test.metal").unwrap();
        let found = translation.kernels.into_iter().find(|k| k.name == kernel).unwrap();
        (found.constants, found.possible_constants)
    }

    #[test]
    fn constants_are_found_through_functions_and_other_constants() {
        assert_eq!(needed("none"), (vec![], vec![]));
        assert_eq!(needed("direct"), (vec![1], vec![]));
        assert_eq!(needed("derived"), (vec![], vec![0]));
        assert_eq!(needed("called"), (vec![], vec![3]));
        assert_eq!(needed("local"), (vec![0], vec![]));
        assert_eq!(needed("namesake"), (vec![], vec![]));
        assert_eq!(needed("parameter"), (vec![1], vec![]));
    }
}
