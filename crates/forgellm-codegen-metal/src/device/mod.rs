//! Runs a compiled model on a Metal GPU.
//!
//! A generated program is one straight-line function over the operations below; each operation encodes its dispatches into the step's one
//! command buffer. The program calls [`Run::barrier`] where the plan has one; without it, dispatches run at the same time.
//!
//! | layer | files |
//! |---|---|
//! | engine contract, sequences, results | [`engine`], [`model`] |
//! | encoding of a step | [`run`], [`kernels`] |
//! | memory | [`memory`], [`cache`], [`weights`] |
//!
//! Everything here talks to `crate::gpu`, the one module that differs between a Mac and the simulator.

pub mod cache;
pub mod engine;
pub mod kernels;
pub mod memory;
pub mod model;
pub mod run;
pub mod weights;

pub use crate::runtime::buffer::{AnyBuffer, Buffer, RowKind, Rows, Wanted, WantedBuffer};
pub use engine::{CacheSpec, MetalEngine, MetalOptions, Model, ModelSpec};
pub use model::MetalModel;
pub use run::Run;
pub use weights::{Vector, Weights};
