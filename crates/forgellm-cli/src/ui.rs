//! What the user sees on standard error: progress bars and notes. Standard output is for results only.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How much to show.
#[derive(Debug, Clone, Copy)]
pub struct Ui {
    notes: bool,
    bars: bool,
}

impl Ui {
    /// `quiet` shows nothing but errors; `json` leaves out progress bars, because a script reads along.
    pub fn new(quiet: bool, json: bool) -> Ui {
        Ui { notes: !quiet && !json, bars: !quiet && !json && std::io::stderr().is_terminal() }
    }

    /// Shows one line.
    pub fn note(&self, text: impl AsRef<str>) {
        if self.notes {
            eprintln!("{}", text.as_ref());
        }
    }

    /// A bar over `bytes` bytes.
    pub fn bytes(&self, label: impl Into<String>, bytes: u64) -> ProgressBar {
        self.bar(label.into(), bytes, "{msg:28!} {bar:30} {bytes:>10} of {total_bytes} {bytes_per_sec:>12}")
    }

    /// A bar over `steps` steps.
    pub fn steps(&self, label: impl Into<String>, steps: u64) -> ProgressBar {
        self.bar(label.into(), steps, "{msg:28!} {bar:30} {pos:>4} of {len}")
    }

    /// A sign of life for work whose length is not known.
    pub fn spinner(&self, label: impl Into<String>) -> ProgressBar {
        let bar = self.bar(label.into(), 0, "{spinner} {msg} {elapsed}");
        if self.bars {
            bar.enable_steady_tick(Duration::from_millis(120));
        }
        bar
    }

    fn bar(&self, label: String, length: u64, template: &str) -> ProgressBar {
        if !self.bars {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(length).with_message(label);
        match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style.progress_chars("█▉▊▋▌▍▎▏ ")),
            Err(_) => bar,
        }
    }
}
