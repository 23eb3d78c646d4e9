//! Runs programs in the Metal Shading Language on an ordinary CPU: no GPU, no Apple toolchain.
//!
//! A kernel's text is translated to C++, compiled by clang and executed thread by thread, in simdgroups of 32 and
//! with the barriers of the language. A second build of the same kernel reports each of its memory accesses, which
//! the sanitizers check.
//!
//! Everything lives in [`sim`], which a generated project may hold as a copy, so its files name each other as
//! `crate::sim::…` here and there alike.

pub mod sim;
