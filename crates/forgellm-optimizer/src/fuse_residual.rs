//! A sum becomes part of the projection or norm that gives one of its operands:
//!
//! ```text
//! p = linear(x)  →   y = linear(x, r) with a residual
//! y = p + r
//! ```
//!
//! and the same with `rms_norm`. Gated projections and those of several parts are left alone: no model adds them to its residual stream,
//! and every target would need kernels for it.

use forgellm_frontend::ir::{Linear, Node, NodeId, Op, ValueId};

use crate::Rewrite;
use crate::links::Links;
use crate::patch::Patch;

pub const REWRITE: Rewrite = Rewrite {
    name: "fuse_residual",
    doc: "a sum with the result of a projection or a norm becomes part of it",
    find,
};

fn find(links: &Links<'_>, at: NodeId) -> Option<Patch> {
    let sum = links.node(at);
    let (Op::Add, [a, b]) = (&sum.op, &sum.inputs[..]) else { return None };
    operands(links, at, *a, *b).or_else(|| operands(links, at, *b, *a))
}

/// The patch where `term` is what the residual is fused into.
fn operands(links: &Links<'_>, at: NodeId, term: ValueId, residual: ValueId) -> Option<Patch> {
    let id = links.private_giver(term, at)?;
    let (sum, node) = (links.node(at), links.node(id));
    let op = match &node.op {
        Op::Linear(linear @ Linear { add: None, gate: None, residual: false, parts, .. })
            if parts.len() == 1 =>
        {
            Op::Linear(Linear { residual: true, ..linear.clone() })
        }
        Op::RmsNorm { norm, residual: false } => Op::RmsNorm { norm: norm.clone(), residual: true },
        _ => return None,
    };
    if !links.same_layer(&[id, at]) {
        return None;
    }
    let fused = Node {
        op,
        inputs: [&node.inputs[..], &[residual]].concat(),
        outputs: sum.outputs.clone(),
        ..node.clone()
    };
    Some(Patch { at, with: vec![id], values: vec![], added: vec![fused] })
}
