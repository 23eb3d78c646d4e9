//! A joint projection becomes part of what turns its result and writes it into the cache:
//!
//! ```text
//! qkv = linear(x) of three parts   →   q, kv = qkv_rope(x) with a projection
//! q, kv = qkv_rope(qkv)
//! ```
//!
//! Whatever is fused into the projection comes along.

use forgellm_frontend::ir::{Linear, Node, NodeId, Op, QkvRope};

use crate::Rewrite;
use crate::links::Links;
use crate::patch::Patch;

pub const REWRITE: Rewrite = Rewrite {
    name: "fuse_qkv_projection",
    doc: "a joint projection of queries, keys and values becomes part of the rope and cache write behind it",
    find,
};

fn find(links: &Links<'_>, at: NodeId) -> Option<Patch> {
    let node = links.node(at);
    let (Op::QkvRope(fused @ QkvRope { projection: None, .. }), [joint]) = (&node.op, &node.inputs[..])
    else {
        return None;
    };
    let id = links.private_giver(*joint, at)?;
    let before = links.node(id);
    let Op::Linear(linear @ Linear { gate: None, residual: false, .. }) = &before.op else { return None };
    let widths = [fused.heads, fused.kv_heads, fused.kv_heads].map(|heads| heads * fused.rope.head_dim);
    let expected_parts = linear.parts.iter().map(|part| links.outputs(part)).eq(widths);
    // What reads the sum stands behind the projection, so that is where the fused node goes.
    let (_, sum) = before.outputs.split_first()?;
    if !expected_parts || !links.same_layer(&[id, at]) {
        return None;
    }
    let fused = Node {
        op: Op::QkvRope(QkvRope { projection: Some(linear.clone()), ..fused.clone() }),
        inputs: before.inputs.clone(),
        outputs: [&node.outputs, sum].concat(),
        ..node.clone()
    };
    Some(Patch { at: id, with: vec![at], values: vec![], added: vec![fused] })
}
