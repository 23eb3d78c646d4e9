//! The shapes that synthetic models can have.

use std::str::FromStr;

use super::model::{self, Content, Tensor};
use super::vocabulary::Vocabulary;
use crate::ir::DType;

/// The dimensions and features of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// What `forge synth` calls it.
    pub name: &'static str,
    /// One line for help.
    pub about: &'static str,
    /// `general.architecture`, also the prefix of its keys.
    pub architecture: &'static str,
    /// Layers.
    pub layers: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width inside the feed-forward part.
    pub intermediate: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Tokens in the vocabulary.
    pub vocab: usize,
    /// Longest context in tokens.
    pub context: usize,
    /// Rope base.
    pub rope_theta: f32,
    /// Epsilon of the norms.
    pub norm_eps: f32,
    /// Whether the head is the embedding table.
    pub tied_head: bool,
    /// Llama 3's rope frequency factors, where it has them.
    pub(super) rope_factors: Option<RopeFactors>,
    /// Window of the local layers, in tokens.
    pub sliding_window: Option<usize>,
    /// The tokenizer.
    pub(super) vocabulary: Vocabulary,
}

/// Llama 3.1's stretching of slow rotations (`rope_scaling` of type `llama3` in Hugging Face configs; low
/// and high frequency factors are 1 and 4 in all published models).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct RopeFactors {
    pub(super) factor: f32,
    pub(super) original_context: f32,
}

/// A name that is no shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown shape `{name}`; known: {}", SHAPES.iter().map(|shape| shape.name).collect::<Vec<_>>().join(", "))]
pub struct UnknownShape {
    /// The name.
    pub name: String,
}

impl Shape {
    /// The shape called `name`.
    ///
    /// # Errors
    ///
    /// [`UnknownShape`], which lists them.
    pub fn find(name: &str) -> Result<&'static Shape, UnknownShape> {
        SHAPES.iter().find(|shape| shape.name == name).ok_or_else(|| UnknownShape { name: name.to_owned() })
    }

    /// Number of trained weights.
    pub fn parameters(&self) -> u64 {
        let trained = |tensor: &Tensor| !matches!(tensor.content, Content::Given(_));
        let elements = |tensor: &Tensor| tensor.spec.shape.iter().product::<usize>() as u64;
        model::tensors(self, DType::F32).iter().filter(|tensor| trained(tensor)).map(elements).sum()
    }
}

impl FromStr for Shape {
    type Err = UnknownShape;

    fn from_str(name: &str) -> Result<Shape, UnknownShape> {
        Shape::find(name).cloned()
    }
}

/// A Llama whose widths suit every tensor type; what the tiny shapes differ from.
const TINY: Shape = Shape {
    name: "tiny-llama",
    about: "tests: Llama with grouped-query attention and a head of its own",
    architecture: "llama",
    layers: 2,
    hidden: 256,
    intermediate: 512,
    heads: 4,
    kv_heads: 2,
    head_dim: 64,
    vocab: 512,
    context: 4096,
    rope_theta: 10_000.0,
    norm_eps: 1e-5,
    tied_head: false,
    rope_factors: None,
    sliding_window: None,
    vocabulary: Vocabulary::Smollm,
};

/// All shapes, tests first.
pub const SHAPES: &[Shape] = &[
    TINY,
    Shape {
        name: "tiny-llama3",
        about: "tests: Llama with rope frequency factors and a tied head",
        rope_theta: 500_000.0,
        tied_head: true,
        rope_factors: Some(RopeFactors { factor: 8.0, original_context: 128.0 }),
        vocabulary: Vocabulary::Llama3,
        ..TINY
    },
    Shape {
        name: "tiny-qwen2",
        about: "tests: Qwen2 with query, key and value biases",
        architecture: "qwen2",
        rope_theta: 1_000_000.0,
        norm_eps: 1e-6,
        vocabulary: Vocabulary::Qwen2,
        ..TINY
    },
    Shape {
        name: "tiny-gemma3",
        about: "tests: Gemma 3 with six local layers and a global one, window 16, heads wider than the stream",
        architecture: "gemma3",
        layers: 7,
        head_dim: 128,
        vocab: 768,
        rope_theta: 1_000_000.0,
        norm_eps: 1e-6,
        tied_head: true,
        sliding_window: Some(16),
        vocabulary: Vocabulary::Gemma,
        ..TINY
    },
    Shape {
        name: "smollm2-135m",
        about: "SmolLM2 135M",
        layers: 30,
        hidden: 576,
        intermediate: 1536,
        heads: 9,
        kv_heads: 3,
        vocab: 49_152,
        context: 8192,
        rope_theta: 100_000.0,
        tied_head: true,
        ..TINY
    },
    Shape {
        name: "gemma3-270m",
        about: "Gemma 3 270M",
        architecture: "gemma3",
        layers: 18,
        hidden: 640,
        intermediate: 2048,
        kv_heads: 1,
        head_dim: 256,
        vocab: 262_144,
        context: 32_768,
        rope_theta: 1_000_000.0,
        norm_eps: 1e-6,
        tied_head: true,
        sliding_window: Some(512),
        vocabulary: Vocabulary::Gemma,
        ..TINY
    },
    Shape {
        name: "qwen2.5-0.5b",
        about: "Qwen2.5 0.5B",
        architecture: "qwen2",
        layers: 24,
        hidden: 896,
        intermediate: 4864,
        heads: 14,
        vocab: 151_936,
        context: 32_768,
        rope_theta: 1_000_000.0,
        norm_eps: 1e-6,
        tied_head: true,
        vocabulary: Vocabulary::Qwen2,
        ..TINY
    },
    Shape {
        name: "llama-3.2-1b",
        about: "Llama 3.2 1B",
        layers: 16,
        hidden: 2048,
        intermediate: 8192,
        heads: 32,
        kv_heads: 8,
        vocab: 128_256,
        context: 131_072,
        rope_theta: 500_000.0,
        tied_head: true,
        rope_factors: Some(RopeFactors { factor: 32.0, original_context: 8192.0 }),
        vocabulary: Vocabulary::Llama3,
        ..TINY
    },
    Shape {
        name: "llama-3.1-8b",
        about: "Llama 3.1 8B",
        layers: 32,
        hidden: 4096,
        intermediate: 14_336,
        heads: 32,
        kv_heads: 8,
        head_dim: 128,
        vocab: 128_256,
        context: 131_072,
        rope_theta: 500_000.0,
        rope_factors: Some(RopeFactors { factor: 8.0, original_context: 8192.0 }),
        vocabulary: Vocabulary::Llama3,
        ..TINY
    },
];
