//! The program around a compiled model: engine contract, weights, tokenizer, chat template, sampling, command line.
//!
//! Everything lives in [`runtime`], which a generated project holds as a copy, so its files name each other as
//! `crate::runtime::…` here and there alike.

pub mod runtime;
