//! Words that clang would take but the Metal Shading Language does not, or that the simulator does not have.

use super::attributes;
use super::error::TranslateError;
use super::lexer::{Kind, Tokens};

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
        if attributes::starts(&tokens.all, i) && !(i > 0 && tokens.all[i - 1].is("[")) {
            check_attributes(tokens, i)?;
        }
    }
    Ok(())
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
