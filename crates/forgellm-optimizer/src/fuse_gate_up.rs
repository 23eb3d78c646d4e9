//! A gated pair of projections becomes one:
//!
//! ```text
//! g = linear(x)
//! a = activation(g)  →   y = linear(x) of two parts with a gate
//! u = linear(x)
//! y = a · u
//! ```

use forgellm_frontend::ir::{HiddenActivation, Linear, Node, NodeId, Op, ValueId};

use crate::Rewrite;
use crate::links::Links;
use crate::patch::Patch;

pub const REWRITE: Rewrite = Rewrite {
    name: "fuse_gate_up",
    doc: "gate and up projections of the same input, the activation and the product become one gated projection",
    find,
};

fn find(links: &Links<'_>, at: NodeId) -> Option<Patch> {
    let product = links.node(at);
    let (Op::Mul, [a, b]) = (&product.op, &product.inputs[..]) else { return None };
    pair(links, at, *a, *b).or_else(|| pair(links, at, *b, *a))
}

/// The patch where `active` is the activated projection and `up` the plain one.
fn pair(links: &Links<'_>, at: NodeId, active: ValueId, up: ValueId) -> Option<Patch> {
    let (activation, gate) = activated(links, at, active)?;
    let (activated, kind) = activation;
    let up = links.private_giver(up, at)?;
    let parts = vec![links.plain_linear(gate)?.clone(), links.plain_linear(up)?.clone()];
    let (product, inputs) = (links.node(at), &links.node(gate).inputs);
    if *inputs != links.node(up).inputs || !links.same_layer(&[at, activated, gate, up]) {
        return None;
    }
    let fused = Linear { gate: Some(kind), ..Linear::joint(parts) };
    let node = Node {
        op: Op::Linear(fused),
        inputs: inputs.clone(),
        outputs: product.outputs.clone(),
        layer: product.layer,
        label: "gated".into(),
    };
    Some(Patch { at, with: vec![activated, gate, up], values: vec![], added: vec![node] })
}

/// The activation that gives `value`, and the node before it.
fn activated(
    links: &Links<'_>,
    reader: NodeId,
    value: ValueId,
) -> Option<((NodeId, HiddenActivation), NodeId)> {
    let id = links.private_giver(value, reader)?;
    let node = links.node(id);
    let (Op::Activation(kind), [x]) = (&node.op, &node.inputs[..]) else { return None };
    Some(((id, *kind), links.private_giver(*x, id)?))
}
