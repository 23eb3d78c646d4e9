//! Plans of all architectures: their text, what they guarantee, and what the verifier finds when it is broken.

use forgellm_frontend::arch;
use forgellm_frontend::ir::{
    Architecture, DType, Graph, HiddenActivation, ModelConfig, Node, Op, RopeScaling, Verified, Weight,
};
use forgellm_optimizer::{Options, optimize};
use forgellm_plan::{Bucket, BufferId, Layout, Plan, PlanError, Refusal, Step, Target, plan};

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

    fn projections(&self) -> Vec<Bucket> {
        vec![
            Bucket { most_rows: Some(4), kernel: "Few", tile: 4 },
            Bucket { most_rows: None, kernel: "Many", tile: 32 },
        ]
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

/// What a target gets that projects, then turns, and sums, then projects.
fn fused(architecture: Architecture) -> Verified<Graph> {
    let skip = ["fuse_qkv_projection", "fuse_norm_residual"].map(str::to_owned).into();
    optimize(graph(architecture), &Options { skip, ..Options::default() }).unwrap().graph
}

/// What a target gets that can do all at once.
fn joined(architecture: Architecture) -> Verified<Graph> {
    optimize(graph(architecture), &Options::default()).unwrap().graph
}

const ARCHITECTURES: [Architecture; 3] = [Architecture::Llama, Architecture::Qwen2, Architecture::Gemma3];

fn planned(graph: &Verified<Graph>) -> Verified<Plan> {
    plan(graph, &Anything::default()).unwrap()
}

#[test]
fn snapshots() {
    insta::assert_snapshot!("llama", planned(&fused(Architecture::Llama)).to_string());
    insta::assert_snapshot!("qwen2", planned(&fused(Architecture::Qwen2)).to_string());
    insta::assert_snapshot!("gemma3", planned(&fused(Architecture::Gemma3)).to_string());
    insta::assert_snapshot!("llama_joined", planned(&joined(Architecture::Llama)).to_string());
    insta::assert_snapshot!("qwen2_joined", planned(&joined(Architecture::Qwen2)).to_string());
    insta::assert_snapshot!("gemma3_joined", planned(&joined(Architecture::Gemma3)).to_string());
    insta::assert_snapshot!("llama_unfused", planned(&graph(Architecture::Llama)).to_string());
}

#[test]
fn every_graph_between_first_and_last_rewrite_can_be_planned() {
    for architecture in ARCHITECTURES {
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

/// Attention over a split context is followed by what puts its parts together.
fn dispatches(step: &Step) -> usize {
    if matches!(step.op, Op::Attention(_)) { 2 } else { 1 }
}

#[test]
fn no_layer_of_joined_projections_needs_more_than_six_dispatches() {
    for architecture in ARCHITECTURES {
        let plan = planned(&joined(architecture));
        for (number, kind) in plan.kinds.iter().enumerate() {
            let count: usize = kind.steps.iter().map(dispatches).sum();
            assert_eq!(count, 6, "{architecture} kind {number}");
        }
    }
}

/// The first layer takes one value, the others what the layer before adds and what it adds to.
#[test]
fn layers_that_hand_on_two_values_share_their_steps() {
    assert_eq!(planned(&joined(Architecture::Llama)).kinds.len(), 1);
    assert_eq!(planned(&joined(Architecture::Qwen2)).kinds.len(), 1);
    let gemma = planned(&joined(Architecture::Gemma3));
    let kinds: Vec<usize> = gemma.layers.iter().map(|layer| layer.kind).collect();
    assert_eq!(kinds, [0, 1, 1, 1, 1, 2, 1]);
    // The norm of the layer before is a weight of this one.
    let slot = gemma.kinds[1].slots.iter().position(|slot| slot.name == "previous_post_ffw_norm").unwrap();
    for layer in [1, 2, 3, 4, 6] {
        let weight = gemma.layers[layer].weights[slot];
        assert_eq!(gemma.weights[weight.0].name, format!("blk.{}.post_ffw_norm.weight", layer - 1));
    }
}

/// Other threads may still read what a sum is made of when one writes it.
#[test]
fn a_sum_shares_memory_with_no_input() {
    for architecture in ARCHITECTURES {
        let plan = planned(&joined(architecture));
        let sums = plan
            .kinds
            .iter()
            .flat_map(|kind| &kind.steps)
            .filter(|step| step.op.projection().is_some_and(|projection| projection.add.is_some()));
        let mut count = 0;
        for step in sums {
            let [.., sum] = step.writes[..] else { panic!("{} has no result", step.label) };
            for read in &step.reads {
                assert!(!plan.buffers[read.0].overlaps(&plan.buffers[sum.0]), "{}", step.label);
            }
            count += 1;
        }
        assert_eq!(count, if architecture == Architecture::Gemma3 { 5 } else { 0 }, "{architecture}");
    }
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
        ("with no barrier between", |plan| plan.head[0].barrier = false),
        ("was never written or was overwritten", |plan| move_buffer(plan, "attention", 0)),
        ("it writes `qkv` over `x`, which it still reads", |plan| move_buffer(plan, "qkv", 0)),
        // The residual is read element by element where it is one, and all of it where it is what is projected.
        ("it writes `x` over `x`, which it still reads", |plan| {
            plan.kinds[0].steps.last_mut().unwrap().reads.reverse();
        }),
        ("two slots are called attn_q", |plan| plan.kinds[0].slots[2].name = "attn_q".into()),
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
        ("do not rise to a bucket without a limit", |plan| plan.projections.reverse()),
        ("do not rise to a bucket without a limit", |plan| plan.projections.truncate(1)),
        ("it writes `x`, which holds all rows", |plan| plan.head.append(&mut plan.prologue.clone())),
        ("[rows, 64] instead of [wanted, 100]", |plan| plan.logits = BufferId(0)),
    ];
    check_damage(&planned(&fused(Architecture::Llama)), damages);
}

#[test]
fn the_verifier_finds_damage_of_sums() {
    let damages: &[Damage] = &[
        ("layer 0 gated (linear): it writes `x_2` over `x`, which it still reads", |plan| {
            move_buffer(plan, "x_2", 0);
        }),
        ("layer 1 q (qkv_rope): it writes `x_3` over `ffn_down`, which it still reads", |plan| {
            move_buffer(plan, "x_3", 16);
        }),
        ("layer 1 q (qkv_rope): its results `q_2` and `x_3` overlap", |plan| {
            let q = plan.buffers.iter().find(|buffer| buffer.name == "q_2").unwrap().offset;
            move_buffer(plan, "x_3", q);
        }),
        ("it writes to no buffer", |plan| plan.kinds[1].steps[0].writes[1] = BufferId(99)),
        ("it reads `x_2`, which was never written or was overwritten", |plan| {
            plan.kinds[0].steps[3].writes.pop();
        }),
    ];
    check_damage(&planned(&joined(Architecture::Gemma3)), damages);
}

fn move_buffer(plan: &mut Plan, name: &str, offset: usize) {
    plan.buffers.iter_mut().find(|buffer| buffer.name == name).unwrap().offset = offset;
}

#[track_caller]
fn check_damage(plan: &Verified<Plan>, damages: &[Damage]) {
    for (number, (message, damage)) in damages.iter().enumerate() {
        let mut plan = plan.clone().into_inner();
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

/// All weights but the embedding table, unless the head reads that too.
#[test]
fn a_step_reads_what_is_not_looked_up() {
    for architecture in [Architecture::Llama, Architecture::Gemma3] {
        let plan = planned(&fused(architecture));
        let all: usize = plan.weights.iter().map(|weight| weight.layout.bytes).sum();
        let table = plan.weights.iter().find(|weight| weight.name == "token_embd.weight").unwrap();
        let is_tied = plan.weights.iter().all(|weight| weight.name != "output.weight");
        let expected = if is_tied { all } else { all - table.layout.bytes };
        assert_eq!(plan.weight_bytes_a_step(), expected, "{architecture:?}");
        println!("{architecture:?} tied: {is_tied}");
    }
}
