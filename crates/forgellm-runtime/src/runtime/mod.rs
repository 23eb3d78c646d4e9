//! The program around a compiled model.

pub mod engine;
