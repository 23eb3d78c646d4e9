//! Measured speeds for people.

use std::fmt::Write;

use crate::runtime::bench::{BenchResult, GenerationCase, Speed};
use crate::runtime::program::bench::Bandwidth;

/// A line for each case, and what of the memory's speed was reached.
pub(super) fn table(result: &BenchResult, bandwidth: Option<Bandwidth>) -> String {
    let mut table = String::new();
    let head = ["", "tokens", "depth", "batch", "tok/s", "slowest", "fastest", "spread"];
    let mut line = |cells: [&str; 8], rest: &str| {
        let [name, tokens, depth, batch, median, min, max, spread] = cells;
        // Writing to a string cannot fail.
        let _ = writeln!(
            table,
            "{name:<10} {tokens:>6} {depth:>6} {batch:>5} {median:>10} {min:>10} {max:>10} {spread:>6}{rest}"
        );
    };
    let roof_head = if bandwidth.is_some() { "  memory allows  reached" } else { "" };
    line(head, roof_head);
    let mut case = |name: &str, speed: &Speed, depth: usize, batch: usize, rest: &str| {
        let (tokens, depth, batch) = (speed.tokens.to_string(), depth.to_string(), batch.to_string());
        let [median, min, max] = [speed.median, speed.min, speed.max].map(|speed| format!("{speed:.1}"));
        let spread = format!("{:.0}%", 100.0 * speed.spread());
        line([name, &tokens, &depth, &batch, &median, &min, &max, &spread], rest);
    };
    for prompt in &result.prompts {
        case("prompt", &prompt.speed, prompt.depth, 1, "");
    }
    for generation in &result.generations {
        let roof = bandwidth.and_then(|bandwidth| generation.roof(bandwidth.bytes_a_second));
        let rest = roof.map_or(String::new(), |roof| {
            format!("  {:>13.1}  {:>6.0}%", roof.tokens_a_second, 100.0 * roof.reached)
        });
        case("generation", &generation.speed, generation.depth, generation.batch, &rest);
    }
    table + &memory_lines(result, bandwidth)
}

fn memory_lines(result: &BenchResult, bandwidth: Option<Bandwidth>) -> String {
    let mut lines = String::new();
    if let Some(Bandwidth { threads, bytes_a_second }) = bandwidth {
        let threads = if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") };
        let read = result.generations.first().and_then(|case: &GenerationCase| case.bytes_a_token);
        let read = read.map_or(String::new(), |bytes| {
            format!("; the first generation reads {:.1} MB a token", bytes as f64 / 1e6)
        });
        let _ = writeln!(lines, "memory gives {:.1} GB/s to {threads}{read}", bytes_a_second / 1e9);
    }
    if let Some(memory) = result.memory {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let _ = writeln!(
            lines,
            "{:.1} MiB of memory resident, {:.1} MiB of it no file's, {:.1} MiB at most",
            mib(memory.resident),
            mib(memory.anonymous),
            mib(memory.peak)
        );
    }
    lines
}
