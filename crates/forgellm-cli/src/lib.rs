//! The `forge` command as a library, so that the chores of the repository can use it too.

pub mod cache;
pub mod interrupt;
pub mod source;
pub mod ui;
