//! The `forge` program from outside: exit codes, messages, and what is left on disk.

mod bad_input;
#[cfg(unix)]
mod batch;
#[cfg(unix)]
mod chat;
mod forge;
#[cfg(unix)]
mod golden;
#[cfg(unix)]
mod golden_metal;
mod hub;
#[cfg(unix)]
mod programs;
mod selfcheck;
mod synthetic;
mod wheels;
