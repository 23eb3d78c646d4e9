//! The program itself: what the compiler knows about the model, and the way from arguments to an exit code.

mod answer;
mod commands;
mod error;
mod files;
mod notice;
mod report;
mod serve;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::runtime::cli;
use crate::runtime::engine::Engine;
use crate::runtime::sampling::SamplingParams;
use crate::runtime::weights::{Weights, WeightsError};

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
    /// File name of the weights beside the program.
    pub weights_file: &'static str,
    /// File name of the `tokenizer.json` beside the program.
    pub tokenizer_file: &'static str,
    /// How tokens are chosen unless the user says otherwise.
    pub sampling: SamplingParams,
}

/// How a device layer is to open the model.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// The weights, checked against the program.
    pub weights: Arc<Weights>,
    /// Threads to compute with; none leaves it to the device layer.
    pub threads: Option<usize>,
    /// Positions that one sequence must be able to hold.
    pub context: usize,
    /// Sequences that must be able to exist at a time.
    pub sequences: usize,
    /// How the cache stores keys and values; none leaves it to the device layer.
    pub kv_cache: Option<KvFormat>,
    /// Whether times are to be taken for [`Engine::profile`].
    pub profile: bool,
}

/// How a KV cache stores keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum KvFormat {
    /// Half precision
    #[default]
    F16,
    /// 8 bits, and a scale for 32 elements
    #[value(name = "q8_0")]
    Q8_0,
}

/// Why a device layer did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A tensor is missing or has the wrong size.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// There is not enough memory.
    #[error("{needed} bytes of memory are needed for {what}; lower --context")]
    Memory {
        /// For what.
        what: &'static str,
        /// Bytes needed.
        needed: usize,
    },
    /// The device is missing or unfit.
    #[error("the device cannot be used: {0}")]
    Device(String),
    /// An option has no meaning for this device.
    #[error("{option} cannot be used with this program: {reason}")]
    Option {
        /// The option.
        option: &'static str,
        /// Why, and what to do.
        reason: &'static str,
    },
}

/// The whole program; `open` is the device layer's.
pub fn main<E: Engine>(spec: &ProgramSpec, open: fn(&OpenOptions) -> Result<E, OpenError>) -> ExitCode {
    static INTERRUPTED: AtomicBool = AtomicBool::new(false);
    let handler = || {
        // A second Ctrl-C does not wait for the step to end.
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(error::EXIT_INTERRUPTED));
        }
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        // Without the handler Ctrl-C still ends the program, if less tidily.
        let _ = writeln!(io::stderr(), "warning: cannot handle Ctrl-C: {error}");
    }
    let mut streams = Streams { out: &mut io::stdout().lock(), err: &mut io::stderr() };
    let code = run(spec, open, std::env::args_os(), &mut streams, &INTERRUPTED);
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
