//! How a device layer is told to open a model, and why it did not.

use std::sync::Arc;

use crate::runtime::weights::{Weights, WeightsError};

/// How a device layer is to open the model.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// The weights, checked against the program.
    pub weights: Arc<Weights>,
    /// Threads to compute with; none leaves it to the device layer.
    pub threads: Option<usize>,
    /// Positions that one sequence must be able to hold.
    pub context: usize,
    /// Sequences that must be able to exist at a time.
    pub sequences: usize,
    /// How the cache stores keys and values; none leaves it to the device layer.
    pub kv_cache: Option<KvFormat>,
    /// Whether times are to be taken for [`Engine::profile`](crate::runtime::engine::Engine::profile).
    pub profile: bool,
}

/// How a KV cache stores keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KvFormat {
    /// Half precision.
    #[default]
    F16,
    /// 8 bits, and a scale for 32 elements.
    Q8_0,
}

impl KvFormat {
    /// All of them.
    pub const ALL: [KvFormat; 2] = [KvFormat::F16, KvFormat::Q8_0];

    /// Its name on a command line.
    pub const fn name(self) -> &'static str {
        match self {
            KvFormat::F16 => "f16",
            KvFormat::Q8_0 => "q8_0",
        }
    }

    /// The format of that name.
    pub fn of_name(name: &str) -> Option<KvFormat> {
        KvFormat::ALL.into_iter().find(|format| format.name() == name)
    }
}

/// Why a device layer did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A tensor is missing or has the wrong size.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// There is not enough memory.
    #[error("{needed} bytes of memory are needed for {what}; lower --context")]
    Memory {
        /// For what.
        what: &'static str,
        /// Bytes needed.
        needed: usize,
    },
    /// The device is missing or unfit.
    #[error("the device cannot be used: {0}")]
    Device(String),
    /// An option has no meaning for this device.
    #[error("{option} cannot be used with this program: {reason}")]
    Option {
        /// The option.
        option: &'static str,
        /// Why, and what to do.
        reason: &'static str,
    },
}
