//! Each application of a rewrite leaves what the graph computes as it was: the interpreter before against the interpreter after.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use forgellm_frontend::interp::{Interpreter, Row, RowOutput};
use forgellm_frontend::ir::{Graph, Verified};
use forgellm_optimizer::{Options, optimize, rewrites};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::random_graph::{Tape, architecture, nearly_a_model};
use crate::sketch::VOCAB;

#[test]
fn every_application_keeps_what_architectures_compute() {
    check(60, architecture);
}

#[test]
fn every_application_keeps_what_odd_graphs_compute() {
    check(250, nearly_a_model);
}

/// Runs `cases` graphs of `make` before and after each application. Every rewrite must have had enough of them.
fn check(cases: u32, make: fn(&mut Tape) -> Verified<Graph>) {
    let applications = RefCell::new(BTreeMap::<&str, u32>::new());
    let mut runner = TestRunner::new_with_rng(
        Config { cases, failure_persistence: None, ..Config::default() },
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let result = runner.run(&Tape::any(), |mut tape| {
        let graph = make(&mut tape);
        let steps = steps(&mut tape);
        let weights = weights(&graph);
        let all = optimize(graph.clone(), &Options::default()).unwrap();
        let mut before = run(&graph, &weights, &steps);
        prop_assert!(!before.is_empty(), "nothing is compared");
        for (done, applied) in all.log.iter().enumerate() {
            let options = Options { stop_after: Some(done + 1), ..Options::default() };
            let after = run(&optimize(graph.clone(), &options).unwrap().graph, &weights, &steps);
            prop_assert!(same(&before, &after), "{applied}\n{before:?}\n{after:?}");
            before = after;
            *applications.borrow_mut().entry(applied.rewrite).or_default() += 1;
        }
        let again = optimize(all.graph, &Options::default()).unwrap();
        prop_assert!(again.log.is_empty(), "a second run still finds {}", again.log[0]);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    for rewrite in rewrites() {
        let count = applications.borrow().get(rewrite.name).copied().unwrap_or(0);
        assert!(count >= cases / 4, "{} was applied {count} times in {cases} graphs", rewrite.name);
    }
}

/// Steps that mix prompts and single rows of up to three sequences.
fn steps(tape: &mut Tape) -> Vec<Vec<Row>> {
    let mut lengths = [0; 3];
    (0..3)
        .map(|step| {
            let mut rows = Vec::new();
            for (sequence, length) in lengths.iter_mut().enumerate() {
                for _ in 0..tape.number(if step == 0 { 2 } else { 1 }, 4) {
                    let token = tape.number(0, VOCAB) as u32;
                    rows.push(Row { token, position: *length, sequence, want: step == 2 || !tape.coin() });
                    *length += 1;
                }
            }
            rows
        })
        .collect()
}

fn run(graph: &Verified<Graph>, weights: &HashMap<String, Vec<u8>>, steps: &[Vec<Row>]) -> Vec<RowOutput> {
    let mut interpreter = Interpreter::new(graph, weights).unwrap();
    steps.iter().flat_map(|rows| interpreter.step(rows).unwrap()).collect()
}

/// Whether all results agree to 1e-5 of the largest element of their row.
fn same(before: &[RowOutput], after: &[RowOutput]) -> bool {
    let rows_agree = |a: &[f32], b: &[f32]| {
        let largest = a.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        largest.is_finite()
            && largest > 0.0
            && a.len() == b.len()
            && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-5 * largest)
    };
    before.len() == after.len()
        && before.iter().zip(after).all(|(a, b)| {
            rows_agree(&a.logits, &b.logits)
                && match (&a.hidden, &b.hidden) {
                    (Some(a), Some(b)) => rows_agree(a, b),
                    (a, b) => a.is_none() && b.is_none(),
                }
        })
}

/// Random F32 weights: matrices that keep the size of rows, vectors around 1.
fn weights(graph: &Graph) -> HashMap<String, Vec<u8>> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    let mut weights = HashMap::new();
    for weight in graph.weights() {
        let elements: usize = weight.shape.iter().product();
        let (offset, size) = match weight.shape[..] {
            [_, inputs] => (-0.5, (12.0 / inputs as f32).sqrt()),
            _ => (0.5, 1.0),
        };
        let bytes = (0..elements).flat_map(|_| ((uniform() + offset) * size).to_le_bytes()).collect();
        weights.insert(weight.name.clone(), bytes);
    }
    weights
}
