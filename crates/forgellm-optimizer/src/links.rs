//! Who gives and who reads the values of a graph.

use forgellm_frontend::ir::{Graph, Linear, Node, NodeId, Norm, Op, Part, Shape, ValueId};

/// The edges of a verified graph, both ways.
pub struct Links<'a> {
    graph: &'a Graph,
    givers: Vec<Option<NodeId>>,
    readers: Vec<Readers>,
    first_readers: Vec<Option<NodeId>>,
}

/// Who reads a value, and how often.
#[derive(Clone, Copy, PartialEq)]
enum Readers {
    None,
    /// This node, once.
    One(NodeId),
    /// More than one node, one node more than once, or the program: the value is a result of the graph.
    Several,
}

impl<'a> Links<'a> {
    /// The edges of `graph`.
    pub fn new(graph: &'a Graph) -> Links<'a> {
        let mut givers = vec![None; graph.values().len()];
        let mut readers = vec![Readers::None; graph.values().len()];
        let mut first_readers = vec![None; graph.values().len()];
        for (index, node) in graph.nodes().iter().enumerate() {
            let id = NodeId(index as u32);
            for value in &node.outputs {
                givers[value.index()] = Some(id);
            }
            for value in &node.inputs {
                first_readers[value.index()].get_or_insert(id);
                let known = &mut readers[value.index()];
                *known = if *known == Readers::None { Readers::One(id) } else { Readers::Several };
            }
        }
        for output in graph.outputs() {
            readers[output.value.index()] = Readers::Several;
        }
        Links { graph, givers, readers, first_readers }
    }

    /// The ids of all nodes, in order.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> {
        (0..self.graph.nodes().len() as u32).map(NodeId)
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> &'a Node {
        &self.graph.nodes()[id.index()]
    }

    /// The shape of a value.
    pub fn shape(&self, value: ValueId) -> Shape {
        self.graph.shape(value)
    }

    /// The node that gives a value.
    pub fn giver(&self, value: ValueId) -> Option<NodeId> {
        self.givers[value.index()]
    }

    /// The node that gives a value, where `reader` alone reads it, once, and it is no result of the graph.
    pub fn private_giver(&self, value: ValueId, reader: NodeId) -> Option<NodeId> {
        let private = self.readers[value.index()] == Readers::One(reader);
        self.giver(value).filter(|_| private)
    }

    /// The first node that reads a value.
    pub fn first_reader(&self, value: ValueId) -> Option<NodeId> {
        self.first_readers[value.index()]
    }

    /// The part of a projection with nothing fused.
    pub fn plain_linear(&self, id: NodeId) -> Option<&'a Part> {
        match &self.node(id).op {
            Op::Linear(Linear { add: None, norm: None, parts, gate: None, residual: false }) => {
                match &parts[..] {
                    [part] => Some(part),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// How many outputs a part of a projection has.
    pub fn outputs(&self, part: &Part) -> usize {
        self.graph.weight(part.weight).shape[0]
    }

    /// Over how many elements a norm runs.
    pub fn norm_len(&self, norm: &Norm) -> usize {
        self.graph.weight(norm.weight).shape.iter().product()
    }

    /// Whether all nodes belong to the same layer. One that reaches into another would move work out of its layer.
    pub fn same_layer(&self, nodes: &[NodeId]) -> bool {
        nodes.windows(2).all(|pair| self.node(pair[0]).layer == self.node(pair[1]).layer)
    }

    /// The id that the first of a patch's own values gets.
    pub fn next_value(&self) -> ValueId {
        ValueId(self.graph.values().len() as u32)
    }
}
