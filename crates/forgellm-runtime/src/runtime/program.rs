//! The program itself: what the compiler knows about the model, and the way from arguments to an exit code.

mod answer;
mod batch;
mod bench;
mod chat;
mod commands;
mod error;
mod files;
mod interrupt;
mod notice;
mod report;
mod serve;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use crate::runtime::cli;
use crate::runtime::engine::Engine;
use crate::runtime::open::{OpenError, OpenOptions};
use crate::runtime::sampling::SamplingParams;

pub use error::ProgramError;

/// What the compiler knows about a model. A generated program holds one as a constant.
#[derive(Debug, Clone, Copy)]
pub struct ProgramSpec {
    /// The model's name, also that of the command.
    pub name: &'static str,
    /// The architecture with its size, for people: `llama, 30 layers, 134.5 M parameters`.
    pub architecture: &'static str,
    /// What it was compiled for: `cpu`, `metal`.
    pub target: &'static str,
    /// Positions of a sequence unless the user says otherwise.
    pub default_context: usize,
    /// Positions that the model was made for; more are refused.
    pub max_context: usize,
    /// Entries of the vocabulary.
    pub vocab: usize,
    /// The token that begins a text.
    pub bos: Option<u32>,
    /// The token that ends a text.
    pub eos: Option<u32>,
    /// All tokens that end an answer.
    pub end_ids: &'static [u32],
    /// Whether a text begins with [`ProgramSpec::bos`].
    ///
    /// There is no such thing for [`ProgramSpec::eos`], even where the model file asks for it (`tokenizer.ggml.add_eos_token`): a
    /// prompt and a text to be scored are continued, and no text goes on behind its end. llama.cpp likewise generates from no
    /// prompt that it would have to end. The ids of a finished text, with its end token, are what `tokenize --bos-eos` prints.
    pub add_bos: bool,
    /// The Jinja source of the chat template.
    pub chat_template: Option<&'static str>,
    /// Layout version of the weights file.
    pub layout_version: u32,
    /// Hash of the plan, which the weights file must name too.
    pub plan_hash: &'static str,
    /// Bytes of weights that a step reads however few rows it has.
    pub weight_bytes_a_step: u64,
    /// File name of the weights beside the program.
    pub weights_file: &'static str,
    /// File name of the `tokenizer.json` beside the program.
    pub tokenizer_file: &'static str,
    /// How tokens are chosen unless the user says otherwise.
    pub sampling: SamplingParams,
}

/// The whole program; `open` is the device layer's.
pub fn main<E: Engine>(spec: &ProgramSpec, open: fn(&OpenOptions) -> Result<E, OpenError>) -> ExitCode {
    let interrupted = interrupt::install();
    let mut streams = Streams { out: &mut io::stdout().lock(), err: &mut io::stderr() };
    let code = run(spec, open, std::env::args_os(), &mut streams, interrupted);
    ExitCode::from(code)
}

/// Where a program writes to.
pub struct Streams<'a> {
    /// Results.
    pub out: &'a mut dyn Write,
    /// Everything else.
    pub err: &'a mut dyn Write,
}

/// [`main`] without the process around it: arguments in (the command's name first), exit code out.
pub fn run<E: Engine>(
    spec: &ProgramSpec,
    open: fn(&OpenOptions) -> Result<E, OpenError>,
    arguments: impl IntoIterator<Item = OsString>,
    streams: &mut Streams<'_>,
    interrupted: &AtomicBool,
) -> u8 {
    let result = match cli::parse(spec, arguments) {
        Ok(arguments) => commands::run(spec, open, &arguments, streams, interrupted),
        Err(error) => {
            // Help is a result, a wrong argument is not.
            let stream = if error.use_stderr() { &mut streams.err } else { &mut streams.out };
            let _ = write!(stream, "{}", error.render());
            return if error.use_stderr() { error::EXIT_USAGE } else { error::EXIT_SUCCESS };
        }
    };
    let result = result.and_then(|()| streams.out.flush().map_err(ProgramError::Output));
    match result {
        Ok(()) => error::EXIT_SUCCESS,
        Err(error) => {
            if error.is_told() {
                // Nobody is left to tell if this fails.
                let _ = writeln!(streams.err, "error: {error}");
            }
            error.exit_code()
        }
    }
}
