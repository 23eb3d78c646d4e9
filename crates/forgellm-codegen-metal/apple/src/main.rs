//! The same as a program, as which a generated project holds it. On a Mac, `cargo run` says whether the device layer works there.

#[allow(dead_code, unused_imports, reason = "the same for every program, so this one uses a part of it")]
#[path = "../../src/gpu/apple/mod.rs"]
mod gpu;
#[path = "../../tests/gpu/host.rs"]
mod host;
#[path = "../../src/project/kernels.rs"]
mod kernels;

use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool, gpu::GpuError> {
    let device = gpu::Device::open()?;
    println!("{}, {} bytes for the GPU", device.name(), device.memory());
    let compiled = kernels::library(&device)?;
    let from_source = device.library(kernels::SOURCE, "kernels.metal")?;
    let mut right = true;
    for (name, library) in [("kernels of the build", compiled), ("kernels from source", from_source)] {
        let result = host::check(&device, &library)?;
        println!("{name}: {}", if result { "right" } else { "WRONG" });
        right &= result;
    }
    let mistake = host::mistake(&device, &kernels::library(&device)?)?;
    println!("a mistake: {}", mistake.as_ref().map_or("NOT SEEN".to_owned(), ToString::to_string));
    Ok(right && mistake.is_some())
}
