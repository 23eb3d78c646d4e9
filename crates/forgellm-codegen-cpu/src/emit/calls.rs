//! One step of the plan as a call of the device layer.

use forgellm_codegen::constant_name;
use forgellm_frontend::ir::{
    HiddenActivation, Linear, Norm, Op, Part, QkvRope, Rope, RopeStyle, rope_frequencies,
};
use forgellm_plan::{Plan, Step, WeightRef};

use super::model::Used;

/// The function and its arguments.
pub(super) fn call(
    plan: &Plan,
    step: &Step,
    weight: &dyn Fn(WeightRef) -> String,
    used: &mut Used,
) -> (&'static str, Vec<String>) {
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
        Op::Linear(linear) => linear_arguments(linear, &reads, &writes[0], weight, used),
        Op::Slice { start, .. } => plain(vec![start.to_string()]),
        Op::Rope(rope) => {
            plain(vec![rope.head_dim.to_string(), format!("&{}", self::rope(step, rope, weight, used))])
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
        Op::QkvRope(fused) => plain(vec![rope_kv(step, fused, weight, used), "cache".into()]),
    };
    (step.kernel, arguments)
}

fn linear_arguments(
    linear: &Linear<WeightRef>,
    reads: &[String],
    write: &str,
    weight: &dyn Fn(WeightRef) -> String,
    used: &mut Used,
) -> Vec<String> {
    for name in ["Input", "Output", "Part"] {
        used.device(name);
    }
    let input = match &linear.norm {
        Some(norm) => format!("Input::normed({}, {}, {})", reads[0], weight(norm.weight), float(norm.eps)),
        None => format!("Input::plain({})", reads[0]),
    };
    let part = |part: &Part<WeightRef>| match part.bias {
        Some(bias) => format!("Part::biased(&{}, {})", weight(part.weight), weight(bias)),
        None => format!("Part::new(&{})", weight(part.weight)),
    };
    let output = match reads.get(1) {
        Some(residual) if linear.residual && residual == write => format!("Output::add({write})"),
        Some(residual) if linear.residual => format!("Output::residual({residual}, {write})"),
        _ => format!("Output::store({write})"),
    };
    match linear.gate {
        None => {
            let parts: Vec<String> = linear.parts.iter().map(part).collect();
            vec!["run".into(), input, format!("&[{}]", parts.join(", ")), output]
        }
        Some(gate) => {
            let parts = linear.parts.iter().map(part);
            let head = ["run".into(), input];
            head.into_iter().chain(parts).chain([activation(gate, used), output]).collect()
        }
    }
}

fn rope_kv(
    step: &Step,
    fused: &QkvRope<WeightRef>,
    weight: &dyn Fn(WeightRef) -> String,
    used: &mut Used,
) -> String {
    used.device("RopeKv");
    let mut norm = |norm: &Option<Norm<WeightRef>>| match norm {
        Some(norm) => {
            used.device("HeadNorm");
            format!("Some(HeadNorm {{ weight: {}, eps: {} }})", weight(norm.weight), float(norm.eps))
        }
        None => "None".into(),
    };
    let (q_norm, k_norm) = (norm(&fused.q_norm), norm(&fused.k_norm));
    format!(
        "&RopeKv {{ heads: {}, kv_heads: {}, head_dim: {}, q_norm: {q_norm}, k_norm: {k_norm}, rope: {} }}",
        fused.heads,
        fused.kv_heads,
        fused.rope.head_dim,
        rope(step, &fused.rope, weight, used),
    )
}

fn rope(
    step: &Step,
    rope: &Rope<WeightRef>,
    weight: &dyn Fn(WeightRef) -> String,
    used: &mut Used,
) -> String {
    used.device("Rope");
    used.device("RopeStyle");
    let style = match rope.style {
        RopeStyle::Interleaved => "Interleaved",
        RopeStyle::HalfSplit => "HalfSplit",
    };
    let frequencies = step.tables.first().map_or_else(String::new, |table| weight(*table));
    let (_, scale) = rope_frequencies(rope, None);
    format!("Rope {{ style: RopeStyle::{style}, inv_freq: {frequencies}, scale: {} }}", float(scale))
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
