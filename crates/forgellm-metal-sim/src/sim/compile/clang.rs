//! Finds clang and runs it.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use sha2::{Digest, Sha256};

use super::{CompileError, diagnostics, rename, temporary};
use crate::sim::translate::quoted;

/// `_Float16`, `__bf16` and the attributes that the headers use are all there from this version on.
pub(super) const OLDEST: u32 = 17;

/// A compiler that can be used.
#[derive(Debug, Clone)]
pub(super) struct Clang {
    program: PathBuf,
    /// What `--version` says, which is part of a build's identity.
    pub version: String,
}

/// What a run of clang gave.
pub(super) struct Output {
    pub succeeded: bool,
    /// Its diagnostics.
    pub text: String,
}

/// The compiler that `FORGELLM_CLANG` names, or else the first of the usual names that is new enough.
pub(super) fn find() -> Result<Clang, CompileError> {
    static FOUND: Mutex<Option<(Option<OsString>, Clang)>> = Mutex::new(None);
    let named = std::env::var_os("FORGELLM_CLANG");
    let mut found = FOUND.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some((by, clang)) = &*found
        && *by == named
    {
        return Ok(clang.clone());
    }
    let candidates: Vec<PathBuf> = match &named {
        Some(path) => vec![path.into()],
        None => {
            ["clang++-19", "clang++-20", "clang++-21", "clang++-22", "clang++-18", "clang++-17", "clang++"]
                .map(PathBuf::from)
                .to_vec()
        }
    };
    let mut tried = Vec::new();
    for program in candidates {
        match version(&program) {
            Ok((number, version)) if number >= OLDEST => {
                let clang = Clang { program, version };
                *found = Some((named, clang.clone()));
                return Ok(clang);
            }
            Ok((number, _)) => tried.push(format!("{} is version {number}", program.display())),
            Err(error) => tried.push(format!("{}: {error}", program.display())),
        }
    }
    Err(CompileError::NoClang { tried: tried.join("; ") })
}

fn version(program: &Path) -> Result<(u32, String), String> {
    let output = Command::new(program).arg("--version").output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = text
        .split_once("clang version ")
        .and_then(|(_, rest)| rest.split('.').next()?.parse().ok())
        .ok_or("this is not clang")?;
    Ok((number, text))
}

/// Flags of both builds.
///
/// The plain and the traced build must give the same numbers, on every host: so no contraction of `a * b + c` (it
/// would depend on the processor; `fma` is there for those who want it), no excess precision for half and bfloat
/// (every operation rounds, as on the GPU), no reordering of sums.
/// Undoubled tails (and the `convergent` functions of the headers) keep each call of a simdgroup function one place in
/// the program: lanes meet by return address. Kernels cast pointers between types freely, hence no strict aliasing.
const COMMON: &[&str] = &[
    "-std=c++17",
    "-O2",
    "-fPIC",
    "-nostdinc",
    "-fdeclspec",
    "-fvisibility=hidden",
    "-fno-exceptions",
    "-fno-rtti",
    "-fsigned-char",
    "-fno-strict-aliasing",
    "-fno-math-errno",
    "-ffp-contract=off",
    "-Xclang",
    "-ffloat16-excess-precision=none",
    "-Xclang",
    "-fbfloat16-excess-precision=none",
    "-fno-optimize-sibling-calls",
    "-fno-threadsafe-statics",
    "-fno-stack-protector",
    "-fno-delete-null-pointer-checks",
    "-fwrapv",
    "-mllvm",
    "-disable-tail-duplicate",
    "-mllvm",
    "-disable-early-taildup",
    "-mllvm",
    "-tail-dup-placement=0",
    "-gline-tables-only",
    "-fdebug-compilation-dir=.",
    "-Wno-everything",
    "-Wimplicit-float-conversion",
    "-Werror=return-type",
    // A thread's private memory is a stack of 256 KiB.
    "-Werror=frame-larger-than",
    "-Wframe-larger-than=131072",
    "-Wno-c++11-narrowing",
    "-fno-caret-diagnostics",
    "-fno-spell-checking",
    "-fno-color-diagnostics",
    "-fno-diagnostics-fixit-info",
    "-fno-diagnostics-show-option",
    "-ferror-limit=20",
    "-ftemplate-backtrace-limit=0",
];

/// The traced build uses the compiler's address instrumentation for its calls before each access, of every size and
/// for copies too; its runtime library is not involved. Vectorisation would join accesses that the kernel made one by
/// one, and the combination of vector instructions would take a vector's access apart.
const TRACED: &[&str] = &[
    "-DMS_TRACED=1",
    "-fsanitize=kernel-address",
    "-fno-vectorize",
    "-fno-slp-vectorize",
    "-mllvm",
    "-disable-vector-combine",
    "-mllvm",
    "-asan-instrumentation-with-call-threshold=0",
    "-mllvm",
    "-asan-stack=0",
    "-mllvm",
    "-asan-globals=0",
    "-mllvm",
    "-asan-opt-same-temp=0",
    "-mllvm",
    "-asan-constructor-kind=none",
    "-mllvm",
    "-asan-kernel-mem-intrinsic-prefix=1",
];

/// The flags of a build on this host.
pub(super) fn flags(traced: bool) -> Vec<&'static str> {
    let mut flags = COMMON.to_vec();
    flags.extend(processor());
    if traced {
        flags.extend(TRACED)
    } else {
        flags.push("-DMS_TRACED=0")
    }
    flags
}

#[cfg(target_arch = "x86_64")]
fn processor() -> Option<&'static str> {
    use std::arch::is_x86_feature_detected as has;
    let third = has!("avx2")
        && has!("fma")
        && has!("f16c")
        && has!("bmi1")
        && has!("bmi2")
        && has!("lzcnt")
        && has!("movbe");
    let fourth =
        has!("avx512f") && has!("avx512bw") && has!("avx512cd") && has!("avx512dq") && has!("avx512vl");
    match (third, fourth) {
        (true, true) => Some("-march=x86-64-v4"),
        (true, false) => Some("-march=x86-64-v3"),
        (false, _) => Some("-march=x86-64-v2"),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn processor() -> Option<&'static str> {
    None
}

/// What the Metal compiler predefines and kernels ask for.
const PREDEFINED: &[&str] = &[
    "-D__METAL__=1",
    "-D__METAL_VERSION__=320",
    "-D__METAL_MACOS__=1",
    "-D__HAVE_BFLOAT__=1",
    "-D__HAVE_SIMDGROUP_REDUCTION__=1",
    "-D__HAVE_SIMDGROUP_MATRIX__=1",
    "-D__HAVE_QUADGROUP_SCOPED_ATOMICS__=1",
];

impl Clang {
    /// Expands the macros and `#include`s of a text, with line markers.
    pub fn preprocess(
        &self,
        source: &str,
        label: &str,
        include: &[PathBuf],
        headers: &Path,
    ) -> Result<String, CompileError> {
        let mut command = Command::new(&self.program);
        command.args([
            "-E",
            "-x",
            "c++",
            "-std=c++17",
            "-undef",
            "-nostdinc",
            "-w",
            "-fno-color-diagnostics",
        ]);
        command.args(["-fno-caret-diagnostics", "-D__cplusplus=201703L"]).args(PREDEFINED);
        command.arg("-I").arg(headers.join("metal"));
        if let Some(folder) = Path::new(label).parent().filter(|_| Path::new(label).is_file()) {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            command.arg("-iquote").arg(folder).arg("-I").arg(folder);
        }
        for folder in include {
            command.arg("-I").arg(folder);
        }
        let output = self.feed(&mut command, format!("#line 1 {}\n{source}\n", quoted(label)))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let diagnostics = diagnostics::of_preprocessor(&text);
        Err(match diagnostics.is_empty() {
            true => CompileError::Clang { label: label.into(), output: text },
            false => CompileError::Invalid { label: label.into(), diagnostics },
        })
    }

    /// The headers in the form that clang reads fastest, for one set of flags; built if it is not there.
    fn prelude(&self, flags: &[&str], headers: &Path) -> Result<PathBuf, CompileError> {
        let mut hash = Sha256::new();
        // clang records where the headers lie.
        for part in [&self.version, &flags.join(" "), &headers.to_string_lossy().into_owned()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let key: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let prelude = headers.with_file_name(format!("prelude-{key}.pch"));
        if prelude.exists() {
            return Ok(prelude);
        }
        let unfinished = temporary(&prelude);
        let mut command = Command::new(&self.program);
        command.args(flags).args(["-x", "c++-header", "-Xclang", "-fno-pch-timestamp", "-I"]).arg(headers);
        let output = self.output(command.arg(headers.join("ms_prelude.h")).arg("-o").arg(&unfinished))?;
        if !output.succeeded {
            return Err(CompileError::Clang { label: "the simulator's headers".into(), output: output.text });
        }
        rename(&unfinished, &prelude)?;
        Ok(prelude)
    }

    /// Compiles a translated text to a shared object.
    pub fn build(
        &self,
        text: &Path,
        flags: &[&str],
        headers: &Path,
        to: &Path,
    ) -> Result<Output, CompileError> {
        let prelude = self.prelude(flags, headers)?;
        let mut command = Command::new(&self.program);
        command.args(flags).args(["-x", "c++", "-include-pch"]).arg(prelude).arg(text);
        command.args(["-shared", "-nostdlib++", "-lm", "-o"]).arg(to);
        if cfg!(target_os = "linux") {
            command.arg("-Wl,-Bsymbolic");
        }
        self.output(&mut command)
    }

    /// Looks for mistakes in a text without building it.
    pub fn check(&self, text: &str, headers: &Path) -> Result<Output, CompileError> {
        let mut flags = COMMON.to_vec();
        flags.extend(["-DMS_SPACES=1", "-DMS_TRACED=0"]);
        let prelude = self.prelude(&flags, headers)?;
        let mut command = Command::new(&self.program);
        command
            .args(&flags)
            .args(["-fsyntax-only", "-ferror-limit=0", "-x", "c++", "-include-pch"])
            .arg(prelude);
        let output = self.feed(&mut command, text.to_owned())?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok(Output { succeeded: output.status.success(), text })
    }

    /// Runs clang with `input` as its standard input.
    fn feed(&self, command: &mut Command, input: String) -> Result<std::process::Output, CompileError> {
        command.arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let io_error =
            |error| CompileError::Io { what: format!("cannot run {}", self.program.display()), error };
        let mut child = command.spawn().map_err(io_error)?;
        let mut stdin = child.stdin.take();
        let writer = std::thread::spawn(move || {
            if let Some(stdin) = stdin.as_mut() {
                // A compiler that stops reading reports why itself.
                let _ = stdin.write_all(input.as_bytes());
            }
        });
        let output = child.wait_with_output().map_err(io_error)?;
        // The writer cannot panic.
        let _ = writer.join();
        Ok(output)
    }

    fn output(&self, command: &mut Command) -> Result<Output, CompileError> {
        let output = command.output().map_err(|error| CompileError::Io {
            what: format!("cannot run {}", self.program.display()),
            error,
        })?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok(Output { succeeded: output.status.success(), text })
    }
}
