//! Words that clang would take but the Metal Shading Language does not, or that the simulator does not have.

use std::collections::HashSet;

use super::attributes;
use super::declarations::matching;
use super::error::TranslateError;
use super::lexer::{Kind, Token, Tokens};

const NOT_METAL: &str = "the Metal Shading Language does not have it";
const COMPUTE_ONLY: &str = "the simulator runs compute kernels only";

/// Words refused wherever they stand, and why.
const REFUSED: [(&str, &str); 23] = [
    ("double", "the Metal Shading Language has no double: use float"),
    ("dynamic_cast", NOT_METAL),
    ("typeid", NOT_METAL),
    ("new", NOT_METAL),
    ("delete", NOT_METAL),
    ("virtual", NOT_METAL),
    ("throw", NOT_METAL),
    ("try", NOT_METAL),
    ("catch", NOT_METAL),
    ("goto", NOT_METAL),
    ("thread_local", NOT_METAL),
    ("asm", NOT_METAL),
    ("vertex", COMPUTE_ONLY),
    ("fragment", COMPUTE_ONLY),
    ("ray_data", COMPUTE_ONLY),
    ("object_data", COMPUTE_ONLY),
    ("threadgroup_imageblock", COMPUTE_ONLY),
    ("imageblock", COMPUTE_ONLY),
    ("visible_function_table", "the simulator has no function tables"),
    ("intersection_function_table", "the simulator has no function tables"),
    ("acceleration_structure", "the simulator has no ray tracing"),
    ("command_buffer", "the simulator has no indirect command buffers"),
    ("sampler", "the simulator has no textures"),
];

/// How many of [`KNOWN`] belong to the language; the others are clang's.
const METAL: usize = 6;

/// Attributes of functions, variables and types that do not change what a compute kernel computes, or that are read
/// elsewhere in this module's siblings.
const KNOWN: [&str; 24] = [
    "kernel",
    "host_name",
    "max_total_threads_per_threadgroup",
    "function_constant",
    "buffer",
    "threadgroup",
    "maybe_unused",
    "nodiscard",
    "deprecated",
    "fallthrough",
    "likely",
    "unlikely",
    "noreturn",
    "unused",
    "always_inline",
    "noinline",
    "clang::always_inline",
    "clang::noinline",
    "clang::optnone",
    "gnu::always_inline",
    "gnu::noinline",
    "gnu::unused",
    "clang::loop_unroll",
    "no_unique_address",
];

/// Checks every word and attribute of the text.
pub(super) fn check(tokens: &Tokens<'_>) -> Result<(), TranslateError> {
    let types = type_names(tokens);
    for (i, token) in tokens.all.iter().enumerate() {
        if token.kind == Kind::Identifier {
            let member = i > 0 && (tokens.all[i - 1].is(".") || tokens.all[i - 1].is("->"));
            // `= delete` is a declaration, not an expression.
            let deleted = token.text == "delete" && i > 0 && tokens.all[i - 1].is("=");
            let texture = token.text.starts_with("texture") && is_texture(token.text);
            let reason = REFUSED.iter().find(|(word, _)| *word == token.text).map(|(_, reason)| *reason);
            let reason = reason.or(texture.then_some("the simulator has no textures"));
            if let (Some(reason), false, false) = (reason, member, deleted) {
                return Err(TranslateError::Unsupported {
                    at: tokens.position(i),
                    construct: format!("`{}`", token.text),
                    reason,
                });
            }
        }
        let problem = match token.kind {
            Kind::Identifier if types.contains(token.text) && lacks_space(&tokens.all, i) => Some((
                format!("a pointer or reference to `{}` without an address space", token.text),
                "write `device`, `constant`, `threadgroup` or `thread` before the type",
            )),
            Kind::Identifier if is_list_cast(&tokens.all, i) => Some((
                format!("`({})(…, …)`", token.text),
                "this casts the last of the values: leave out the parentheses around the type",
            )),
            _ => None,
        };
        if let Some((construct, reason)) = problem {
            return Err(TranslateError::Unsupported { at: tokens.position(i), construct, reason });
        }
        if attributes::starts(&tokens.all, i) && !(i > 0 && tokens.all[i - 1].is("[")) {
            check_attributes(tokens, i)?;
        }
    }
    Ok(())
}

/// Names that surely are types: those of the language and the classes of the text.
fn type_names<'t>(tokens: &Tokens<'t>) -> HashSet<&'t str> {
    let all = &tokens.all;
    let mut names: HashSet<&str> = SCALARS.into_iter().collect();
    for (i, token) in all.iter().enumerate() {
        let class = i > 0 && matches!(all[i - 1].text, "struct" | "class" | "union");
        if (class && token.kind == Kind::Identifier) || is_vector(token.text) {
            names.insert(token.text);
        }
    }
    names
}

/// Whether the type at `i` is followed by `*` or `&` in a declaration or cast that names no address space. The language
/// has no default for it.
fn lacks_space(tokens: &[Token<'_>], i: usize) -> bool {
    const SPACES: [&str; 4] = ["device", "constant", "threadgroup", "thread"];
    const QUALIFIERS: [&str; 8] =
        ["const", "volatile", "static", "constexpr", "inline", "unsigned", "signed", "typename"];
    let mut after = i + 1;
    while tokens.get(after).is_some_and(|t| QUALIFIERS.contains(&t.text)) {
        after += 1;
    }
    if !tokens.get(after).is_some_and(|t| t.is("*") || t.is("&")) {
        return false;
    }
    let before = tokens[..i].iter().rposition(|t| !QUALIFIERS.contains(&t.text));
    let Some(before) = before.map(|k| &tokens[k]) else { return true };
    // After a name the type ends something else: `device metal::float4 *`, `struct S *`, an address space.
    !SPACES.contains(&before.text) && matches!(before.text, "(" | "," | ";" | "{" | "}" | "<")
}

/// Whether `i` is the type in `(float4)(a, b)`.
fn is_list_cast(tokens: &[Token<'_>], i: usize) -> bool {
    let around = i > 0 && tokens[i - 1].is("(") && tokens.get(i + 1).is_some_and(|t| t.is(")"));
    if !around || !is_vector(tokens[i].text) || !tokens.get(i + 2).is_some_and(|t| t.is("(")) {
        return false;
    }
    let Some(close) = matching(tokens, i + 2) else { return false };
    let mut k = i + 3;
    while k < close {
        match tokens[k].text {
            "(" | "[" | "{" => k = matching(tokens, k).unwrap_or(close),
            "," => return true,
            _ => {}
        }
        k += 1;
    }
    false
}

/// Scalar types, each of which has vectors of two to four.
pub(super) const SCALARS: [&str; 12] =
    ["bool", "char", "uchar", "short", "ushort", "int", "uint", "long", "ulong", "half", "bfloat", "float"];

/// `float4`, `packed_half2`, …
pub(super) fn is_vector(word: &str) -> bool {
    let word = word.strip_prefix("packed_").unwrap_or(word);
    word.ends_with(['2', '3', '4']) && SCALARS.contains(&&word[..word.len() - 1])
}

fn is_texture(word: &str) -> bool {
    let rest = &word["texture".len()..];
    ["1d", "2d", "3d", "cube", "_buffer"].iter().any(|kind| rest.starts_with(kind))
        || ["1d", "2d", "3d"]
            .iter()
            .any(|kind| word.strip_prefix("depth").is_some_and(|d| d.starts_with(kind)))
}

/// Attributes of the language itself, which clang does not know. Lists that hold one are removed.
pub(super) fn is_metal(attribute: &str) -> bool {
    KNOWN[..METAL].contains(&attribute) || attributes::builtin(attribute).is_some()
}

fn check_attributes(tokens: &Tokens<'_>, i: usize) -> Result<(), TranslateError> {
    let Some((list, _)) = attributes::list(&tokens.all, i) else {
        return Err(TranslateError::Syntax {
            at: tokens.position(i),
            problem: "an attribute list does not end with `]]`".into(),
        });
    };
    for attribute in list {
        let reason = match attribute.name.as_str() {
            "vertex" | "fragment" | "object" | "mesh" | "intersection" | "tile" | "stage_in" | "patch" => {
                COMPUTE_ONLY
            }
            "visible" | "stitchable" => "the simulator has no function tables or function stitching",
            "texture" | "sampler" => "the simulator has no textures",
            "id" => "the simulator has no argument buffers: pass the buffers one by one",
            name if KNOWN.contains(&name) || attributes::builtin(name).is_some() => continue,
            _ => {
                return Err(TranslateError::UnknownAttribute {
                    at: tokens.position(attribute.at),
                    attribute: attribute.text(),
                    on: "this declaration".into(),
                });
            }
        };
        return Err(TranslateError::Unsupported {
            at: tokens.position(attribute.at),
            construct: format!("`[[{}]]`", attribute.text()),
            reason,
        });
    }
    Ok(())
}
