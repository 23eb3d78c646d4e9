//! What of a generated project is written for Macs only.

#[path = "../../src/gpu/apple/mod.rs"]
pub mod gpu;
#[path = "../../src/project/kernels.rs"]
pub mod kernels;
