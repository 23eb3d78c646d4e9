//! A word on the terminal about what takes a moment.

use std::io::{self, IsTerminal, Write};

/// Shown on standard error, if that is a terminal, until it is dropped.
pub(super) struct Notice {
    shown: bool,
}

impl Notice {
    /// Shows `text` unless `quiet`.
    pub fn new(text: &str, quiet: bool) -> Notice {
        let mut terminal = io::stderr();
        let shown = !quiet && terminal.is_terminal();
        if shown {
            // Nobody is left to tell if this fails.
            let _ = write!(terminal, "{text}").and_then(|()| terminal.flush());
        }
        Notice { shown }
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
