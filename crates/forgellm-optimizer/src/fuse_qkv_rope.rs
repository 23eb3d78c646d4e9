//! All that stands between a joint projection and attention becomes one node:
//!
//! ```text
//! q, k, v = slices of qkv
//! q, k = rms_norm(q), rms_norm(k)  (each or none)   →   q, kv = qkv_rope(qkv)
//! q, k = rope(q), rope(k)
//! kv = kv_write(k, v)
//! ```

use forgellm_frontend::ir::{Node, NodeId, Norm, Op, QkvRope, Rope, ValueId};

use crate::Rewrite;
use crate::links::Links;
use crate::patch::Patch;

pub const REWRITE: Rewrite = Rewrite {
    name: "fuse_qkv_rope",
    doc: "slices, per-head norms, rope and the cache write between a joint projection and attention become one node",
    find,
};

fn find(links: &Links<'_>, at: NodeId) -> Option<Patch> {
    let node = links.node(at);
    let (Op::Attention(attention), [q, kv]) = (&node.op, &node.inputs[..]) else { return None };
    let write = links.giver(*kv)?;
    let (Op::KvWrite { cache }, [k, v]) = (&links.node(write).op, &links.node(write).inputs[..]) else {
        return None;
    };

    // Queries are a result of the fused node, so anything may read them; the turned keys are only in the cache.
    let query = turned_heads(links, links.giver(*q)?)?;
    let key = turned_heads(links, links.private_giver(*k, write)?)?;
    let value = links.private_giver(*v, write)?;

    let head_dim = attention.head_dim;
    let [q_width, kv_width] = [attention.heads, attention.kv_heads].map(|heads| heads * head_dim);
    let joint = slice(links, query.slice, 0, q_width)?;
    let expected_rows = links.shape(joint).width == q_width + 2 * kv_width
        && slice(links, key.slice, q_width, kv_width) == Some(joint)
        && slice(links, value, q_width + kv_width, kv_width) == Some(joint);
    if !expected_rows || query.rope != key.rope || query.rope.head_dim != head_dim {
        return None;
    }

    let mut removed = [query.nodes, key.nodes, vec![value, write]].concat();
    if !links.same_layer(&removed) {
        return None;
    }
    let fused = QkvRope {
        projection: None,
        cache: *cache,
        heads: attention.heads,
        kv_heads: attention.kv_heads,
        q_norm: query.norm.cloned(),
        k_norm: key.norm.cloned(),
        rope: query.rope.clone(),
    };
    let added = Node {
        op: Op::QkvRope(fused),
        inputs: vec![joint],
        outputs: vec![*q, *kv],
        layer: node.layer,
        label: "q".into(),
    };
    // Whatever reads the queries or the cache stands behind the first slice.
    removed.sort_unstable();
    let first = *removed.first()?;
    removed.remove(0);
    Some(Patch { at: first, with: removed, values: vec![], added: vec![added] })
}

/// `rope(slice)` or `rope(rms_norm(slice))`.
struct TurnedHeads<'a> {
    slice: NodeId,
    norm: Option<&'a Norm>,
    rope: &'a Rope,
    /// All of them.
    nodes: Vec<NodeId>,
}

fn turned_heads<'a>(links: &Links<'a>, turned: NodeId) -> Option<TurnedHeads<'a>> {
    let node = links.node(turned);
    let (Op::Rope(rope), [x]) = (&node.op, &node.inputs[..]) else { return None };
    let before = links.private_giver(*x, turned)?;
    match (&links.node(before).op, &links.node(before).inputs[..]) {
        (Op::RmsNorm { norm, residual: false }, [x]) if links.norm_len(norm) == rope.head_dim => {
            let slice = links.private_giver(*x, before)?;
            Some(TurnedHeads { slice, norm: Some(norm), rope, nodes: vec![slice, before, turned] })
        }
        _ => Some(TurnedHeads { slice: before, norm: None, rope, nodes: vec![before, turned] }),
    }
}

/// What the node slices, where it takes these columns.
fn slice(links: &Links<'_>, id: NodeId, start: usize, len: usize) -> Option<ValueId> {
    let node = links.node(id);
    (node.op == Op::Slice { start, len }).then(|| node.inputs.first().copied())?
}
