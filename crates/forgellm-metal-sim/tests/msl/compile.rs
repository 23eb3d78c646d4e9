//! Diagnostics in the user's text, the cache, and what happens without a compiler.

use std::path::Path;
use std::process::Command;
use std::sync::Barrier;

use forgellm_metal_sim::sim::compile::{self, CompileError, CompiledLibrary};

use crate::HEADER;

fn compile(source: &str, label: &str, traced: bool, cache: &Path) -> Result<CompiledLibrary, CompileError> {
    compile::compile(source, label, &[], &[], traced, cache)
}

/// The diagnostics of a text that does not compile, one a line.
fn diagnostics(source: &str) -> String {
    match compile(source, "dir/test.metal", false, &crate::cache()) {
        Ok(_) => panic!("compiled: {source}"),
        Err(CompileError::Invalid { diagnostics, .. }) => {
            diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn errors_name_the_users_line_and_column() {
    let kernel = |body: &str| {
        format!(
            "{HEADER}kernel void k(device float *y [[buffer(0)]],\n              uint i [[thread_position_in_grid]]) {{\n  {body}\n}}\n"
        )
    };
    assert_eq!(
        diagnostics(&kernel("y[i] = 1.0;  // a comment's quote\n  y[i]   =   missing   +  1;")),
        "dir/test.metal:6:14: use of undeclared identifier 'missing'"
    );
    assert_eq!(
        diagnostics(&kernel("y[i] = exp(0.5)  *  frobnicate(y[i]);")),
        "dir/test.metal:5:23: use of undeclared identifier 'frobnicate'"
    );
    // After a threadgroup variable, whose declaration grows when it is translated.
    assert_eq!(
        diagnostics(&kernel("threadgroup float a[4], b; a[0] = nothing;")),
        "dir/test.metal:5:37: use of undeclared identifier 'nothing'"
    );
    // In a macro: the place where it is used.
    assert_eq!(
        diagnostics(&format!("#define BAD(x) (x + nowhere)\n{}", kernel("y[i] = BAD(1);"))),
        "dir/test.metal:6:3: use of undeclared identifier 'nowhere'"
    );
    // In the library: the call that led there.
    let text = diagnostics(&kernel("y[i] = simd_sum(long(i));"));
    assert!(text.starts_with("dir/test.metal:5:"), "{text}");
    assert!(text.contains("simdgroup functions take no 64-bit integers"), "{text}");
}

#[test]
fn what_the_language_forbids() {
    let cases = [
        ("constant float *c = nullptr; c[0] = 1;", "read-only"),
        ("half h = 1; float f = 2; y[0] = max(h, f);", "ambiguous"),
        ("float4 f = float4(1); int4 g = f;", "no viable conversion"),
        ("float2 f = float2(1, 2, 3);", "no matching"),
        ("float4 f = float4(1); f.xx = float2(1);", "no setter"),
        ("bfloat b = y[0] * 3.1f;", "the language wants a cast here, `bfloat(x)`"),
        ("y[0] = simd_sum(bfloat(1.0f));", "simdgroup functions take no bfloat"),
        ("uint half = 3;", "cannot combine"),
        ("device atomic_uint *a = nullptr; y[0] = *a;", ""),
        ("float f = float4(1);", "no viable conversion"),
        ("if (float2(1) < float2(2)) y[0] = 1;", "not contextually convertible to 'bool'"),
    ];
    for (body, expected) in cases {
        let text = diagnostics(&format!("{HEADER}kernel void k(device float *y) {{ {body} }}\n"));
        assert!(text.starts_with("dir/test.metal:3:") && text.contains(expected), "{body}\n{text}");
    }
}

#[test]
fn includes_and_preprocessor_errors() {
    assert_eq!(
        diagnostics("#include <metal_stdlib>\n#include <metal_tessellator_of_dreams>\n"),
        "dir/test.metal:2:10: 'metal_tessellator_of_dreams' file not found"
    );
    assert_eq!(
        diagnostics(
            "#include <metal_stdlib>\n#if __METAL_VERSION__ >= 310 && !defined(__x86_64__)\n#error as expected\n#endif\n"
        ),
        "dir/test.metal:3:2: as expected"
    );
    // Files beside the text, with their own names in errors.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("main.metal");
    let source =
        format!("{HEADER}#include \"part.h\"\nkernel void k(device float *y) {{ y[0] = part(); }}\n");
    std::fs::write(&path, &source).unwrap();
    std::fs::write(folder.path().join("part.h"), "static float part() { return 3; }\n").unwrap();
    let label = path.to_str().unwrap();
    assert_eq!(compile(&source, label, false, &crate::cache()).unwrap().kernels[0].at.line, 4);
    std::fs::write(folder.path().join("part.h"), "\nstatic float part() { return oops; }\n").unwrap();
    let text = compile(&source, label, false, &crate::cache()).unwrap_err().to_string();
    assert!(text.contains("part.h:2:30: use of undeclared identifier 'oops'"), "{text}");
}

#[test]
fn what_was_built_is_found_again() {
    let cache = tempfile::tempdir().unwrap();
    let source = format!("{HEADER}kernel void k(device float *y) {{ y[0] = 1; }}\n");
    // Several at once: one folder, no half-written files.
    let start = Barrier::new(3);
    let objects: Vec<_> = std::thread::scope(|scope| {
        let builds: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    compile(&source, "k.metal", false, cache.path()).unwrap().object
                })
            })
            .collect();
        builds.into_iter().map(|build| build.join().unwrap()).collect()
    });
    assert!(objects.iter().all(|object| *object == objects[0]));
    let leftover = std::fs::read_dir(cache.path()).unwrap().filter_map(Result::ok);
    assert!(leftover.into_iter().all(|entry| !entry.file_name().to_string_lossy().contains("unfinished")));
    let built = std::fs::metadata(&objects[0]).unwrap().modified().unwrap();
    let again = compile(&source, "k.metal", false, cache.path()).unwrap();
    assert_eq!(again.object, objects[0]);
    assert_eq!(std::fs::metadata(&again.object).unwrap().modified().unwrap(), built);
    // Other text, other build.
    let traced = compile(&source, "k.metal", true, cache.path()).unwrap();
    let other = compile(&source.replace("= 1", "= 2"), "k.metal", false, cache.path()).unwrap();
    assert!(traced.object != objects[0] && other.object != objects[0]);
    assert!(traced.traced && !other.traced);
}

#[test]
fn a_missing_compiler_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = folder.path().join("k.metal");
    std::fs::write(&kernel, "kernel void k() {}\n").unwrap();
    let list = |clang: &Path| {
        let output = Command::new(env!("CARGO_BIN_EXE_metal-sim"))
            .arg("list")
            .arg(&kernel)
            .env("FORGELLM_CLANG", clang)
            .output()
            .unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let text = list(&folder.path().join("no-such-clang"));
    assert!(text.contains("no clang of version 17 or newer is installed"), "{text}");
    assert!(text.contains("apt-get install clang-19") && text.contains("FORGELLM_CLANG"), "{text}");
    let old = folder.path().join("old-clang");
    std::fs::write(&old, "#!/bin/sh\necho clang version 11.0.1\n").unwrap();
    std::fs::set_permissions(&old, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let text = list(&old);
    assert!(text.contains("old-clang is version 11"), "{text}");
}
