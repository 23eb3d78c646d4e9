//! Embeds the device layer.

#[path = "../forgellm-codegen/build/embed.rs"]
mod embed;

use std::io;
use std::path::Path;

fn main() -> io::Result<()> {
    embed::embed("device_files", Path::new("src/device"), &["rs"])
}
