//! Pictures of a graph.

mod dot;
mod svg;
#[cfg(test)]
mod tests;

pub use dot::to_dot;
pub use svg::to_svg;

use std::collections::{BTreeMap, BTreeSet};

use super::{Graph, Node, OutputRole};

/// How much of a graph to draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Every node.
    Whole,
    /// One layer, and what stands before the first and behind the last. The layers left out are one block on either side.
    Layer(u32),
}

/// Blocks in an order in which edges go from earlier to later ones.
struct Drawing {
    name: String,
    blocks: Vec<Block>,
    /// From block, to block, the shapes of the values.
    edges: BTreeMap<(usize, usize), String>,
}

struct Block {
    kind: Kind,
    lines: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Reads weights.
    Weighted,
    /// Reads none.
    Plain,
    /// Reads or writes a cache.
    Cache,
    /// Layers that are left out.
    Elided,
    /// A result of the graph.
    Output,
}

impl Drawing {
    fn new(graph: &Graph, view: View) -> Drawing {
        let mut drawing = Drawing { name: graph.name.clone(), blocks: Vec::new(), edges: BTreeMap::new() };
        let mut elided: BTreeSet<u32> = BTreeSet::new();
        // The block that gives each value.
        let mut givers = BTreeMap::new();
        let mut previous_is_elided = false;
        for node in graph.nodes() {
            let hidden = match (view, node.layer) {
                (View::Layer(shown), Some(layer)) if layer != shown => Some(layer),
                _ => None,
            };
            if !(hidden.is_some() && previous_is_elided) {
                elided.clear();
                drawing.blocks.push(Block { kind: Kind::Elided, lines: Vec::new() });
            }
            previous_is_elided = hidden.is_some();
            let index = drawing.blocks.len() - 1;
            elided.extend(hidden);
            drawing.blocks[index] = match hidden {
                Some(_) => Block { kind: Kind::Elided, lines: vec![elided_line(&elided)] },
                None => node_box(graph, node),
            };
            for id in &node.inputs {
                drawing.edge(graph, &givers, *id, index);
            }
            givers.extend(node.outputs.iter().map(|id| (*id, index)));
        }
        for output in graph.outputs() {
            let name = match output.role {
                OutputRole::Logits => "logits",
                OutputRole::Hidden => "hidden",
            };
            drawing.blocks.push(Block { kind: Kind::Output, lines: vec![name.to_owned()] });
            drawing.edge(graph, &givers, output.value, drawing.blocks.len() - 1);
        }
        drawing
    }

    fn edge(
        &mut self,
        graph: &Graph,
        givers: &BTreeMap<super::ValueId, usize>,
        id: super::ValueId,
        to: usize,
    ) {
        if let Some(from) = givers.get(&id)
            && *from != to
        {
            let shape = graph.values().get(id.index()).map(ToString::to_string).unwrap_or_default();
            let shapes = self.edges.entry((*from, to)).or_default();
            if !shapes.is_empty() {
                shapes.push('\n');
            }
            shapes.push_str(&shape);
        }
    }
}

fn elided_line(layers: &BTreeSet<u32>) -> String {
    match (layers.first(), layers.last()) {
        (Some(first), Some(last)) if first != last => format!("layers {first} to {last}"),
        (Some(layer), _) => format!("layer {layer}"),
        _ => String::new(),
    }
}

fn node_box(graph: &Graph, node: &Node) -> Block {
    let name = node.op.name();
    let title = if node.label.is_empty() || node.label == name {
        name.to_owned()
    } else {
        format!("{} · {name}", node.label)
    };
    let mut lines = vec![title];
    for id in node.op.weights() {
        if let Some(weight) = graph.weights().get(id.index()) {
            lines.push(format!("{} {} {:?}", weight.name, weight.dtype, weight.shape));
        }
    }
    let kind = match (node.op.cache(), lines.len()) {
        (Some(_), _) => Kind::Cache,
        (None, 1) => Kind::Plain,
        (None, _) => Kind::Weighted,
    };
    Block { kind, lines }
}
