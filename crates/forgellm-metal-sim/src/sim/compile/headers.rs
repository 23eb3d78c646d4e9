//! The C++ headers that translated kernels include, and the names of the headers that Metal text may include.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{CompileError, temporary};

/// The simulator's own headers.
const OWN: &[(&str, &str)] = &[
    ("ms_host.h", include_str!("../../../include/ms_host.h")),
    ("ms_traits.h", include_str!("../../../include/ms_traits.h")),
    ("ms_limits.h", include_str!("../../../include/ms_limits.h")),
    ("ms_spaces.h", include_str!("../../../include/ms_spaces.h")),
    ("ms_vector_class.h", include_str!("../../../include/ms_vector_class.h")),
    ("ms_vector_native.h", include_str!("../../../include/ms_vector_native.h")),
    ("ms_vector.h", include_str!("../../../include/ms_vector.h")),
    ("ms_functional.h", include_str!("../../../include/ms_functional.h")),
    ("ms_internal.h", include_str!("../../../include/ms_internal.h")),
    ("ms_logging.h", include_str!("../../../include/ms_logging.h")),
    ("ms_math.h", include_str!("../../../include/ms_math.h")),
    ("ms_integer.h", include_str!("../../../include/ms_integer.h")),
    ("ms_matrix.h", include_str!("../../../include/ms_matrix.h")),
    ("ms_simdgroup.h", include_str!("../../../include/ms_simdgroup.h")),
    ("ms_simdgroup_matrix.h", include_str!("../../../include/ms_simdgroup_matrix.h")),
    ("ms_atomic.h", include_str!("../../../include/ms_atomic.h")),
    ("ms_entry.h", include_str!("../../../include/ms_entry.h")),
    ("ms_trace.h", include_str!("../../../include/ms_trace.h")),
    ("ms_prelude.h", include_str!("../../../include/ms_prelude.h")),
];

/// The macros of the standard library: all that the preprocessor's pass needs of it.
const MACROS: &str = include_str!("../../../include/ms_macros.h");

/// Headers that Metal text includes. Each gives the macros; everything else is always there.
const METAL: &[&str] = &[
    "metal_stdlib",
    "metal_atomic",
    "metal_common",
    "metal_compute",
    "metal_config",
    "metal_extended_vector",
    "metal_functional",
    "metal_geometric",
    "metal_integer",
    "metal_limits",
    "metal_logging",
    "metal_math",
    "metal_matrix",
    "metal_numeric",
    "metal_pack",
    "metal_packed_vector",
    "metal_quadgroup",
    "metal_relational",
    "metal_simdgroup",
    "metal_simdgroup_matrix",
    "metal_type_traits",
    "metal_types",
    "metal_uniform",
    "metal_utility",
    "metal_array",
    "simd/simd.h",
];

/// Everything that goes into a build besides the text and the flags.
pub(super) fn content() -> String {
    let mut all = swizzles();
    for (name, text) in OWN {
        all.push_str(name);
        all.push_str(text);
    }
    all.push_str(MACROS);
    all
}

/// The folder of the headers inside the cache; written if it is not there.
pub(super) fn folder(cache: &Path) -> Result<PathBuf, CompileError> {
    let key: String = Sha256::digest(content()).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let folder = cache.join(format!("headers-{key}"));
    if folder.is_dir() {
        return Ok(folder);
    }
    let unfinished = temporary(&folder);
    let write = || {
        fs::create_dir_all(unfinished.join("metal/simd"))?;
        for (name, text) in OWN {
            fs::write(unfinished.join(name), text)?;
        }
        fs::write(unfinished.join("ms_swizzle.h"), swizzles())?;
        fs::write(unfinished.join("metal/ms_macros.h"), MACROS)?;
        for name in METAL {
            fs::write(unfinished.join("metal").join(name), "#include <ms_macros.h>\n")?;
        }
        match fs::rename(&unfinished, &folder) {
            // Another process was faster; its folder has the same content.
            Err(_) if folder.is_dir() => fs::remove_dir_all(&unfinished),
            other => other,
        }
    };
    write().map_err(|error| CompileError::Io {
        what: format!("cannot write the simulator's headers into {}", cache.display()),
        error,
    })?;
    Ok(folder)
}

/// `ms_swizzle.h`: for each size of vector a macro with the properties `x`, `xy`, `zyx`, … and their `rgba` spelling.
/// Reading calls `ms_get_…`, writing `ms_put_…`, which does not exist where a component repeats.
fn swizzles() -> String {
    let mut text = String::from("#pragma once\n#define MS_GET __attribute__((always_inline))\n");
    for size in 2..=4usize {
        text.push_str(&format!("#define MS_SWIZZLES_OF_{size}"));
        for length in 1..=4u32 {
            for number in 0..size.pow(length) {
                let components: Vec<usize> =
                    (0..length).map(|place| number / size.pow(length - 1 - place) % size).collect();
                text.push_str(&swizzle(&components));
            }
        }
        text.push('\n');
    }
    text
}

fn swizzle(components: &[usize]) -> String {
    let spelled = |letters: &str| -> String { components.iter().map(|&c| &letters[c..=c]).collect() };
    let (name, color) = (spelled("xyzw"), spelled("rgba"));
    let length = components.len();
    let ty = if length == 1 { "T".to_string() } else { format!("vec<T, {length}>") };
    let read: Vec<String> = components.iter().map(|c| format!("(*this)[{c}]")).collect();
    let mut text =
        format!(" \\\n  MS_GET {ty} ms_get_{name}() const {{ return {ty}({}); }}", read.join(", "));
    let repeats = (1..length).any(|i| components[..i].contains(&components[i]));
    let mut accessors = format!("get = ms_get_{name}");
    if !repeats {
        let write: String =
            components
                .iter()
                .enumerate()
                .map(|(i, c)| {
                    if length == 1 {
                        format!("(*this)[{c}] = v; ")
                    } else {
                        format!("(*this)[{c}] = v[{i}]; ")
                    }
                })
                .collect();
        text.push_str(&format!(" \\\n  MS_GET void ms_put_{name}({ty} v) {{ {write}}}"));
        accessors.push_str(&format!(", put = ms_put_{name}"));
    }
    for spelling in [&name, &color] {
        text.push_str(&format!(" \\\n  __declspec(property({accessors})) {ty} {spelling};"));
    }
    text
}
