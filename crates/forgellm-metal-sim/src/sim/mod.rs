//! The simulator: [`translate`] (Metal text to C++ text), [`compile`] (C++ to a shared object), [`module`] (a loaded
//! object), [`exec`] (threads, simdgroups, barriers), [`shadow`] (sanitizers and counters) and, above them, [`api`]:
//! devices, buffers, pipelines, command queues.

pub mod abi;
pub mod api;
pub mod compile;
pub mod exec;
pub mod module;
pub mod shadow;
pub mod translate;
