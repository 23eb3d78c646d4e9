//! Where a program finds its files and its input.

use std::env;
use std::fs;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use crate::runtime::cli::{Arguments, GenerateArguments};
use crate::runtime::program::{ProgramError, ProgramSpec};

/// The weights file: named by the user, or beside the program.
pub(super) fn weights(spec: &ProgramSpec, arguments: &Arguments) -> Result<PathBuf, ProgramError> {
    let named = arguments.model.weights.clone().or_else(|| positional(arguments, 0));
    named.map_or_else(|| beside_program("weights", spec.weights_file, "--weights"), Ok)
}

/// The tokenizer file: named by the user, or beside the program.
pub(super) fn tokenizer(spec: &ProgramSpec, arguments: &Arguments) -> Result<PathBuf, ProgramError> {
    let named = arguments.model.tokenizer.clone().or_else(|| positional(arguments, 1));
    named.map_or_else(|| beside_program("tokenizer", spec.tokenizer_file, "--tokenizer"), Ok)
}

/// The prompt: an argument, a file, or standard input.
pub(super) fn prompt(arguments: &GenerateArguments) -> Result<String, ProgramError> {
    if let Some(path) = &arguments.prompt_file {
        return read(path).map(without_line_end);
    }
    match arguments.prompt.last().map(String::as_str) {
        Some("-") => {}
        Some(prompt) => return Ok(prompt.to_owned()),
        None if io::stdin().is_terminal() => {
            let hint = "no prompt given; write it in quotes after the command, or see --help";
            return Err(ProgramError::Usage(hint.to_owned()));
        }
        None => {}
    }
    read_standard_input().map(without_line_end)
}

/// Bytes of a file.
pub(super) fn length(path: &Path) -> Result<u64, ProgramError> {
    let status =
        fs::metadata(path).map_err(|source| ProgramError::Input { path: path.to_owned(), source })?;
    Ok(status.len())
}

/// The text of a file; `-` is standard input.
pub(super) fn read(path: &Path) -> Result<String, ProgramError> {
    if path == Path::new("-") {
        return read_standard_input();
    }
    fs::read_to_string(path).map_err(|source| ProgramError::Input { path: path.to_owned(), source })
}

/// Writes a file that appears whole or not at all.
pub(super) fn write_whole(path: &Path, content: &[u8]) -> Result<(), ProgramError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let new = path.with_file_name(name);
    let written = fs::write(&new, content).and_then(|()| fs::rename(&new, path));
    written.map_err(|source| {
        // What is left of it is of no use.
        let _ = fs::remove_file(&new);
        ProgramError::Write { path: path.to_owned(), source }
    })
}

/// All of standard input.
pub(super) fn read_standard_input() -> Result<String, ProgramError> {
    let mut text = String::new();
    let failed = |source| ProgramError::Input { path: PathBuf::from("standard input"), source };
    io::stdin().lock().read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// A prompt ends where its last line does: the line end that an editor or `echo` adds would change the answer.
fn without_line_end(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}

/// The forms `WEIGHTS TOKENIZER PROMPT` and `WEIGHTS TOKENIZER --serve`.
fn positional(arguments: &Arguments, index: usize) -> Option<PathBuf> {
    match arguments.generate.prompt.as_slice() {
        files @ [_, _, _] => files.get(index).map(PathBuf::from),
        files @ [_, _] if arguments.server.serve => files.get(index).map(PathBuf::from),
        _ => None,
    }
}

/// A file beside the program, in the project that Cargo built it in, or in the current folder.
fn beside_program(what: &'static str, name: &str, option: &'static str) -> Result<PathBuf, ProgramError> {
    let program = env::current_exe().ok().and_then(|program| fs::canonicalize(program).ok());
    let folder = program.as_deref().and_then(Path::parent);
    let project =
        folder.and_then(Path::parent).filter(|target| target.ends_with("target")).and_then(Path::parent);
    let folders: Vec<&Path> = folder.into_iter().chain(project).chain([Path::new(".")]).collect();
    let found = folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| {
        let places: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
        ProgramError::FileNotFound { what, name: name.to_owned(), places: places.join(", "), option }
    })
}
