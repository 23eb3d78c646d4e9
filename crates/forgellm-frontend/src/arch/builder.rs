//! What the architectures build their graphs with.

use std::collections::{BTreeMap, BTreeSet};

use super::{ImportError, default_dtype};
use crate::ir::{
    Attention, CacheId, Graph, HiddenActivation, Linear, ModelConfig, Node, Norm, Op, OutputRole, Rope,
    RopeScaling, RopeStyle, Shape, ValueId, Weight, WeightId,
};

/// Appends nodes to a graph, finds their weights in the file and checks them against the config.
pub(super) struct Builder<'a> {
    pub config: ModelConfig,
    graph: Graph,
    tensors: Option<&'a BTreeMap<String, Weight>>,
    by_name: BTreeMap<String, WeightId>,
    layer: Option<u32>,
}

impl<'a> Builder<'a> {
    pub fn new(
        graph: Graph,
        config: ModelConfig,
        tensors: Option<&'a BTreeMap<String, Weight>>,
    ) -> Builder<'a> {
        Builder { config, graph, tensors, by_name: BTreeMap::new(), layer: None }
    }

    /// The graph, once every tensor of the file has found its use.
    pub fn finish(self) -> Result<Graph, ImportError> {
        let used: BTreeSet<&String> = self.by_name.keys().collect();
        if let Some(name) =
            self.tensors.iter().flat_map(|tensors| tensors.keys()).find(|name| !used.contains(name))
        {
            return Err(ImportError::UnusedTensor {
                name: name.clone(),
                architecture: self.config.architecture.to_string(),
            });
        }
        Ok(self.graph)
    }

    /// The nodes from here on belong to this layer.
    pub fn enter_layer(&mut self, layer: usize) {
        self.layer = Some(layer as u32);
    }

    /// The nodes from here on stand behind the last layer.
    pub fn leave_layers(&mut self) {
        self.layer = None;
    }

    /// The weight `name` of this shape.
    pub fn weight(&mut self, name: &str, shape: &[usize]) -> Result<WeightId, ImportError> {
        if let Some(id) = self.by_name.get(name) {
            return Ok(*id);
        }
        let dtype = match self.tensors {
            None => default_dtype(&self.config, shape),
            Some(tensors) => {
                let tensor = tensors.get(name).ok_or_else(|| ImportError::MissingTensor {
                    name: name.to_owned(),
                    shape: shape.to_vec(),
                })?;
                if tensor.shape != shape {
                    return Err(ImportError::TensorShape {
                        name: name.to_owned(),
                        found: tensor.shape.clone(),
                        expected: shape.to_vec(),
                    });
                }
                tensor.dtype
            }
        };
        let id = self.graph.add_weight(Weight { name: name.to_owned(), dtype, shape: shape.to_vec() });
        self.by_name.insert(name.to_owned(), id);
        Ok(id)
    }

    /// The name of a tensor of the current layer.
    pub fn layer_name(&self, name: &str) -> String {
        match self.layer {
            Some(layer) => format!("blk.{layer}.{name}"),
            None => name.to_owned(),
        }
    }

    fn push(&mut self, label: &str, op: Op, inputs: Vec<ValueId>, shape: Shape) -> ValueId {
        let value = self.graph.add_value(shape);
        self.graph.add_node(Node {
            op,
            inputs,
            outputs: vec![value],
            layer: self.layer,
            label: label.to_owned(),
        });
        value
    }

    pub fn embed(&mut self, scale: f32) -> Result<ValueId, ImportError> {
        let (vocab, hidden) = (self.config.vocab_size, self.config.hidden_size);
        let table = self.weight("token_embd.weight", &[vocab, hidden])?;
        Ok(self.push("embed", Op::Embed { table, scale }, vec![], Shape::rows(hidden)))
    }

    /// Norm with the weight `name`.weight of the current layer, over chunks of `size`.
    pub fn rms_norm(&mut self, name: &str, x: ValueId, size: usize) -> Result<ValueId, ImportError> {
        let weight = self.weight(&self.layer_name(&format!("{name}.weight")), &[size])?;
        let norm = Norm { weight, eps: self.config.rms_norm_eps };
        Ok(self.push(name, Op::RmsNorm { norm, residual: false }, vec![x], self.graph.shape(x)))
    }

    /// Projection with `name`.weight, and `name`.bias where `bias`, of the current layer.
    pub fn linear(
        &mut self,
        name: &str,
        x: ValueId,
        outputs: usize,
        bias: bool,
    ) -> Result<ValueId, ImportError> {
        let input = self.graph.shape(x);
        let weight = self.weight(&self.layer_name(&format!("{name}.weight")), &[outputs, input.width])?;
        let bias = match bias {
            true => Some(self.weight(&self.layer_name(&format!("{name}.bias")), &[outputs])?),
            false => None,
        };
        Ok(self.push(
            name,
            Op::Linear(Linear::plain(weight, bias)),
            vec![x],
            Shape { width: outputs, ..input },
        ))
    }

    pub fn rope(&mut self, label: &str, x: ValueId, rope: Rope) -> ValueId {
        self.push(label, Op::Rope(rope), vec![x], self.graph.shape(x))
    }

    /// The rope of the current layer: `scaled` says whether the config's scaling holds here.
    pub fn layer_rope(&mut self, style: RopeStyle, scaled: bool) -> Result<Rope, ImportError> {
        let freq_factors = match self.config.rope_freq_factors {
            true => Some(self.weight("rope_freqs.weight", &[self.config.rope_dim / 2])?),
            false => None,
        };
        Ok(Rope {
            style,
            head_dim: self.config.head_dim,
            rotary_dim: self.config.rope_dim,
            theta: self.config.theta(self.layer.unwrap_or(0) as usize),
            scaling: if scaled { self.config.rope_scaling } else { RopeScaling::None },
            freq_factors,
        })
    }

    /// Writes k and v into the layer's cache and attends to it.
    pub fn attention(&mut self, q: ValueId, k: ValueId, v: ValueId) -> ValueId {
        let layer = self.layer.unwrap_or(0);
        let cache = CacheId(layer);
        let width = self.graph.shape(k).width + self.graph.shape(v).width;
        let kv = self.push("kv_write", Op::KvWrite { cache }, vec![k, v], Shape::context(width));
        let config = &self.config;
        let attention = Attention {
            cache,
            heads: config.num_attention_heads,
            kv_heads: config.num_kv_heads,
            head_dim: config.head_dim,
            scale: config.attention_scale.unwrap_or_else(|| (config.head_dim as f64).sqrt().recip() as f32),
            softcap: None,
            window: config.window(layer as usize),
            sinks: None,
        };
        self.push("attention", Op::Attention(attention), vec![q, kv], self.graph.shape(q))
    }

    pub fn add(&mut self, label: &str, a: ValueId, b: ValueId) -> ValueId {
        self.push(label, Op::Add, vec![a, b], self.graph.shape(a))
    }

    /// down(activation(gate(x)) · up(x)).
    pub fn gated_mlp(&mut self, x: ValueId, activation: HiddenActivation) -> Result<ValueId, ImportError> {
        let (hidden, intermediate) = (self.config.hidden_size, self.config.intermediate_size);
        let gate = self.linear("ffn_gate", x, intermediate, false)?;
        let up = self.linear("ffn_up", x, intermediate, false)?;
        let active =
            self.push("ffn_activation", Op::Activation(activation), vec![gate], self.graph.shape(gate));
        let product = self.push("ffn_product", Op::Mul, vec![active, up], self.graph.shape(up));
        self.linear("ffn_down", product, hidden, false)
    }

    /// Final norm and head, for the rows of which something is wanted.
    pub fn head(&mut self, x: ValueId, softcap: Option<f32>) -> Result<(), ImportError> {
        self.leave_layers();
        let (vocab, hidden) = (self.config.vocab_size, self.config.hidden_size);
        let wanted = self.push("select_wanted", Op::SelectWanted, vec![x], Shape::wanted(hidden));
        let normed = self.rms_norm("output_norm", wanted, hidden)?;
        let mut logits = if self.config.tied_embeddings {
            let table = self.weight("token_embd.weight", &[vocab, hidden])?;
            self.push("output", Op::Linear(Linear::plain(table, None)), vec![normed], Shape::wanted(vocab))
        } else {
            self.linear("output", normed, vocab, false)?
        };
        if let Some(cap) = softcap {
            logits = self.push("logit_softcap", Op::Softcap { cap }, vec![logits], Shape::wanted(vocab));
        }
        self.graph.add_output(OutputRole::Hidden, normed);
        self.graph.add_output(OutputRole::Logits, logits);
        Ok(())
    }
}
