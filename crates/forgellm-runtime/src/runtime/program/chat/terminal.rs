//! Lines that somebody types, with editing and a history.

use std::path::PathBuf;

use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Config, Editor};

use crate::runtime::program::ProgramError;
use crate::runtime::program::chat::history::HistoryFile;
use crate::runtime::program::chat::input::{Line, Lines};

/// A terminal.
pub(super) struct Terminal {
    editor: Editor<(), MemHistory>,
    history: Option<HistoryFile>,
    has_color: bool,
}

impl Terminal {
    pub(super) fn open(history: Option<HistoryFile>, has_color: bool) -> Result<Terminal, ProgramError> {
        let config = Config::builder().bracketed_paste(true).build();
        let recalled = MemHistory::with_config(&config);
        let mut editor = Editor::with_history(config, recalled).map_err(failed)?;
        for message in history.iter().flat_map(HistoryFile::messages) {
            // One that cannot be recalled is no loss.
            let _ = editor.add_history_entry(message);
        }
        Ok(Terminal { editor, history, has_color })
    }
}

impl Lines for Terminal {
    fn line(&mut self, prompt: &str) -> Result<Line, ProgramError> {
        let styled = if self.has_color { format!("\x1b[1;32m{prompt}\x1b[0m") } else { prompt.to_owned() };
        loop {
            return match self.editor.readline(&(prompt, styled.as_str())) {
                Ok(line) => Ok(Line::Text(line)),
                Err(ReadlineError::Interrupted) => Ok(Line::Interrupted),
                Err(ReadlineError::Eof) => Ok(Line::End),
                // The window has another size.
                Err(ReadlineError::Signal(_)) => continue,
                Err(error) => Err(failed(error)),
            };
        }
    }

    fn remember(&mut self, message: &str) {
        // Neither is worth an end of the conversation.
        let _ = self.editor.add_history_entry(message);
        if let Some(history) = &mut self.history {
            history.add(message);
        }
    }
}

fn failed(error: ReadlineError) -> ProgramError {
    let source = match error {
        ReadlineError::Io(source) => source,
        other => std::io::Error::other(other),
    };
    ProgramError::Input { path: PathBuf::from("the terminal"), source }
}
