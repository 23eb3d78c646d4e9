//! The GPU through Metal: device, buffers, kernels, command queues.
//!
//! A thin layer, and the only code that knows Metal. What it adds: every failure is a [`GpuError`]; sizes, indices and alignments are
//! checked before Metal sees them (Metal ends the process on such mistakes, or reads past a buffer's end); what the GPU uses lives
//! until the GPU is done with it.
//!
//! It needs an Apple GPU of family Apple7 (M1) or later and macOS 13 or later (Metal 3.0).

mod buffer;
mod commands;
mod constant;
mod device;
mod encoder;
mod error;
mod library;
mod limits;
mod residency;

pub use buffer::{Buffer, Memory};
pub use commands::{Commands, Event, Pending, Queue, Timing};
pub use constant::{Constant, ConstantValue};
pub use device::Device;
pub use encoder::Encoder;
pub use error::{ArgumentProblem, GpuError};
pub use library::{Library, Pipeline};
