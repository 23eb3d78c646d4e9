//! From a model file to a graph: checkpoints, tensor types, tokenizers, architectures, the graph and its
//! reference interpreter.

pub mod arch;
pub mod checkpoint;
pub mod interp;
pub mod ir;
pub mod quant;
pub mod synth;
pub mod tokenizer;
