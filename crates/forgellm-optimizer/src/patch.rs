//! What a rewrite gives, and how it becomes part of a graph.

use std::collections::BTreeMap;
use std::fmt;

use forgellm_frontend::ir::{Graph, Node, NodeId, NodeName, Shape, ValueId};

/// A change of a graph: some nodes replaced by others.
///
/// The added nodes give every value that the rest of the graph reads under its old id, so no reader changes.
pub struct Patch {
    /// The added nodes take the place of this node, which is removed.
    pub at: NodeId,
    /// The other nodes that are removed.
    pub with: Vec<NodeId>,
    /// Values of the added nodes that were not in the graph; their ids follow those of the graph.
    pub values: Vec<Shape>,
    /// The added nodes, in order.
    pub added: Vec<Node>,
}

/// An application of a rewrite.
///
/// Prints as `7 fuse_norm layer 0: attn_norm (rms_norm), qkv (linear) → qkv (linear)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Which application of the pipeline this is; the first is 1.
    pub number: usize,
    /// Name of the rewrite.
    pub rewrite: &'static str,
    /// The nodes that are gone, with the ids that they had.
    pub removed: Vec<NodeName>,
    /// The nodes that came, with the ids that they got.
    pub added: Vec<NodeName>,
}

impl Patch {
    /// `graph` with this change, and the entry for the log.
    pub fn apply(self, mut graph: Graph, rewrite: &'static str, number: usize) -> (Graph, Applied) {
        for shape in self.values {
            graph.add_value(shape);
        }
        let mut applied = Applied { number, rewrite, removed: Vec::new(), added: Vec::new() };
        let mut nodes = Vec::with_capacity(graph.nodes().len() + self.added.len());
        let mut added = Some(self.added);
        for (index, node) in graph.nodes().iter().enumerate() {
            let id = NodeId(index as u32);
            let keep = id != self.at && !self.with.contains(&id);
            if id == self.at {
                for node in added.take().into_iter().flatten() {
                    applied.added.push(NodeName::new(NodeId(nodes.len() as u32), &node));
                    nodes.push(node);
                }
            }
            if keep {
                nodes.push(node.clone());
            } else {
                applied.removed.push(NodeName::new(id, node));
            }
        }
        (graph.with_nodes(nodes), applied)
    }
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |nodes: &[NodeName]| {
            let names = nodes.iter().map(|node| format!("{} ({})", node.label, node.op));
            names.collect::<Vec<_>>().join(", ")
        };
        write!(f, "{} {}", self.number, self.rewrite)?;
        if let Some(layer) = self.added.first().and_then(|node| node.layer) {
            write!(f, " layer {layer}")?;
        }
        write!(f, ": {} → {}", list(&self.removed), list(&self.added))
    }
}

/// The graph without the values that no node gives any more; the others are numbered in the order in which they are given.
pub fn renumber(graph: Graph) -> Graph {
    let mut renumbered = Graph::new(graph.name.clone());
    renumbered.config = graph.config.clone();
    for weight in graph.weights() {
        renumbered.add_weight(weight.clone());
    }
    let mut ids = BTreeMap::new();
    for value in graph.nodes().iter().flat_map(|node| &node.outputs) {
        ids.insert(*value, renumbered.add_value(graph.shape(*value)));
    }
    let renamed = |values: &[ValueId]| values.iter().map(|value| ids[value]).collect();
    for node in graph.nodes() {
        renumbered.add_node(Node {
            inputs: renamed(&node.inputs),
            outputs: renamed(&node.outputs),
            ..node.clone()
        });
    }
    for output in graph.outputs() {
        renumbered.add_output(output.role, ids[&output.value]);
    }
    renumbered
}
