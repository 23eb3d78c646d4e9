//! Embeds the runtime.

#[path = "build/embed.rs"]
mod embed;

use std::path::Path;
use std::{fs, io};

fn main() -> io::Result<()> {
    embed::embed(
        "runtime_files",
        Path::new("../forgellm-runtime/src/runtime"),
        &["rs", "html", "css", "js"],
    )?;
    let manifest = Path::new("../forgellm-runtime/Cargo.toml");
    println!("cargo::rerun-if-changed={}", manifest.display());
    fs::copy(manifest, embed::out_folder()?.join("runtime_manifest.toml"))?;
    Ok(())
}
