//! What of the device layer is tested here.

#[path = "../../src/device/matrix/mod.rs"]
pub mod matrix;
