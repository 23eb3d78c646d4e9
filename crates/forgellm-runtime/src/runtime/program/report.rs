//! What a program says about its own work.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use crate::runtime::engine::{CheckEntry, ProfileEntry};
use crate::runtime::generate::{FinishReason, Generation};
use crate::runtime::sampling::{Logprob, TokenLogprobs};

/// One line about a continuation, for people.
pub(super) fn summary(generation: &Generation, load: Duration) -> String {
    let stats = &generation.stats;
    let reason = match generation.finish_reason {
        FinishReason::End => "the model ended it",
        FinishReason::Stop => "a stop string appeared",
        FinishReason::Length => "--max-tokens reached",
        FinishReason::Context => "the context is full, see --context",
        FinishReason::Interrupted => "interrupted",
    };
    format!(
        "[prompt {} tokens, {:.1}/s; answer {} tokens, {:.1}/s; first token after {:.3} s; loaded in {:.3} s; {reason}]",
        stats.prompt_tokens,
        stats.prompt_speed(),
        stats.generated_tokens,
        stats.generation_speed(),
        stats.time_to_first_token.as_secs_f64(),
        load.as_secs_f64(),
    )
}

/// A continuation for scripts.
pub(super) fn generation_json(text: &str, generation: &Generation, load: Duration) -> Value {
    let stats = &generation.stats;
    let mut value = json!({
        "text": text,
        "ids": generation.ids,
        "finish_reason": generation.finish_reason,
        "seed": generation.seed,
        "stats": {
            "prompt_tokens": stats.prompt_tokens,
            "generated_tokens": stats.generated_tokens,
            "load_seconds": load.as_secs_f64(),
            "time_to_first_token_seconds": stats.time_to_first_token.as_secs_f64(),
            "prompt_seconds": stats.prompt_time.as_secs_f64(),
            "generation_seconds": stats.generation_time.as_secs_f64(),
            "prompt_tokens_per_second": stats.prompt_speed(),
            "generation_tokens_per_second": stats.generation_speed(),
        },
    });
    if !generation.logprobs.is_empty() {
        value["logprobs"] = generation.logprobs.iter().map(logprobs_json).collect();
    }
    value
}

/// Log-probabilities of a token of the answer, and of the most likely ones in its place.
fn logprobs_json(logprobs: &TokenLogprobs) -> Value {
    let one = |one: &Logprob| json!({ "id": one.token, "logprob": one.logprob });
    let mut value = one(&logprobs.chosen);
    value["top"] = logprobs.top.iter().map(one).collect();
    value
}

/// A profile for people.
pub(super) fn profile_table(entries: &[ProfileEntry]) -> String {
    let total: f64 = entries.iter().map(|entry| entry.time.as_secs_f64()).sum();
    let mut table = format!("{:>10}  {:>6}  {:>9}  {:>10}  work\n", "ms", "share", "calls", "us a call");
    for entry in entries {
        let seconds = entry.time.as_secs_f64();
        let share = if total > 0.0 { 100.0 * seconds / total } else { 0.0 };
        let a_call = 1e6 * seconds / entry.calls.max(1) as f64;
        let (milliseconds, calls, name) = (1e3 * seconds, entry.calls, &entry.name);
        let _ = writeln!(table, "{milliseconds:>10.3}  {share:>5.1}%  {calls:>9}  {a_call:>10.2}  {name}");
    }
    table
}

/// A self-check for people; its last line is the verdict.
pub(super) fn check_table(entries: &[CheckEntry]) -> String {
    let width = entries.iter().map(|entry| entry.name.len()).max().unwrap_or(0).max("kernel".len());
    let mut table = format!(
        "{:<width$}  {:>6}  {:>8}  {:>13}  {:>9}\n",
        "kernel", "calls", "values", "largest error", "tolerance"
    );
    for entry in entries {
        let CheckEntry { name, calls, values, error, tolerance, failure } = entry;
        let _ = write!(table, "{name:<width$}  {calls:>6}  {values:>8}  {error:>13.1e}  {tolerance:>9.1e}  ");
        let _ = match failure {
            None => writeln!(table, "ok"),
            Some(failure) => writeln!(table, "FAILED: {failure}"),
        };
    }
    let (all, failed) = (entries.len(), entries.iter().filter(|entry| entry.failure.is_some()).count());
    let _ = match failed {
        0 => writeln!(table, "all {all} kernels compute what they should"),
        _ => writeln!(table, "FAILED: {failed} of {all} kernels do not compute what they should"),
    };
    table
}

/// A self-check for scripts. An error that is no finite number is `null`.
pub(super) fn check_json(entries: &[CheckEntry]) -> Value {
    let kernel = |entry: &CheckEntry| {
        json!({
            "name": entry.name,
            "calls": entry.calls,
            "values": entry.values,
            "error": entry.error,
            "tolerance": entry.tolerance,
            "ok": entry.failure.is_none(),
            "failure": entry.failure,
        })
    };
    json!({
        "ok": entries.iter().all(|entry| entry.failure.is_none()),
        "kernels": entries.iter().map(kernel).collect::<Vec<_>>(),
    })
}

/// `value` on one line.
pub(super) fn json_line(value: &impl Serialize) -> Result<String, serde_json::Error> {
    let mut line = serde_json::to_string(value)?;
    line.push('\n');
    Ok(line)
}
