//! Whole graphs in the interpreter: steps, sequences, fused nodes, errors.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use forgellm_frontend::interp::{InterpError, Interpreter, Row, RowOutput, WeightError, WeightSource};
use forgellm_frontend::ir::{Graph, Stage, Verified, verify};
use forgellm_frontend::quant;

const TOKENS: [u32; 9] = [3, 41, 0, 47, 12, 12, 30, 7, 25];

#[test]
fn chunks_give_what_one_step_gives() {
    let (graph, weights) = model();
    let whole = Interpreter::new(&graph, &weights).unwrap().step(&rows(0, 0, &TOKENS)).unwrap();
    for chunk in [1, 2, 4, 8] {
        let mut interpreter = Interpreter::new(&graph, &weights).unwrap();
        let mut outputs = Vec::new();
        for (index, tokens) in TOKENS.chunks(chunk).enumerate() {
            outputs.extend(interpreter.step(&rows(0, index * chunk, tokens)).unwrap());
        }
        assert_eq!(outputs, whole, "chunks of {chunk}");
    }
}

#[test]
fn sequences_do_not_see_each_other() {
    let (graph, weights) = model();
    let other: Vec<u32> = TOKENS.iter().rev().copied().collect();
    let alone =
        |tokens: &[u32]| Interpreter::new(&graph, &weights).unwrap().step(&rows(0, 0, tokens)).unwrap();
    let mut interpreter = Interpreter::new(&graph, &weights).unwrap();
    let mut outputs = [Vec::new(), Vec::new()];
    for (position, (a, b)) in TOKENS.iter().zip(&other).enumerate() {
        let mixed = [row(70, position, *a), row(5, position, *b)];
        let [a, b] = <[RowOutput; 2]>::try_from(interpreter.step(&mixed).unwrap()).unwrap();
        outputs[0].push(a);
        outputs[1].push(b);
    }
    assert_eq!(outputs[0], alone(&TOKENS));
    assert_eq!(outputs[1], alone(&other));
}

#[test]
fn rows_that_want_nothing_give_nothing() {
    let (graph, weights) = model();
    let whole = Interpreter::new(&graph, &weights).unwrap().step(&rows(0, 0, &TOKENS)).unwrap();
    let mut interpreter = Interpreter::new(&graph, &weights).unwrap();
    let mut some = rows(0, 0, &TOKENS);
    some.iter_mut().for_each(|row| row.want = matches!(row.position, 2 | 8));
    assert_eq!(interpreter.step(&some).unwrap(), [whole[2].clone(), whole[8].clone()]);
    assert_eq!(interpreter.step(&[Row { want: false, ..row(0, 9, 1) }]).unwrap(), []);
    assert_eq!(interpreter.step(&[]).unwrap(), []);
    assert_eq!((whole[0].logits.len(), whole[0].hidden.as_ref().map(Vec::len)), (48, Some(32)));
}

#[test]
fn fused_nodes_are_what_they_are_fused_from() {
    let (graph, weights) = model();
    let fused = parse(include_str!("fixtures/graph/fused.graph"), Stage::Fused);
    let expected = Interpreter::new(&graph, &weights).unwrap().step(&rows(0, 0, &TOKENS)).unwrap();
    assert_eq!(Interpreter::new(&fused, &weights).unwrap().step(&rows(0, 0, &TOKENS)).unwrap(), expected);
}

#[test]
fn joined_projections_are_what_they_are_joined_from() {
    let joined = include_str!("fixtures/graph/joined.graph");
    let mut apart = joined.to_owned();
    for (from, to) in [
        (
            "%1: [rows, 32], %2: [context, 32] = qkv_rope %0 weight=@0.q bias=@0.q_bias weight=@0.k weight=@0.v norm=@0.norm eps=1e-5",
            "%17: [rows, 64] = linear %0 weight=@0.q bias=@0.q_bias weight=@0.k weight=@0.v norm=@0.norm eps=1e-5 layer=0
             %1: [rows, 32], %2: [context, 32] = qkv_rope %17",
        ),
        (
            "%5: [rows, 64], %6: [rows, 32] = linear %4, %0 weight=@0.gate weight=@0.up add=@0.post_norm add_eps=1e-6",
            "%6: [rows, 32] = rms_norm %4, %0 weight=@0.post_norm eps=1e-6 residual layer=0
             %5: [rows, 64] = linear %6 weight=@0.gate weight=@0.up",
        ),
        (
            "%8: [rows, 32], %9: [context, 32], %10: [rows, 32] = qkv_rope %7, %6 weight=@1.q weight=@1.k weight=@1.v add=@0.post_ffn_norm add_eps=1e-6 norm=@1.norm eps=1e-5",
            "%10: [rows, 32] = rms_norm %7, %6 weight=@0.post_ffn_norm eps=1e-6 residual layer=0
             %18: [rows, 64] = linear %10 weight=@1.q weight=@1.k weight=@1.v norm=@1.norm eps=1e-5 layer=1
             %8: [rows, 32], %9: [context, 32] = qkv_rope %18",
        ),
        (
            "%12: [rows, 32], %13: [rows, 32] = linear %11, %10, %0 weight=@1.o add=@1.post_norm add_eps=0.0",
            "%13: [rows, 32] = rms_norm %11, %10 weight=@1.post_norm eps=0.0 residual layer=1
             %12: [rows, 32] = linear %13, %0 weight=@1.o",
        ),
    ] {
        assert!(apart.contains(from), "{from}");
        apart = apart.replacen(from, to, 1);
    }
    let (joined, apart) = (parse(joined, Stage::Fused), parse(&apart, Stage::Fused));
    let weights = random_weights(&joined);
    let run = |graph| Interpreter::new(graph, &weights).unwrap().step(&rows(0, 0, &TOKENS)).unwrap();
    assert_eq!(run(&joined), run(&apart));
    assert!(run(&joined).iter().all(|row| row.logits.iter().all(|logit| logit.is_finite())));
}

/// Parameters that are easily ignored: each must change the last row's logits.
#[test]
fn every_parameter_matters() {
    let text = include_str!("fixtures/graph/model.graph");
    let (_, weights) = model();
    let last = |text: &str| {
        let graph = parse(text, Stage::Model);
        Interpreter::new(&graph, &weights).unwrap().step(&rows(0, 0, &TOKENS)).unwrap().remove(8).logits
    };
    let plain = last(text);
    for (from, to) in [
        (" scale=2.0", " scale=1.0"),
        (" bias=@0.q_bias", ""),
        ("%5 style=interleaved", "%5 style=half_split"),
        (" freq_factors=@rope_freqs layer=0 \"k", " layer=0 \"k"),
        (
            " scaling=yarn factor=4.0 original_context=16 beta_fast=32.0 beta_slow=1.0 layer=1 \"q",
            " layer=1 \"q",
        ),
        ("head_dim=8 rotary_dim=4 theta=500000.0", "head_dim=8 rotary_dim=8 theta=500000.0"),
        (" softcap=5.0", ""),
        (" window=3", ""),
        (" window=3", " window=4"),
        (" sinks=@0.sinks", ""),
        ("kind=silu", "kind=gelu_erf"),
        ("kind=gelu_tanh", "kind=silu"),
        ("factor=0.5", "factor=1.0"),
        ("cap=30.0", "cap=20.0"),
    ] {
        assert!(text.contains(from), "{from}");
        assert_ne!(last(&text.replacen(from, to, 1)), plain, "{from:?} -> {to:?} changes nothing");
    }
}

#[test]
fn a_sequence_can_be_cut_and_forgotten() {
    let (graph, weights) = model();
    let mut interpreter = Interpreter::new(&graph, &weights).unwrap();
    let whole = interpreter.step(&rows(0, 0, &TOKENS)).unwrap();
    assert_eq!(interpreter.len(0), 9);
    interpreter.truncate(0, 4);
    interpreter.truncate(0, 7);
    assert_eq!(interpreter.len(0), 4);
    assert_eq!(interpreter.step(&rows(0, 4, &TOKENS[4..])).unwrap(), whole[4..]);
    interpreter.forget(0);
    assert!(interpreter.is_empty(0));
    assert_eq!(interpreter.step(&rows(0, 0, &TOKENS)).unwrap(), whole);
}

#[test]
fn rows_must_continue_their_sequence() {
    let (graph, weights) = model();
    let mut interpreter = Interpreter::new(&graph, &weights).unwrap();
    interpreter.step(&rows(4, 0, &TOKENS[..2])).unwrap();
    let cases = [
        (vec![row(4, 3, 0)], "a row of sequence 4 is at position 3, the sequence goes on at 2"),
        (vec![row(4, 1, 0)], "a row of sequence 4 is at position 1, the sequence goes on at 2"),
        (vec![row(0, 1, 0)], "a row of sequence 0 is at position 1, the sequence goes on at 0"),
        (vec![row(4, 2, 0), row(4, 2, 0)], "a row of sequence 4 is at position 2, the sequence goes on at 3"),
        (vec![row(4, 2, 0), row(4, 3, 48)], "token 48 is not in the vocabulary, which has 48 entries"),
    ];
    for (rows, expected) in cases {
        assert_eq!(interpreter.step(&rows).unwrap_err().to_string(), expected);
        assert_eq!((interpreter.len(4), interpreter.len(0)), (2, 0));
    }
}

#[test]
fn weights_must_be_there_in_their_size() {
    let (graph, weights) = model();
    let mut missing = weights.clone();
    missing.remove("0.o");
    let mut short = weights.clone();
    short.get_mut("0.o").unwrap().pop();
    let error = |weights: &HashMap<String, Vec<u8>>| match Interpreter::new(&graph, weights) {
        Ok(_) => "none".to_owned(),
        Err(error) => error.to_string(),
    };
    assert_eq!(error(&missing), "weight `0.o`: there is no weight of this name");
    assert_eq!(
        error(&short),
        "weight `0.o` has 543 bytes, MXFP4 [32, 32] needs 544; is this the graph's file?"
    );
}

/// A source that fails once, in the middle of a step.
struct FailsOnce {
    weights: HashMap<String, Vec<u8>>,
    reads_until: AtomicUsize,
}

impl WeightSource for FailsOnce {
    fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>, WeightError> {
        match self.reads_until.fetch_sub(1, Ordering::Relaxed) {
            1 => Err("the disk is gone".into()),
            _ => self.weights.bytes(name),
        }
    }
}

#[test]
fn a_failed_step_leaves_sequences_as_they_were() {
    let (graph, weights) = model();
    let whole = Interpreter::new(&graph, &weights).unwrap().step(&rows(0, 0, &TOKENS)).unwrap();
    let source = FailsOnce { weights, reads_until: AtomicUsize::new(usize::MAX) };
    let mut interpreter = Interpreter::new(&graph, &source).unwrap();
    interpreter.step(&rows(0, 0, &TOKENS[..3])).unwrap();
    source.reads_until.store(11, Ordering::Relaxed);
    let error = interpreter.step(&rows(0, 3, &TOKENS[3..])).unwrap_err();
    assert!(matches!(error, InterpError::Weight { .. }), "{error}");
    assert_eq!(interpreter.len(0), 3);
    assert_eq!(interpreter.step(&rows(0, 3, &TOKENS[3..])).unwrap(), whole[3..]);
}

/// The model of the fixture, and random weights for it.
fn model() -> (Verified<Graph>, HashMap<String, Vec<u8>>) {
    let graph = parse(include_str!("fixtures/graph/model.graph"), Stage::Model);
    let weights = random_weights(&graph);
    (graph, weights)
}

fn random_weights(graph: &Graph) -> HashMap<String, Vec<u8>> {
    let mut state = 1u64;
    let mut rng = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    };
    let mut weights = HashMap::new();
    for weight in graph.weights() {
        let mut bytes = Vec::new();
        let elements: usize = weight.shape.iter().product();
        if weight.name == "rope_freqs" {
            bytes = [1.0f32, 1.5, 4.0, 8.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        } else {
            let blocks = elements / weight.dtype.block_elements();
            quant::random_blocks(weight.dtype, blocks, 0.5, &mut rng, &mut bytes).unwrap();
        }
        weights.insert(weight.name.clone(), bytes);
    }
    weights
}

fn parse(text: &str, stage: Stage) -> Verified<Graph> {
    verify(text.parse().unwrap(), stage).unwrap()
}

fn row(sequence: usize, position: usize, token: u32) -> Row {
    Row { token, position, sequence, want: true }
}

fn rows(sequence: usize, first: usize, tokens: &[u32]) -> Vec<Row> {
    tokens.iter().enumerate().map(|(index, token)| row(sequence, first + index, *token)).collect()
}
