//! Random graphs, many of them nearly a model: after any number of rewrites they can be planned, and the plan holds together.

#[path = "../../forgellm-optimizer/tests/it/random_graph.rs"]
mod random_graph;
#[path = "../../forgellm-optimizer/tests/it/sketch.rs"]
#[allow(dead_code, reason = "the optimizer's tests, whose file this is, use the rest")]
mod sketch;

use forgellm_frontend::ir::{Graph, Node, Verified, Weight};
use forgellm_optimizer::{Options, optimize};
use forgellm_plan::{Layout, Refusal, Target, plan};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use random_graph::{Tape, architecture, nearly_a_model};

/// A target that runs everything.
struct Anything;

impl Target for Anything {
    fn name(&self) -> &'static str {
        "anything"
    }

    fn layout_version(&self) -> u32 {
        1
    }

    fn kernel(&self, _: &Graph, node: &Node) -> Result<&'static str, Refusal> {
        Ok(node.op.name())
    }

    fn layout(&self, weight: &Weight) -> Result<Layout, Refusal> {
        Ok(Layout { name: "rows", bytes: weight.shape.iter().product() })
    }
}

#[test]
fn architectures_can_be_planned_after_each_rewrite() {
    plan_after_each_rewrite(60, architecture);
}

#[test]
fn odd_graphs_can_be_planned_after_each_rewrite() {
    plan_after_each_rewrite(250, nearly_a_model);
}

fn plan_after_each_rewrite(cases: u32, make: fn(&mut Tape) -> Verified<Graph>) {
    let mut runner = TestRunner::new_with_rng(
        Config { cases, failure_persistence: None, ..Config::default() },
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    let result = runner.run(&Tape::any(), |mut tape| {
        let graph = make(&mut tape);
        let all = optimize(graph.clone(), &Options::default()).unwrap().log.len();
        for stop in 0..=all {
            let options = Options { stop_after: Some(stop), ..Options::default() };
            let graph = optimize(graph.clone(), &options).unwrap().graph;
            if let Err(error) = plan(&graph, &Anything) {
                return Err(TestCaseError::fail(format!("after {stop} rewrites: {error}\n{}", *graph)));
            }
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
