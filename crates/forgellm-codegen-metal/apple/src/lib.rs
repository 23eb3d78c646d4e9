//! What of a generated project is written for Macs only, and a small program that uses all of it.

#[path = "../../src/gpu/apple/mod.rs"]
pub mod gpu;
#[path = "../../tests/gpu/host.rs"]
pub mod host;
#[path = "../../src/project/kernels.rs"]
pub mod kernels;
