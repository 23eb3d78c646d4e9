//! What the device layer needs of the runtime.
#![allow(dead_code, reason = "the engine, its pages and the weights do not use all of each other")]

#[path = "../../../forgellm-runtime/src/runtime/buffer.rs"]
pub mod buffer;
#[path = "../../../forgellm-runtime/src/runtime/engine.rs"]
pub mod engine;
#[path = "../../../forgellm-runtime/src/runtime/pages.rs"]
pub mod pages;
#[path = "../../../forgellm-runtime/src/runtime/step.rs"]
pub mod step;
#[path = "../../../forgellm-runtime/src/runtime/weights.rs"]
pub mod weights;

/// The errors of opening a model, without the program around it.
pub mod program {
    /// Why a device layer did not open.
    #[derive(Debug, thiserror::Error)]
    pub enum OpenError {
        /// A tensor is missing or has the wrong size.
        #[error(transparent)]
        Weights(#[from] super::weights::WeightsError),
        /// The device is missing or unfit.
        #[error("the device cannot be used: {0}")]
        Device(String),
    }
}
