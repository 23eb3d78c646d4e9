//! The `forge` command as a library, so that the chores of the repository can use it too.

pub mod cache;
pub mod command;
pub mod interp_engine;
pub mod interrupt;
pub mod model;
pub mod pipeline;
pub mod programs;
pub mod replace;
pub mod source;
pub mod toolchain;
pub mod ui;
