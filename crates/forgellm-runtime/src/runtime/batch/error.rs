//! Why a batch cannot be worked on.

use std::io;
use std::path::PathBuf;

use crate::runtime::server::{EngineFailed, ServeError};

/// Why a batch cannot be worked on, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error(
        "cannot write {path}: {source}; what was answered until then is kept, run the command again to go on"
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Two requests have the same name.
    #[error(
        "{path}, line {line}: the custom_id {id:?} is also that of line {first}; each request needs one of its own"
    )]
    Duplicate {
        /// The input.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The line that has it too.
        first: u64,
        /// The name.
        id: String,
    },
    /// There is a file that is not the output of this batch.
    #[error(
        "{path} exists and is not the output of this input (line {line} answers another request, or was made by another program or with another --context); remove it or name another file"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The first line that does not belong here.
        line: u64,
    },
    /// There is a file with a part of the output only.
    #[error("{path} exists and ends after {lines} of {requests} answers; remove it or name another file")]
    Short {
        /// The file.
        path: PathBuf,
        /// Its lines.
        lines: u64,
        /// Requests of the input.
        requests: u64,
    },
    /// Somebody else works on it.
    #[error("{path} is being written by another run; wait for its end, or name another file for the output")]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// Requests and answers got out of step, which is our mistake.
    #[error("an answer could not be written as JSON: {0}; please report it")]
    Json(#[from] serde_json::Error),
    /// The engine has no memory left, or is gone; the requests are not to blame.
    #[error(
        "the engine could not go on: {0}; what was answered until then is kept, run the command again to go on, with a smaller --parallel if it was memory"
    )]
    Engine(#[from] EngineFailed),
    /// The engine's thread, or the other one.
    #[error(transparent)]
    Serve(#[from] ServeError),
}
