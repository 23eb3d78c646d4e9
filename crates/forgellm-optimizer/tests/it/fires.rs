//! Where each rewrite fits, and where it must not: tables of small graphs.

mod projections;

use forgellm_frontend::ir::{
    HiddenActivation, Linear, Norm, Op, OutputRole, Rope, RopeScaling, RopeStyle, Shape, ValueId,
};

use crate::sketch::{Sketch, only, operations};

const HIDDEN: usize = 16;
const HEAD: usize = 4;
const Q: usize = 8;
const KV: usize = 4;
const THETA: f32 = 100.0;

/// Builds the middle of a graph from its embedded rows and gives the value of which the logits are made.
type Build = fn(&mut Sketch, ValueId) -> ValueId;

#[track_caller]
fn fires(rewrite: &str, cases: &[(&str, Build, &[&str])]) {
    for (case, build, expected) in cases {
        let (mut sketch, x) = Sketch::new(HIDDEN);
        let y = build(&mut sketch, x);
        let optimized = only(rewrite, sketch.logits_of(y));
        assert_eq!(operations(&optimized.graph, Some(0)), *expected, "{rewrite} on {case}");
        assert_eq!(optimized.log.len(), 1, "{rewrite} on {case}");
    }
}

#[track_caller]
fn does_not_fire(rewrite: &str, cases: &[(&str, Build)]) {
    for (case, build) in cases {
        let (mut sketch, x) = Sketch::new(HIDDEN);
        let y = build(&mut sketch, x);
        let graph = sketch.logits_of(y);
        let optimized = only(rewrite, graph.clone());
        assert!(optimized.log.is_empty(), "{rewrite} on {case}: {}", optimized.log[0]);
        assert_eq!(*optimized.graph, *graph, "{rewrite} on {case}");
    }
}

fn turn_and_attend(s: &mut Sketch, q: ValueId, k: ValueId, v: ValueId) -> ValueId {
    let (q, k) = (s.rope(q, HEAD, THETA), s.rope(k, HEAD, THETA));
    let kv = s.kv_write(k, v);
    s.attention(q, kv, HEAD)
}

#[test]
fn fuse_qkv_fires() {
    let tail = ["rope: rope", "rope: rope", "kv_write: kv_write", "attention: attention"];
    let head = ["qkv: linear 3 parts", "q: slice", "k: slice", "v: slice"];
    let plain = [&head[..], &tail].concat();
    let normed = [&head[..], &["rms_norm: rms_norm", "rms_norm: rms_norm"], &tail].concat();
    let read = [&head[..], &["linear: linear"], &tail, &["add: add"]].concat();
    fires(
        "fuse_qkv",
        &[
            (
                "projections with rope",
                |s, x| {
                    let (q, k, v) = (s.linear(x, Q), s.linear(x, KV), s.linear(x, KV));
                    turn_and_attend(s, q, k, v)
                },
                &plain,
            ),
            (
                "projections in another order, some with bias",
                |s, x| {
                    let (v, q, k) = (s.biased(x, KV), s.linear(x, Q), s.biased(x, KV));
                    turn_and_attend(s, q, k, v)
                },
                &plain,
            ),
            (
                "per-head norms",
                |s, x| {
                    let (q, k, v) = (s.linear(x, Q), s.linear(x, KV), s.linear(x, KV));
                    let (q, k) = (s.norm(q, HEAD), s.norm(k, HEAD));
                    turn_and_attend(s, q, k, v)
                },
                &normed,
            ),
            (
                "no rope at all",
                |s, x| {
                    let (q, k, v) = (s.linear(x, Q), s.linear(x, KV), s.linear(x, KV));
                    let kv = s.kv_write(k, v);
                    s.attention(q, kv, HEAD)
                },
                &[&head[..], &tail[2..]].concat(),
            ),
            (
                "queries read by something else before the values are projected",
                |s, x| {
                    let q = s.linear(x, Q);
                    let extra = s.linear(q, Q);
                    let (k, v) = (s.linear(x, KV), s.linear(x, KV));
                    let y = turn_and_attend(s, q, k, v);
                    s.add(y, extra)
                },
                &read,
            ),
        ],
    );
}

#[test]
fn fuse_qkv_does_not_fire() {
    does_not_fire(
        "fuse_qkv",
        &[
            ("values of another input", |s, x| {
                let n = s.norm(x, HIDDEN);
                let (q, k, v) = (s.linear(n, Q), s.linear(n, KV), s.linear(x, KV));
                turn_and_attend(s, q, k, v)
            }),
            ("keys that are also the values", |s, x| {
                let (q, k) = (s.linear(x, Q), s.linear(x, KV));
                turn_and_attend(s, q, k, k)
            }),
            ("queries through an activation", |s, x| {
                let (q, k, v) = (s.linear(x, Q), s.linear(x, KV), s.linear(x, KV));
                let q = s.activation(q);
                turn_and_attend(s, q, k, v)
            }),
            ("a joint projection of keys and values", |s, x| {
                let (q, kv) = (s.linear(x, Q), s.parts(x, &[KV, KV], false));
                let (k, v) = (s.slice(kv, 0, KV), s.slice(kv, KV, KV));
                turn_and_attend(s, q, k, v)
            }),
            ("queries of two parts", |s, x| {
                let (q, k, v) = (s.parts(x, &[4, 4], false), s.linear(x, KV), s.linear(x, KV));
                turn_and_attend(s, q, k, v)
            }),
            ("queries projected in the layer before", |s, x| {
                let q = s.linear(x, Q);
                s.layer(Some(1));
                let (k, v) = (s.linear(x, KV), s.linear(x, KV));
                turn_and_attend(s, q, k, v)
            }),
            ("no attention", |s, x| {
                let (a, b, c) = (s.linear(x, Q), s.linear(x, Q), s.linear(x, Q));
                let sum = s.add(a, b);
                s.add(sum, c)
            }),
        ],
    );
}

#[test]
fn fuse_gate_up_fires() {
    let gated: &[&str] = &["gated: linear 2 parts gate", "linear: linear"];
    fires(
        "fuse_gate_up",
        &[
            (
                "activation · up",
                |s, x| {
                    let (gate, up) = (s.linear(x, 12), s.linear(x, 12));
                    let active = s.activation(gate);
                    let product = s.mul(active, up);
                    s.linear(product, HIDDEN)
                },
                gated,
            ),
            (
                "up · activation",
                |s, x| {
                    let (up, gate) = (s.biased(x, 12), s.linear(x, 12));
                    let active = s.activation(gate);
                    let product = s.mul(up, active);
                    s.linear(product, HIDDEN)
                },
                gated,
            ),
            (
                "another activation",
                |s, x| {
                    let gate = s.biased(x, 12);
                    let active = s.like(Op::Activation(HiddenActivation::GeluErf), &[gate]);
                    let up = s.biased(x, 12);
                    let product = s.mul(active, up);
                    s.linear(product, HIDDEN)
                },
                gated,
            ),
        ],
    );
}

#[test]
fn fuse_gate_up_does_not_fire() {
    does_not_fire(
        "fuse_gate_up",
        &[
            ("different inputs", |s, x| {
                let n = s.norm(x, HIDDEN);
                let (gate, up) = (s.linear(x, 12), s.linear(n, 12));
                let active = s.activation(gate);
                s.mul(active, up)
            }),
            ("the gate read twice", |s, x| {
                let (gate, up) = (s.linear(x, 12), s.linear(x, 12));
                let active = s.activation(gate);
                let product = s.mul(active, up);
                s.add(product, gate)
            }),
            ("the activation read twice", |s, x| {
                let (gate, up) = (s.linear(x, 12), s.linear(x, 12));
                let active = s.activation(gate);
                let product = s.mul(active, up);
                s.add(product, active)
            }),
            ("the up projection read twice", |s, x| {
                let (gate, up) = (s.linear(x, 12), s.linear(x, 12));
                let active = s.activation(gate);
                let product = s.mul(active, up);
                s.add(product, up)
            }),
            ("a projection that gates itself", |s, x| {
                let gate = s.linear(x, 12);
                let active = s.activation(gate);
                s.mul(active, gate)
            }),
            ("two activations", |s, x| {
                let (gate, up) = (s.linear(x, 12), s.linear(x, 12));
                let (gate, up) = (s.activation(gate), s.activation(up));
                s.mul(gate, up)
            }),
            ("no activation", |s, x| {
                let (gate, up) = (s.linear(x, 12), s.linear(x, 12));
                s.mul(gate, up)
            }),
            ("a sum for the product", |s, x| {
                let (gate, up) = (s.linear(x, 12), s.linear(x, 12));
                let active = s.activation(gate);
                s.add(active, up)
            }),
            ("an up projection of two parts", |s, x| {
                let (gate, up) = (s.linear(x, 12), s.parts(x, &[6, 6], false));
                let active = s.activation(gate);
                s.mul(active, up)
            }),
            ("a gate of the layer before", |s, x| {
                let gate = s.linear(x, 12);
                s.layer(Some(1));
                let up = s.linear(x, 12);
                let active = s.activation(gate);
                s.mul(active, up)
            }),
        ],
    );
}

#[test]
fn fuse_norm_fires() {
    fires(
        "fuse_norm",
        &[
            (
                "a projection",
                |s, x| {
                    let n = s.norm(x, HIDDEN);
                    s.biased(n, 12)
                },
                &["linear: linear norm"],
            ),
            (
                "a projection of several parts",
                |s, x| {
                    let n = s.norm(x, HIDDEN);
                    s.parts(n, &[8, 4], false)
                },
                &["linear: linear norm 2 parts"],
            ),
        ],
    );
}

#[test]
fn fuse_norm_does_not_fire() {
    does_not_fire(
        "fuse_norm",
        &[
            ("two readers", |s, x| {
                let n = s.norm(x, HIDDEN);
                let (a, b) = (s.linear(n, 12), s.linear(n, 12));
                s.add(a, b)
            }),
            ("a norm of chunks", |s, x| {
                let n = s.norm(x, HIDDEN / 2);
                s.linear(n, 12)
            }),
            ("a reader that is no projection", |s, x| {
                let n = s.norm(x, HIDDEN);
                s.activation(n)
            }),
            ("a norm with a residual", |s, x| {
                let n = s.norm(x, HIDDEN);
                let sum = s.add(n, x);
                s.linear(sum, 12)
            }),
            ("a projection that has a norm of its own", |s, x| {
                let n = s.norm(x, HIDDEN);
                let (own, matrix) = (s.weight(&[HIDDEN]), s.weight(&[12, HIDDEN]));
                let plain = Linear::plain(matrix, None);
                let op = Op::Linear(Linear { norm: Some(Norm { weight: own, eps: 1e-3 }), ..plain });
                s.push("linear", op, &[n], Shape::rows(12))
            }),
            ("a norm of the layer before", |s, x| {
                let n = s.norm(x, HIDDEN);
                s.layer(Some(1));
                s.linear(n, 12)
            }),
        ],
    );
}

/// The hidden state must stay a value of its own.
#[test]
fn fuse_norm_leaves_a_norm_that_is_an_output() {
    for is_output in [false, true] {
        let (mut sketch, x) = Sketch::new(HIDDEN);
        let wanted = sketch.wanted(x);
        let normed = sketch.norm(wanted, HIDDEN);
        let logits = sketch.linear(normed, 23);
        sketch.output(OutputRole::Logits, logits);
        if is_output {
            sketch.output(OutputRole::Hidden, normed);
        }
        let fused = !only("fuse_norm", sketch.finish()).log.is_empty();
        assert_eq!(fused, !is_output);
    }
}

#[test]
fn fuse_residual_fires() {
    fires(
        "fuse_residual",
        &[
            (
                "projection + x",
                |s, x| {
                    let y = s.biased(x, HIDDEN);
                    s.add(y, x)
                },
                &["linear: linear residual"],
            ),
            (
                "x + projection",
                |s, x| {
                    let y = s.linear(x, HIDDEN);
                    s.add(x, y)
                },
                &["linear: linear residual"],
            ),
            (
                "norm + x",
                |s, x| {
                    let y = s.norm(x, HIDDEN);
                    s.add(y, x)
                },
                &["rms_norm: rms_norm residual"],
            ),
            (
                "two projections, of which one takes the other",
                |s, x| {
                    let (a, b) = (s.linear(x, HIDDEN), s.linear(x, HIDDEN));
                    s.add(a, b)
                },
                &["linear: linear", "linear: linear residual"],
            ),
            (
                "a projection and something that is made behind it",
                |s, x| {
                    let y = s.linear(x, HIDDEN);
                    let active = s.activation(x);
                    s.add(y, active)
                },
                &["activation: activation", "linear: linear residual"],
            ),
        ],
    );
}

#[test]
fn fuse_residual_does_not_fire() {
    does_not_fire(
        "fuse_residual",
        &[
            ("a projection read twice", |s, x| {
                let y = s.linear(x, HIDDEN);
                let sum = s.add(y, x);
                s.mul(sum, y)
            }),
            ("a projection added to itself", |s, x| {
                let y = s.linear(x, HIDDEN);
                s.add(y, y)
            }),
            ("a product", |s, x| {
                let y = s.linear(x, HIDDEN);
                s.mul(y, x)
            }),
            ("a projection of several parts", |s, x| {
                let y = s.parts(x, &[8, 8], false);
                s.add(y, x)
            }),
            ("activations", |s, x| {
                let y = s.activation(x);
                s.add(y, x)
            }),
            ("a projection of the layer before", |s, x| {
                let y = s.linear(x, HIDDEN);
                s.layer(Some(1));
                s.add(y, x)
            }),
        ],
    );
}

fn joint(s: &mut Sketch, x: ValueId) -> [ValueId; 3] {
    let qkv = s.parts(x, &[Q, KV, KV], true);
    [s.slice(qkv, 0, Q), s.slice(qkv, Q, KV), s.slice(qkv, Q + KV, KV)]
}

#[test]
fn fuse_qkv_rope_fires() {
    let attention = "attention: attention";
    fires(
        "fuse_qkv_rope",
        &[
            (
                "rope alone",
                |s, x| {
                    let [q, k, v] = joint(s, x);
                    turn_and_attend(s, q, k, v)
                },
                &["linear: linear 3 parts", "q: qkv_rope", attention],
            ),
            (
                "both norms",
                |s, x| {
                    let [q, k, v] = joint(s, x);
                    let (q, k) = (s.norm(q, HEAD), s.norm(k, HEAD));
                    turn_and_attend(s, q, k, v)
                },
                &["linear: linear 3 parts", "q: qkv_rope q_norm k_norm", attention],
            ),
            (
                "a norm of the keys",
                |s, x| {
                    let [q, k, v] = joint(s, x);
                    let k = s.norm(k, HEAD);
                    turn_and_attend(s, q, k, v)
                },
                &["linear: linear 3 parts", "q: qkv_rope k_norm", attention],
            ),
            (
                "a cache that is read before the queries are turned",
                |s, x| {
                    let [q, k, v] = joint(s, x);
                    let k = s.rope(k, HEAD, THETA);
                    let kv = s.kv_write(k, v);
                    let early = s.linear(x, Q);
                    let early = s.attention(early, kv, HEAD);
                    let q = s.rope(q, HEAD, THETA);
                    let y = s.attention(q, kv, HEAD);
                    s.add(early, y)
                },
                &[
                    "linear: linear 3 parts",
                    "q: qkv_rope",
                    "linear: linear",
                    attention,
                    attention,
                    "add: add",
                ],
            ),
            (
                "turned queries that something else reads too",
                |s, x| {
                    let [q, k, v] = joint(s, x);
                    let (q, k) = (s.rope(q, HEAD, THETA), s.rope(k, HEAD, THETA));
                    let kv = s.kv_write(k, v);
                    let y = s.attention(q, kv, HEAD);
                    s.add(y, q)
                },
                &["linear: linear 3 parts", "q: qkv_rope", attention, "add: add"],
            ),
        ],
    );
}

#[test]
fn fuse_qkv_rope_does_not_fire() {
    does_not_fire(
        "fuse_qkv_rope",
        &[
            ("no rope", |s, x| {
                let [q, k, v] = joint(s, x);
                let kv = s.kv_write(k, v);
                s.attention(q, kv, HEAD)
            }),
            ("keys without rope", |s, x| {
                let [q, k, v] = joint(s, x);
                let q = s.rope(q, HEAD, THETA);
                let kv = s.kv_write(k, v);
                s.attention(q, kv, HEAD)
            }),
            ("ropes that differ in their base", |s, x| {
                let [q, k, v] = joint(s, x);
                let (q, k) = (s.rope(q, HEAD, THETA), s.rope(k, HEAD, 2.0 * THETA));
                let kv = s.kv_write(k, v);
                s.attention(q, kv, HEAD)
            }),
            ("ropes that differ in style", |s, x| {
                let [q, k, v] = joint(s, x);
                let turned = s.rope(q, HEAD, THETA);
                let k = interleaved(s, k);
                let kv = s.kv_write(k, v);
                s.attention(turned, kv, HEAD)
            }),
            ("rope of half a head", |s, x| {
                let [q, k, v] = joint(s, x);
                let (q, k) = (s.rope(q, HEAD / 2, THETA), s.rope(k, HEAD / 2, THETA));
                let kv = s.kv_write(k, v);
                s.attention(q, kv, HEAD)
            }),
            ("a norm of all queries", |s, x| {
                let [q, k, v] = joint(s, x);
                let q = s.norm(q, Q);
                turn_and_attend(s, q, k, v)
            }),
            ("a norm of the values", |s, x| {
                let [q, k, v] = joint(s, x);
                let v = s.norm(v, HEAD);
                turn_and_attend(s, q, k, v)
            }),
            ("a norm behind the rope", |s, x| {
                let [q, k, v] = joint(s, x);
                let (q, k) = (s.rope(q, HEAD, THETA), s.rope(k, HEAD, THETA));
                let q = s.norm(q, HEAD);
                let kv = s.kv_write(k, v);
                s.attention(q, kv, HEAD)
            }),
            ("a query slice read twice", |s, x| {
                let [q, k, v] = joint(s, x);
                let y = turn_and_attend(s, q, k, v);
                s.add(y, q)
            }),
            ("turned keys read twice", |s, x| {
                let [q, k, v] = joint(s, x);
                let (q, k) = (s.rope(q, HEAD, THETA), s.rope(k, HEAD, THETA));
                let kv = s.kv_write(k, v);
                let y = s.attention(q, kv, HEAD);
                let (y, k) = (s.linear(y, HIDDEN), s.linear(k, HIDDEN));
                s.add(y, k)
            }),
            ("values read twice", |s, x| {
                let [q, k, v] = joint(s, x);
                let y = turn_and_attend(s, q, k, v);
                let (y, v) = (s.linear(y, HIDDEN), s.linear(v, HIDDEN));
                s.add(y, v)
            }),
            ("keys and values swapped", |s, x| {
                let [q, k, v] = joint(s, x);
                turn_and_attend(s, q, v, k)
            }),
            ("slices of different projections", |s, x| {
                let (a, b) = (s.parts(x, &[Q, KV, KV], false), s.parts(x, &[Q, KV, KV], false));
                let (q, k, v) = (s.slice(a, 0, Q), s.slice(a, Q, KV), s.slice(b, Q + KV, KV));
                turn_and_attend(s, q, k, v)
            }),
            ("columns behind the values", |s, x| {
                let qkv = s.parts(x, &[Q, KV, KV, KV], false);
                let [q, k, v] = [(0, Q), (Q, KV), (Q + KV, KV)].map(|(start, len)| s.slice(qkv, start, len));
                turn_and_attend(s, q, k, v)
            }),
            ("projections that are not joint", |s, x| {
                let (q, k, v) = (s.linear(x, Q), s.linear(x, KV), s.linear(x, KV));
                turn_and_attend(s, q, k, v)
            }),
        ],
    );
}

fn interleaved(s: &mut Sketch, x: ValueId) -> ValueId {
    s.like(
        Op::Rope(Rope {
            style: RopeStyle::Interleaved,
            head_dim: HEAD,
            rotary_dim: HEAD,
            theta: THETA,
            scaling: RopeScaling::None,
            freq_factors: None,
        }),
        &[x],
    )
}
