//! Model files: their metadata and their tensors.

mod metadata;

pub use metadata::{Metadata, MetadataError, Value};
