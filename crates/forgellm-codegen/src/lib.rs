//! What all targets share: the writer of Rust text, the project, the weights file.

pub mod emit;
mod manifest;
mod program;
mod project;
mod rust_writer;
mod sources;
mod tensors;
mod weights;

pub use manifest::{Dependencies, ManifestError};
pub use program::{Program, TOKENIZER_FILE, WEIGHTS_FILE};
pub use project::{Project, WriteError};
pub use rust_writer::{RUSTFMT, RustWriter, constant_name};
pub use sources::{runtime_dependencies, runtime_sources, sources_without_tests};
pub use tensors::{PackMatrix, pack_weight};
pub use weights::{Pack, VECTOR, WeightsWriteError, plan_hash, write_weights};
