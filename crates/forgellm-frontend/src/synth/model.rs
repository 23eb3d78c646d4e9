//! The metadata and the tensors of a synthetic model.

use std::f32::consts::TAU;

use super::shape::{RopeFactors, Shape};
use super::vocabulary;
use crate::checkpoint::gguf::TensorSpec;
use crate::checkpoint::{Metadata, Value};
use crate::ir::DType;

/// A tensor and what its elements are.
pub(super) struct Tensor {
    pub(super) spec: TensorSpec,
    pub(super) content: Content,
}

pub(super) enum Content {
    /// Mean 0.
    Random { sigma: f32 },
    /// Random around a mean (F32 only).
    Near { mean: f32, sigma: f32 },
    /// These values (F32 only).
    Given(Vec<f32>),
}

impl Tensor {
    pub(super) fn blocks(&self) -> usize {
        self.spec.shape.iter().product::<usize>() / self.spec.dtype.block_elements()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.blocks() as u64 * self.spec.dtype.block_bytes() as u64
    }
}

/// Standard deviation of the elements of the embedding table, and of a head of its own, times the square
/// root of its width.
///
/// Gemma scales its embedding up by that root. A smaller table keeps the last token's embedding a small part
/// of the last hidden state, or a tied head would repeat that token for ever.
fn embedding_gain(shape: &Shape) -> f32 {
    if shape.architecture == "gemma3" { 0.25 } else { 1.0 }
}

/// Standard deviation of the logits; the last norm's weights bring it about.
const LOGIT_DEVIATION: f32 = 2.0;

/// The tensors, in the order of a real file.
pub(super) fn tensors(shape: &Shape, dtype: DType) -> Vec<Tensor> {
    let (hidden, intermediate) = (shape.hidden, shape.intermediate);
    let (q_width, kv_width) = (shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim);
    let table = |name: &str| {
        let sigma = embedding_gain(shape) / (hidden as f32).sqrt();
        random(name.to_owned(), stored_as(dtype, hidden), vec![shape.vocab, hidden], sigma)
    };
    let mut tensors = vec![table("token_embd.weight")];
    if let Some(factors) = shape.rope_factors {
        let values = frequency_factors(shape, factors);
        let spec = spec("rope_freqs.weight".to_owned(), DType::F32, vec![values.len()]);
        tensors.push(Tensor { spec, content: Content::Given(values) });
    }
    for layer in 0..shape.layers {
        let mut matrix = |name: &str, outputs: usize, inputs: usize| {
            let name = format!("blk.{layer}.{name}.weight");
            let sigma = (inputs as f32).sqrt().recip();
            tensors.push(random(name, stored_as(dtype, inputs), vec![outputs, inputs], sigma));
        };
        matrix("attn_q", q_width, hidden);
        matrix("attn_k", kv_width, hidden);
        matrix("attn_v", kv_width, hidden);
        matrix("attn_output", hidden, q_width);
        matrix("ffn_gate", intermediate, hidden);
        matrix("ffn_up", intermediate, hidden);
        matrix("ffn_down", hidden, intermediate);
        let mut vector = |name: &str, width: usize, mean: f32, sigma: f32| {
            tensors.push(near(format!("blk.{layer}.{name}"), width, mean, sigma));
        };
        vector("attn_norm.weight", hidden, 1.0, 0.1);
        vector("ffn_norm.weight", hidden, 1.0, 0.1);
        if shape.architecture == "qwen2" {
            vector("attn_q.bias", q_width, 0.0, 0.5);
            vector("attn_k.bias", kv_width, 0.0, 0.5);
            vector("attn_v.bias", kv_width, 0.0, 0.5);
        }
        if shape.architecture == "gemma3" {
            vector("attn_q_norm.weight", shape.head_dim, 1.0, 0.1);
            vector("attn_k_norm.weight", shape.head_dim, 1.0, 0.1);
            vector("post_attention_norm.weight", hidden, 1.0, 0.1);
            vector("post_ffw_norm.weight", hidden, 1.0, 0.1);
        }
    }
    tensors.push(near("output_norm.weight".to_owned(), hidden, LOGIT_DEVIATION / embedding_gain(shape), 0.1));
    if !shape.tied_head {
        tensors.push(table("output.weight"));
    }
    tensors
}

fn spec(name: String, dtype: DType, shape: Vec<usize>) -> TensorSpec {
    TensorSpec { name, dtype, shape }
}

fn random(name: String, dtype: DType, shape: Vec<usize>, sigma: f32) -> Tensor {
    Tensor { spec: spec(name, dtype, shape), content: Content::Random { sigma } }
}

fn near(name: String, width: usize, mean: f32, sigma: f32) -> Tensor {
    Tensor { spec: spec(name, DType::F32, vec![width]), content: Content::Near { mean, sigma } }
}

/// `dtype`, or what llama.cpp's quantiser takes for rows that are no whole number of its blocks
/// (`tensor_type_fallback` in `llama-quant.cpp`). The widths of all shapes are multiples of 32.
fn stored_as(dtype: DType, width: usize) -> DType {
    if width.is_multiple_of(dtype.block_elements()) {
        return dtype;
    }
    match dtype {
        DType::Q4_K => DType::Q5_0,
        DType::Q5_K => DType::Q5_1,
        DType::Q6_K | DType::Q8_K => DType::Q8_0,
        _ => DType::IQ4_NL,
    }
}

/// By how much each rotation is slowed down (`_compute_llama3_parameters` in Hugging Face's
/// `modeling_rope_utils.py`): not at all where it turns often within the original context, by the whole
/// factor where it does not turn once, and in between in proportion.
fn frequency_factors(shape: &Shape, factors: RopeFactors) -> Vec<f32> {
    const LOW_TURNS: f32 = 1.0;
    const HIGH_TURNS: f32 = 4.0;
    let RopeFactors { factor, original_context } = factors;
    let factor_of = |pair: usize| {
        let frequency = shape.rope_theta.powf(-((2 * pair) as f32) / shape.head_dim as f32);
        let turns = original_context * frequency / TAU;
        let smooth = ((turns - LOW_TURNS) / (HIGH_TURNS - LOW_TURNS)).clamp(0.0, 1.0);
        ((1.0 - smooth) / factor + smooth).recip()
    };
    (0..shape.head_dim / 2).map(factor_of).collect()
}

/// The keys of a real file of this architecture.
pub(super) fn metadata(shape: &Shape, dtype: DType) -> Metadata {
    let mut metadata = Metadata::default();
    let mut general = |name: &str, value: Value| metadata.insert(format!("general.{name}"), value);
    general("architecture", Value::String(shape.architecture.to_owned()));
    general("type", Value::String("model".to_owned()));
    general("name", Value::String(format!("Random weights in the shape {}", shape.name)));
    general("quantization_version", Value::U64(2));
    if let Some(file_type) = file_type(dtype) {
        general("file_type", Value::U64(file_type));
    }
    let mut own = |name: &str, value: Value| metadata.insert(format!("{}.{name}", shape.architecture), value);
    let size = |value: usize| Value::U64(value as u64);
    own("block_count", size(shape.layers));
    own("context_length", size(shape.context));
    own("embedding_length", size(shape.hidden));
    own("feed_forward_length", size(shape.intermediate));
    own("attention.head_count", size(shape.heads));
    own("attention.head_count_kv", size(shape.kv_heads));
    own("attention.layer_norm_rms_epsilon", Value::F32(shape.norm_eps));
    own("rope.freq_base", Value::F32(shape.rope_theta));
    if shape.head_dim * shape.heads != shape.hidden {
        own("attention.key_length", size(shape.head_dim));
        own("attention.value_length", size(shape.head_dim));
    }
    if let Some(window) = shape.sliding_window {
        own("attention.sliding_window", size(window));
    }
    if shape.architecture == "llama" {
        own("vocab_size", size(shape.vocab));
        own("rope.dimension_count", size(shape.head_dim));
    }
    vocabulary::describe(shape.vocabulary, shape.vocab, &mut metadata);
    metadata
}

/// llama.cpp's number for a file that is mostly of this type (`enum llama_ftype` in `llama.h`).
fn file_type(dtype: DType) -> Option<u64> {
    Some(match dtype {
        DType::F32 => 0,
        DType::F16 => 1,
        DType::Q4_0 => 2,
        DType::Q4_1 => 3,
        DType::Q8_0 => 7,
        DType::Q5_0 => 8,
        DType::Q5_1 => 9,
        DType::Q2_K => 10,
        DType::Q3_K => 12,
        DType::Q4_K => 15,
        DType::Q5_K => 17,
        DType::Q6_K => 18,
        DType::IQ4_NL => 25,
        DType::IQ4_XS => 30,
        DType::BF16 => 32,
        DType::MXFP4 => 38,
        DType::Q8_K => return None,
    })
}
