//! Runs a compiled model on the CPU.
//!
//! A generated program is one straight-line function over the operations below. Every thread of the [`pool`] calls it with its own
//! [`Run`]; each operation works out which part of the result is this thread's. Operations do not wait for each other: the program calls
//! [`Run::barrier`] between an operation that writes a buffer or a cache and the next one that touches it.
//!
//! | layer | files |
//! |---|---|
//! | engine contract, sequences, results | [`engine`], [`top`] |
//! | operations | [`mod@linear`], [`mod@attention`], [`norm`], [`mod@rope`], [`elementwise`], [`rows`] |
//! | memory of a step | [`buffer`], `arena`, [`run`], [`cache`] |
//! | threads and instructions | [`pool`], [`simd`], [`matrix`] |

mod arena;
pub mod attention;
pub mod bind;
pub mod cache;
pub mod elementwise;
pub mod engine;
pub mod linear;
pub mod matrix;
pub mod norm;
pub mod pool;
pub mod profile;
pub mod rope;
pub mod rows;
pub mod run;
pub mod simd;
pub mod top;

pub use crate::runtime::buffer;
pub use attention::{Attention, attention};
pub use buffer::{AnyBuffer, Buffer, RowKind, Rows, Wanted, WantedBuffer};
pub use elementwise::{Activation, activation, add, mul, scale, softcap};
pub use engine::{CacheSpec, CpuEngine, CpuOptions, Model, ModelSpec, OpenError};
pub use linear::{Input, Output, Part, linear, linear_gated};
pub use norm::{rms_norm, rms_norm_add};
pub use profile::{Profile, Stage, StageTime};
pub use rope::{HeadNorm, Rope, RopeKv, RopeStyle, kv_write, rope, rope_kv};
pub use rows::{embed, select_wanted, slice};
pub use run::Run;
