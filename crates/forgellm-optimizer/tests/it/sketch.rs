//! Small graphs, written by hand.

use forgellm_frontend::ir::{
    Attention, CacheId, DType, Graph, HiddenActivation, Linear, Node, Norm, Op, OutputRole, Part, QkvRope,
    Rope, RopeScaling, RopeStyle, Shape, Stage, ValueId, Verified, Weight, WeightId, verify,
};
use forgellm_optimizer::{Optimized, Options, optimize, rewrites};

pub const VOCAB: usize = 23;

/// A graph in the making: an embedding, then layer 0 until [`Sketch::layer`] says otherwise.
pub struct Sketch {
    graph: Graph,
    layer: Option<u32>,
}

impl Sketch {
    /// A sketch and the embedded rows, of width `hidden`.
    pub fn new(hidden: usize) -> (Sketch, ValueId) {
        let mut sketch = Sketch { graph: Graph::new("sketch"), layer: None };
        let table = sketch.weight(&[VOCAB, hidden]);
        let x = sketch.push("embed", Op::Embed { table, scale: 1.0 }, &[], Shape::rows(hidden));
        sketch.layer = Some(0);
        (sketch, x)
    }

    /// The nodes from here on belong to this layer, or stand behind all layers.
    pub fn layer(&mut self, layer: Option<u32>) {
        self.layer = layer;
    }

    pub fn shape(&self, value: ValueId) -> Shape {
        self.graph.shape(value)
    }

    /// Whether a node so far reads the value.
    pub fn is_read(&self, value: ValueId) -> bool {
        self.graph.nodes().iter().any(|node| node.inputs.contains(&value))
    }

    pub fn weight(&mut self, shape: &[usize]) -> WeightId {
        let name = format!("w{}", self.graph.weights().len());
        self.graph.add_weight(Weight { name, dtype: DType::F32, shape: shape.to_vec() })
    }

    pub fn push(&mut self, label: &str, op: Op, inputs: &[ValueId], shape: Shape) -> ValueId {
        let [value] = self.push_all(label, op, inputs, [shape]);
        value
    }

    /// A node of several results.
    pub fn push_all<const N: usize>(
        &mut self,
        label: &str,
        op: Op,
        inputs: &[ValueId],
        shapes: [Shape; N],
    ) -> [ValueId; N] {
        let values = shapes.map(|shape| self.graph.add_value(shape));
        let (inputs, outputs, layer) = (inputs.to_vec(), values.to_vec(), self.layer);
        self.graph.add_node(Node { op, inputs, outputs, layer, label: label.into() });
        values
    }

    /// An operation whose result has the shape of its first input.
    pub fn like(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
        self.push(op.name(), op, inputs, self.shape(inputs[0]))
    }

    /// A norm over chunks of `len`; each norm of a graph has another epsilon.
    pub fn norm(&mut self, x: ValueId, len: usize) -> ValueId {
        let norm = self.norm_of(len);
        self.like(Op::RmsNorm { norm, residual: false }, &[x])
    }

    /// `stream` + a norm of `x` over chunks of `len`.
    pub fn norm_residual(&mut self, x: ValueId, stream: ValueId, len: usize) -> ValueId {
        let norm = self.norm_of(len);
        self.like(Op::RmsNorm { norm, residual: true }, &[x, stream])
    }

    fn norm_of(&mut self, len: usize) -> Norm {
        let weight = self.weight(&[len]);
        Norm { weight, eps: 1e-3 * self.graph.weights().len() as f32 }
    }

    pub fn linear(&mut self, x: ValueId, outputs: usize) -> ValueId {
        self.parts(x, &[outputs], false)
    }

    pub fn biased(&mut self, x: ValueId, outputs: usize) -> ValueId {
        self.parts(x, &[outputs], true)
    }

    /// A projection of parts of these sizes.
    pub fn parts(&mut self, x: ValueId, outputs: &[usize], biased: bool) -> ValueId {
        let input = self.shape(x);
        let parts = outputs
            .iter()
            .map(|outputs| Part {
                weight: self.weight(&[*outputs, input.width]),
                bias: biased.then(|| self.weight(&[*outputs])),
            })
            .collect();
        let op = Op::Linear(Linear::joint(parts));
        self.push("linear", op, &[x], Shape { width: outputs.iter().sum(), ..input })
    }

    /// A projection of parts of these sizes, with a norm over chunks of `len`; with `residual`, that is added.
    pub fn normed(
        &mut self,
        x: ValueId,
        len: usize,
        outputs: &[usize],
        residual: Option<ValueId>,
    ) -> ValueId {
        let input = self.shape(x);
        let parts = outputs
            .iter()
            .map(|outputs| Part { weight: self.weight(&[*outputs, input.width]), bias: None })
            .collect();
        let norm = Some(self.norm_of(len));
        let op = Op::Linear(Linear { norm, residual: residual.is_some(), ..Linear::joint(parts) });
        let inputs: Vec<_> = [x].into_iter().chain(residual).collect();
        self.push("linear", op, &inputs, Shape { width: outputs.iter().sum(), ..input })
    }

    /// Queries and the cache from a joint projection of so many heads.
    pub fn qkv_rope(
        &mut self,
        joint: ValueId,
        heads: usize,
        kv_heads: usize,
        head_dim: usize,
    ) -> [ValueId; 2] {
        let fused = QkvRope {
            projection: None,
            cache: CacheId(self.layer.expect("inside a layer")),
            heads,
            kv_heads,
            q_norm: None,
            k_norm: None,
            rope: half_split(head_dim, 20.0),
        };
        let shapes = [Shape::rows(heads * head_dim), Shape::context(2 * kv_heads * head_dim)];
        self.push_all("q", Op::QkvRope(fused), &[joint], shapes)
    }

    pub fn slice(&mut self, x: ValueId, start: usize, len: usize) -> ValueId {
        let shape = Shape { width: len, ..self.shape(x) };
        self.push("slice", Op::Slice { start, len }, &[x], shape)
    }

    pub fn rope(&mut self, x: ValueId, head_dim: usize, theta: f32) -> ValueId {
        self.like(Op::Rope(half_split(head_dim, theta)), &[x])
    }

    pub fn kv_write(&mut self, k: ValueId, v: ValueId) -> ValueId {
        let cache = CacheId(self.layer.expect("inside a layer"));
        let shape = Shape::context(self.shape(k).width + self.shape(v).width);
        self.push("kv_write", Op::KvWrite { cache }, &[k, v], shape)
    }

    pub fn attention(&mut self, q: ValueId, kv: ValueId, head_dim: usize) -> ValueId {
        let attention = Attention {
            cache: CacheId(self.layer.expect("inside a layer")),
            heads: self.shape(q).width / head_dim,
            kv_heads: self.shape(kv).width / 2 / head_dim,
            head_dim,
            scale: 0.4,
            softcap: None,
            window: None,
            sinks: None,
        };
        self.like(Op::Attention(attention), &[q, kv])
    }

    pub fn activation(&mut self, x: ValueId) -> ValueId {
        self.like(Op::Activation(HiddenActivation::Silu), &[x])
    }

    pub fn add(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.like(Op::Add, &[a, b])
    }

    pub fn mul(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.like(Op::Mul, &[a, b])
    }

    pub fn output(&mut self, role: OutputRole, value: ValueId) {
        self.graph.add_output(role, value);
    }

    /// The wanted rows of `x`, behind all layers.
    pub fn wanted(&mut self, x: ValueId) -> ValueId {
        self.layer = None;
        let shape = Shape::wanted(self.shape(x).width);
        self.push("select_wanted", Op::SelectWanted, &[x], shape)
    }

    /// The graph, with logits projected from the wanted rows of `x`.
    pub fn logits_of(mut self, x: ValueId) -> Verified<Graph> {
        let wanted = self.wanted(x);
        let logits = self.linear(wanted, VOCAB);
        self.output(OutputRole::Logits, logits);
        self.finish()
    }

    pub fn finish(self) -> Verified<Graph> {
        verify(self.graph, Stage::Fused).unwrap_or_else(|error| panic!("the sketch is wrong: {error}"))
    }
}

fn half_split(head_dim: usize, theta: f32) -> Rope {
    Rope {
        style: RopeStyle::HalfSplit,
        head_dim,
        rotary_dim: head_dim,
        theta,
        scaling: RopeScaling::None,
        freq_factors: None,
    }
}

/// `graph` after one rewrite alone.
pub fn only(rewrite: &str, graph: Verified<Graph>) -> Optimized {
    assert!(rewrites().iter().any(|known| known.name == rewrite), "there is no rewrite {rewrite}");
    let skip = rewrites().iter().filter(|known| known.name != rewrite).map(|known| known.name.to_owned());
    let options = Options { skip: skip.collect(), ..Options::default() };
    optimize(graph, &options).unwrap_or_else(|error| panic!("{error}"))
}

/// The operations of one layer, or outside of layers, with what is fused into them.
pub fn operations(graph: &Graph, layer: Option<u32>) -> Vec<String> {
    let nodes = graph.nodes().iter().filter(|node| node.layer == layer);
    nodes.map(|node| format!("{}: {}", node.label, operation(&node.op))).collect()
}

fn operation(op: &Op) -> String {
    let mut text = op.name().to_owned();
    let mut with = |condition: bool, what: &str| {
        if condition {
            text += what;
        }
    };
    if let Some(linear) = op.projection() {
        with(linear.add.is_some(), " sum");
        with(linear.norm.is_some(), " norm");
        with(linear.parts.len() > 1, &format!(" {} parts", linear.parts.len()));
        with(linear.gate.is_some(), " gate");
        with(linear.residual, " residual");
    }
    match op {
        Op::RmsNorm { residual, .. } => with(*residual, " residual"),
        Op::QkvRope(fused) => {
            with(fused.q_norm.is_some(), " q_norm");
            with(fused.k_norm.is_some(), " k_norm");
        }
        _ => {}
    }
    text
}
