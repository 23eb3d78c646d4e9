//! The text form of a plan: its identity, and what people read.

use std::fmt;

use forgellm_frontend::ir::{Linear, Norm, Op, RopeScaling};

use crate::{BufferId, Plan, Step, WeightRef, WeightSource};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "plan {:?} for {} (layout {})", self.model, self.target, self.layout_version)?;
        writeln!(f, "vocab {} hidden {} positions {}", self.vocab, self.hidden, self.positions)?;
        writeln!(f, "arena {} elements a row, {} a wanted row", self.row_elements, self.wanted_elements)?;
        writeln!(f, "\nbuffers")?;
        for buffer in &self.buffers {
            writeln!(f, "  {:<20} {:<16} at {}", buffer.name, buffer.shape.to_string(), buffer.offset)?;
        }
        if !self.projections.is_empty() {
            writeln!(f, "\nprojections")?;
        }
        let mut first = 1;
        for bucket in &self.projections {
            let last = bucket.most_rows.map_or(String::new(), |rows| rows.to_string());
            writeln!(f, "  rows {:<8} {} {}", format!("{first}..{last}"), bucket.kernel, bucket.tile)?;
            first = bucket.most_rows.map_or(first, |rows| rows + 1);
        }
        writeln!(f, "\ncaches")?;
        for (number, cache) in self.caches.iter().enumerate() {
            write!(f, "  {number}: {} heads of {}", cache.kv_heads, cache.head_dim)?;
            match cache.window {
                Some(window) => writeln!(f, ", window {window}")?,
                None => writeln!(f)?,
            }
        }
        writeln!(f, "\nprologue")?;
        let global = |weight: WeightRef| self.weights[weight.0].name.clone();
        steps(f, self, &self.prologue, &global)?;
        for (number, kind) in self.kinds.iter().enumerate() {
            let layers: Vec<String> = self
                .layers
                .iter()
                .enumerate()
                .filter(|(_, layer)| layer.kind == number)
                .map(|(layer, _)| layer.to_string())
                .collect();
            writeln!(f, "\nkind {number}: layers {}", layers.join(" "))?;
            for slot in &kind.slots {
                writeln!(f, "  {:<20} {} {:?} as {}", slot.name, slot.dtype, slot.shape, slot.layout.name)?;
            }
            steps(f, self, &kind.steps, &|weight| kind.slots[weight.0].name.clone())?;
        }
        writeln!(f, "\nepilogue")?;
        steps(f, self, &self.epilogue, &global)?;
        writeln!(f, "\nhead")?;
        steps(f, self, &self.head, &global)?;
        writeln!(f, "logits {}", self.buffers[self.logits.0].name)?;
        writeln!(f, "\nweights")?;
        for weight in &self.weights {
            write!(f, "  {} {} {:?}", weight.name, weight.dtype, weight.shape)?;
            write!(f, " as {}, {} bytes", weight.layout.name, weight.layout.bytes)?;
            if let WeightSource::RopeFrequencies(rope) = &weight.source {
                write!(f, ", theta {} over {}", rope.theta, rope.rotary_dim)?;
                if rope.scaling != RopeScaling::None {
                    write!(f, ", {:?}", rope.scaling)?;
                }
                if let Some(factors) = &rope.freq_factors {
                    write!(f, ", divided by {factors}")?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn steps(
    f: &mut fmt::Formatter<'_>,
    plan: &Plan,
    steps: &[Step],
    name: &dyn Fn(WeightRef) -> String,
) -> fmt::Result {
    let buffers = |ids: &[BufferId]| {
        ids.iter().map(|id| plan.buffers[id.0].name.as_str()).collect::<Vec<_>>().join(", ")
    };
    for step in steps {
        if step.barrier {
            writeln!(f, "  --")?;
        }
        write!(f, "  ({}) = {}({})", buffers(&step.writes), step.kernel, buffers(&step.reads))?;
        let weights = step.op.weights();
        let weights: Vec<String> = weights.iter().chain(&step.tables).map(|weight| name(*weight)).collect();
        if !weights.is_empty() {
            write!(f, " with {}", weights.join(", "))?;
        }
        writeln!(f, "  {}", attributes(&step.op))?;
    }
    Ok(())
}

/// What an operation is set to, apart from its weights.
fn attributes<W>(op: &Op<W>) -> String {
    match op {
        Op::Embed { scale, .. } => format!("scale={scale}"),
        Op::RmsNorm { norm, residual } => format!("eps={} residual={residual}", norm.eps),
        Op::Linear(linear) => {
            let gate = linear.gate.map_or("none".into(), |gate| format!("{gate:?}"));
            format!("{} gate={gate} residual={}", projection(linear), linear.residual)
        }
        Op::Slice { start, len } => format!("start={start} len={len}"),
        Op::Rope(rope) => {
            format!("style={:?} head_dim={} rotary_dim={}", rope.style, rope.head_dim, rope.rotary_dim)
        }
        Op::KvWrite { .. } | Op::Add | Op::Mul | Op::SelectWanted => String::new(),
        Op::Attention(a) => format!(
            "heads={} kv_heads={} head_dim={} scale={} softcap={:?} window={:?} sinks={}",
            a.heads,
            a.kv_heads,
            a.head_dim,
            a.scale,
            a.softcap,
            a.window,
            a.sinks.is_some()
        ),
        Op::Activation(activation) => format!("{activation:?}"),
        Op::Scale { factor } => format!("factor={factor}"),
        Op::Softcap { cap } => format!("cap={cap}"),
        Op::QkvRope(q) => {
            let projection = q.projection.as_ref().map_or(String::new(), |linear| projection(linear) + " ");
            format!(
                "{projection}heads={} kv_heads={} head_dim={} rotary_dim={} style={:?} q_norm={} k_norm={}",
                q.heads,
                q.kv_heads,
                q.rope.head_dim,
                q.rope.rotary_dim,
                q.rope.style,
                norm(&q.q_norm),
                norm(&q.k_norm)
            )
        }
    }
}

/// What a projection does up to its parts.
fn projection<W>(linear: &Linear<W>) -> String {
    let add = linear.add.as_ref().map_or(String::new(), |norm| format!("add=eps={} ", norm.eps));
    let biases = linear.parts.iter().filter(|part| part.bias.is_some()).count();
    format!("{add}norm={} parts={} biases={biases}", norm(&linear.norm), linear.parts.len())
}

fn norm<W>(norm: &Option<Norm<W>>) -> String {
    norm.as_ref().map_or("none".into(), |norm| format!("eps={}", norm.eps))
}
