//! Embeds the device layer and the kernels.

#[path = "../forgellm-codegen/build/embed.rs"]
mod embed;

use std::io;
use std::path::Path;

fn main() -> io::Result<()> {
    embed::embed("device_files", Path::new("src/device"), "rs")?;
    embed::embed("kernel_files", Path::new("kernels"), "metal")
}
