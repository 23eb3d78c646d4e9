//! The graph that is compiled.

mod dtype;

pub use dtype::{DType, UnknownDType};
