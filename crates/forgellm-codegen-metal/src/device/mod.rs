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
//! | check of each kernel on this machine | [`selfcheck`] |
//!
//! Everything here talks to `crate::gpu`, the one module that differs between a Mac and the simulator.

pub mod attention;
pub mod bind;
pub mod buckets;
pub mod cache;
pub mod elementwise;
pub mod embed;
pub mod engine;
pub mod format;
pub mod gemm;
pub mod head;
pub mod kernels;
pub mod kv_format;
pub mod launch;
pub mod linear;
pub mod mat_vec;
pub mod memory;
pub mod model;
pub mod norm;
pub mod prologue;
pub mod qkv;
pub(crate) mod record;
pub mod rope;
pub mod rows;
pub mod run;
pub mod selfcheck;
pub mod weights;

pub use crate::runtime::buffer::{AnyBuffer, Buffer, RowKind, Rows, Wanted, WantedBuffer};
pub use attention::{Attention, attention};
pub use buckets::{Bucket, Projection};
pub use elementwise::{Activation, activation, add, mul, scale, softcap};
pub use embed::embed;
pub use engine::{CacheSpec, MetalEngine, MetalOptions, Model, ModelSpec};
pub use kv_format::KvFormat;
pub use linear::{Input, Output, Part, linear, linear_gated};
pub use model::MetalModel;
pub use norm::{rms_norm, rms_norm_add};
pub use qkv::qkv_rope_kv;
pub use rope::{HeadNorm, Rope, RopeKv, RopeStyle, kv_write, rope, rope_kv};
pub use rows::{select_wanted, slice};
pub use run::Run;
pub use weights::{Vector, Weights};
