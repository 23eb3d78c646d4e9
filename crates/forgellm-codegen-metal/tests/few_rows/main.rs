//! Projections of few rows, the fused way to attention, and the embedding: kernels in the simulator, every access checked, against f64.

mod ahead;
#[path = "../it/buckets.rs"]
mod buckets;
mod embed;
mod engine;
mod mat_vec;
#[allow(dead_code, reason = "shared with the tests of attention, which use the rest")]
#[path = "../kv/paged.rs"]
mod paged;
mod qkv;
mod traffic;
mod weights;
#[path = "../it/weights_file.rs"]
mod weights_file;
