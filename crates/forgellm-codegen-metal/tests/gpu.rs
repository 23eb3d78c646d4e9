//! The device API, as the simulator has it. The same program is type-checked against Metal by `cargo xtask check-apple`.

use forgellm_codegen_metal::gpu;

#[path = "gpu/host.rs"]
mod host;

use host::{VALUES, Weights};

#[test]
fn a_program_that_uses_all_of_it() {
    let weights: [f32; VALUES] = std::array::from_fn(|i| (i % 7) as f32 + 1.0);
    let x: [f32; VALUES] = std::array::from_fn(|i| i as f32);
    let device = gpu::Device::open().unwrap();
    let result = host::run(&device, Weights(weights), &x, 0.5).unwrap();
    for (i, value) in result.into_iter().enumerate() {
        // Its place within its threadgroup of 64 is turned around and back.
        let other = i / 64 * 64 + 63 - i % 64;
        assert_eq!(value, x[i] * weights[i] * weights[other] + 0.5, "value {i}");
    }
}

#[test]
fn a_mistake_is_an_error_that_says_where() {
    let device = gpu::Device::open().unwrap();
    let error = host::mistake(&device).unwrap().unwrap().to_string();
    for part in ["wrong", "only", "scale_and_turn", "index 31"] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
}
