//! Architectures: one file each, from a checkpoint's metadata to a config, and from a config to a graph.

mod builder;
mod gemma3;
mod llama;
mod qwen2;

use std::collections::BTreeMap;

use crate::checkpoint::gguf::{GgufFile, TensorInfo};
use crate::checkpoint::{Metadata, MetadataError};
use crate::ir::{
    Architecture, ConfigError, DType, Graph, ModelConfig, Stage, Verified, VerifyError, Weight, verify,
};

use builder::Builder;

/// How one architecture is read and built.
struct Registration {
    architecture: Architecture,
    /// `general.architecture` in a GGUF file.
    gguf_name: &'static str,
    config: fn(&Checkpoint<'_>) -> Result<ModelConfig, ImportError>,
    build: fn(&mut Builder<'_>) -> Result<(), ImportError>,
}

const REGISTRY: &[Registration] = &[llama::REGISTRATION, qwen2::REGISTRATION, gemma3::REGISTRATION];

/// Names that `general.architecture` may have.
pub fn supported() -> impl Iterator<Item = &'static str> {
    REGISTRY.iter().map(|registration| registration.gguf_name)
}

/// Builds the graph of a GGUF file.
///
/// Every tensor of the file must be used: one that is not would change what the model computes.
pub fn import(file: &GgufFile) -> Result<Verified<Graph>, ImportError> {
    let metadata = file.metadata();
    let architecture = metadata.require_string("general.architecture")?;
    let registration = REGISTRY
        .iter()
        .find(|registration| registration.gguf_name == architecture)
        .ok_or_else(|| ImportError::UnknownArchitecture(architecture.to_owned()))?;
    let weight = |tensor: &TensorInfo| Weight {
        name: tensor.name.clone(),
        dtype: tensor.dtype,
        shape: tensor.shape.clone(),
    };
    let tensors = file.tensors().iter().map(|tensor| (tensor.name.clone(), weight(tensor))).collect();
    let checkpoint = Checkpoint { prefix: registration.gguf_name, metadata, tensors: &tensors };
    let config = (registration.config)(&checkpoint)?;
    let name = match metadata.string("general.name")? {
        Some(name) if !name.trim().is_empty() => name.trim().to_owned(),
        _ => {
            file.path().file_stem().map_or_else(|| "model".into(), |stem| stem.to_string_lossy().into_owned())
        }
    };
    build(registration, Graph::new(name), config, Some(&tensors))
}

/// Completes a graph that holds only a config: every matrix gets the config's type, every vector F32.
pub fn complete(graph: &Graph) -> Result<Verified<Graph>, ImportError> {
    let config = graph.config.clone().ok_or(ImportError::NoConfig)?;
    let registration = REGISTRY
        .iter()
        .find(|registration| registration.architecture == config.architecture)
        .ok_or_else(|| ImportError::UnknownArchitecture(config.architecture.to_string()))?;
    build(registration, Graph::new(graph.name.clone()), config, None)
}

fn build(
    registration: &Registration,
    graph: Graph,
    config: ModelConfig,
    tensors: Option<&BTreeMap<String, Weight>>,
) -> Result<Verified<Graph>, ImportError> {
    config.validate()?;
    let mut builder = Builder::new(graph.with_config(config.clone()), config, tensors);
    (registration.build)(&mut builder)?;
    Ok(verify(builder.finish()?, Stage::Model)?)
}

/// Why a model file gives no graph.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// No builder for this architecture.
    #[error("architecture `{0}` is not supported; supported: {list}", list = supported().collect::<Vec<_>>().join(", "))]
    UnknownArchitecture(String),
    /// Nothing to build from.
    #[error("the graph holds no config to build a model from")]
    NoConfig,
    /// A key is missing or wrong.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The numbers contradict each other.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A key asks for something that the compiler does not do.
    #[error("metadata key `{key}` is {value}: {reason}")]
    Unsupported {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// What is not done.
        reason: &'static str,
    },
    /// A tensor that the architecture needs is not in the file.
    #[error("the file has no tensor `{name}` {shape:?}, which the architecture needs")]
    MissingTensor {
        /// Its name.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A tensor has another shape than the config says.
    #[error("tensor `{name}` has shape {found:?}; the configuration asks for {expected:?}")]
    TensorShape {
        /// Its name.
        name: String,
        /// In the file.
        found: Vec<usize>,
        /// By the config.
        expected: Vec<usize>,
    },
    /// A tensor that no operation reads.
    #[error(
        "tensor `{name}` is in the file but architecture `{architecture}` has no use for it; leaving it out would change the model, so it is refused"
    )]
    UnusedTensor {
        /// Its name.
        name: String,
        /// The architecture.
        architecture: String,
    },
    /// The graph is wrong: a bug in the builder, or a file that it did not foresee.
    #[error(transparent)]
    Verify(#[from] VerifyError),
}

/// The metadata and the tensors of a file, with the architecture's key prefix.
struct Checkpoint<'a> {
    prefix: &'static str,
    metadata: &'a Metadata,
    tensors: &'a BTreeMap<String, Weight>,
}

impl Checkpoint<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    fn size(&self, name: &str) -> Result<usize, ImportError> {
        Ok(self.metadata.require_usize(&self.key(name))?)
    }

    fn size_or(&self, name: &str, default: usize) -> Result<usize, ImportError> {
        Ok(self.metadata.usize(&self.key(name))?.unwrap_or(default))
    }

    fn number(&self, name: &str) -> Result<f32, ImportError> {
        Ok(self.metadata.require_f32(&self.key(name))?)
    }

    fn number_or(&self, name: &str, default: f32) -> Result<f32, ImportError> {
        Ok(self.metadata.f32(&self.key(name))?.unwrap_or(default))
    }

    fn has_tensor(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Refuses `name` where it is there with another value than `neutral`, the one that changes nothing.
    fn refuse_unless(&self, name: &str, neutral: f32, reason: &'static str) -> Result<(), ImportError> {
        match self.metadata.f32(&self.key(name))? {
            Some(value) if value != neutral => {
                Err(ImportError::Unsupported { key: self.key(name), value: value.to_string(), reason })
            }
            _ => Ok(()),
        }
    }

    /// The config that the keys common to all architectures give; what differs is set by the architecture.
    fn common_config(&self, architecture: Architecture) -> Result<ModelConfig, ImportError> {
        for (key, reason) in [
            ("expert_count", "mixtures of experts are not supported"),
            ("attention.clamp_kqv", "clamped projections are not supported"),
            ("attention.max_alibi_bias", "ALiBi is not supported"),
            ("logit_scale", "scaled logits are not supported"),
            ("attn_logit_softcapping", "capped attention scores are not part of this architecture"),
        ] {
            self.refuse_unless(key, 0.0, reason)?;
        }
        for (key, reason) in [
            ("embedding_scale", "a scaled embedding is not part of this architecture"),
            ("residual_scale", "scaled residuals are not supported"),
            ("rope.scaling.attn_factor", "another attention factor than YaRN's own is not supported"),
        ] {
            self.refuse_unless(key, 1.0, reason)?;
        }
        let hidden_size = self.size("embedding_length")?;
        let heads = self.size("attention.head_count")?;
        let head_dim = match self.metadata.usize(&self.key("attention.key_length"))? {
            Some(length) => length,
            None => hidden_size.checked_div(heads).unwrap_or(0),
        };
        let value_length = self.size_or("attention.value_length", head_dim)?;
        if value_length != head_dim {
            return Err(ImportError::Unsupported {
                key: self.key("attention.value_length"),
                value: value_length.to_string(),
                reason: "values of another length than the keys are not supported",
            });
        }
        let embedding = self.tensors.get("token_embd.weight").ok_or_else(|| ImportError::MissingTensor {
            name: "token_embd.weight".into(),
            shape: vec![0, hidden_size],
        })?;
        let sliding_window = self.size_or("attention.sliding_window", 0)?;
        Ok(ModelConfig {
            architecture,
            hidden_size,
            intermediate_size: self.size("feed_forward_length")?,
            num_layers: self.size("block_count")?,
            num_attention_heads: heads,
            num_kv_heads: self.size_or("attention.head_count_kv", heads)?,
            head_dim,
            vocab_size: embedding.shape.first().copied().unwrap_or(0),
            max_seq_len: self.size("context_length")?,
            rms_norm_eps: self.number("attention.layer_norm_rms_epsilon")?,
            rope_theta: self.number_or("rope.freq_base", 10_000.0)?,
            dtype: embedding.dtype,
            sliding_window_size: (sliding_window > 0).then_some(sliding_window),
            sliding_window_pattern: None,
            rope_local_theta: None,
            rope_dim: self.size_or("rope.dimension_count", head_dim)?,
            rope_scaling: self.rope_scaling()?,
            rope_freq_factors: self.has_tensor("rope_freqs.weight"),
            qkv_bias: false,
            tied_embeddings: !self.has_tensor("output.weight"),
            hidden_activation: crate::ir::HiddenActivation::Silu,
            attention_scale: None,
        })
    }

    fn rope_scaling(&self) -> Result<crate::ir::RopeScaling, ImportError> {
        use crate::ir::RopeScaling;
        let kind_key = self.key("rope.scaling.type");
        let factor = match self.metadata.f32(&self.key("rope.scaling.factor"))? {
            Some(factor) => factor,
            None => self.number_or("rope.scale_linear", 1.0)?,
        };
        // ggml reads a factor of 0 as "none given".
        let factor = if factor == 0.0 { 1.0 } else { factor };
        if !factor.is_finite() || factor < 0.0 {
            return Err(ImportError::Unsupported {
                key: self.key("rope.scaling.factor"),
                value: factor.to_string(),
                reason: "a rope scaling factor must be positive",
            });
        }
        match self.metadata.string(&kind_key)? {
            Some("none") => Ok(RopeScaling::None),
            None | Some("linear") if factor == 1.0 => Ok(RopeScaling::None),
            None | Some("linear") => Ok(RopeScaling::Linear { factor }),
            Some("yarn") => Ok(RopeScaling::Yarn {
                factor,
                original_context: self.size("rope.scaling.original_context_length")?,
                beta_fast: self.number_or("rope.scaling.yarn_beta_fast", 32.0)?,
                beta_slow: self.number_or("rope.scaling.yarn_beta_slow", 1.0)?,
            }),
            Some(kind) => Err(ImportError::Unsupported {
                key: kind_key,
                value: kind.to_owned(),
                reason: "only none, linear and yarn rope scaling are supported",
            }),
        }
    }
}

impl Registration {
    const fn new(
        architecture: Architecture,
        gguf_name: &'static str,
        config: fn(&Checkpoint<'_>) -> Result<ModelConfig, ImportError>,
        build: fn(&mut Builder<'_>) -> Result<(), ImportError>,
    ) -> Registration {
        Registration { architecture, gguf_name, config, build }
    }
}

/// The type of a tensor that no checkpoint gives: matrices as the config says, vectors exact.
fn default_dtype(config: &ModelConfig, shape: &[usize]) -> DType {
    if shape.len() > 1 { config.dtype } else { DType::F32 }
}
