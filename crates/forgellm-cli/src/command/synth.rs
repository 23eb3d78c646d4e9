//! `forge synth`.

use std::path::PathBuf;

use clap::Args;
use forgellm_frontend::ir::DType;
use forgellm_frontend::synth::{self, SHAPES, Shape};
use serde_json::json;

use super::{UsageError, print_json, print_text};
use crate::interrupt::TempPath;
use crate::ui::Ui;

/// Write a GGUF file of random weights: for tests, and for benchmarks of models that are not at hand.
///
/// The file has everything that a real one has and runs everywhere a real one does; what it writes is noise.
#[derive(Debug, Args)]
#[command(after_help = examples())]
pub(super) struct Synth {
    /// The model's shape; one of the list below
    #[arg(value_name = "SHAPE", value_parser = shape)]
    shape: &'static Shape,
    /// The type of its matrices, such as Q4_K, Q8_0 or F16
    #[arg(value_name = "TYPE")]
    dtype: DType,
    /// The file to write
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Makes another model of the same shape
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// Print {"file":…,"bytes":…}
    #[arg(long)]
    pub(super) json: bool,
}

fn shape(name: &str) -> Result<&'static Shape, String> {
    Shape::find(name).map_err(|error| error.to_string())
}

fn examples() -> String {
    let widest = SHAPES.iter().map(|shape| shape.name.len()).max().unwrap_or(0);
    let shapes: Vec<String> =
        SHAPES.iter().map(|shape| format!("  {:widest$}  {}", shape.name, shape.about)).collect();
    let example = SHAPES.first().map_or("SHAPE", |shape| shape.name);
    format!(
        "Shapes:\n{}\n\nExamples:\n  forge synth {example} Q4_K -o tiny.gguf\n  forge synth {example} F16 --seed 7 -o other.gguf",
        shapes.join("\n")
    )
}

impl Synth {
    pub(super) fn run(&self, ui: &Ui) -> anyhow::Result<()> {
        if self.output.is_dir() {
            return Err(UsageError(format!("{} is a folder; name a file", self.output.display())).into());
        }
        let temp = TempPath::beside(&self.output);
        let bar = ui.bytes("writing", 0);
        synth::write(self.shape, self.dtype, self.seed, temp.path(), &mut |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        })?;
        bar.finish_and_clear();
        let bytes = std::fs::metadata(temp.path())?.len();
        temp.keep_as(&self.output)?;
        let file = self.output.display().to_string();
        if self.json {
            print_json(&json!({ "file": file, "bytes": bytes, "parameters": self.shape.parameters() }))
        } else {
            print_text(&format!("{file}: {bytes} bytes, {} parameters\n", self.shape.parameters()))
        }
    }
}
