//! The device layer and the packing of weights, and nothing that needs the rest of the program.

#[path = "../../src/device/mod.rs"]
pub mod device;
#[path = "../../src/pack/mod.rs"]
pub mod pack;
pub mod runtime;
