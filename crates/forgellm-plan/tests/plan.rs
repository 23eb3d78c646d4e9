//! Plans of all architectures: their text, what they guarantee, and what the verifier finds when it is broken.

use forgellm_frontend::arch;
use forgellm_frontend::ir::{
    Architecture, DType, Graph, HiddenActivation, ModelConfig, Node, RopeScaling, Verified, Weight,
};
use forgellm_optimizer::{Options, optimize};
use forgellm_plan::{BufferId, Layout, Plan, PlanError, Refusal, Target, plan};

/// A target that runs everything but what it is told to refuse.
#[derive(Default)]
struct Anything {
    refused: &'static str,
}

impl Target for Anything {
    fn name(&self) -> &'static str {
        "anything"
    }

    fn layout_version(&self) -> u32 {
        7
    }

    fn kernel(&self, _: &Graph, node: &Node) -> Result<&'static str, Refusal> {
        match node.op.name() == self.refused {
            true => Err(Refusal("it has no such kernel".into())),
            false => Ok(node.op.name()),
        }
    }

    fn layout(&self, weight: &Weight) -> Result<Layout, Refusal> {
        if weight.name == self.refused {
            return Err(Refusal("it is too long".into()));
        }
        let elements: usize = weight.shape.iter().product();
        Ok(Layout {
            name: "rows",
            bytes: weight.dtype.row_bytes(elements).ok_or(Refusal("no blocks".into()))?,
        })
    }
}

fn graph(architecture: Architecture) -> Verified<Graph> {
    let gemma = architecture == Architecture::Gemma3;
    let config = ModelConfig {
        architecture,
        hidden_size: 64,
        intermediate_size: 96,
        num_layers: 7,
        num_attention_heads: 4,
        num_kv_heads: 2,
        head_dim: 32,
        vocab_size: 100,
        max_seq_len: 128,
        rms_norm_eps: 1e-5,
        rope_theta: 10000.0,
        dtype: DType::Q8_0,
        sliding_window_size: gemma.then_some(16),
        sliding_window_pattern: gemma.then_some(6),
        rope_local_theta: gemma.then_some(1000.0),
        rope_dim: 32,
        rope_scaling: RopeScaling::None,
        rope_freq_factors: architecture == Architecture::Llama,
        qkv_bias: architecture == Architecture::Qwen2,
        tied_embeddings: gemma,
        hidden_activation: HiddenActivation::Silu,
        attention_scale: None,
    };
    arch::complete(&Graph::new(format!("tiny {architecture}")).with_config(config)).unwrap()
}

fn fused(architecture: Architecture) -> Verified<Graph> {
    optimize(graph(architecture), &Options::default()).unwrap().graph
}

fn planned(graph: &Verified<Graph>) -> Verified<Plan> {
    plan(graph, &Anything::default()).unwrap()
}

#[test]
fn snapshots() {
    insta::assert_snapshot!("llama", planned(&fused(Architecture::Llama)).to_string());
    insta::assert_snapshot!("qwen2", planned(&fused(Architecture::Qwen2)).to_string());
    insta::assert_snapshot!("gemma3", planned(&fused(Architecture::Gemma3)).to_string());
    insta::assert_snapshot!("llama_unfused", planned(&graph(Architecture::Llama)).to_string());
}

#[test]
fn every_graph_between_first_and_last_rewrite_can_be_planned() {
    for architecture in [Architecture::Llama, Architecture::Qwen2, Architecture::Gemma3] {
        let all = optimize(graph(architecture), &Options::default()).unwrap().log.len();
        for stop in 0..=all {
            let options = Options { stop_after: Some(stop), ..Options::default() };
            let graph = optimize(graph(architecture), &options).unwrap().graph;
            assert_eq!(planned(&graph).layers.len(), 7, "{architecture} stopped after {stop}");
        }
    }
}

#[test]
fn layers_of_a_kind_share_their_steps() {
    assert_eq!(planned(&fused(Architecture::Llama)).kinds.len(), 1);
    let gemma = planned(&fused(Architecture::Gemma3));
    let kinds: Vec<usize> = gemma.layers.iter().map(|layer| layer.kind).collect();
    assert_eq!(kinds, [0, 0, 0, 0, 0, 1, 0]);
    assert_eq!(gemma.caches[5].window, None);
    assert_eq!(gemma.caches[6].window, Some(16));
    // Each kind reads the frequencies of its own base.
    let table = |layer: usize| {
        gemma.layers[layer].weights.iter().find(|weight| gemma.weights[weight.0].name.starts_with("rope."))
    };
    assert_ne!(table(4), table(5));
    assert_eq!(table(4), table(6));
}

#[test]
fn a_refusal_names_the_node_or_the_tensor() {
    let graph = fused(Architecture::Llama);
    let error = plan(&graph, &Anything { refused: "attention" }).unwrap_err();
    assert!(matches!(error, PlanError::Node { .. }));
    assert_eq!(
        error.to_string(),
        "target anything cannot run #3 layer 0 attention (attention): it has no such kernel"
    );
    let error = plan(&graph, &Anything { refused: "blk.2.ffn_down.weight" }).unwrap_err();
    assert!(matches!(error, PlanError::Weight { .. }));
    assert_eq!(
        error.to_string(),
        "target anything cannot store tensor `blk.2.ffn_down.weight`: it is too long"
    );
}

/// What is done to a plan, and what the verifier then says.
type Damage = (&'static str, fn(&mut Plan));

#[test]
fn the_verifier_finds_damage() {
    let damages: &[Damage] = &[
        ("with no barrier between", |plan| {
            let step = plan.kinds[0].steps.iter_mut().rfind(|step| step.barrier).unwrap();
            step.barrier = false;
        }),
        ("with no barrier between", |plan| plan.epilogue[0].barrier = false),
        ("was never written or was overwritten", |plan| {
            let qkv = plan.buffers.iter().position(|buffer| buffer.name == "qkv").unwrap();
            plan.buffers[qkv].offset = 0;
        }),
        ("was never written or was overwritten", |plan| {
            plan.prologue.clear();
        }),
        ("it ends at", |plan| plan.row_elements -= 16),
        ("there is no kind", |plan| plan.layers[3].kind = 9),
        ("is filled with another kind of weight", |plan| {
            let weights = &mut plan.layers[2].weights;
            weights.swap(0, 1);
        }),
        ("slots", |plan| {
            plan.layers[1].weights.pop();
        }),
        ("rope needs a table", |plan| {
            plan.kinds[0].steps.iter_mut().for_each(|step| step.tables.clear());
        }),
        ("caches", |plan| {
            plan.caches.pop();
        }),
        ("[rows, 64] instead of [wanted, 100]", |plan| plan.logits = BufferId(0)),
    ];
    for (number, (message, damage)) in damages.iter().enumerate() {
        let mut plan = planned(&fused(Architecture::Llama)).into_inner();
        damage(&mut plan);
        let Err(error) = Verified::new(plan, ()) else { panic!("damage {number} is not found") };
        let error = error.to_string();
        assert!(error.contains(message), "damage {number}: {error}");
    }
}

#[test]
fn the_same_graph_gives_the_same_text() {
    let text = || planned(&fused(Architecture::Gemma3)).to_string();
    assert_eq!(text(), text());
}
