//! What each operation takes and gives.

use crate::ir::{
    Attention, DType, Dim, Graph, Linear, Norm, Op, QkvRope, Rope, RopeScaling, Shape, Weight, WeightId,
};

/// The shapes of the results of `op` on `inputs`; an error where the inputs or the weights are not what it takes.
///
/// Every weight id must be in range.
pub fn outputs(graph: &Graph, op: &Op, inputs: &[Shape]) -> Result<Vec<Shape>, String> {
    match op {
        Op::Embed { table, scale } => {
            let [] = take(inputs)?;
            finite("scale", *scale)?;
            let [_, hidden] = matrix(graph, *table, "table")?;
            Ok(vec![Shape::rows(hidden)])
        }
        Op::RmsNorm { norm: n, residual: false } => {
            let [x] = take(inputs)?;
            norm(graph, n, activation(x)?.width)?;
            Ok(vec![x])
        }
        Op::RmsNorm { norm: n, residual: true } => {
            let [x, residual] = take(inputs)?;
            norm(graph, n, activation(x)?.width)?;
            same("the residual", residual, "the input", x)?;
            Ok(vec![x])
        }
        Op::Linear(op) => linear(graph, op, inputs),
        Op::Slice { start, len } => {
            let [x] = take(inputs)?;
            activation(x)?;
            match start.checked_add(*len) {
                Some(end) if *len > 0 && end <= x.width => Ok(vec![Shape { width: *len, ..x }]),
                _ => Err(format!("takes {len} columns from {start} on of a value with {}", x.width)),
            }
        }
        Op::Rope(op) => {
            let [x] = take(inputs)?;
            step_rows(x, "the input")?;
            rope(graph, op)?;
            if !x.width.is_multiple_of(op.head_dim) {
                return Err(format!("turns heads of {}, but rows have {} elements", op.head_dim, x.width));
            }
            Ok(vec![x])
        }
        Op::KvWrite { .. } => {
            let [k, v] = take(inputs)?;
            step_rows(k, "the key")?;
            step_rows(v, "the value")?;
            Ok(vec![Shape::context(k.width.checked_add(v.width).ok_or("key and value are too wide")?)])
        }
        Op::Attention(op) => attention(graph, op, inputs),
        Op::Activation(_) | Op::Scale { .. } | Op::Softcap { .. } => {
            let [x] = take(inputs)?;
            match op {
                Op::Scale { factor } => finite("factor", *factor)?,
                Op::Softcap { cap } => positive("cap", *cap)?,
                _ => {}
            }
            Ok(vec![activation(x)?])
        }
        Op::Add | Op::Mul => {
            let [a, b] = take(inputs)?;
            same("the second input", b, "the first", activation(a)?)?;
            Ok(vec![a])
        }
        Op::SelectWanted => {
            let [x] = take(inputs)?;
            step_rows(x, "the input")?;
            Ok(vec![Shape::wanted(x.width)])
        }
        Op::QkvRope(op) => qkv_rope(graph, op, inputs),
    }
}

/// What in `op` only a rewrite may put there.
pub fn fused_feature(op: &Op) -> Option<&'static str> {
    match op {
        Op::Linear(linear) if linear.add.is_some() => Some("a sum in a projection"),
        Op::Linear(linear) if linear.norm.is_some() => Some("a norm in a projection"),
        Op::Linear(linear) if linear.gate.is_some() => Some("a gate in a projection"),
        Op::Linear(linear) if linear.residual => Some("a residual in a projection"),
        Op::Linear(linear) if linear.parts.len() > 1 => Some("a projection of several parts"),
        Op::RmsNorm { residual: true, .. } => Some("a residual in a norm"),
        Op::QkvRope(_) => Some("a fused rope and cache write"),
        _ => None,
    }
}

fn linear(graph: &Graph, op: &Linear, inputs: &[Shape]) -> Result<Vec<Shape>, String> {
    if inputs.len() != op.inputs() {
        return Err(format!("has {} inputs, it takes {}", inputs.len(), op.inputs()));
    }
    let x = activation(inputs[0])?;
    if let Some(n) = &op.add {
        sum(graph, op, n, x, inputs[1])?;
    }
    if let Some(n) = &op.norm {
        norm(graph, n, x.width)?;
    }
    let mut widths = Vec::new();
    for part in &op.parts {
        let [out, taken] = matrix(graph, part.weight, "weight")?;
        if taken != x.width {
            let name = &graph.weight(part.weight).name;
            return Err(format!("weight `{name}` takes rows of {taken}, the input has {}", x.width));
        }
        if let Some(bias) = part.bias {
            vector(graph, bias, "bias", out)?;
        }
        widths.push(out);
    }
    let width = match (op.gate, &widths[..]) {
        (Some(_), [gate, up]) if gate == up => *gate,
        (Some(_), _) => {
            return Err(format!("a gate needs two parts of the same size, there are parts of {widths:?}"));
        }
        (None, []) => return Err("has no part".to_owned()),
        (None, widths) => widths
            .iter()
            .try_fold(0usize, |all, width| all.checked_add(*width))
            .ok_or("the parts are too wide together")?,
    };
    let y = Shape { width, ..x };
    if op.residual {
        same("the residual", inputs[op.inputs() - 1], "the result", y)?;
    }
    Ok([y].into_iter().chain(op.add.is_some().then_some(x)).collect())
}

/// A projection of `stream` + the norm `n` of `x`.
fn sum(graph: &Graph, op: &Linear, n: &Norm, x: Shape, stream: Shape) -> Result<(), String> {
    norm(graph, n, x.width)?;
    let weight = graph.weight(n.weight);
    if weight.shape != [x.width] {
        return Err(format!(
            "norm weight `{}` has {:?} elements, the rows of the sum have {}",
            weight.name, weight.shape, x.width
        ));
    }
    same("what is added", stream, "the input", x)?;
    match op.norm {
        Some(_) => Ok(()),
        None => Err("projects a sum without a norm of it".to_owned()),
    }
}

fn attention(graph: &Graph, op: &Attention, inputs: &[Shape]) -> Result<Vec<Shape>, String> {
    let [q, kv] = take(inputs)?;
    step_rows(q, "the query")?;
    let [query, key] = head_widths(op.heads, op.kv_heads, op.head_dim)?;
    if q.width != query {
        return Err(format!(
            "{} heads of {} are {query} wide, the query is {}",
            op.heads, op.head_dim, q.width
        ));
    }
    let expected = Shape::context(key.checked_mul(2).ok_or("the heads are too wide")?);
    if kv != expected {
        return Err(format!("the cache is {kv}, {} heads need {expected}", op.kv_heads));
    }
    finite("scale", op.scale)?;
    if let Some(cap) = op.softcap {
        positive("softcap", cap)?;
    }
    if op.window == Some(0) {
        return Err("a window of 0 leaves nothing to attend to".to_owned());
    }
    if let Some(sinks) = op.sinks {
        vector(graph, sinks, "sinks", op.heads)?;
    }
    Ok(vec![Shape::rows(query)])
}

fn qkv_rope(graph: &Graph, op: &QkvRope, inputs: &[Shape]) -> Result<Vec<Shape>, String> {
    let (qkv, sum) = match &op.projection {
        Some(projection) => qkv_projection(graph, op, projection, inputs)?,
        None => {
            let [qkv] = take(inputs)?;
            (qkv, None)
        }
    };
    step_rows(qkv, "the input")?;
    rope(graph, &op.rope)?;
    let [query, key] = head_widths(op.heads, op.kv_heads, op.rope.head_dim)?;
    let both = key.checked_mul(2).ok_or("the heads are too wide")?;
    if Some(qkv.width) != query.checked_add(both) {
        return Err(format!(
            "{} + 2 · {} heads of {} are not {} wide",
            op.heads, op.kv_heads, op.rope.head_dim, qkv.width
        ));
    }
    for n in op.q_norm.iter().chain(&op.k_norm) {
        norm(graph, n, op.rope.head_dim)?;
    }
    Ok([Shape::rows(query), Shape::context(both)].into_iter().chain(sum).collect())
}

/// The joint projection of a fused way to attention, and the sum where it gives one.
fn qkv_projection(
    graph: &Graph,
    op: &QkvRope,
    projection: &Linear,
    inputs: &[Shape],
) -> Result<(Shape, Option<Shape>), String> {
    if projection.gate.is_some() || projection.residual {
        return Err("a projection to queries, keys and values has no gate and no residual".to_owned());
    }
    let results = linear(graph, projection, inputs)?;
    let [query, key] = head_widths(op.heads, op.kv_heads, op.rope.head_dim)?;
    let widths: Vec<_> = projection.parts.iter().map(|part| graph.weight(part.weight).shape[0]).collect();
    if widths != [query, key, key] {
        return Err(format!(
            "the parts must be queries, keys and values of {query}, {key} and {key}, there are parts of {widths:?}"
        ));
    }
    match results[..] {
        [qkv, sum] => Ok((qkv, Some(sum))),
        _ => Ok((results[0], None)),
    }
}

/// Elements of a row's queries and of its keys.
fn head_widths(heads: usize, kv_heads: usize, head_dim: usize) -> Result<[usize; 2], String> {
    if heads == 0 || kv_heads == 0 || head_dim == 0 {
        return Err(format!("{heads} heads, {kv_heads} kv_heads of {head_dim} elements: none may be 0"));
    }
    if !heads.is_multiple_of(kv_heads) {
        return Err(format!("{heads} heads are no multiple of {kv_heads} kv_heads"));
    }
    let query = heads.checked_mul(head_dim).ok_or("the heads are too wide")?;
    Ok([query, kv_heads * head_dim])
}

fn rope(graph: &Graph, op: &Rope) -> Result<(), String> {
    let Rope { head_dim, rotary_dim, .. } = *op;
    if rotary_dim == 0 || !rotary_dim.is_multiple_of(2) || rotary_dim > head_dim {
        return Err(format!("turns {rotary_dim} of {head_dim} elements; it must be an even number of them"));
    }
    positive("theta", op.theta)?;
    match op.scaling {
        RopeScaling::None => {}
        RopeScaling::Linear { factor } => positive("the rope factor", factor)?,
        RopeScaling::Yarn { factor, original_context, beta_fast, beta_slow } => {
            positive("the rope factor", factor)?;
            positive("beta_fast", beta_fast)?;
            positive("beta_slow", beta_slow)?;
            if original_context == 0 {
                return Err("the original context of yarn must not be 0".to_owned());
            }
        }
    }
    if let Some(factors) = op.freq_factors {
        vector(graph, factors, "freq_factors", rotary_dim / 2)?;
    }
    Ok(())
}

fn norm(graph: &Graph, norm: &Norm, width: usize) -> Result<(), String> {
    if !norm.eps.is_finite() || norm.eps < 0.0 {
        return Err(format!("eps must be 0 or a positive number, it is {}", norm.eps));
    }
    let weight = graph.weight(norm.weight);
    let [n] = weight.shape[..] else {
        return Err(format!(
            "norm weight `{}` must have one dimension, it has {:?}",
            weight.name, weight.shape
        ));
    };
    if !width.is_multiple_of(n) {
        return Err(format!("norm weight `{}` has {n} elements, which do not divide {width}", weight.name));
    }
    plain(weight)
}

fn matrix(graph: &Graph, id: WeightId, role: &str) -> Result<[usize; 2], String> {
    let weight = graph.weight(id);
    <[usize; 2]>::try_from(&weight.shape[..])
        .map_err(|_| format!("{role} `{}` must be a matrix, it is {:?}", weight.name, weight.shape))
}

fn vector(graph: &Graph, id: WeightId, role: &str, len: usize) -> Result<(), String> {
    let weight = graph.weight(id);
    if weight.shape != [len] {
        return Err(format!("{role} `{}` must be [{len}], it is {:?}", weight.name, weight.shape));
    }
    plain(weight)
}

fn plain(weight: &Weight) -> Result<(), String> {
    match weight.dtype {
        DType::F32 | DType::F16 | DType::BF16 => Ok(()),
        dtype => Err(format!("`{}` is {dtype}; only matrices may be quantised", weight.name)),
    }
}

fn take<const N: usize>(inputs: &[Shape]) -> Result<[Shape; N], String> {
    <[Shape; N]>::try_from(inputs).map_err(|_| format!("has {} inputs, it takes {N}", inputs.len()))
}

fn activation(shape: Shape) -> Result<Shape, String> {
    match shape.rows {
        Dim::Rows | Dim::Wanted => Ok(shape),
        _ => Err(format!("the input is {shape}, it must be [rows, …] or [wanted, …]")),
    }
}

fn step_rows(shape: Shape, what: &str) -> Result<(), String> {
    match shape.rows {
        Dim::Rows => Ok(()),
        _ => Err(format!("{what} is {shape}, it must be [rows, …]")),
    }
}

fn same(what: &str, shape: Shape, other: &str, expected: Shape) -> Result<(), String> {
    if shape == expected { Ok(()) } else { Err(format!("{what} is {shape}, {other} is {expected}")) }
}

fn finite(what: &str, value: f32) -> Result<(), String> {
    if value.is_finite() { Ok(()) } else { Err(format!("{what} must be a finite number, it is {value}")) }
}

fn positive(what: &str, value: f32) -> Result<(), String> {
    if value.is_finite() && value > 0.0 {
        Ok(())
    } else {
        Err(format!("{what} must be a positive number, it is {value}"))
    }
}
