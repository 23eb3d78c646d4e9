//! Nodes, values and weights of a model.

use std::fmt;

use super::{DType, ModelConfig, Op, Shape};

/// A model as a graph of operations, in an order in which they can run.
///
/// A graph that holds only a config is completed by [`crate::arch::complete`].
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    /// Name of the model.
    pub name: String,
    /// Where the graph came from; not read behind the architecture's builder.
    pub config: Option<ModelConfig>,
    weights: Vec<Weight>,
    values: Vec<Shape>,
    nodes: Vec<Node>,
    outputs: Vec<Output>,
}

/// A tensor of the model file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weight {
    /// Its name in the file.
    pub name: String,
    /// Its type.
    pub dtype: DType,
    /// Its shape, outermost dimension first: a matrix is [outputs, inputs].
    pub shape: Vec<usize>,
}

/// An operation with its inputs and results.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it computes.
    pub op: Op,
    /// What it reads.
    pub inputs: Vec<ValueId>,
    /// What it gives.
    pub outputs: Vec<ValueId>,
    /// The layer that it belongs to; `None` before the first and after the last.
    pub layer: Option<u32>,
    /// What it is in the model, for people: `attn_norm`, `q`, `down`.
    pub label: String,
}

/// Something that the graph gives to the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Output {
    /// Which result it is.
    pub role: OutputRole,
    /// Its value.
    pub value: ValueId,
}

/// Results of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutputRole {
    /// [wanted, vocab].
    Logits,
    /// [wanted, hidden] after the final norm.
    Hidden,
}

macro_rules! ids {
    ($($name:ident, $prefix:literal, $doc:literal;)*) => {$(
        #[doc = $doc]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u32);

        impl $name {
            /// The index in the graph's list.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    )*};
}

ids! {
    WeightId, "@", "Number of a weight of a graph.";
    ValueId, "%", "Number of a value of a graph.";
    NodeId, "#", "Number of a node of a graph.";
}

impl Graph {
    /// An empty graph.
    pub fn new(name: impl Into<String>) -> Graph {
        Graph {
            name: name.into(),
            config: None,
            weights: Vec::new(),
            values: Vec::new(),
            nodes: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// The graph with a config.
    pub fn with_config(mut self, config: ModelConfig) -> Graph {
        self.config = Some(config);
        self
    }

    /// Adds a weight.
    pub fn add_weight(&mut self, weight: Weight) -> WeightId {
        self.weights.push(weight);
        WeightId(self.weights.len() as u32 - 1)
    }

    /// Adds a value of which no node gives the content yet.
    pub fn add_value(&mut self, shape: Shape) -> ValueId {
        self.values.push(shape);
        ValueId(self.values.len() as u32 - 1)
    }

    /// Appends a node.
    pub fn add_node(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        NodeId(self.nodes.len() as u32 - 1)
    }

    /// Makes a value a result of the graph.
    pub fn add_output(&mut self, role: OutputRole, value: ValueId) {
        self.outputs.push(Output { role, value });
    }

    /// All weights, by id.
    pub fn weights(&self) -> &[Weight] {
        &self.weights
    }

    /// The shapes of all values, by id.
    pub fn values(&self) -> &[Shape] {
        &self.values
    }

    /// All nodes, in order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The results.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// A weight. Panics on an id of another graph; a verified graph holds none.
    pub fn weight(&self, id: WeightId) -> &Weight {
        &self.weights[id.index()]
    }

    /// The shape of a value. Panics on an id of another graph; a verified graph holds none.
    pub fn shape(&self, id: ValueId) -> Shape {
        self.values[id.index()]
    }

    /// The value of a result.
    pub fn output(&self, role: OutputRole) -> Option<ValueId> {
        self.outputs.iter().find(|output| output.role == role).map(|output| output.value)
    }

    /// The same graph with other nodes (and values added since): how a rewrite makes its result.
    pub fn with_nodes(mut self, nodes: Vec<Node>) -> Graph {
        self.nodes = nodes;
        self
    }
}
