//! A norm with a residual becomes part of the projection that first reads the sum:
//!
//! ```text
//! x = rms_norm(y, s) with a residual   →   z, x = linear(y, s) with a sum and a norm
//! z = linear(x) with a norm
//! ```
//!
//! and the same with `qkv_rope` and its projection. What else reads the sum stands behind that projection.
//!
//! The projection may be in the next layer: where a model norms what a layer adds to its residual stream, a layer then hands on what it adds
//! and what it adds to. So that the last layer does as the others do and stays of their kind, its own norm goes behind the layers.

use forgellm_frontend::ir::{Linear, Node, NodeId, Norm, Op, QkvRope};

use crate::Rewrite;
use crate::links::Links;
use crate::patch::Patch;

pub const REWRITE: Rewrite = Rewrite {
    name: "fuse_norm_residual",
    doc: "a norm with a residual becomes part of the projection that first reads the sum, also of the next layer's",
    find,
};

fn find(links: &Links<'_>, at: NodeId) -> Option<Patch> {
    into_projection(links, at).or_else(|| behind_layers(links, at))
}

/// The patch where `at` is the projection.
fn into_projection(links: &Links<'_>, at: NodeId) -> Option<Patch> {
    let node = links.node(at);
    let Linear { add: None, norm: Some(own), .. } = node.op.projection()? else { return None };
    let (sum, rest) = node.inputs.split_first()?;
    let id = links.giver(*sum)?;
    let before = links.node(id);
    let norm = sum_of_norm(links, before)?;
    let whole_rows = links.norm_len(own) == links.shape(*sum).width;
    // A projection cannot read its own result a second time, and nothing can before it.
    let first = links.first_reader(*sum) == Some(at) && !rest.contains(sum);
    if !whole_rows || !first || !reaches(links, id, at) {
        return None;
    }
    let with_sum = |linear: &Linear| Linear { add: Some(norm.clone()), ..linear.clone() };
    let op = match &node.op {
        Op::Linear(linear) => Op::Linear(with_sum(linear)),
        Op::QkvRope(fused) => {
            Op::QkvRope(QkvRope { projection: fused.projection.as_ref().map(with_sum), ..fused.clone() })
        }
        _ => return None,
    };
    let fused = Node {
        op,
        inputs: [&before.inputs, rest].concat(),
        outputs: [&node.outputs[..], &before.outputs].concat(),
        ..node.clone()
    };
    Some(Patch { at, with: vec![id], values: vec![], added: vec![fused] })
}

/// The patch where `at` is the norm at the end of the last layer, and that layer begins with the norm of the one before.
fn behind_layers(links: &Links<'_>, at: NodeId) -> Option<Patch> {
    let node = links.node(at);
    sum_of_norm(links, node)?;
    let layer = node.layer?;
    let last = links.ids().skip(at.index() + 1).all(|id| links.node(id).layer.is_none());
    let takes_sum = |id: NodeId| {
        let other = links.node(id);
        let adds = other.op.projection().is_some_and(|linear| linear.add.is_some());
        let from = other.inputs.first().and_then(|value| links.giver(*value));
        adds && other.layer == Some(layer) && from.is_some_and(|from| links.node(from).layer != Some(layer))
    };
    if !last || !links.ids().take(at.index()).any(takes_sum) {
        return None;
    }
    let moved = Node { layer: None, ..node.clone() };
    Some(Patch { at, with: vec![], values: vec![], added: vec![moved] })
}

/// The norm of a node that adds the norm of its first input to its second.
fn sum_of_norm<'a>(links: &Links<'a>, node: &'a Node) -> Option<&'a Norm> {
    let (Op::RmsNorm { norm, residual: true }, [y, _]) = (&node.op, &node.inputs[..]) else { return None };
    (links.norm_len(norm) == links.shape(*y).width).then_some(norm)
}

/// Whether `to` is in the same layer as `from`, or in the next.
fn reaches(links: &Links<'_>, from: NodeId, to: NodeId) -> bool {
    match (links.node(from).layer, links.node(to).layer) {
        (Some(from), Some(to)) => to == from || to == from + 1,
        (from, to) => from == to,
    }
}
