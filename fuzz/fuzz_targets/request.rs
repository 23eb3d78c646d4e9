//! Any bytes as the body of a request: `cargo +nightly fuzz run request seeds/request -- -dict=request.dict -max_len=4096`.
//!
//! libFuzzer stops at a panic, at a refusal that is our own failure, and at one that repeats more than a little of what was sent.

#![no_main]

use std::sync::LazyLock;

use forgellm_runtime::runtime::server::reader::Reader;
use libfuzzer_sys::fuzz_target;

#[path = "../../crates/forgellm-runtime/tests/hostile_requests/rules.rs"]
mod rules;

static READER: LazyLock<Reader> = LazyLock::new(rules::reader);

fuzz_target!(|body: &[u8]| rules::check(&READER, body));
