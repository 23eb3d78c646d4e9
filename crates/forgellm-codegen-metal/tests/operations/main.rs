//! Projections of many rows, norms, operations on elements and rows, and the most likely tokens: kernels in the simulator, every access
//! checked, against f64.

#[path = "../it/buckets.rs"]
mod buckets;
mod elementwise;
mod gemm;
mod gpu;
mod head;
mod norm;
mod program;
mod rows;
