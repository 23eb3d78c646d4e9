//! The device API, as the simulator has it. The same program is type-checked against Metal by `cargo xtask check-apple`.

use forgellm_codegen_metal::gpu;

#[path = "gpu/host.rs"]
mod host;

const SOURCE: &str = include_str!("../apple/shaders/kernels.metal");

#[test]
fn a_program_that_uses_all_of_it() {
    let device = gpu::Device::open().unwrap();
    let library = device.library(SOURCE, "kernels.metal").unwrap();
    assert!(host::check(&device, &library).unwrap());
}

#[test]
fn a_mistake_is_an_error_that_says_where() {
    let device = gpu::Device::open().unwrap();
    let library = device.library(SOURCE, "kernels.metal").unwrap();
    let error = host::mistake(&device, &library).unwrap().unwrap().to_string();
    for part in ["wrong", "only", "scale_and_turn", "index 31"] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
}
