//! Query, key and value projections become one, followed by slices:
//!
//! ```text
//! q = linear(x)      qkv = linear(x) of three parts
//! k = linear(x)  →   q, k, v = slices of qkv
//! v = linear(x)
//! ```

use forgellm_frontend::ir::{Linear, Node, NodeId, Op, Shape, ValueId};

use crate::Rewrite;
use crate::links::Links;
use crate::patch::Patch;

pub const REWRITE: Rewrite = Rewrite {
    name: "fuse_qkv",
    doc: "query, key and value projections of the same input become one projection of three parts, and slices of it",
    find,
};

fn find(links: &Links<'_>, at: NodeId) -> Option<Patch> {
    let attention = links.node(at);
    let (Op::Attention(_), [q, kv]) = (&attention.op, &attention.inputs[..]) else { return None };
    let write = links.node(links.giver(*kv)?);
    let (Op::KvWrite { .. }, [k, v]) = (&write.op, &write.inputs[..]) else { return None };

    let mut linears = [linear_behind(links, *q)?, linear_behind(links, *k)?, linear_behind(links, *v)?];
    let [query, key, value] = linears.map(|id| links.node(id));
    let same_input = query.inputs == key.inputs && key.inputs == value.inputs;
    let distinct = linears[0] != linears[1] && linears[1] != linears[2] && linears[0] != linears[2];
    if !same_input || !distinct || !links.same_layer(&linears) {
        return None;
    }

    let parts = linears.iter().map(|id| links.plain_linear(*id).cloned()).collect::<Option<Vec<_>>>()?;
    let input = *query.inputs.first()?;
    let widths = [query, key, value].map(|node| node.outputs.first().map(|value| links.shape(*value).width));
    let width = widths.into_iter().sum::<Option<usize>>()?;
    let joint = links.next_value();
    let mut added = vec![Node {
        op: Op::Linear(Linear::joint(parts)),
        inputs: vec![input],
        outputs: vec![joint],
        layer: query.layer,
        label: "qkv".into(),
    }];
    let mut start = 0;
    for ((node, len), label) in [query, key, value].into_iter().zip(widths).zip(["q", "k", "v"]) {
        let len = len?;
        added.push(Node {
            op: Op::Slice { start, len },
            inputs: vec![joint],
            outputs: node.outputs.clone(),
            layer: node.layer,
            label: label.into(),
        });
        start += len;
    }
    // Something else may read a projection before the last of them stands.
    linears.sort_unstable();
    let [first, with @ ..] = linears;
    let values = vec![Shape { width, ..links.shape(input) }];
    Some(Patch { at: first, with: with.to_vec(), values, added })
}

/// The plain projection from which norms and ropes make `value`.
fn linear_behind(links: &Links<'_>, mut value: ValueId) -> Option<NodeId> {
    loop {
        let id = links.giver(value)?;
        if links.plain_linear(id).is_some() {
            return Some(id);
        }
        let node = links.node(id);
        match (&node.op, &node.inputs[..]) {
            (Op::RmsNorm { residual: false, .. } | Op::Rope(_), [x]) => value = *x,
            _ => return None,
        }
    }
}
