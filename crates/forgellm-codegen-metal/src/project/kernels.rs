//! The kernels of the program.

use crate::gpu::{Device, GpuError, Library};

/// Their Metal source.
pub const SOURCE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/kernels.metal"));

/// What Apple's compiler made of it when the program was built; empty if there was none (`build.rs`).
#[cfg(target_os = "macos")]
const COMPILED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kernels.metallib"));

/// The kernels, ready to be specialised.
pub fn library(device: &Device) -> Result<Library, GpuError> {
    // A system older than the one that they were compiled for refuses them; their source it takes.
    #[cfg(target_os = "macos")]
    if !COMPILED.is_empty()
        && let Ok(library) = device.compiled_library(COMPILED, "kernels")
    {
        return Ok(library);
    }
    device.library(SOURCE, "kernels")
}
