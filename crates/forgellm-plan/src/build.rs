//! The planner.

use std::collections::BTreeMap;

use forgellm_frontend::ir::{
    CacheId, DType, Dim, Graph, Node, Op, OutputRole, Rope, ValueId, Verified, Weight, WeightId,
};

use crate::barriers::place_barriers;
use crate::buffers::{Allocation, allocate};
use crate::verify::verify_plan;
use crate::{
    BufferId, CacheSpec, LayerKind, LayerUse, Layout, Plan, PlanError, PlannedWeight, Slot, Step, Target,
    WeightRef, WeightSource,
};

/// Schedules a graph for a target.
pub fn plan(graph: &Verified<Graph>, target: &dyn Target) -> Result<Verified<Plan>, PlanError> {
    let graph: &Graph = graph;
    let logits = graph.output(OutputRole::Logits).ok_or(PlanError::NoLogits)?;
    let allocation = allocate(graph);
    let mut planner =
        Planner { graph, target, allocation: &allocation, weights: Vec::new(), numbers: BTreeMap::new() };

    let prologue = planner.steps(0..first_layer_node(graph))?;
    let (kinds, layers) = planner.layers()?;
    let (after, head) = (after_layers(graph), head_node(graph));
    let epilogue = planner.steps(after..head)?;
    let head = planner.steps(head..graph.nodes().len())?;

    let mut plan = Plan {
        model: graph.name.clone(),
        target: target.name(),
        layout_version: target.layout_version(),
        vocab: graph.shape(logits).width,
        hidden: hidden_width(graph),
        positions: graph.config.as_ref().map_or(0, |config| config.max_seq_len),
        weights: planner.weights,
        projections: target.projections(),
        caches: caches(graph),
        row_elements: allocation.elements(Dim::Rows),
        wanted_elements: allocation.elements(Dim::Wanted),
        logits: allocation.buffer(logits),
        hidden_state: graph.output(OutputRole::Hidden).map(|value| allocation.buffer(value)),
        buffers: allocation.buffers.clone(),
        prologue,
        kinds,
        layers,
        epilogue,
        head,
    };
    place_barriers(&mut plan);
    Ok(verify_plan(plan)?)
}

fn first_layer_node(graph: &Graph) -> usize {
    graph.nodes().iter().position(|node| node.layer.is_some()).unwrap_or(graph.nodes().len())
}

fn after_layers(graph: &Graph) -> usize {
    graph.nodes().iter().rposition(|node| node.layer.is_some()).map_or(graph.nodes().len(), |last| last + 1)
}

/// The first node behind the layers that works on the wanted rows.
fn head_node(graph: &Graph) -> usize {
    let is_wanted = |node: &Node| node.outputs.iter().any(|value| graph.shape(*value).rows == Dim::Wanted);
    let after = after_layers(graph);
    graph.nodes()[after..].iter().position(is_wanted).map_or(graph.nodes().len(), |index| after + index)
}

fn hidden_width(graph: &Graph) -> usize {
    graph.nodes().first().and_then(|node| node.outputs.first()).map_or(0, |value| graph.shape(*value).width)
}

fn caches(graph: &Graph) -> Vec<CacheSpec> {
    let mut caches: Vec<(CacheId, CacheSpec)> = graph
        .nodes()
        .iter()
        .filter_map(|node| match &node.op {
            Op::Attention(attention) => Some((
                attention.cache,
                CacheSpec {
                    heads: attention.heads,
                    kv_heads: attention.kv_heads,
                    head_dim: attention.head_dim,
                    window: attention.window,
                },
            )),
            _ => None,
        })
        .collect();
    caches.sort_by_key(|(id, _)| *id);
    // Several may read the same cache in the same way.
    caches.dedup();
    caches.into_iter().map(|(_, spec)| spec).collect()
}

struct Planner<'a> {
    graph: &'a Graph,
    target: &'a dyn Target,
    allocation: &'a Allocation,
    weights: Vec<PlannedWeight>,
    numbers: BTreeMap<String, WeightRef>,
}

impl Planner<'_> {
    fn steps(&mut self, range: std::ops::Range<usize>) -> Result<Vec<Step>, PlanError> {
        range.map(|index| self.step(index)).collect()
    }

    fn step(&mut self, index: usize) -> Result<Step, PlanError> {
        let node = &self.graph.nodes()[index];
        let kernel = self.target.kernel(self.graph, node).map_err(|refusal| PlanError::Node {
            target: self.target.name(),
            node: describe(index, node),
            refusal,
        })?;
        let mut tables = Vec::new();
        if let Some(rope) = rope_of(&node.op) {
            tables.push(self.frequencies(rope)?);
        }
        let mut failed = None;
        let op = without_factors(node.op.clone()).map(
            |weight| {
                self.weight(*weight).unwrap_or_else(|error| {
                    failed.get_or_insert(error);
                    WeightRef(0)
                })
            },
            |_| CacheId(0),
        );
        if let Some(error) = failed {
            return Err(error);
        }
        let tensors = |values: &[ValueId]| -> Vec<BufferId> {
            values
                .iter()
                .filter(|value| self.graph.shape(**value).rows != Dim::Context)
                .map(|value| self.allocation.buffer(*value))
                .collect()
        };
        Ok(Step {
            label: node.label.clone(),
            op,
            kernel,
            tables,
            reads: tensors(&node.inputs),
            writes: tensors(&node.outputs),
            barrier: false,
        })
    }

    /// The number of a weight of the graph, which is planned when first used.
    fn weight(&mut self, id: WeightId) -> Result<WeightRef, PlanError> {
        let weight = self.graph.weight(id);
        self.planned(weight.clone(), WeightSource::Tensor)
    }

    /// The number of a rope's table of frequencies.
    fn frequencies(&mut self, rope: &Rope) -> Result<WeightRef, PlanError> {
        let named = Rope {
            style: rope.style,
            head_dim: rope.head_dim,
            rotary_dim: rope.rotary_dim,
            theta: rope.theta,
            scaling: rope.scaling,
            freq_factors: rope.freq_factors.map(|id| self.graph.weight(id).name.clone()),
        };
        let same = |planned: &PlannedWeight| match &planned.source {
            WeightSource::RopeFrequencies(other) => {
                Rope { style: named.style, head_dim: named.head_dim, ..other.clone() } == named
            }
            WeightSource::Tensor => false,
        };
        if let Some(number) = self.weights.iter().position(same) {
            return Ok(WeightRef(number));
        }
        let tables = self.weights.iter().filter(|weight| weight.source != WeightSource::Tensor).count();
        let weight = Weight {
            name: format!("rope.{tables}.frequencies"),
            dtype: DType::F32,
            shape: vec![rope.rotary_dim / 2],
        };
        self.planned(weight, WeightSource::RopeFrequencies(named))
    }

    fn planned(&mut self, weight: Weight, source: WeightSource) -> Result<WeightRef, PlanError> {
        if let Some(number) = self.numbers.get(&weight.name) {
            return Ok(*number);
        }
        let layout = self.target.layout(&weight).map_err(|refusal| PlanError::Weight {
            target: self.target.name(),
            tensor: weight.name.clone(),
            refusal,
        })?;
        let number = WeightRef(self.weights.len());
        self.numbers.insert(weight.name.clone(), number);
        self.weights.push(PlannedWeight {
            name: weight.name,
            source,
            dtype: weight.dtype,
            shape: weight.shape,
            layout,
        });
        Ok(number)
    }

    /// Plans every layer and gives those that differ only in their weights' content the same kind.
    fn layers(&mut self) -> Result<(Vec<LayerKind>, Vec<LayerUse>), PlanError> {
        let mut kinds: Vec<LayerKind> = Vec::new();
        let mut layers = Vec::new();
        for range in self.allocation.layers.clone() {
            let layer = self.graph.nodes()[range.start].layer;
            let steps = self.steps(range)?;
            let (kind, weights) = self.roll(&steps, layer);
            let number = kinds.iter().position(|known| *known == kind).unwrap_or_else(|| {
                kinds.push(kind);
                kinds.len() - 1
            });
            layers.push(LayerUse { kind: number, weights });
        }
        Ok((kinds, layers))
    }

    /// A layer's steps with its weights replaced by slots, and what stands in the slots.
    fn roll(&self, steps: &[Step], layer: Option<u32>) -> (LayerKind, Vec<WeightRef>) {
        let mut used: Vec<WeightRef> = Vec::new();
        let mut slot = |number: &WeightRef| match used.iter().position(|known| known == number) {
            Some(slot) => WeightRef(slot),
            None => {
                used.push(*number);
                WeightRef(used.len() - 1)
            }
        };
        let steps = steps
            .iter()
            .map(|step| Step {
                op: step.op.map(&mut slot, |cache| cache),
                tables: step.tables.iter().map(&mut slot).collect(),
                ..step.clone()
            })
            .collect();
        let mut slots: Vec<Slot> = Vec::new();
        for number in &used {
            let weight = &self.weights[number.0];
            let name = slot_name(weight, layer);
            let taken = |name: &str| slots.iter().any(|slot| slot.name == name);
            let numbered = (2..).map(|number| format!("{name}_{number}"));
            let name = [name.clone()].into_iter().chain(numbered).find(|name| !taken(name));
            slots.push(Slot {
                name: name.unwrap_or_default(),
                dtype: weight.dtype,
                shape: weight.shape.clone(),
                layout: Layout::clone(&weight.layout),
            });
        }
        (LayerKind { steps, slots }, used)
    }
}

/// `blk.3.attn_q.weight` → `attn_q`; `blk.3.attn_q.bias` → `attn_q_bias`; in layer 4 `blk.3.post_ffw_norm.weight` → `previous_post_ffw_norm`.
fn slot_name(weight: &PlannedWeight, layer: Option<u32>) -> String {
    if weight.source != WeightSource::Tensor {
        return "rope_frequencies".into();
    }
    let in_layer = weight.name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
    let (owner, name) = in_layer.map_or((None, &*weight.name), |(owner, name)| (owner.parse().ok(), name));
    let is_previous = owner.is_some_and(|owner: u32| layer.is_some() && layer == owner.checked_add(1));
    let name = name.strip_suffix(".weight").unwrap_or(name).replace(['.', '-'], "_");
    if is_previous { format!("previous_{name}") } else { name }
}

fn rope_of(op: &Op) -> Option<&Rope> {
    match op {
        Op::Rope(rope) => Some(rope),
        Op::QkvRope(fused) => Some(&fused.rope),
        _ => None,
    }
}

/// The factors are part of the table of frequencies, so no kernel reads them.
fn without_factors(op: Op) -> Op {
    match op {
        Op::Rope(rope) => Op::Rope(Rope { freq_factors: None, ..rope }),
        Op::QkvRope(mut fused) => {
            fused.rope.freq_factors = None;
            Op::QkvRope(fused)
        }
        other => other,
    }
}

/// A node as errors name it.
fn describe(index: usize, node: &Node) -> String {
    match node.layer {
        Some(layer) => format!("#{index} layer {layer} {} ({})", node.label, node.op.name()),
        None => format!("#{index} {} ({})", node.label, node.op.name()),
    }
}
