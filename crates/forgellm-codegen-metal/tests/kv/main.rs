//! Attention, rope and the KV cache in the simulator, against f64.

mod attention;
mod engine;
mod paged;
mod rope;
