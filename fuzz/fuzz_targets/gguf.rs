//! Any bytes as a GGUF file: `cargo +nightly fuzz run gguf -- -dict=gguf.dict -malloc_limit_mb=64 -max_len=65536`.
//!
//! libFuzzer stops at a panic, at a single allocation over the limit, and (address sanitizer) at a read
//! outside the input.

#![no_main]

use forgellm_frontend::checkpoint::gguf::GgufFile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match GgufFile::parse("fuzz.gguf", bytes.to_vec()) {
        Ok(file) => {
            for tensor in file.tensors() {
                assert_eq!(file.data(tensor).len() as u64, tensor.bytes);
                assert!(file.tensor(&tensor.name).is_ok_and(|found| found == tensor));
            }
        }
        Err(error) => assert!(error.to_string().len() < 600),
    }
});
