//! A norm of whole rows becomes part of the one projection that reads it:
//!
//! ```text
//! n = rms_norm(x)  →   y = linear(x) with a norm
//! y = linear(n)
//! ```
//!
//! A norm that is a result of the graph stays: the hidden state must be in memory to be given out.

use forgellm_frontend::ir::{Linear, Node, NodeId, Op};

use crate::Rewrite;
use crate::links::Links;
use crate::patch::Patch;

pub const REWRITE: Rewrite =
    Rewrite { name: "fuse_norm", doc: "a norm that only one projection reads becomes part of it", find };

fn find(links: &Links<'_>, at: NodeId) -> Option<Patch> {
    let node = links.node(at);
    let (Op::Linear(linear), [normed, residual @ ..]) = (&node.op, &node.inputs[..]) else { return None };
    let id = links.private_giver(*normed, at)?;
    let before = links.node(id);
    let (Op::RmsNorm { norm, residual: false }, [x]) = (&before.op, &before.inputs[..]) else { return None };
    let whole_rows = links.norm_len(norm) == links.shape(*x).width;
    if linear.norm.is_some() || !whole_rows || !links.same_layer(&[id, at]) {
        return None;
    }
    let fused = Node {
        op: Op::Linear(Linear { norm: Some(norm.clone()), ..linear.clone() }),
        inputs: [&[*x], residual].concat(),
        ..node.clone()
    };
    Some(Patch { at, with: vec![id], values: vec![], added: vec![fused] })
}
