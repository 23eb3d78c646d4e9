//! For build scripts: embeds the source files of a folder, which generated projects hold as copies.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Writes `$OUT_DIR/<name>.rs`: an expression of type `&[(&str, &str)]`, the path below `folder` and the text of each file with one of these
/// extensions.
pub fn embed(name: &str, folder: &Path, extensions: &[&str]) -> io::Result<()> {
    let root = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).ok_or(io::ErrorKind::NotFound)?;
    let root = root.join(folder).canonicalize()?;
    println!("cargo::rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    collect(&root, extensions, &mut files)?;
    files.sort();
    let mut table = String::from("&[\n");
    for file in &files {
        println!("cargo::rerun-if-changed={}", file.display());
        let below = file.strip_prefix(&root).map_err(io::Error::other)?.to_string_lossy().replace('\\', "/");
        let _ = writeln!(table, "    ({below:?}, include_str!({:?})),", file.display().to_string());
    }
    table.push(']');
    fs::write(out_folder()?.join(format!("{name}.rs")), table)
}

/// `$OUT_DIR`.
pub fn out_folder() -> io::Result<PathBuf> {
    Ok(env::var_os("OUT_DIR").map(PathBuf::from).ok_or(io::ErrorKind::NotFound)?)
}

fn collect(folder: &Path, extensions: &[&str], files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            println!("cargo::rerun-if-changed={}", path.display());
            collect(&path, extensions, files)?;
        } else if path.extension().is_some_and(|found| extensions.iter().any(|extension| found == *extension))
        {
            files.push(path);
        }
    }
    Ok(())
}
