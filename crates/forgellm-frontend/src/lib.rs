//! From a model file to a graph: checkpoints, tensor types, tokenizers, architectures, the graph and its
//! reference interpreter.

pub mod checkpoint;
pub mod ir;
pub mod quant;
