//! The operations of a graph.
//!
//! `W` is how an operation names its weights: a [`WeightId`] in a graph, a slot of a layer's table in a plan.

use super::{HiddenActivation, RopeScaling, WeightId};

/// What a node computes. Inputs and results are given as `(inputs) → results`.
#[derive(Debug, Clone, PartialEq)]
pub enum Op<W = WeightId> {
    /// `() → [rows, hidden]`: the rows of `table` [vocab, hidden] for the step's tokens, times `scale`.
    Embed {
        /// Embedding table [vocab, hidden].
        table: W,
        /// Factor on the embedding.
        scale: f32,
    },
    /// `(x) → x's shape`: root-mean-square norm of each chunk of the weight's length; a weight as long as the row norms
    /// the whole row, one of head_dim each head. With `residual`: `(x, r) → r + norm(x)`.
    RmsNorm {
        /// Weight and epsilon.
        norm: Norm<W>,
        /// Whether a second input is added to the normed one.
        residual: bool,
    },
    /// `(x) → [same rows, outputs]`; `(x, r)` with a residual; `(y, s) → (result, sum)` and `(y, s, r) → (result, sum)` with a sum:
    /// see [`Linear`].
    Linear(Linear<W>),
    /// `(x) → [same rows, len]`: columns `start .. start + len`.
    Slice {
        /// First column.
        start: usize,
        /// Number of columns.
        len: usize,
    },
    /// `(x) → x's shape`: rotary position embedding of each head.
    Rope(Rope<W>),
    /// `(k, v) → [context, k + v]`: puts key and value of each row into the cache and gives the cache.
    KvWrite {
        /// Which cache.
        cache: CacheId,
    },
    /// `(q, kv) → [rows, heads · head_dim]`: causal attention of each row over its sequence.
    Attention(Attention<W>),
    /// `(x) → x's shape`.
    Activation(HiddenActivation),
    /// `(a, b) → a + b`.
    Add,
    /// `(a, b) → a · b`, element by element.
    Mul,
    /// `(x) → factor · x`.
    Scale {
        /// The factor.
        factor: f32,
    },
    /// `(x) → cap · tanh(x / cap)`.
    Softcap {
        /// The cap.
        cap: f32,
    },
    /// `(x: [rows, n]) → [wanted, n]`: the rows of which something is wanted.
    SelectWanted,
    /// `(qkv) → (q, kv)`: splits `[q | k | v]`, norms and turns q and k, writes k and v into the cache; `(x) → (q, kv)` with the projection
    /// to `[q | k | v]`, and `(y, s) → (q, kv, sum)` where that has a sum. See [`QkvRope`].
    QkvRope(QkvRope<W>),
}

/// Number of a layer's key-value cache: the layer's index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheId(pub u32);

/// A root-mean-square norm: x / √(mean(x²) + eps) · weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Norm<W = WeightId> {
    /// Weight \[n\]: the norm runs over chunks of n.
    pub weight: W,
    /// Added to the mean square.
    pub eps: f32,
}

/// A projection, with what may be fused into it.
///
/// y = [part₀ | part₁ | …] where partᵢ = norm(x) · weightᵢᵀ + biasᵢ; with `gate`, there are exactly two parts of the same size, and
/// y = activation(part₀) · part₁; with `residual`, y = r + that.
///
/// With `add`, x is not an input but the sum s + add(y) of two, and the last result: what a norm with a residual gives, which stands in the
/// residual stream, and which others read too.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear<W = WeightId> {
    /// Norm of the first input, to which the second is added before all else; it runs over whole rows.
    pub add: Option<Norm<W>>,
    /// Norm of the input, or of the sum.
    pub norm: Option<Norm<W>>,
    /// Weights whose results stand side by side.
    pub parts: Vec<Part<W>>,
    /// Activation of the first part, which then multiplies the second.
    pub gate: Option<HiddenActivation>,
    /// Whether a second input is added to the result.
    pub residual: bool,
}

impl<W> Linear<W> {
    /// A projection with nothing fused.
    pub fn plain(weight: W, bias: Option<W>) -> Linear<W> {
        Linear::joint(vec![Part { weight, bias }])
    }

    /// A projection of several parts with nothing else fused.
    pub fn joint(parts: Vec<Part<W>>) -> Linear<W> {
        Linear { add: None, norm: None, parts, gate: None, residual: false }
    }

    /// How many inputs it takes.
    pub fn inputs(&self) -> usize {
        1 + usize::from(self.add.is_some()) + usize::from(self.residual)
    }
}

/// One weight of a projection.
#[derive(Debug, Clone, PartialEq)]
pub struct Part<W = WeightId> {
    /// Matrix [outputs, inputs].
    pub weight: W,
    /// Bias \[outputs\].
    pub bias: Option<W>,
}

/// Which elements of a head rope turns together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RopeStyle {
    /// (x₂ᵢ, x₂ᵢ₊₁): GGUF files of the llama family.
    Interleaved,
    /// (xᵢ, xᵢ₊ₙ/₂): everyone else.
    HalfSplit,
}

/// Rotary position embedding (Su et al. 2021, arXiv 2104.09864). Its frequencies: [`super::rope_frequencies`].
#[derive(Debug, Clone, PartialEq)]
pub struct Rope<W = WeightId> {
    /// Pairing.
    pub style: RopeStyle,
    /// Elements of a head.
    pub head_dim: usize,
    /// The first so many elements of each head are turned.
    pub rotary_dim: usize,
    /// Base of the frequencies.
    pub theta: f32,
    /// Scaling for long contexts.
    pub scaling: RopeScaling,
    /// A divisor per frequency [rotary_dim / 2].
    pub freq_factors: Option<W>,
}

/// Causal attention: softmax(scale · q · kᵀ) · v over the positions up to the row's own.
#[derive(Debug, Clone, PartialEq)]
pub struct Attention<W = WeightId> {
    /// Which cache.
    pub cache: CacheId,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Factor on scores.
    pub scale: f32,
    /// Scores become cap · tanh(score / cap).
    pub softcap: Option<f32>,
    /// Only the last so many positions, the row's own among them.
    pub window: Option<usize>,
    /// A logit per head that takes part in the softmax but gives nothing \[heads\].
    pub sinks: Option<W>,
}

/// The fused way from a joint projection `[q | k | v]` to attention: per-head norms, rope and the cache write.
#[derive(Debug, Clone, PartialEq)]
pub struct QkvRope<W = WeightId> {
    /// The projection itself, of three parts: queries, keys, values. It has neither gate nor residual.
    pub projection: Option<Linear<W>>,
    /// Which cache.
    pub cache: CacheId,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Norm of each query head.
    pub q_norm: Option<Norm<W>>,
    /// Norm of each key head.
    pub k_norm: Option<Norm<W>>,
    /// Rope of queries and keys; its head_dim is that of all three.
    pub rope: Rope<W>,
}

impl<W> Op<W> {
    /// The name in the text form.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Embed { .. } => "embed",
            Op::RmsNorm { .. } => "rms_norm",
            Op::Linear(_) => "linear",
            Op::Slice { .. } => "slice",
            Op::Rope(_) => "rope",
            Op::KvWrite { .. } => "kv_write",
            Op::Attention(_) => "attention",
            Op::Activation(_) => "activation",
            Op::Add => "add",
            Op::Mul => "mul",
            Op::Scale { .. } => "scale",
            Op::Softcap { .. } => "softcap",
            Op::SelectWanted => "select_wanted",
            Op::QkvRope(_) => "qkv_rope",
        }
    }

    /// The cache that this operation reads or writes.
    pub fn cache(&self) -> Option<CacheId> {
        match self {
            Op::KvWrite { cache } => Some(*cache),
            Op::Attention(attention) => Some(attention.cache),
            Op::QkvRope(fused) => Some(fused.cache),
            _ => None,
        }
    }

    /// The projection in this operation.
    pub fn projection(&self) -> Option<&Linear<W>> {
        match self {
            Op::Linear(linear) => Some(linear),
            Op::QkvRope(fused) => fused.projection.as_ref(),
            _ => None,
        }
    }

    /// The same operation with every weight renamed by `f` (in the order of their roles) and its cache by `cache`.
    pub fn map<V>(&self, mut f: impl FnMut(&W) -> V, cache: impl Fn(CacheId) -> CacheId) -> Op<V> {
        fn norm<W, V>(norm: &Norm<W>, f: &mut impl FnMut(&W) -> V) -> Norm<V> {
            Norm { weight: f(&norm.weight), eps: norm.eps }
        }
        fn rope<W, V>(rope: &Rope<W>, f: &mut impl FnMut(&W) -> V) -> Rope<V> {
            Rope {
                style: rope.style,
                head_dim: rope.head_dim,
                rotary_dim: rope.rotary_dim,
                theta: rope.theta,
                scaling: rope.scaling,
                freq_factors: rope.freq_factors.as_ref().map(f),
            }
        }
        fn linear<W, V>(linear: &Linear<W>, f: &mut impl FnMut(&W) -> V) -> Linear<V> {
            Linear {
                add: linear.add.as_ref().map(|n| norm(n, f)),
                norm: linear.norm.as_ref().map(|n| norm(n, f)),
                parts: linear
                    .parts
                    .iter()
                    .map(|part| Part { weight: f(&part.weight), bias: part.bias.as_ref().map(&mut *f) })
                    .collect(),
                gate: linear.gate,
                residual: linear.residual,
            }
        }
        let f = &mut f;
        match self {
            Op::Embed { table, scale } => Op::Embed { table: f(table), scale: *scale },
            Op::RmsNorm { norm: n, residual } => Op::RmsNorm { norm: norm(n, f), residual: *residual },
            Op::Linear(l) => Op::Linear(linear(l, f)),
            Op::Slice { start, len } => Op::Slice { start: *start, len: *len },
            Op::Rope(r) => Op::Rope(rope(r, f)),
            Op::KvWrite { cache: id } => Op::KvWrite { cache: cache(*id) },
            Op::Attention(a) => Op::Attention(Attention {
                cache: cache(a.cache),
                heads: a.heads,
                kv_heads: a.kv_heads,
                head_dim: a.head_dim,
                scale: a.scale,
                softcap: a.softcap,
                window: a.window,
                sinks: a.sinks.as_ref().map(f),
            }),
            Op::Activation(activation) => Op::Activation(*activation),
            Op::Add => Op::Add,
            Op::Mul => Op::Mul,
            Op::Scale { factor } => Op::Scale { factor: *factor },
            Op::Softcap { cap } => Op::Softcap { cap: *cap },
            Op::SelectWanted => Op::SelectWanted,
            Op::QkvRope(q) => Op::QkvRope(QkvRope {
                projection: q.projection.as_ref().map(|l| linear(l, f)),
                cache: cache(q.cache),
                heads: q.heads,
                kv_heads: q.kv_heads,
                q_norm: q.q_norm.as_ref().map(|n| norm(n, f)),
                k_norm: q.k_norm.as_ref().map(|n| norm(n, f)),
                rope: rope(&q.rope, f),
            }),
        }
    }

    /// The weights, in the order of their roles.
    pub fn weights(&self) -> Vec<W>
    where
        W: Clone,
    {
        let mut weights = Vec::new();
        self.map(|weight| weights.push(weight.clone()), |cache| cache);
        weights
    }
}
