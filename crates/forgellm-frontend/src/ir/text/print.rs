//! Graph to text.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Write};

use crate::ir::{
    Graph, HiddenActivation, Linear, Node, Norm, Op, OutputRole, Rope, RopeScaling, RopeStyle, ValueId,
    WeightId,
};

impl Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "graph {}", Quoted(&self.name))?;
        writeln!(f, "\nweights")?;
        for (index, weight) in self.weights().iter().enumerate() {
            writeln!(f, "  {}: {} {:?}", name(self, WeightId(index as u32)), weight.dtype, weight.shape)?;
        }
        writeln!(f, "\nnodes")?;
        for node in self.nodes() {
            write_node(f, self, node)?;
        }
        let given: BTreeSet<_> = self.nodes().iter().flat_map(|node| &node.outputs).collect();
        for (index, shape) in self.values().iter().enumerate() {
            let id = ValueId(index as u32);
            if !given.contains(&id) {
                writeln!(f, "  {id}: {shape}")?;
            }
        }
        writeln!(f, "\noutputs")?;
        for output in self.outputs() {
            writeln!(f, "  {} {}", role_name(output.role), output.value)?;
        }
        Ok(())
    }
}

/// The word for a role.
pub fn role_name(role: OutputRole) -> &'static str {
    match role {
        OutputRole::Logits => "logits",
        OutputRole::Hidden => "hidden",
    }
}

/// The word for an activation.
pub fn activation_name(activation: HiddenActivation) -> &'static str {
    match activation {
        HiddenActivation::Silu => "silu",
        HiddenActivation::GeluTanh => "gelu_tanh",
        HiddenActivation::GeluErf => "gelu_erf",
    }
}

/// The word for a rope style.
pub fn style_name(style: RopeStyle) -> &'static str {
    match style {
        RopeStyle::Interleaved => "interleaved",
        RopeStyle::HalfSplit => "half_split",
    }
}

/// The attributes of an operation: ` key=value` or ` flag` for each.
pub fn attributes(graph: &Graph, op: &Op) -> String {
    let mut text = Attributes { graph, text: String::new() };
    text.op(op);
    text.text
}

/// Whether a weight's name can stand without quotes.
pub fn is_bare(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_.-/".contains(c)
}

fn write_node(f: &mut fmt::Formatter<'_>, graph: &Graph, node: &Node) -> fmt::Result {
    f.write_str("  ")?;
    for (index, id) in node.outputs.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        match graph.values().get(id.index()) {
            Some(shape) => write!(f, "{comma}{id}: {shape}")?,
            None => write!(f, "{comma}{id}: ?")?,
        }
    }
    write!(f, " = {}", node.op.name())?;
    for (index, id) in node.inputs.iter().enumerate() {
        write!(f, "{} {id}", if index == 0 { "" } else { "," })?;
    }
    f.write_str(&attributes(graph, &node.op))?;
    if let Some(layer) = node.layer {
        write!(f, " layer={layer}")?;
    }
    if !node.label.is_empty() {
        write!(f, " {}", Quoted(&node.label))?;
    }
    f.write_char('\n')
}

struct Attributes<'a> {
    graph: &'a Graph,
    text: String,
}

impl Attributes<'_> {
    fn op(&mut self, op: &Op) {
        match op {
            Op::Embed { table, scale } => {
                self.weight("table", Some(*table));
                self.float("scale", Some(*scale));
            }
            Op::RmsNorm { norm, residual } => {
                self.norm("weight", "eps", Some(norm));
                self.flag("residual", *residual);
            }
            Op::Linear(linear) => self.linear(linear),
            Op::Slice { start, len } => {
                self.word("start", Some(start));
                self.word("len", Some(len));
            }
            Op::Rope(rope) => self.rope(rope),
            Op::KvWrite { cache } => self.word("cache", Some(cache.0)),
            Op::Attention(attention) => {
                self.word("cache", Some(attention.cache.0));
                self.word("heads", Some(attention.heads));
                self.word("kv_heads", Some(attention.kv_heads));
                self.word("head_dim", Some(attention.head_dim));
                self.float("scale", Some(attention.scale));
                self.float("softcap", attention.softcap);
                self.word("window", attention.window);
                self.weight("sinks", attention.sinks);
            }
            Op::Activation(kind) => self.word("kind", Some(activation_name(*kind))),
            Op::Add | Op::Mul | Op::SelectWanted => {}
            Op::Scale { factor } => self.float("factor", Some(*factor)),
            Op::Softcap { cap } => self.float("cap", Some(*cap)),
            Op::QkvRope(fused) => {
                if let Some(projection) = &fused.projection {
                    self.linear(projection);
                }
                self.word("cache", Some(fused.cache.0));
                self.word("heads", Some(fused.heads));
                self.word("kv_heads", Some(fused.kv_heads));
                self.norm("q_norm", "q_eps", fused.q_norm.as_ref());
                self.norm("k_norm", "k_eps", fused.k_norm.as_ref());
                self.rope(&fused.rope);
            }
        }
    }

    fn linear(&mut self, linear: &Linear) {
        for part in &linear.parts {
            self.weight("weight", Some(part.weight));
            self.weight("bias", part.bias);
        }
        self.norm("add", "add_eps", linear.add.as_ref());
        self.norm("norm", "eps", linear.norm.as_ref());
        self.word("gate", linear.gate.map(activation_name));
        self.flag("residual", linear.residual);
    }

    fn rope(&mut self, rope: &Rope) {
        self.word("style", Some(style_name(rope.style)));
        self.word("head_dim", Some(rope.head_dim));
        self.word("rotary_dim", Some(rope.rotary_dim));
        self.float("theta", Some(rope.theta));
        match rope.scaling {
            RopeScaling::None => {}
            RopeScaling::Linear { factor } => {
                self.word("scaling", Some("linear"));
                self.float("factor", Some(factor));
            }
            RopeScaling::Yarn { factor, original_context, beta_fast, beta_slow } => {
                self.word("scaling", Some("yarn"));
                self.float("factor", Some(factor));
                self.word("original_context", Some(original_context));
                self.float("beta_fast", Some(beta_fast));
                self.float("beta_slow", Some(beta_slow));
            }
        }
        self.weight("freq_factors", rope.freq_factors);
    }

    fn norm(&mut self, key: &str, eps_key: &str, norm: Option<&Norm>) {
        self.weight(key, norm.map(|norm| norm.weight));
        self.float(eps_key, norm.map(|norm| norm.eps));
    }

    fn weight(&mut self, key: &str, id: Option<WeightId>) {
        self.word(key, id.map(|id| name(self.graph, id)));
    }

    /// The shortest text that reads as the same number.
    fn float(&mut self, key: &str, value: Option<f32>) {
        self.word(key, value.map(|value| format!("{value:?}")));
    }

    fn flag(&mut self, key: &str, set: bool) {
        if set {
            self.text.extend([" ", key]);
        }
    }

    fn word(&mut self, key: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.text.push_str(&format!(" {key}={value}"));
        }
    }
}

/// `@name`; the id where the graph has no such weight.
fn name(graph: &Graph, id: WeightId) -> String {
    match graph.weights().get(id.index()) {
        Some(weight) if !weight.name.is_empty() && weight.name.chars().all(is_bare) => {
            format!("@{}", weight.name)
        }
        Some(weight) => format!("@{}", Quoted(&weight.name)),
        None => format!("@?{}", id.0),
    }
}

/// Text in quotes, with the escapes that the lexer knows.
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if c.is_control() => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}
