//! What the server counts, in the text format of Prometheus.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::runtime::server::Service;

/// Counts of the connections; those of the engine's thread are in [`Counters`](crate::runtime::scheduler::Counters).
#[derive(Debug, Default)]
pub(super) struct Metrics {
    /// By path and status.
    responses: Mutex<BTreeMap<(&'static str, u16), u64>>,
    first_tokens: AtomicU64,
    first_token_micros: AtomicU64,
}

impl Metrics {
    pub fn response(&self, path: &'static str, status: u16) {
        let mut responses = self.responses.lock().unwrap_or_else(PoisonError::into_inner);
        *responses.entry((path, status)).or_default() += 1;
    }

    pub fn first_token(&self, after: Duration) {
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        self.first_token_micros.fetch_add(micros, Ordering::Relaxed);
        self.first_tokens.fetch_add(1, Ordering::Relaxed);
    }
}

/// The page `/metrics`.
pub(super) fn page(service: &Service) -> String {
    let mut page = Page(String::new());
    let responses = service.metrics.responses.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let responses = responses
        .iter()
        .map(|((path, status), count)| (format!("{{path=\"{path}\",status=\"{status}\"}}"), count));
    page.family("requests_total", "counter", "Responses by path and status.", responses);
    let counters = &service.counters;
    let answers = [
        ("{outcome=\"finished\"}", counters.finished.get()),
        ("{outcome=\"cancelled\"}", counters.cancelled.get()),
        ("{outcome=\"failed\"}", counters.failed.get()),
    ];
    page.family("answers_total", "counter", "Answers that the engine's thread is done with.", answers);
    let mut counter = |name, help, value| page.family(name, "counter", help, [("", value)]);
    counter("prompt_tokens_total", "Tokens of prompts, run or reused.", counters.prompt_tokens.get());
    counter(
        "reused_prompt_tokens_total",
        "Tokens of prompts that another sequence had run.",
        counters.reused_tokens.get(),
    );
    counter(
        "generated_tokens_total",
        "Tokens of answers that are finished or cancelled.",
        counters.generated_tokens.get(),
    );
    counter("prefix_hits_total", "Answers that reused a part of their prompt.", counters.prefix_hits.get());
    counter("prefix_misses_total", "Answers that ran their whole prompt.", counters.prefix_misses.get());
    counter("steps_total", "Forward passes.", counters.steps.get());
    counter("step_rows_total", "Rows of all forward passes.", counters.rows.get());
    let mut gauge = |name, help, value| page.family(name, "gauge", help, [("", value)]);
    gauge("queue_length", "Answers that wait for the engine.", service.queue.len() as u64);
    gauge("queue_capacity", "Answers that may wait.", service.queue.capacity() as u64);
    gauge("running_sequences", "Answers that are worked on.", counters.running.get());
    gauge("kept_sequences", "Idle sequences kept for prompts that begin like them.", counters.kept.get());
    let seconds = service.metrics.first_token_micros.load(Ordering::Relaxed) as f64 / 1e6;
    let count = service.metrics.first_tokens.load(Ordering::Relaxed) as f64;
    page.family(
        "first_token_seconds",
        "summary",
        "Time from a request to its answer's first token.",
        [("_sum", seconds), ("_count", count)],
    );
    page.0
}

/// Text in the exposition format, <https://prometheus.io/docs/instrumenting/exposition_formats/>.
struct Page(String);

impl Page {
    fn family(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: impl IntoIterator<Item = (impl Display, impl Display)>,
    ) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP forgellm_{name} {help}\n# TYPE forgellm_{name} {kind}");
        for (rest, value) in samples {
            let _ = writeln!(self.0, "forgellm_{name}{rest} {value}");
        }
    }
}
