//! Devices, buffers, libraries, pipelines, queues: the shape of the Metal API that a program needs, no more.
//!
//! ```no_run
//! # use forgellm_metal_sim::sim::api::{Device, GpuError};
//! # fn main() -> Result<(), GpuError> {
//! let device = Device::open()?;
//! let library = device.library("#include <metal_stdlib>\nkernel void zero(…) { … }", "zero.metal")?;
//! let zero = device.pipeline(&library, "zero", &[])?;
//! let buffer = device.buffer(4096, "numbers")?;
//! let mut commands = device.queue()?.commands("example")?;
//! let mut encoder = commands.encoder(false, "first");
//! encoder.pipeline(&zero);
//! encoder.buffer(0, &buffer, 0);
//! encoder.dispatch([4, 1, 1], [256, 1, 1]);
//! drop(encoder);
//! commands.commit().wait()?;
//! # Ok(()) }
//! ```
//!
//! Commands run when somebody waits for them, in the order in which their queue got them. So a program that reads a
//! result too early reads the old content, every time.

mod buffer;
mod commands;
mod device;
mod encode;
mod environment;
mod error;
mod library;
mod orders;
mod queue;
mod run;

pub use buffer::{Buffer, Memory};
pub use commands::{Commands, Encoder};
pub use device::{Device, Options};
pub use error::{ArgumentProblem, GpuError};
pub use library::{Constant, ConstantValue, Library, Pipeline};
pub use queue::{Event, Pending, Queue, Timing};
