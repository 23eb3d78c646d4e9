//! The command `metal-sim`.
fn main() {}
