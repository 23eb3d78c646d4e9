//! A conversation over an engine: what of it was run already is not run again.

use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;

use crate::runtime::engine::{Engine, EngineError, SequenceId};
use crate::runtime::generate::{GenerateError, Generation, Request, generate};
use crate::runtime::scheduler::common_prefix;

/// One sequence of an engine, and the tokens it holds, from prompt to prompt.
#[derive(Debug, Default)]
pub struct Conversation {
    sequence: Option<SequenceId>,
    held: Vec<u32>,
}

impl Conversation {
    /// Answers a prompt, which is given whole; only what does not begin like the prompt and the answer before is run. Once it failed, the
    /// next prompt is run as a whole.
    ///
    /// # Errors
    /// Those of [`generate`].
    pub fn answer<E: Engine>(
        &mut self,
        engine: &mut E,
        request: &Request<'_>,
        interrupted: &AtomicBool,
        on_token: impl FnMut(u32) -> ControlFlow<()>,
    ) -> Result<Generation, GenerateError> {
        let sequence = self.begin_like(engine, request.prompt)?;
        let (held, prompt) = request.prompt.split_at(self.held.len());
        let generation =
            generate(engine, sequence, &Request { held, prompt, ..*request }, interrupted, on_token);
        match generation {
            Ok(generation) => {
                self.held = [request.prompt, &generation.ids].concat();
                self.held.truncate(engine.positions(sequence)?);
                Ok(generation)
            }
            Err(error) => {
                // How much of the prompt it holds is not worth finding out.
                (self.sequence, self.held) = (None, Vec::new());
                // If that fails too, the first error is the cause.
                let _ = engine.end(sequence);
                Err(error)
            }
        }
    }

    /// A sequence that holds the beginning of `prompt`, as far as it is there, but never all of it: its last token gives the answer's first.
    fn begin_like<E: Engine>(&mut self, engine: &mut E, prompt: &[u32]) -> Result<SequenceId, EngineError> {
        let common = common_prefix(&self.held, &prompt[..prompt.len().saturating_sub(1)]);
        if let Some(sequence) = self.sequence.take() {
            match engine.truncate(sequence, common) {
                Ok(()) => {
                    self.held.truncate(common);
                    self.sequence = Some(sequence);
                    return Ok(sequence);
                }
                // What left a window is gone.
                Err(EngineError::CannotTruncate { .. }) => engine.end(sequence)?,
                Err(error) => return Err(error),
            }
        }
        self.held.clear();
        let sequence = engine.begin()?;
        self.sequence = Some(sequence);
        Ok(sequence)
    }
}
