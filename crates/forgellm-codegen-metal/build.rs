//! Embeds the device layer, the kernels and both kinds of GPU: Apple's and the simulated one.

#[path = "../forgellm-codegen/build/embed.rs"]
mod embed;

use std::path::Path;
use std::{fs, io};

fn main() -> io::Result<()> {
    embed::embed("device_files", Path::new("src/device"), &["rs"])?;
    embed::embed("kernel_files", Path::new("kernels"), &["metal"])?;
    embed::embed("apple_files", Path::new("src/gpu/apple"), &["rs"])?;
    // The simulator takes Metal's place in projects for machines without it.
    let simulator = Path::new("../forgellm-metal-sim");
    embed::embed("simulator_files", &simulator.join("src/sim"), &["rs"])?;
    embed::embed("simulator_headers", &simulator.join("include"), &["h"])?;
    let manifest = simulator.join("Cargo.toml");
    println!("cargo::rerun-if-changed={}", manifest.display());
    fs::copy(manifest, embed::out_folder()?.join("simulator_manifest.toml"))?;
    Ok(())
}
