//! The device layer against plain f64 code: every instruction set, several numbers of threads.

#[path = "device/attention.rs"]
mod attention;
#[path = "device/engine.rs"]
mod engine;
#[path = "device/linear.rs"]
mod linear;
#[path = "device/ops.rs"]
mod ops;
#[path = "device/program.rs"]
mod program;
