//! An answer on its way from tokens to the user.

use std::io::Write;
use std::ops::ControlFlow;

use crate::runtime::generate::FinishReason;
use crate::runtime::program::ProgramError;
use crate::runtime::stop::StopFilter;
use crate::runtime::tokenizer::{TextStream, Tokenizer};

/// Decodes tokens, ends at stop strings, keeps the text and, where there is an output, writes it at once.
pub(super) struct Answer<'a> {
    decoder: TextStream<&'a Tokenizer>,
    stops: StopFilter,
    written: Written<'a>,
    /// What went wrong with a token.
    failure: Option<ProgramError>,
}

impl<'a> Answer<'a> {
    pub(super) fn new(
        decoder: TextStream<&'a Tokenizer>,
        stops: &[String],
        out: Option<&'a mut dyn Write>,
    ) -> Answer<'a> {
        let written = Written { text: String::new(), out };
        Answer { decoder, stops: StopFilter::new(stops), written, failure: None }
    }

    /// Takes the next token; `Break` if a stop string or a failure, which [`Answer::finish`] gives, ends the answer.
    pub(super) fn push(&mut self, token: u32) -> ControlFlow<()> {
        self.try_push(token).unwrap_or_else(|error| {
            self.failure = Some(error);
            ControlFlow::Break(())
        })
    }

    fn try_push(&mut self, token: u32) -> Result<ControlFlow<()>, ProgramError> {
        let Some(piece) = self.decoder.push(token)? else {
            return Ok(ControlFlow::Continue(()));
        };
        let (text, is_stopped) = self.stops.push(&piece);
        self.written.push(&text)?;
        Ok(if is_stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// Writes what was held back, ends the line, and gives the whole text.
    ///
    /// # Errors
    /// What went wrong with a token before, or with writing now.
    pub(super) fn finish(self, reason: FinishReason) -> Result<String, ProgramError> {
        let Answer { mut decoder, mut stops, mut written, failure } = self;
        if let Some(error) = failure {
            return Err(error);
        }
        if reason != FinishReason::Stop {
            let (text, is_stopped) = stops.push(&decoder.finish().unwrap_or_default());
            written.push(&text)?;
            if !is_stopped {
                written.push(&stops.finish())?;
            }
        }
        if let Some(out) = written.out.filter(|_| !written.text.ends_with('\n')) {
            out.write_all(b"\n").map_err(ProgramError::Output)?;
        }
        Ok(written.text)
    }
}

/// Text that is certain.
struct Written<'a> {
    text: String,
    out: Option<&'a mut dyn Write>,
}

impl Written<'_> {
    fn push(&mut self, text: &str) -> Result<(), ProgramError> {
        self.text.push_str(text);
        match &mut self.out {
            Some(out) if !text.is_empty() => {
                out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(ProgramError::Output)
            }
            _ => Ok(()),
        }
    }
}
