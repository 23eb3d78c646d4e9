//! The program around a compiled model.
//!
//! The same files stand in every generated project; which parts of them one program uses depends on its target.
#![allow(dead_code, reason = "a program need not use everything that the runtime offers")]

pub mod batch;
pub mod bench;
pub mod buffer;
pub mod chat_template;
pub mod cli;
pub mod conversation;
pub mod engine;
pub mod generate;
pub mod guide;
pub mod heap;
pub mod open;
pub mod pages;
pub mod program;
pub mod prompt;
pub mod sampling;
pub mod scheduler;
pub mod score;
pub mod server;
pub mod step;
pub mod stop;
pub mod tokenizer;
pub mod weights;

#[cfg(test)]
mod tests;
