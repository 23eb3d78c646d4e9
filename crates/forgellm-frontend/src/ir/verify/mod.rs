//! What must hold for a graph before anything is built on it.

mod signature;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{CacheId, Dim, Graph, Node, NodeId, Op, OutputRole, ValueId, Verified, Verify};

/// Checks `graph` and hands it on as verified.
///
/// Checked are: every id is in range; every value is defined at most once, and before it is read; every node has the inputs, weights and
/// results that its operation asks for (`signature.rs` holds that table); each layer's cache is written once, by that layer, and read only
/// through the value that the write gave; layers do not decrease; nothing is computed in vain; the results are there.
pub fn verify(graph: Graph, stage: Stage) -> Result<Verified<Graph>, VerifyError> {
    Verified::new(graph, stage)
}

impl Verify for Graph {
    type Stage = Stage;
    type Error = VerifyError;

    fn verify(&self, stage: &Stage) -> Result<(), VerifyError> {
        check_weights(self)?;
        let mut state = State::default();
        for (index, node) in self.nodes().iter().enumerate() {
            check_node(self, *stage, node, &mut state).map_err(|problem| VerifyError::Node {
                node: NodeName::new(NodeId(index as u32), node),
                problem,
            })?;
        }
        check_outputs(self, &state).map_err(VerifyError::Outputs)?;
        check_dead(self)
    }
}

/// How far a graph has come, and so what may be in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// As an architecture builds it: every node computes one thing.
    Model,
    /// After rewrites: fused nodes too.
    Fused,
}

/// Why a graph does not hold together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// A node breaks a rule.
    #[error("{node}: {problem}")]
    Node {
        /// Which.
        node: NodeName,
        /// The rule and what there is instead.
        problem: String,
    },
    /// A weight can be none.
    #[error("weight @{index} `{name}`: {problem}")]
    Weight {
        /// Its id.
        index: usize,
        /// Its name in the file.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The results are not what a program needs.
    #[error("graph outputs: {0}")]
    Outputs(String),
}

/// A node for people: `#12 layer 3 attn_norm (rms_norm)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeName {
    /// Its id.
    pub id: NodeId,
    /// Its layer.
    pub layer: Option<u32>,
    /// Its label.
    pub label: String,
    /// The name of its operation.
    pub op: &'static str,
}

impl NodeName {
    /// The name of `node`, which has this `id` in its graph.
    pub fn new(id: NodeId, node: &Node) -> NodeName {
        NodeName { id, layer: node.layer, label: node.label.clone(), op: node.op.name() }
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)?;
        if let Some(layer) = self.layer {
            write!(f, " layer {layer}")?;
        }
        if !self.label.is_empty() {
            write!(f, " {}", self.label)?;
        }
        write!(f, " ({})", self.op)
    }
}

/// What the nodes so far have done.
#[derive(Default)]
struct State {
    defined: BTreeSet<ValueId>,
    cache_values: BTreeMap<CacheId, ValueId>,
    last_layer: Option<u32>,
    after_layers: bool,
}

fn check_weights(graph: &Graph) -> Result<(), VerifyError> {
    let mut names = BTreeSet::new();
    for (index, weight) in graph.weights().iter().enumerate() {
        let problem = if weight.name.is_empty() {
            "it has no name".to_owned()
        } else if !names.insert(&weight.name) {
            "another weight has the same name".to_owned()
        } else if weight.shape.is_empty() || weight.shape.contains(&0) {
            format!("its shape {:?} holds no element", weight.shape)
        } else if weight.shape.iter().try_fold(1usize, |all, dim| all.checked_mul(*dim)).is_none() {
            format!("its shape {:?} has more elements than can be addressed", weight.shape)
        } else if let Some(row) = weight.shape.last()
            && weight.dtype.row_bytes(*row).is_none()
        {
            let block = weight.dtype.block_elements();
            format!("rows of {row} elements are not whole {} blocks of {block}", weight.dtype)
        } else {
            continue;
        };
        return Err(VerifyError::Weight { index, name: weight.name.clone(), problem });
    }
    Ok(())
}

fn check_node(graph: &Graph, stage: Stage, node: &Node, state: &mut State) -> Result<(), String> {
    check_layer(node, state)?;
    for id in node.op.weights() {
        if id.index() >= graph.weights().len() {
            return Err(format!("names weight {id}, but the graph has {}", graph.weights().len()));
        }
    }
    for id in node.inputs.iter().chain(&node.outputs) {
        if id.index() >= graph.values().len() {
            return Err(format!("names value {id}, but the graph has {}", graph.values().len()));
        }
    }
    for id in &node.inputs {
        if !state.defined.contains(id) {
            return Err(format!("reads {id} before any node gives it"));
        }
    }
    if stage == Stage::Model
        && let Some(feature) = signature::fused_feature(&node.op)
    {
        return Err(format!("{feature} is for fused graphs, not for a model's"));
    }
    let inputs: Vec<_> = node.inputs.iter().map(|id| graph.shape(*id)).collect();
    let expected = signature::outputs(graph, &node.op, &inputs)?;
    if node.outputs.len() != expected.len() {
        return Err(format!("has {} results, it must have {}", node.outputs.len(), expected.len()));
    }
    for (id, expected) in node.outputs.iter().zip(&expected) {
        if graph.shape(*id) != *expected {
            return Err(format!("{id} is declared as {}, its shape is {expected}", graph.shape(*id)));
        }
        if !state.defined.insert(*id) {
            return Err(format!("gives {id}, which has a content already"));
        }
    }
    check_cache(node, state)
}

fn check_layer(node: &Node, state: &mut State) -> Result<(), String> {
    match (node.layer, state.last_layer) {
        (None, None) => {}
        (None, Some(_)) => state.after_layers = true,
        (Some(layer), _) if state.after_layers => {
            return Err(format!("belongs to layer {layer}, but stands after a node behind the last layer"));
        }
        (Some(layer), Some(last)) if layer < last => {
            return Err(format!("belongs to layer {layer}, but stands after a node of layer {last}"));
        }
        (Some(layer), _) => state.last_layer = Some(layer),
    }
    Ok(())
}

fn check_cache(node: &Node, state: &mut State) -> Result<(), String> {
    let Some(cache) = node.op.cache() else { return Ok(()) };
    if node.layer != Some(cache.0) {
        return Err(format!("uses the cache of layer {}, which is not its own", cache.0));
    }
    let value = match (&node.op, &node.inputs[..], &node.outputs[..]) {
        (Op::Attention(_), [_, kv], _) => {
            return match state.cache_values.get(&cache) {
                Some(written) if written == kv => Ok(()),
                Some(written) => Err(format!("reads {kv}, but the cache of layer {} is {written}", cache.0)),
                None => Err(format!("reads the cache of layer {} before it is written", cache.0)),
            };
        }
        (Op::KvWrite { .. }, _, [value]) | (Op::QkvRope(_), _, [_, value, ..]) => *value,
        _ => return Ok(()),
    };
    match state.cache_values.insert(cache, value) {
        Some(_) => Err(format!("writes the cache of layer {} a second time", cache.0)),
        None => Ok(()),
    }
}

fn check_outputs(graph: &Graph, state: &State) -> Result<(), String> {
    let mut roles = Vec::new();
    for output in graph.outputs() {
        if roles.contains(&output.role) {
            return Err(format!("{:?} is given twice", output.role));
        }
        roles.push(output.role);
        if !state.defined.contains(&output.value) {
            return Err(format!("no node gives {}, the {:?} output", output.value, output.role));
        }
        let shape = graph.shape(output.value);
        if shape.rows != Dim::Wanted {
            return Err(format!(
                "{:?} is {}, of shape {shape}; outputs are [wanted, …]",
                output.role, output.value
            ));
        }
    }
    if !roles.contains(&OutputRole::Logits) {
        return Err("there are no logits".to_owned());
    }
    Ok(())
}

fn check_dead(graph: &Graph) -> Result<(), VerifyError> {
    let used: BTreeSet<ValueId> = graph
        .nodes()
        .iter()
        .flat_map(|node| node.inputs.iter().copied())
        .chain(graph.outputs().iter().map(|output| output.value))
        .collect();
    for (index, node) in graph.nodes().iter().enumerate() {
        let writes_cache = matches!(node.op, Op::KvWrite { .. } | Op::QkvRope(_));
        if !writes_cache && !node.outputs.iter().any(|id| used.contains(id)) {
            return Err(VerifyError::Node {
                node: NodeName::new(NodeId(index as u32), node),
                problem: "nothing reads its result".to_owned(),
            });
        }
    }
    Ok(())
}
