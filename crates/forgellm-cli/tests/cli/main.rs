//! The `forge` program from outside: exit codes, messages, and what is left on disk.

mod bad_input;
mod forge;
mod synthetic;
mod wheels;
