//! Metal text to a shared object: the preprocessor, the translator, clang, and a cache of what was built before.

mod clang;
mod diagnostics;
mod headers;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fs, io};

use sha2::{Digest, Sha256};

use crate::sim::translate::{self, FunctionConstant, KernelInfo, TranslateError};

pub use diagnostics::Diagnostic;

/// A library of kernels, compiled for this machine.
#[derive(Debug, Clone)]
pub struct CompiledLibrary {
    /// The shared object; other processes may use it too, so it must not be changed.
    pub object: PathBuf,
    /// The C++ text that it was built from, for those who want to look.
    pub text: PathBuf,
    /// Whether it reports each memory access.
    pub traced: bool,
    /// Its kernels.
    pub kernels: Vec<KernelInfo>,
    /// Constants that a pipeline may set.
    pub constants: Vec<FunctionConstant>,
    /// Whether the object exports `void ms_constants_changed(void)`, to be called after constants were set.
    pub derived_constants: bool,
}

/// Why a text could not be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// There is no compiler.
    #[error(
        "no clang of version {} or newer is installed ({tried}): install one (Debian, Ubuntu: `apt-get install clang-19`; \
         macOS: `brew install llvm`) or name it in FORGELLM_CLANG",
        clang::OLDEST
    )]
    NoClang {
        /// What was looked for and what came of it.
        tried: String,
    },
    /// The text is not valid, as clang reports it.
    #[error("{label} does not compile:\n{}", diagnostics::listed(.diagnostics))]
    Invalid {
        /// The text's name.
        label: String,
        /// What is wrong where; at least one.
        diagnostics: Vec<Diagnostic>,
    },
    /// clang failed in a way that names no place in the text.
    #[error("clang failed on {label}: {output}")]
    Clang {
        /// The text's name.
        label: String,
        /// What clang wrote.
        output: String,
    },
    /// The text is refused before it comes to clang.
    #[error(transparent)]
    Translate(#[from] TranslateError),
    /// A file of the cache, or clang itself, could not be used.
    #[error("{what}: {error}")]
    Io {
        /// What was attempted.
        what: String,
        /// Why it failed.
        error: io::Error,
    },
}

/// Compiles `source`, which errors call `label`. `#include "…"` looks beside `label` if that is the path of a file,
/// then in the folders of `include`. Only the kernels named in `only` are compiled, all of them if it is empty.
///
/// `cache` is a folder for shared objects; it is created. What is in it is found again by the content of everything
/// that went into the build, so one folder may serve many programs at once.
pub fn compile(
    source: &str,
    label: &str,
    include: &[PathBuf],
    only: &[String],
    traced: bool,
    cache: &Path,
) -> Result<CompiledLibrary, CompileError> {
    let clang = clang::find()?;
    let headers = headers::folder(cache)?;
    let preprocessed = clang.preprocess(source, label, include, &headers)?;
    let translation = translate::translate_only(&preprocessed, label, only)?;
    let flags = clang::flags(traced);

    let mut hash = Sha256::new();
    for part in [translation.text.as_str(), &headers::content(), &clang.version, &flags.join(" ")] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let key: String = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let object = cache.join(format!("{key}.so"));
    let text = cache.join(format!("{key}.cpp"));
    if !object.exists() {
        write_whole(&text, translation.text.as_bytes())?;
        let unfinished = temporary(&object);
        let built = clang.build(&text, &flags, &headers, &unfinished).and_then(|output| {
            let found = diagnostics::read(&output.text, source, label, &headers, &translation.lines);
            if output.succeeded && found.is_empty() {
                if !traced {
                    check_spaces(&clang, &preprocessed, (source, label), only, &headers)?;
                }
                return rename(&unfinished, &object);
            }
            Err(match found.is_empty() {
                true => CompileError::Clang { label: label.into(), output: output.text },
                false => CompileError::Invalid { label: label.into(), diagnostics: found },
            })
        });
        if built.is_err() {
            // Nothing to do if it was never written.
            let _ = fs::remove_file(&unfinished);
        }
        built?;
    }
    Ok(CompiledLibrary {
        object,
        text,
        traced,
        kernels: translation.kernels,
        constants: translation.constants,
        derived_constants: translation.derived_constants,
    })
}

/// Refuses a text that mixes up address spaces, which the build does not notice: there all memory is one.
fn check_spaces(
    clang: &clang::Clang,
    preprocessed: &str,
    (source, label): (&str, &str),
    only: &[String],
    headers: &Path,
) -> Result<(), CompileError> {
    let (text, lines) = translate::translate_with_spaces(preprocessed, label, only)?;
    let output = clang.check(&text, headers)?;
    let diagnostics = diagnostics::of_spaces(&output.text, source, label, headers, &lines);
    if diagnostics.is_empty() {
        Ok(())
    } else {
        Err(CompileError::Invalid { label: label.into(), diagnostics })
    }
}

/// A name beside `path` that no other process or thread uses.
fn temporary(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    path.with_extension(format!("{}-{count}.unfinished", std::process::id()))
}

fn rename(from: &Path, to: &Path) -> Result<(), CompileError> {
    fs::rename(from, to)
        .map_err(|error| CompileError::Io { what: format!("cannot write {}", to.display()), error })
}

/// Writes a file so that others see all of it or nothing.
fn write_whole(path: &Path, content: &[u8]) -> Result<(), CompileError> {
    let unfinished = temporary(path);
    fs::write(&unfinished, content).map_err(|error| CompileError::Io {
        what: format!("cannot write {}", unfinished.display()),
        error,
    })?;
    rename(&unfinished, path)
}
