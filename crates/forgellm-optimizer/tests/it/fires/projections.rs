//! What becomes part of a projection, or takes one in.

use forgellm_frontend::ir::{Graph, Linear, Norm, Op, OutputRole, Shape, ValueId};

use super::{HEAD, HIDDEN, KV, Q, does_not_fire, fires};
use crate::sketch::{Sketch, VOCAB, only, operations};

/// Attention over the joint projection `joint` of [Q | KV | KV].
fn attend(s: &mut Sketch, joint: ValueId) -> ValueId {
    let [q, kv] = s.qkv_rope(joint, Q / HEAD, KV / HEAD, HEAD);
    s.attention(q, kv, HEAD)
}

#[test]
fn fuse_qkv_projection_fires() {
    let attention = "attention: attention";
    fires(
        "fuse_qkv_projection",
        &[
            (
                "a plain projection",
                |s, x| {
                    let joint = s.parts(x, &[Q, KV, KV], false);
                    attend(s, joint)
                },
                &["q: qkv_rope 3 parts", attention],
            ),
            (
                "biases",
                |s, x| {
                    let joint = s.parts(x, &[Q, KV, KV], true);
                    attend(s, joint)
                },
                &["q: qkv_rope 3 parts", attention],
            ),
            (
                "a norm",
                |s, x| {
                    let joint = s.normed(x, HIDDEN, &[Q, KV, KV], None);
                    attend(s, joint)
                },
                &["q: qkv_rope norm 3 parts", attention],
            ),
            (
                "a sum that something between the two reads",
                |s, x| {
                    let [joint, sum] = projected_sum(s, x);
                    let read = s.linear(sum, Q);
                    let y = attend(s, joint);
                    s.add(y, read)
                },
                &["q: qkv_rope sum norm 3 parts", "linear: linear", attention, "add: add"],
            ),
        ],
    );
}

/// A joint projection with a sum, and the sum.
fn projected_sum(s: &mut Sketch, x: ValueId) -> [ValueId; 2] {
    let [first, second] = [1, 2].map(|_| Norm { weight: s.weight(&[HIDDEN]), eps: 0.5 });
    let parts = [Q, KV, KV].map(|outputs| s.weight(&[outputs, HIDDEN]));
    let parts = parts.map(|weight| Linear::plain(weight, None).parts).concat();
    let op = Op::Linear(Linear { add: Some(first), norm: Some(second), ..Linear::joint(parts) });
    s.push_all("linear", op, &[x, x], [Shape::rows(Q + 2 * KV), Shape::rows(HIDDEN)])
}

#[test]
fn fuse_qkv_projection_does_not_fire() {
    does_not_fire(
        "fuse_qkv_projection",
        &[
            ("a second reader of the projection", |s, x| {
                let joint = s.parts(x, &[Q, KV, KV], false);
                let y = attend(s, joint);
                let read = s.linear(joint, Q);
                s.add(y, read)
            }),
            ("one matrix for all", |s, x| {
                let joint = s.linear(x, Q + 2 * KV);
                attend(s, joint)
            }),
            ("parts that are not queries, keys and values", |s, x| {
                let joint = s.parts(x, &[KV, Q, KV], false);
                attend(s, joint)
            }),
            ("parts beyond queries, keys and values", |s, x| {
                let joint = s.parts(x, &[Q, KV, 2, 2], false);
                attend(s, joint)
            }),
            ("a residual", |s, x| {
                let y = s.linear(x, Q + 2 * KV);
                let joint = s.normed(x, HIDDEN, &[Q, KV, KV], Some(y));
                attend(s, joint)
            }),
            ("something between", |s, x| {
                let joint = s.parts(x, &[Q, KV, KV], false);
                let joint = s.activation(joint);
                attend(s, joint)
            }),
            ("a projection of the layer before", |s, x| {
                let joint = s.parts(x, &[Q, KV, KV], false);
                s.layer(Some(1));
                attend(s, joint)
            }),
        ],
    );
}

#[test]
fn fuse_norm_residual_fires() {
    fires(
        "fuse_norm_residual",
        &[
            (
                "a projection and a later residual",
                |s, x| {
                    let y = s.linear(x, HIDDEN);
                    let sum = s.norm_residual(y, x, HIDDEN);
                    let z = s.normed(sum, HIDDEN, &[HIDDEN], None);
                    s.add(z, sum)
                },
                &["linear: linear", "linear: linear sum norm", "add: add"],
            ),
            (
                "a projection that alone reads the sum",
                |s, x| {
                    let sum = s.norm_residual(x, x, HIDDEN);
                    s.normed(sum, HIDDEN, &[8, 4], None)
                },
                &["linear: linear sum norm 2 parts"],
            ),
            (
                "a projection with another residual",
                |s, x| {
                    let y = s.linear(x, HIDDEN);
                    let sum = s.norm_residual(y, x, HIDDEN);
                    let z = s.normed(sum, HIDDEN, &[HIDDEN], Some(y));
                    s.add(sum, z)
                },
                &["linear: linear", "linear: linear sum norm residual", "add: add"],
            ),
            (
                "the first of two projections",
                |s, x| {
                    let sum = s.norm_residual(x, x, HIDDEN);
                    let (a, b) = (s.normed(sum, HIDDEN, &[12], None), s.normed(sum, HIDDEN, &[12], None));
                    s.mul(a, b)
                },
                &["linear: linear sum norm", "linear: linear norm", "mul: mul"],
            ),
            (
                "nodes between, which do not read the sum",
                |s, x| {
                    let sum = s.norm_residual(x, x, HIDDEN);
                    let y = s.activation(x);
                    let z = s.normed(sum, HIDDEN, &[HIDDEN], None);
                    s.add(y, z)
                },
                &["activation: activation", "linear: linear sum norm", "add: add"],
            ),
        ],
    );
}

#[test]
fn fuse_norm_residual_does_not_fire() {
    does_not_fire(
        "fuse_norm_residual",
        &[
            ("a projection without a norm", |s, x| {
                let sum = s.norm_residual(x, x, HIDDEN);
                s.linear(sum, 12)
            }),
            ("a norm of chunks in the sum", |s, x| {
                let sum = s.norm_residual(x, x, HIDDEN / 2);
                s.normed(sum, HIDDEN, &[12], None)
            }),
            ("a norm of chunks in the projection", |s, x| {
                let sum = s.norm_residual(x, x, HIDDEN);
                s.normed(sum, HIDDEN / 2, &[12], None)
            }),
            ("a norm without a residual", |s, x| {
                let normed = s.norm(x, HIDDEN);
                s.normed(normed, HIDDEN, &[12], None)
            }),
            ("something that reads the sum first", |s, x| {
                let sum = s.norm_residual(x, x, HIDDEN);
                let y = s.activation(sum);
                let z = s.normed(sum, HIDDEN, &[HIDDEN], None);
                s.add(y, z)
            }),
            ("a projection that adds the sum to its result", |s, x| {
                let sum = s.norm_residual(x, x, HIDDEN);
                s.normed(sum, HIDDEN, &[HIDDEN], Some(sum))
            }),
            ("a projection of another value, with the sum as its residual", |s, x| {
                let sum = s.norm_residual(x, x, HIDDEN);
                s.normed(x, HIDDEN, &[HIDDEN], Some(sum))
            }),
            ("a projection two layers on", |s, x| {
                let sum = s.norm_residual(x, x, HIDDEN);
                s.layer(Some(1));
                let y = s.activation(x);
                s.layer(Some(2));
                let z = s.normed(sum, HIDDEN, &[HIDDEN], None);
                s.add(y, z)
            }),
            ("a projection behind the layers", |s, x| {
                let sum = s.norm_residual(x, x, HIDDEN);
                s.layer(None);
                s.normed(sum, HIDDEN, &[HIDDEN], None)
            }),
        ],
    );
}

/// A stack of layers that hand on what they add and what they add to; each begins with a projection of its own.
fn stack(layers: u32, extra: fn(&mut Sketch, u32, ValueId) -> ValueId) -> Graph {
    let (mut s, mut x) = Sketch::new(HIDDEN);
    for layer in 0..layers {
        s.layer(Some(layer));
        let y = s.normed(x, HIDDEN, &[HIDDEN], None);
        x = s.norm_residual(y, x, HIDDEN);
        x = extra(&mut s, layer, x);
    }
    only("fuse_norm_residual", s.logits_of(x)).graph.into_inner()
}

#[test]
fn fuse_norm_residual_reaches_into_the_next_layer() {
    let graph = stack(3, |_, _, x| x);
    assert_eq!(operations(&graph, Some(0)), ["linear: linear norm"]);
    assert_eq!(operations(&graph, Some(1)), ["linear: linear sum norm"]);
    assert_eq!(operations(&graph, Some(2)), ["linear: linear sum norm"]);
    assert_eq!(
        operations(&graph, None),
        ["embed: embed", "rms_norm: rms_norm residual", "select_wanted: select_wanted", "linear: linear"]
    );
}

/// Where the last layer would not be like the others anyway, nothing leaves it.
#[test]
fn fuse_norm_residual_leaves_a_last_layer_that_goes_on() {
    let graph = stack(2, |s, layer, x| if layer == 1 { s.activation(x) } else { x });
    let last = ["linear: linear sum norm", "rms_norm: rms_norm residual", "activation: activation"];
    assert_eq!(operations(&graph, Some(1)), last);
    let graph = stack(2, |s, layer, x| if layer == 0 { s.activation(x) } else { x });
    assert_eq!(operations(&graph, Some(1)), ["linear: linear norm", "rms_norm: rms_norm residual"]);
}

/// A sum that is a result of the graph is still one.
#[test]
fn fuse_norm_residual_keeps_a_sum_that_is_an_output() {
    let (mut s, x) = Sketch::new(HIDDEN);
    let wanted = s.wanted(x);
    let sum = s.norm_residual(wanted, wanted, HIDDEN);
    let logits = s.normed(sum, HIDDEN, &[VOCAB], None);
    s.output(OutputRole::Hidden, sum);
    s.output(OutputRole::Logits, logits);
    let graph = only("fuse_norm_residual", s.finish()).graph;
    assert_eq!(operations(&graph, None).last().map(String::as_str), Some("linear: linear sum norm"));
    assert_eq!(graph.output(OutputRole::Hidden), graph.nodes().last().map(|node| node.outputs[1]));
}
