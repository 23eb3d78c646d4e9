//! Why a kernel's text is refused.

use std::fmt;

/// A place in a file of the user.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The file's name as given, or as an `#include` found it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Why a text in the Metal Shading Language cannot be translated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TranslateError {
    /// A part of the language that the simulator does not have (graphics, textures, …) or that the language forbids.
    #[error("{at}: {construct}: {reason}")]
    Unsupported {
        /// Where.
        at: Position,
        /// The construct as written.
        construct: String,
        /// Why, and what to do.
        reason: &'static str,
    },
    /// An attribute that the simulator does not know, so that it cannot know what the kernel means.
    #[error("{at}: unknown attribute `[[{attribute}]]` on {on}")]
    UnknownAttribute {
        /// Where.
        at: Position,
        /// The attribute as written.
        attribute: String,
        /// What carries it.
        on: String,
    },
    /// A kernel's parameter that is neither in an address space nor a built-in value.
    #[error(
        "{at}: parameter `{parameter}` of kernel `{kernel}` has neither an address space (`device`, `constant`, \
         `threadgroup`) nor an attribute such as `[[thread_position_in_grid]]`"
    )]
    ParameterWithoutPlace {
        /// Where.
        at: Position,
        /// The kernel.
        kernel: String,
        /// The parameter.
        parameter: String,
    },
    /// Two parameters claim one index, or an index is too large.
    #[error("{at}: {kind} index {index} of parameter `{parameter}` of kernel `{kernel}` {problem}")]
    Index {
        /// Where.
        at: Position,
        /// The kernel.
        kernel: String,
        /// The parameter.
        parameter: String,
        /// `buffer` or `threadgroup`.
        kind: &'static str,
        /// The index.
        index: u32,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Two kernels or function constants of one library with the same name or index.
    #[error("{at}: {what} is declared twice")]
    Twice {
        /// Where the second is.
        at: Position,
        /// Which.
        what: String,
    },
    /// An explicit instantiation of a kernel template that the text does not define before.
    #[error("{at}: no kernel template `{name}` is defined before this instantiation")]
    UnknownTemplate {
        /// Where.
        at: Position,
        /// The template's name.
        name: String,
    },
    /// Text that does not have the form of the language.
    #[error("{at}: {problem}")]
    Syntax {
        /// Where.
        at: Position,
        /// What is wrong.
        problem: String,
    },
}
