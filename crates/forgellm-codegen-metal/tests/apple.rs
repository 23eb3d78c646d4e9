//! What of the device layer for Macs needs no Mac: their own tests run here. `cargo xtask check-apple` checks the rest.

#![expect(dead_code, reason = "the parts that use these items need Metal")]

#[path = "../src/gpu/apple/constant.rs"]
mod constant;
#[path = "../src/gpu/apple/error.rs"]
mod error;
#[path = "../src/gpu/apple/limits.rs"]
mod limits;
