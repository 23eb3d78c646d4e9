//! Telling what a file is when it is not GGUF.

use super::error::GgufErrorKind;

/// Refuses a file that does not start with `GGUF`.
pub(super) fn not_gguf(bytes: &[u8]) -> GgufErrorKind {
    let (looks_like, advice) = recognise(bytes);
    GgufErrorKind::NotGguf { looks_like, advice }
}

fn recognise(bytes: &[u8]) -> (&'static str, &'static str) {
    const GET_GGUF: &str = "give a .gguf file";
    const CONVERT: &str = "convert it to GGUF first (llama.cpp's convert_hf_to_gguf.py)";
    let lower: Vec<u8> = bytes.iter().take(64).map(u8::to_ascii_lowercase).collect();
    let text = lower.trim_ascii_start();
    if bytes.is_empty() {
        ("an empty file", "get it again")
    } else if b"GGUF".starts_with(bytes) {
        ("the first bytes of a GGUF file", "the file is cut short, get it again")
    } else if bytes.starts_with(b"FUGG") {
        ("a GGUF file with swapped bytes", "get a little-endian file")
    } else if bytes.starts_with(b"version https://git-lfs") {
        ("a git-LFS pointer instead of the model", "run `git lfs pull` in its repository")
    } else if text.starts_with(b"<!doctype html") || text.starts_with(b"<html") || text.starts_with(b"<?xml")
    {
        ("a web page", "the download gave a page instead of the file: check its address and your access")
    } else if bytes.starts_with(b"PK\x03\x04") {
        (
            "a zip archive (or a PyTorch checkpoint or Python wheel)",
            "unpack it, or convert the checkpoint to GGUF",
        )
    } else if bytes.starts_with(b"\x1f\x8b") {
        ("a gzip archive", "unpack it first")
    } else if bytes.starts_with(b"\x28\xb5\x2f\xfd") {
        ("a zstd archive", "unpack it first")
    } else if bytes.starts_with(b"ggjt") || bytes.starts_with(b"tjgg") || bytes.starts_with(b"lmgg") {
        ("a GGML file from before GGUF", CONVERT)
    } else if bytes.get(8) == Some(&b'{') && safetensors_length_fits(bytes) {
        ("a safetensors file", CONVERT)
    } else if text.starts_with(b"{") || text.starts_with(b"[") {
        ("JSON text", GET_GGUF)
    } else if bytes.iter().take(4096).all(|&byte| byte == 0) {
        ("a file of zeros", "an unfinished download? get it again")
    } else {
        ("something else", GET_GGUF)
    }
}

/// A safetensors file starts with the length of its JSON header.
fn safetensors_length_fits(bytes: &[u8]) -> bool {
    bytes.first_chunk().is_some_and(|length| u64::from_le_bytes(*length) <= bytes.len() as u64 - 8)
}
