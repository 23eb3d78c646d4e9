//! What a checkpoint says about its model.

use std::fmt;

use super::DType;

/// Hyperparameters of a model, as read from a checkpoint or given by hand.
///
/// Architectures build graphs from it; nothing behind the graph reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// Which builder completes the graph.
    pub architecture: Architecture,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width between the up and the down projection.
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; divides the query heads.
    pub num_kv_heads: usize,
    /// Elements of a head: independent of the hidden size.
    pub head_dim: usize,
    /// Entries of the vocabulary.
    pub vocab_size: usize,
    /// Positions that the model was trained for.
    pub max_seq_len: usize,
    /// Epsilon of every norm.
    pub rms_norm_eps: f32,
    /// Rope base (of global layers where local ones differ).
    pub rope_theta: f32,
    /// Type of the matrices where no checkpoint gives one for each.
    pub dtype: DType,
    /// A row attends to the last so many positions, itself among them (on the layers that
    /// [`sliding_window_pattern`](ModelConfig::sliding_window_pattern) says); `None`: to all.
    pub sliding_window_size: Option<usize>,
    /// Every how many layers one attends to all positions; `None`: the window holds on every layer.
    pub sliding_window_pattern: Option<usize>,
    /// Rope base of sliding-window layers, where it is another.
    pub rope_local_theta: Option<f32>,
    /// Elements of a head that rope turns.
    pub rope_dim: usize,
    /// How rope frequencies are stretched for long contexts.
    pub rope_scaling: RopeScaling,
    /// Whether the checkpoint has a factor per rope frequency (`rope_freqs.weight`).
    pub rope_freq_factors: bool,
    /// Whether the query, key and value projections have biases.
    pub qkv_bias: bool,
    /// Whether the head is the embedding table.
    pub tied_embeddings: bool,
    /// Activation of the gate.
    pub hidden_activation: HiddenActivation,
    /// Factor on attention scores; `None`: 1/√head_dim.
    pub attention_scale: Option<f32>,
}

impl ModelConfig {
    /// Checks that the numbers fit each other.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let positive = [
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_layers", self.num_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_kv_heads", self.num_kv_heads),
            ("head_dim", self.head_dim),
            ("vocab_size", self.vocab_size),
            ("max_seq_len", self.max_seq_len),
        ];
        for (name, value) in positive {
            if value == 0 {
                return Err(ConfigError(format!("{name} must not be 0")));
            }
            if value > u32::MAX as usize {
                return Err(ConfigError(format!("{name} is {value}, which no model has")));
            }
        }
        if !self.num_attention_heads.is_multiple_of(self.num_kv_heads) {
            return Err(ConfigError(format!(
                "num_attention_heads ({}) must be a multiple of num_kv_heads ({})",
                self.num_attention_heads, self.num_kv_heads
            )));
        }
        if self.rope_dim > self.head_dim || !self.rope_dim.is_multiple_of(2) {
            return Err(ConfigError(format!(
                "rope_dim ({}) must be even and at most head_dim ({})",
                self.rope_dim, self.head_dim
            )));
        }
        if self.sliding_window_size == Some(0) || self.sliding_window_pattern == Some(0) {
            return Err(ConfigError("a sliding window and its pattern must not be 0".into()));
        }
        for (name, value) in [("rms_norm_eps", self.rms_norm_eps), ("rope_theta", self.rope_theta)] {
            if !value.is_finite() || value <= 0.0 {
                return Err(ConfigError(format!("{name} must be a positive number, it is {value}")));
            }
        }
        Ok(())
    }

    /// The window of `layer`; `None` where it attends to all positions.
    pub fn window(&self, layer: usize) -> Option<usize> {
        match self.sliding_window_pattern {
            Some(pattern) if (layer + 1).is_multiple_of(pattern) => None,
            _ => self.sliding_window_size,
        }
    }

    /// The rope base of `layer`.
    pub fn theta(&self, layer: usize) -> f32 {
        match (self.rope_local_theta, self.window(layer)) {
            (Some(local), Some(_)) => local,
            _ => self.rope_theta,
        }
    }
}

/// Why a config can be no model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the model's configuration does not hold together: {0}")]
pub struct ConfigError(pub String);

/// A family of models that share a graph builder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Architecture {
    /// Llama 2 and 3, SmolLM, Mistral in GGUF form.
    Llama,
    /// Qwen 2 and 2.5.
    Qwen2,
    /// Gemma 3 (text).
    Gemma3,
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Architecture::Llama => "llama",
            Architecture::Qwen2 => "qwen2",
            Architecture::Gemma3 => "gemma3",
        })
    }
}

/// Activation functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HiddenActivation {
    /// x · sigmoid(x).
    Silu,
    /// The tanh form of GELU: ½x(1 + tanh(√(2/π)(x + 0.044715x³))).
    GeluTanh,
    /// GELU by the error function: ½x(1 + erf(x/√2)).
    GeluErf,
}

/// How rope's frequencies are changed for contexts longer than those trained first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// Every position is divided by `factor`.
    Linear {
        /// The divisor.
        factor: f32,
    },
    /// YaRN (Peng et al. 2023, arXiv 2309.00071).
    Yarn {
        /// Context extension.
        factor: f32,
        /// Context before the extension.
        original_context: usize,
        /// Rotations above which a frequency is kept (32).
        beta_fast: f32,
        /// Rotations below which a frequency is divided by `factor` (1).
        beta_slow: f32,
    },
}
