//! The Metal target: its kernel table, its kernels and device layer, the projects it emits.
//!
//! Here `gpu` is the simulator, so that every kernel and the whole device layer run in tests; in a generated project it is Apple's Metal.

mod buckets;
pub mod device;
mod emit;
mod kernels;
pub mod pack;
mod project;
mod target;
mod weights;

pub use forgellm_metal_sim::sim::api as gpu;
pub use forgellm_runtime::runtime;
pub use kernels::kernel_source;
pub use project::{Gpu, MetalCodegenError, generate_metal_project, metal_project};
pub use target::Metal;
pub use weights::write_metal_weights;
