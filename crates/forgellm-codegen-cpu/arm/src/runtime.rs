//! What the device layer needs of the runtime.
#![allow(dead_code, reason = "the engine, its pages and the weights do not use all of each other")]

#[path = "../../../forgellm-runtime/src/runtime/buffer.rs"]
pub mod buffer;
#[path = "../../../forgellm-runtime/src/runtime/engine.rs"]
pub mod engine;
#[path = "../../../forgellm-runtime/src/runtime/open.rs"]
pub mod open;
#[path = "../../../forgellm-runtime/src/runtime/pages.rs"]
pub mod pages;
#[path = "../../../forgellm-runtime/src/runtime/step.rs"]
pub mod step;
#[path = "../../../forgellm-runtime/src/runtime/weights.rs"]
pub mod weights;
