//! One step of the plan as a call of the device layer.

use forgellm_frontend::ir::{
    HiddenActivation, Linear, Norm, Op, Part, QkvRope, Rope, RopeStyle, rope_frequencies,
};
use forgellm_plan::{Plan, Step, WeightRef};

use super::model::Used;
use crate::{RustWriter, constant_name};

/// The calls of a part of the plan, each with the shape of what it gives.
pub(super) fn steps(
    w: &mut RustWriter,
    plan: &Plan,
    steps: &[Step],
    weight: &dyn Fn(WeightRef) -> String,
    used: &mut Used,
) {
    for step in steps {
        if step.barrier {
            w.line("run.barrier();");
        }
        let shapes: Vec<String> = step
            .writes
            .iter()
            .map(|id| &plan.buffers[id.0])
            .map(|buffer| format!("{} {}", constant_name(&buffer.name), buffer.shape))
            .collect();
        if !shapes.is_empty() {
            w.line(format!("// {}: {}", step.label, shapes.join(", ")));
        }
        call(w, plan, step, weight, used);
    }
}

/// Writes the call, after the bindings of what would make it too long.
fn call(w: &mut RustWriter, plan: &Plan, step: &Step, weight: &dyn Fn(WeightRef) -> String, used: &mut Used) {
    let buffer = |id: &forgellm_plan::BufferId| constant_name(&plan.buffers[id.0].name);
    let reads: Vec<String> = step.reads.iter().map(buffer).collect();
    let writes: Vec<String> = step.writes.iter().map(buffer).collect();
    let plain = |extra: Vec<String>| {
        let run = vec!["run".to_owned()];
        [run, reads.clone(), extra, writes.clone()].concat()
    };
    let arguments = match &step.op {
        Op::Embed { table, scale } => plain(vec![format!("&{}", weight(*table)), float(*scale)]),
        Op::RmsNorm { norm, residual } => {
            let normed = vec!["run".into(), reads[0].clone(), weight(norm.weight), float(norm.eps)];
            let residual = if *residual { vec![reads[1].clone()] } else { vec![] };
            [normed, residual, writes].concat()
        }
        Op::Linear(linear) => linear_arguments(w, linear, &reads, &writes, weight, used),
        Op::Slice { start, .. } => plain(vec![start.to_string()]),
        Op::Rope(rope) => {
            bind_rope(w, step, rope, weight, used);
            plain(vec![rope.head_dim.to_string(), "&rope".into()])
        }
        Op::KvWrite { .. } => plain(vec!["cache".into()]),
        Op::Attention(attention) => {
            used.device("Attention");
            let sinks = attention.sinks.map_or("None".into(), |sinks| format!("Some({})", weight(sinks)));
            let how = format!(
                "&Attention {{ scale: {}, softcap: {}, sinks: {sinks} }}",
                float(attention.scale),
                attention.softcap.map_or("None".into(), |cap| format!("Some({})", float(cap))),
            );
            plain(vec![how, "cache".into()])
        }
        Op::Activation(kind) => plain(vec![activation(*kind, used)]),
        Op::Add | Op::Mul | Op::SelectWanted => plain(vec![]),
        Op::Scale { factor } => plain(vec![float(*factor)]),
        Op::Softcap { cap } => plain(vec![float(*cap)]),
        Op::QkvRope(fused) => {
            bind_rope(w, step, &fused.rope, weight, used);
            bind_heads(w, fused, weight, used);
            let how = ["&heads".into(), "cache".into(), writes[0].clone()];
            let what = match &fused.projection {
                Some(projection) => {
                    let input = input(w, projection, &reads, &writes, weight, used);
                    vec![input, parts(w, projection, weight, used)]
                }
                None => reads.clone(),
            };
            ["run".into()].into_iter().chain(what).chain(how).collect()
        }
    };
    used.device(step.kernel);
    w.call(step.kernel, &arguments);
}

fn linear_arguments(
    w: &mut RustWriter,
    linear: &Linear<WeightRef>,
    reads: &[String],
    writes: &[String],
    weight: &dyn Fn(WeightRef) -> String,
    used: &mut Used,
) -> Vec<String> {
    used.device("Output");
    let input = input(w, linear, reads, writes, weight, used);
    let write = &writes[0];
    let output = match reads.last() {
        Some(residual) if linear.residual && residual == write => format!("Output::add({write})"),
        Some(residual) if linear.residual => format!("Output::residual({residual}, {write})"),
        _ => format!("Output::store({write})"),
    };
    match linear.gate {
        None => vec!["run".into(), input, parts(w, linear, weight, used), output],
        Some(gate) => {
            used.device("Part");
            let parts = linear.parts.iter().map(|one| part(one, weight));
            let head = ["run".into(), input];
            head.into_iter().chain(parts).chain([activation(gate, used), output]).collect()
        }
    }
}

/// What a projection takes: rows, their norm, or the norm of a sum, which is bound before the call and goes to the last of `writes`.
fn input(
    w: &mut RustWriter,
    linear: &Linear<WeightRef>,
    reads: &[String],
    writes: &[String],
    weight: &dyn Fn(WeightRef) -> String,
    used: &mut Used,
) -> String {
    used.device("Input");
    let norm = |norm: &Norm<WeightRef>| [weight(norm.weight), float(norm.eps)];
    match (&linear.add, &linear.norm) {
        (Some(add), Some(own)) => {
            let sum = writes.last().cloned();
            let [y, stream] = [&reads[0], &reads[1]].map(String::clone);
            let of_sum = [stream].into_iter().chain(sum).chain(norm(own));
            let arguments: Vec<String> = [y].into_iter().chain(norm(add)).chain(of_sum).collect();
            w.list("let input = Input::added", ("(", ")"), &arguments, ";");
            "input".into()
        }
        (_, Some(own)) => format!("Input::normed({}, {})", reads[0], norm(own).join(", ")),
        (_, None) => format!("Input::plain({})", reads[0]),
    }
}

/// The weights of a projection; several are bound before the call.
fn parts(
    w: &mut RustWriter,
    linear: &Linear<WeightRef>,
    weight: &dyn Fn(WeightRef) -> String,
    used: &mut Used,
) -> String {
    used.device("Part");
    let parts: Vec<String> = linear.parts.iter().map(|one| part(one, weight)).collect();
    if parts.len() > 1 {
        w.list("let parts = ", ("[", "]"), &parts, ";");
        "&parts".into()
    } else {
        format!("&[{}]", parts.join(", "))
    }
}

fn part(part: &Part<WeightRef>, weight: &dyn Fn(WeightRef) -> String) -> String {
    match part.bias {
        Some(bias) => format!("Part::biased(&{}, {})", weight(part.weight), weight(bias)),
        None => format!("Part::new(&{})", weight(part.weight)),
    }
}

/// `let heads = RopeKv { … };`
fn bind_heads(
    w: &mut RustWriter,
    fused: &QkvRope<WeightRef>,
    weight: &dyn Fn(WeightRef) -> String,
    used: &mut Used,
) {
    used.device("RopeKv");
    let mut norm = |norm: &Option<Norm<WeightRef>>| match norm {
        Some(norm) => {
            used.device("HeadNorm");
            format!("Some(HeadNorm {{ weight: {}, eps: {} }})", weight(norm.weight), float(norm.eps))
        }
        None => "None".into(),
    };
    let fields = [
        format!("heads: {}", fused.heads),
        format!("kv_heads: {}", fused.kv_heads),
        format!("head_dim: {}", fused.rope.head_dim),
        format!("q_norm: {}", norm(&fused.q_norm)),
        format!("k_norm: {}", norm(&fused.k_norm)),
        "rope".into(),
    ];
    w.list("let heads = RopeKv", ("{", "}"), &fields, ";");
}

/// `let rope = Rope { … };`
fn bind_rope(
    w: &mut RustWriter,
    step: &Step,
    rope: &Rope<WeightRef>,
    weight: &dyn Fn(WeightRef) -> String,
    used: &mut Used,
) {
    used.device("Rope");
    used.device("RopeStyle");
    let style = match rope.style {
        RopeStyle::Interleaved => "Interleaved",
        RopeStyle::HalfSplit => "HalfSplit",
    };
    let fields = [
        format!("style: RopeStyle::{style}"),
        format!("inv_freq: {}", step.tables.first().map_or_else(String::new, |table| weight(*table))),
        format!("scale: {}", float(rope_frequencies(rope, None).1)),
    ];
    w.list("let rope = Rope", ("{", "}"), &fields, ";");
}

fn activation(kind: HiddenActivation, used: &mut Used) -> String {
    used.device("Activation");
    match kind {
        HiddenActivation::Silu => "Activation::Silu",
        HiddenActivation::GeluTanh => "Activation::GeluTanh",
        HiddenActivation::GeluErf => "Activation::GeluErf",
    }
    .into()
}

/// The shortest literal that reads back as the same number.
fn float(value: f32) -> String {
    format!("{value:?}")
}
