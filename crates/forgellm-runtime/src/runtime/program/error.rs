//! Everything that ends a program before its work is done.

use std::io;
use std::path::PathBuf;

use crate::runtime::batch::BatchError;
use crate::runtime::bench::BandwidthError;
use crate::runtime::chat_template::ChatTemplateError;
use crate::runtime::generate::GenerateError;
use crate::runtime::open::OpenError;
use crate::runtime::program::chat::NoCommand;
use crate::runtime::prompt::PromptError;
use crate::runtime::sampling::SamplingError;
use crate::runtime::server::ServeError;
use crate::runtime::tokenizer::TokenizerError;
use crate::runtime::weights::WeightsError;

pub(super) const EXIT_SUCCESS: u8 = 0;
pub(super) const EXIT_FAILURE: u8 = 1;
pub(super) const EXIT_USAGE: u8 = 2;
pub(super) const EXIT_INTERRUPTED: u8 = 130;

/// Why a program ends.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The arguments do not fit together.
    #[error("{0}")]
    Usage(String),
    /// A file that the user named cannot be read.
    #[error("cannot read {path}: {source}")]
    Input {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file that the user named cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file holds no conversation.
    #[error(
        "{path} holds no conversation: {reason}; it must be a list of messages with `role` and `content`"
    )]
    Conversation {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A conversation has outgrown the context.
    #[error(
        "the conversation has {tokens} tokens with this message, and the context holds {room}: begin anew with /reset, send less, or start with a larger --context"
    )]
    ConversationTooLong {
        /// Tokens of the conversation.
        tokens: usize,
        /// Positions of the context.
        room: usize,
    },
    /// What was typed at a chat's prompt is no command.
    #[error(transparent)]
    NoCommand(#[from] NoCommand),
    /// A file of the program is not where it should be.
    #[error("there is no {what} file {name} in {places}; put it beside the program or name it with {option}")]
    FileNotFound {
        /// Which of the files.
        what: &'static str,
        /// Its name.
        name: String,
        /// Where it was looked for.
        places: String,
        /// The option that names it.
        option: &'static str,
    },
    /// The model was not made for so many positions.
    #[error("a context of {asked} positions was asked for, this model was made for at most {max}")]
    ContextTooLong {
        /// Positions asked for.
        asked: usize,
        /// Positions possible.
        max: usize,
    },
    /// The weights file.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The tokenizer.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The chat template.
    #[error(transparent)]
    ChatTemplate(#[from] ChatTemplateError),
    /// The sampling parameters.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// A batch of requests.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The speed of the memory.
    #[error(transparent)]
    Bandwidth(#[from] BandwidthError),
    /// A plot cannot be drawn.
    #[error("cannot draw {path}: {reason}")]
    Plot {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The server's sequences need more memory than there is.
    #[error(
        "{sequences} sequences of {context} positions need {megabytes} MB of memory, and this machine has less: lower --parallel, --keep or --context"
    )]
    NoMemory {
        /// Answers at a time, and what is kept beside them.
        sequences: usize,
        /// Positions of each.
        context: usize,
        /// Keys, values and buffers of a step.
        megabytes: u64,
    },
    /// The device.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The model.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// The self-check found wrong kernels.
    #[error(
        "{} of {all} kernels do not compute on this machine what they should: {}; please report it with the table above",
        .failed.len(),
        .failed.join(", ")
    )]
    SelfCheck {
        /// Their names.
        failed: Vec<String>,
        /// How many kernels were checked.
        all: usize,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another address with --host and --port")]
    Listen {
        /// Host and port.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// The file of times cannot be written.
    #[error("cannot write the trace {path}: {source}; choose another file with --trace")]
    Trace {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The server.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Results cannot be written.
    #[error("cannot write the result: {0}")]
    Output(io::Error),
    /// The user ended it.
    #[error("interrupted")]
    Interrupted,
}

impl ProgramError {
    /// The exit code: 1 failure, 2 usage, 130 interrupted; 0 if only the reader of our output has left.
    pub fn exit_code(&self) -> u8 {
        match self {
            ProgramError::Usage(_)
            | ProgramError::NoCommand(_)
            | ProgramError::Open(OpenError::Option { .. }) => EXIT_USAGE,
            ProgramError::Sampling(error) if error.parameter().is_some() => EXIT_USAGE,
            ProgramError::Interrupted | ProgramError::Generate(GenerateError::Interrupted) => {
                EXIT_INTERRUPTED
            }
            _ if self.is_broken_pipe() => EXIT_SUCCESS,
            _ => EXIT_FAILURE,
        }
    }

    /// Whether it deserves a message: not when the reader of the output has left or the user interrupted us.
    pub(super) fn is_told(&self) -> bool {
        !self.is_broken_pipe() && self.exit_code() != EXIT_INTERRUPTED
    }

    fn is_broken_pipe(&self) -> bool {
        matches!(self, ProgramError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl From<PromptError> for ProgramError {
    fn from(error: PromptError) -> Self {
        match error {
            PromptError::ChatTemplate(error) => error.into(),
            PromptError::Tokenizer(error) => error.into(),
        }
    }
}

impl From<serde_json::Error> for ProgramError {
    fn from(error: serde_json::Error) -> Self {
        ProgramError::Output(error.into())
    }
}
