//! Stop strings in text that is cut into pieces, against a naive reference: `cargo +nightly fuzz run stop -- -max_len=200`.
//!
//! Bytes become characters of a small alphabet, so that stop strings and their beginnings occur.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/forgellm-runtime/tests/stop_strings/rules.rs"]
mod rules;

const ALPHABET: [char; 8] = ['a', 'a', 'b', 'c', '\n', '<', 'é', '𝄞'];
const MOST_STOPS: usize = 4;

/// The lower bits name a character.
fn character(byte: u8) -> char {
    ALPHABET[usize::from(byte % 8)]
}

/// The bits above them end a stop string or a piece, or both.
fn ends(byte: u8) -> bool {
    byte & 0b11000 == 0
}

fuzz_target!(|bytes: &[u8]| {
    let mut parts = vec![String::new()];
    for &byte in bytes {
        if let Some(last) = parts.last_mut() {
            last.push(character(byte));
        }
        if ends(byte) {
            parts.push(String::new());
        }
    }
    let pieces = parts.split_off(parts.len().min(MOST_STOPS));
    rules::check(&parts, &pieces);
});
