//! Runs `forge` in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use forgellm_frontend::checkpoint::Metadata;
use forgellm_frontend::checkpoint::gguf::{GgufFile, GgufWriter, TensorSpec};

/// A folder with nothing in it, and a cache of its own.
pub struct Workplace {
    folder: tempfile::TempDir,
}

/// How a run ended.
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Workplace {
    pub fn new() -> Workplace {
        Workplace { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `forge` with this workplace as its current folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forge"));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("FORGELLM_CACHE", self.path("cache")).env("HF_HOME", self.path("hub"));
        command
    }

    /// `forge` with the cache that all tests share, so that dependencies of generated projects are built once.
    pub fn building(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(arguments);
        command.env("FORGELLM_CACHE", concat!(env!("CARGO_TARGET_TMPDIR"), "/forge-cache"));
        command
    }

    pub fn forge(&self, arguments: &[&str]) -> Outcome {
        outcome(&mut self.command(arguments))
    }

    /// A tiny model called `model.gguf`.
    pub fn with_model(self, shape: &str, dtype: &str) -> Workplace {
        self.forge(&["synth", shape, dtype, "-o", "model.gguf"]).succeeded();
        self
    }

    /// The tiny model with other metadata or tensors, in place of `model.gguf`.
    pub fn with_changed_model(
        self,
        shape: &str,
        dtype: &str,
        change: impl FnOnce(&mut Changed),
    ) -> Workplace {
        let place = self.with_model(shape, dtype);
        let path = place.path("model.gguf");
        let file = GgufFile::open(&path).unwrap();
        let tensors = file.tensors().iter().map(|tensor| {
            let (name, dtype, shape) = (tensor.name.clone(), tensor.dtype, tensor.shape.clone());
            (TensorSpec { name, dtype, shape }, file.data(tensor).to_vec())
        });
        let mut changed = Changed { metadata: file.metadata().clone(), tensors: tensors.collect() };
        change(&mut changed);
        let specs: Vec<TensorSpec> = changed.tensors.iter().map(|(spec, _)| spec.clone()).collect();
        let mut writer = GgufWriter::create(&path, &changed.metadata, &specs).unwrap();
        for (_, bytes) in &changed.tensors {
            writer.write(bytes).unwrap();
        }
        writer.finish().unwrap();
        place
    }

    /// All files below the workplace but the cache, by name.
    pub fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        collect(self.folder.path(), self.folder.path(), &mut files);
        files.retain(|file| !file.starts_with("cache/"));
        files.sort();
        files
    }
}

/// What a model file is made of.
pub struct Changed {
    pub metadata: Metadata,
    pub tensors: Vec<(TensorSpec, Vec<u8>)>,
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            collect(root, &entry.path(), files);
        } else {
            files.push(entry.path().strip_prefix(root).unwrap().to_string_lossy().into_owned());
        }
    }
}

pub fn outcome(command: &mut Command) -> Outcome {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Outcome { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

impl Outcome {
    #[track_caller]
    pub fn succeeded(self) -> Outcome {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    /// The exit code, and what the message must hold; nothing is on standard output then.
    #[track_caller]
    pub fn failed(self, code: i32, message: &[&str]) -> Outcome {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        for part in message {
            assert!(self.stderr.contains(part), "`{part}` is not in: {}", self.stderr);
        }
        assert_eq!(self.stdout, "");
        self
    }
}
