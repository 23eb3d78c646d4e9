//! The CPU target: its kernel table, its kernels and device layer, the projects it emits.

pub mod device;
mod emit;
pub mod pack;
mod project;
mod target;
mod weights;

pub use forgellm_runtime::runtime;
pub use project::{CpuCodegenError, cpu_project, generate_cpu_project};
pub use target::Cpu;
pub use weights::write_cpu_weights;
