//! A word on the terminal about what takes a moment.

use std::io::{self, IsTerminal, Stderr, Write};
use std::time::{Duration, Instant};

/// How long something must take before a bar says how far it is.
const A_MOMENT: Duration = Duration::from_millis(200);
/// How often the bar is drawn at most.
const REDRAW: Duration = Duration::from_millis(50);
/// Characters of the bar.
const WIDTH: u64 = 30;

/// Shown on a terminal until it is dropped.
pub(super) struct Notice<W: Write = Stderr> {
    /// Nothing is shown without one.
    terminal: Option<W>,
    text: &'static str,
    start: Instant,
    drawn: Option<Instant>,
}

impl Notice {
    /// Shows `text` on standard error, if that is a terminal, unless `quiet`.
    pub fn new(text: &'static str, quiet: bool) -> Notice {
        let terminal = io::stderr();
        Notice::on((!quiet && terminal.is_terminal()).then_some(terminal), text)
    }
}

impl<W: Write> Notice<W> {
    fn on(terminal: Option<W>, text: &'static str) -> Notice<W> {
        let mut notice = Notice { terminal, text, start: Instant::now(), drawn: None };
        notice.write(text);
        notice
    }

    /// Whether anybody sees it.
    pub fn is_shown(&self) -> bool {
        self.terminal.is_some()
    }

    /// Says how many bytes of how many are done, once it takes longer than a moment.
    pub fn progress(&mut self, done: u64, total: u64) {
        self.draw(done, total, |total| format!("{} MB", total.div_ceil(1_000_000)));
    }

    /// The same for things that are counted one by one.
    pub fn steps(&mut self, done: u64, total: u64) {
        self.draw(done, total, |total| format!("{total} steps"));
    }

    /// The same for things that take a while, with the time left. `begun` of them were done before.
    pub fn items(&mut self, done: u64, total: u64, begun: u64, what: &str) {
        let time = self.start.elapsed();
        let left =
            time.as_secs_f64() * total.saturating_sub(done) as f64 / done.saturating_sub(begun).max(1) as f64;
        self.draw(done, total, |total| format!("{total} {what}, {} left", duration(left)));
    }

    fn draw(&mut self, done: u64, total: u64, of: impl FnOnce(u64) -> String) {
        let now = Instant::now();
        if now - self.start < A_MOMENT || self.drawn.is_some_and(|drawn| now - drawn < REDRAW) {
            return;
        }
        self.drawn = Some(now);
        self.write(&format!("\r{}\x1b[K", bar(self.text, done, total, &of(total))));
    }

    fn write(&mut self, text: &str) {
        if let Some(terminal) = &mut self.terminal {
            // Nobody is left to tell if this fails.
            let _ = write!(terminal, "{text}").and_then(|()| terminal.flush());
        }
    }
}

impl<W: Write> Drop for Notice<W> {
    fn drop(&mut self) {
        self.write("\r\x1b[K");
    }
}

/// `3 h 5 min`, `12 min`, `40 s`.
fn duration(seconds: f64) -> String {
    let seconds = seconds.ceil() as u64;
    match (seconds / 3600, seconds / 60) {
        (0, 0) => format!("{seconds} s"),
        (0, minutes) => format!("{minutes} min"),
        (hours, minutes) => format!("{hours} h {} min", minutes % 60),
    }
}

/// `loading the weights ███████░░░░  41% of 84 MB`
fn bar(text: &str, done: u64, total: u64, of: &str) -> String {
    let part = |of: u64| (u128::from(done.min(total)) * u128::from(of) / u128::from(total.max(1))) as u64;
    let full = part(WIDTH);
    let (full, rest) = ("█".repeat(full as usize), "░".repeat((WIDTH - full) as usize));
    format!("{text} {full}{rest} {:3}% of {of}", part(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_comes_after_a_moment_and_goes_in_the_end() {
        let mut terminal = Vec::new();
        let mut notice = Notice::on(Some(&mut terminal), "loading");
        notice.progress(10, 100);
        assert!(notice.drawn.is_none(), "at once");
        notice.start -= A_MOMENT;
        notice.progress(40, 100);
        notice.progress(41, 100);
        drop(notice);
        let text = String::from_utf8(terminal).unwrap();
        assert_eq!(text, format!("loading\r{}\x1b[K\r\x1b[K", bar("loading", 40, 100, "1 MB")));
        assert!(bar("loading", 40, 100_000_000, "100 MB").ends_with("░   0% of 100 MB"));
        assert_eq!(bar("x", 50, 100, "it"), format!("x {}{}  50% of it", "█".repeat(15), "░".repeat(15)));
        assert_eq!(bar("x", 7, 0, "it"), format!("x {}   0% of it", "░".repeat(30)));
        assert_eq!(bar("x", u64::MAX, u64::MAX, "it"), format!("x {} 100% of it", "█".repeat(30)));
    }

    #[test]
    fn bytes_and_steps_are_told_apart() {
        let mut terminal = Vec::new();
        let mut notice = Notice::on(Some(&mut terminal), "working");
        notice.start -= A_MOMENT;
        notice.progress(u64::MAX, u64::MAX);
        notice.drawn = None;
        notice.steps(3, 15);
        notice.drawn = None;
        notice.start = Instant::now() - Duration::from_secs(60);
        notice.items(30, 40, 10, "requests");
        drop(notice);
        assert_eq!([0.2, 60.0, 3600.0, 7384.0].map(duration), ["1 s", "1 min", "1 h 0 min", "2 h 3 min"]);
        let text = String::from_utf8(terminal).unwrap();
        assert!(text.contains("100% of 18446744073710 MB") && text.contains(" 20% of 15 steps"), "{text}");
        // 20 took a minute.
        assert!(
            text.contains(" 75% of 40 requests, 31 s left")
                || text.contains(" 75% of 40 requests, 30 s left"),
            "{text}"
        );
    }
}
