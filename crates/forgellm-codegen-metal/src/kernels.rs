//! The kernels as text.

static KERNELS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/kernel_files.rs"));

/// One text of the named files (`mat_vec.metal`, `formats/q4_1.metal`), after the prelude, followed by the lines of `instantiations`.
///
/// # Panics
///
/// If there is no such file: the names are this crate's own.
pub fn kernel_source<'a>(files: &[&str], instantiations: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for name in ["prelude.metal"].iter().chain(files) {
        let file = KERNELS.iter().find(|(known, _)| known == name);
        let Some((_, source)) = file else { panic!("there is no kernel file {name}") };
        text.push_str(source);
        text.push('\n');
    }
    for line in instantiations {
        text.push_str(line);
        text.push('\n');
    }
    text
}
