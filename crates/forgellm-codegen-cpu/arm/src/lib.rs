//! The matrix kernels and their packing, and nothing that needs the rest of the program.

/// The device layer.
pub mod device;
#[path = "../../src/pack/mod.rs"]
pub mod pack;
