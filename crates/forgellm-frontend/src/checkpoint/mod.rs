//! Model files: their metadata and their tensors.

pub mod gguf;
mod metadata;

pub use metadata::{Metadata, MetadataError, Value};
