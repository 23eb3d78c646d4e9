//! Random graphs, many of them nearly what the rewrites look for.

use forgellm_frontend::arch;
use forgellm_frontend::ir::{
    Architecture, DType, Graph, HiddenActivation, ModelConfig, Op, OutputRole, Rope, RopeScaling, RopeStyle,
    ValueId, Verified,
};
use proptest::prelude::*;

use crate::sketch::{Sketch, VOCAB};

/// Decisions, one byte each; 0 is the way in which a model usually is, also when the tape has run out. So a failing case shrinks towards
/// an ordinary model with one oddity.
#[derive(Debug, Clone)]
pub struct Tape {
    bytes: Vec<u8>,
    next: usize,
}

impl Tape {
    pub fn any() -> impl Strategy<Value = Tape> {
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| Tape { bytes, next: 0 })
    }

    fn byte(&mut self) -> usize {
        self.next += 1;
        self.bytes.get(self.next - 1).copied().unwrap_or(0).into()
    }

    /// One of `count` ways; each but 0 is rare.
    pub fn oddity(&mut self, count: usize) -> usize {
        self.byte().saturating_sub(231) % count
    }

    /// A number from `least` on, all equally likely.
    pub fn number(&mut self, least: usize, count: usize) -> usize {
        least + self.byte() % count
    }

    pub fn coin(&mut self) -> bool {
        self.byte() % 2 == 1
    }
}

/// A model of one of the architectures, of any small size.
pub fn architecture(tape: &mut Tape) -> Verified<Graph> {
    let architecture = [Architecture::Llama, Architecture::Qwen2, Architecture::Gemma3][tape.number(0, 3)];
    let kv_heads = tape.number(1, 3);
    let head_dim = 2 * tape.number(1, 4);
    let config = ModelConfig {
        architecture,
        hidden_size: tape.number(3, 20),
        intermediate_size: tape.number(1, 30),
        num_layers: tape.number(1, 3),
        num_attention_heads: kv_heads * tape.number(1, 3),
        num_kv_heads: kv_heads,
        head_dim,
        vocab_size: VOCAB,
        max_seq_len: 64,
        rms_norm_eps: 1e-3,
        rope_theta: 50.0,
        dtype: DType::F32,
        sliding_window_size: tape.coin().then_some(3),
        sliding_window_pattern: (architecture == Architecture::Gemma3).then_some(2),
        rope_local_theta: (architecture == Architecture::Gemma3).then_some(10.0),
        rope_dim: if tape.coin() { head_dim } else { 2 },
        rope_scaling: if tape.coin() { RopeScaling::Linear { factor: 2.0 } } else { RopeScaling::None },
        rope_freq_factors: tape.coin(),
        qkv_bias: tape.coin(),
        tied_embeddings: tape.coin(),
        hidden_activation: HiddenActivation::GeluTanh,
        attention_scale: None,
    };
    arch::complete(&Graph::new("random").with_config(config)).unwrap_or_else(|error| panic!("{error}"))
}

/// Layers with oddities: extra readers, swapped operands, different inputs, missing and misplaced norms and ropes.
pub fn nearly_a_model(tape: &mut Tape) -> Verified<Graph> {
    let head_dim = 4;
    let sizes = Sizes {
        hidden: 2 * tape.number(2, 6),
        head_dim,
        q: head_dim * 2,
        kv: head_dim * tape.number(1, 2),
        intermediate: tape.number(1, 9),
    };
    let (mut s, mut x) = Sketch::new(sizes.hidden);
    for layer in 0..tape.number(1, 2) {
        s.layer(Some(layer as u32));
        let mut strays = Vec::new();
        let attended = attention(&mut s, tape, &sizes, x, &mut strays);
        x = back_into_stream(&mut s, tape, &sizes, attended, x);
        let product = feed_forward(&mut s, tape, &sizes, x, &mut strays);
        x = back_into_stream(&mut s, tape, &sizes, product, x);
        for stray in strays {
            let read = s.linear(stray, sizes.hidden);
            x = s.add(x, read);
        }
    }
    head(s, tape, x, sizes.hidden)
}

struct Sizes {
    hidden: usize,
    head_dim: usize,
    q: usize,
    kv: usize,
    intermediate: usize,
}

fn attention(
    s: &mut Sketch,
    tape: &mut Tape,
    sizes: &Sizes,
    x: ValueId,
    strays: &mut Vec<ValueId>,
) -> ValueId {
    let normed = norm(s, tape, x);
    let n = stray(tape, strays, normed);
    let input = |tape: &mut Tape| if tape.oddity(2) == 1 { x } else { n };
    let (q_input, k_input, v_input) = (input(tape), input(tape), input(tape));

    let first = tape.oddity(2) == 1;
    let early_v = first.then(|| project(s, tape, v_input, sizes.kv));
    let q = project(s, tape, q_input, sizes.q);
    let k = project(s, tape, k_input, sizes.kv);
    let v = match early_v {
        Some(v) => v,
        None if tape.oddity(4) == 1 => k,
        None => project(s, tape, v_input, sizes.kv),
    };
    let (q, k, v) = (stray(tape, strays, q), stray(tape, strays, k), stray(tape, strays, v));
    let (q, k) = (heads_norm(s, tape, sizes, q), heads_norm(s, tape, sizes, k));
    let v = if tape.oddity(2) == 1 { s.norm(v, sizes.head_dim) } else { v };
    let (q, k) = (stray(tape, strays, q), stray(tape, strays, k));
    // Nothing is computed in vain.
    if !s.is_read(n) && !strays.contains(&n) {
        strays.push(n);
    }

    let k = turned(s, tape, sizes, k);
    let k = stray(tape, strays, k);
    let kv = s.kv_write(k, v);
    let q = turned(s, tape, sizes, q);
    let q = stray(tape, strays, q);
    let attended = s.attention(q, kv, sizes.head_dim);
    if tape.oddity(4) == 1 {
        let other = project(s, tape, x, sizes.q);
        let other = s.attention(other, kv, sizes.head_dim);
        return s.add(attended, other);
    }
    attended
}

/// Rarely, `value` is also read by something else.
fn stray(tape: &mut Tape, strays: &mut Vec<ValueId>, value: ValueId) -> ValueId {
    if tape.oddity(2) == 1 {
        strays.push(value);
    }
    value
}

fn feed_forward(
    s: &mut Sketch,
    tape: &mut Tape,
    sizes: &Sizes,
    x: ValueId,
    strays: &mut Vec<ValueId>,
) -> ValueId {
    let normed = norm(s, tape, x);
    let n = stray(tape, strays, normed);
    let other = if tape.oddity(2) == 1 { x } else { n };
    let gate = project(s, tape, n, sizes.intermediate);
    let gate = stray(tape, strays, gate);
    let kind =
        [HiddenActivation::Silu, HiddenActivation::GeluTanh, HiddenActivation::GeluErf][tape.number(0, 3)];
    let active = s.like(Op::Activation(kind), &[gate]);
    let active = stray(tape, strays, active);
    let up = match tape.oddity(4) {
        1 => return active,
        2 => gate,
        _ => project(s, tape, other, sizes.intermediate),
    };
    let mut up = stray(tape, strays, up);
    if tape.oddity(2) == 1 {
        up = s.activation(up);
    }
    match (tape.oddity(3), tape.coin()) {
        (1, _) => s.add(active, up),
        (_, false) => s.mul(active, up),
        (_, true) => s.mul(up, active),
    }
}

/// `x` + norm(projection of `y`), or something like it.
fn back_into_stream(s: &mut Sketch, tape: &mut Tape, sizes: &Sizes, y: ValueId, x: ValueId) -> ValueId {
    let projected = project(s, tape, y, sizes.hidden);
    let mut term = projected;
    if tape.coin() {
        term = s.norm(term, if tape.oddity(2) == 1 { sizes.hidden / 2 } else { sizes.hidden });
    }
    if tape.oddity(2) == 1 {
        term = s.like(Op::Scale { factor: 0.75 }, &[term]);
    }
    match (tape.oddity(4), tape.coin()) {
        (1, _) => s.add(term, term),
        (2, _) => s.add(term, projected),
        (3, _) => {
            let other = project(s, tape, x, sizes.hidden);
            s.add(term, other)
        }
        (_, false) => s.add(term, x),
        (_, true) => s.add(x, term),
    }
}

fn head(mut s: Sketch, tape: &mut Tape, x: ValueId, hidden: usize) -> Verified<Graph> {
    let wanted = s.wanted(x);
    let normed = s.norm(wanted, hidden);
    if tape.coin() {
        s.output(OutputRole::Hidden, normed);
    }
    let mut logits = s.linear(normed, VOCAB);
    if tape.oddity(2) == 1 {
        logits = s.like(Op::Softcap { cap: 2.0 }, &[logits]);
    }
    s.output(OutputRole::Logits, logits);
    s.finish()
}

fn norm(s: &mut Sketch, tape: &mut Tape, x: ValueId) -> ValueId {
    let width = s.shape(x).width;
    match tape.oddity(3) {
        1 => x,
        2 => s.norm(x, width / 2),
        _ => s.norm(x, width),
    }
}

fn heads_norm(s: &mut Sketch, tape: &mut Tape, sizes: &Sizes, x: ValueId) -> ValueId {
    match (tape.coin(), tape.oddity(3)) {
        (false, _) => x,
        (_, 1) => s.norm(x, s.shape(x).width),
        (_, 2) => s.norm(x, sizes.head_dim / 2),
        _ => s.norm(x, sizes.head_dim),
    }
}

fn turned(s: &mut Sketch, tape: &mut Tape, sizes: &Sizes, x: ValueId) -> ValueId {
    let usual = Rope {
        style: RopeStyle::HalfSplit,
        head_dim: sizes.head_dim,
        rotary_dim: sizes.head_dim,
        theta: 20.0,
        scaling: RopeScaling::None,
        freq_factors: None,
    };
    let rope = match tape.oddity(7) {
        1 => return x,
        2 => Rope { theta: 30.0, ..usual },
        3 => Rope { style: RopeStyle::Interleaved, ..usual },
        4 => Rope { rotary_dim: 2, ..usual },
        5 => Rope { head_dim: 2, rotary_dim: 2, ..usual },
        6 => Rope { freq_factors: Some(s.weight(&[sizes.head_dim / 2])), ..usual },
        _ => usual,
    };
    s.like(Op::Rope(rope), &[x])
}

fn project(s: &mut Sketch, tape: &mut Tape, x: ValueId, outputs: usize) -> ValueId {
    match (tape.coin(), outputs > 1 && tape.oddity(6) == 1) {
        (_, true) => s.parts(x, &[1, outputs - 1], false),
        (true, _) => s.biased(x, outputs),
        (false, _) => s.linear(x, outputs),
    }
}
