//! Walks the nodes of a graph.

use std::collections::BTreeMap;

use super::functions;
use super::parallel::for_chunks;
use super::weights::WeightRows;
use super::{InterpError, Interpreter, Matrix, Row};
use crate::ir::{
    Attention, CacheId, Linear, Node, NodeId, Norm, Op, QkvRope, Rope, ValueId, WeightId, rope_frequencies,
};

/// Results of nodes. Caches are not among them: attention reads them where they are.
type Values = Vec<Option<Matrix>>;

impl Interpreter<'_> {
    /// Runs all nodes; gives the values that are outputs.
    pub(super) fn run(
        &mut self,
        rows: &[Row],
        observe: &mut dyn FnMut(NodeId, &Matrix),
    ) -> Result<Values, InterpError> {
        let graph = self.graph;
        let mut values: Values = vec![None; graph.values().len()];
        for (index, node) in graph.nodes().iter().enumerate() {
            let results = self.node(node, &values, rows)?;
            if let Some(Some(result)) = results.first() {
                observe(NodeId(index as u32), result);
            }
            for (result, id) in results.into_iter().zip(&node.outputs) {
                values[id.index()] = result;
            }
            for id in &self.dying[index] {
                values[id.index()] = None;
            }
        }
        Ok(values)
    }

    /// The results of a node; `None` for a cache.
    fn node(&mut self, node: &Node, values: &Values, rows: &[Row]) -> Result<Values, InterpError> {
        let input = |index: usize| value(values, node.inputs[index]);
        let result = match &node.op {
            Op::Embed { table, scale } => self.embed(*table, *scale, rows)?,
            Op::RmsNorm { norm, residual } => {
                let y = self.rms_norm(norm, input(0));
                if *residual { add(y, input(1)) } else { y }
            }
            Op::Linear(op) => {
                let sum = self.sum(op, node, values);
                let y = self.linear(op, sum.as_ref().unwrap_or(input(0)))?;
                let y = if op.residual { add(y, input(op.inputs() - 1)) } else { y };
                return Ok([Some(y)].into_iter().chain(sum.map(Some)).collect());
            }
            Op::Slice { start, len } => input(0).columns(*start, *len),
            Op::Rope(op) => self.rope(op, input(0), rows),
            Op::KvWrite { cache } => {
                self.kv_write(*cache, input(0), input(1), rows);
                return Ok(vec![None]);
            }
            Op::Attention(op) => self.attention(op, input(0), rows)?,
            Op::Activation(kind) => input(0).clone().map(|x| functions::activation(*kind, x)),
            Op::Add => add(input(0).clone(), input(1)),
            Op::Mul => input(0).clone().zip(input(1), |a, b| a * b),
            Op::Scale { factor } => input(0).clone().map(|x| factor * x),
            Op::Softcap { cap } => input(0).clone().map(|x| functions::softcap(x, *cap)),
            Op::SelectWanted => select_wanted(input(0), rows),
            Op::QkvRope(op) => {
                let sum = op.projection.as_ref().and_then(|projection| self.sum(projection, node, values));
                let x = sum.as_ref().unwrap_or(input(0));
                let q = match &op.projection {
                    Some(projection) => self.qkv_rope(op, &self.linear(projection, x)?, rows),
                    None => self.qkv_rope(op, x, rows),
                };
                return Ok([Some(q), None].into_iter().chain(sum.map(Some)).collect());
            }
        };
        Ok(vec![Some(result)])
    }

    fn embed(&self, table: WeightId, scale: f32, rows: &[Row]) -> Result<Matrix, InterpError> {
        let table = self.weights.rows(table)?;
        let mut y = Matrix::zeros(rows.len(), table.width());
        for (row, y) in rows.iter().zip(y.iter_mut()) {
            table.read(row.token as usize, y)?;
        }
        Ok(y.map(|x| x * scale))
    }

    fn rms_norm(&self, norm: &Norm, x: &Matrix) -> Matrix {
        let mut y = x.clone();
        functions::rms_norm(y.data_mut(), self.weights.vector(norm.weight), norm.eps);
        y
    }

    /// What a projection takes instead of its first input, where it adds that to the second.
    fn sum(&self, op: &Linear, node: &Node, values: &Values) -> Option<Matrix> {
        let input = |index: usize| value(values, node.inputs[index]);
        op.add.as_ref().map(|norm| add(self.rms_norm(norm, input(0)), input(1)))
    }

    /// All of a projection but the sum before and the residual behind.
    fn linear(&self, op: &Linear, x: &Matrix) -> Result<Matrix, InterpError> {
        let normed = op.norm.as_ref().map(|norm| self.rms_norm(norm, x));
        let x = normed.as_ref().unwrap_or(x);
        let mut parts = Vec::new();
        for part in &op.parts {
            let bias = part.bias.map(|bias| self.weights.vector(bias));
            parts.push(project(x, &self.weights.rows(part.weight)?, bias)?);
        }
        Ok(match (op.gate, &parts[..]) {
            (Some(kind), [gate, up]) => {
                gate.clone().map(|x| functions::activation(kind, x)).zip(up, |gate, up| gate * up)
            }
            (_, [_]) => parts.remove(0),
            _ => side_by_side(x.rows(), &parts),
        })
    }

    fn rope(&self, op: &Rope, x: &Matrix, rows: &[Row]) -> Matrix {
        let factors = op.freq_factors.map(|factors| self.weights.vector(factors));
        let (frequencies, magnitude) = rope_frequencies(op, factors);
        let mut y = x.clone();
        for (row, y) in rows.iter().zip(y.iter_mut()) {
            functions::rope(y, row.position, op.style, op.head_dim, &frequencies, magnitude);
        }
        y
    }

    fn kv_write(&mut self, cache: CacheId, k: &Matrix, v: &Matrix, rows: &[Row]) {
        for ((row, k), v) in rows.iter().zip(k.iter()).zip(v.iter()) {
            self.caches.push(row.sequence, cache, k, v);
        }
    }

    fn attention(&self, op: &Attention, q: &Matrix, rows: &[Row]) -> Result<Matrix, InterpError> {
        let sinks = op.sinks.map(|sinks| self.weights.vector(sinks));
        let width = 2 * op.kv_heads * op.head_dim;
        let sequences: BTreeMap<usize, &[f32]> =
            rows.iter().map(|row| (row.sequence, self.caches.positions(row.sequence, op.cache))).collect();
        let mut y = Matrix::zeros(rows.len(), q.width());
        let work = rows.iter().map(|row| (row.position + 1) * q.width()).sum();
        for_chunks(y.data_mut(), q.width(), work, |index, out| {
            let row = &rows[index];
            let positions = &sequences[&row.sequence][..(row.position + 1) * width];
            functions::attention(op, q.row(index), positions, sinks, out);
            Ok(())
        })?;
        Ok(y)
    }

    /// Gives the queries.
    fn qkv_rope(&mut self, op: &QkvRope, qkv: &Matrix, rows: &[Row]) -> Matrix {
        let [query, key] = [op.heads, op.kv_heads].map(|heads| heads * op.rope.head_dim);
        let mut q = qkv.columns(0, query);
        let mut k = qkv.columns(query, key);
        let v = qkv.columns(query + key, key);
        if let Some(norm) = &op.q_norm {
            q = self.rms_norm(norm, &q);
        }
        if let Some(norm) = &op.k_norm {
            k = self.rms_norm(norm, &k);
        }
        let k = self.rope(&op.rope, &k, rows);
        self.kv_write(op.cache, &k, &v, rows);
        self.rope(&op.rope, &q, rows)
    }
}

/// x · weightᵀ + bias. A row of the weight is dequantised once, for all rows of `x`.
fn project(x: &Matrix, weight: &WeightRows<'_>, bias: Option<&[f32]>) -> Result<Matrix, InterpError> {
    const WEIGHT_ROWS: usize = 8;
    let (rows, outputs, width) = (x.rows(), weight.len(), weight.width());
    let mut y = Matrix::zeros(rows, outputs);
    if rows == 0 {
        return Ok(y);
    }
    let mut transposed = vec![0.0f32; outputs * rows];
    let work = outputs * width * rows;
    for_chunks(&mut transposed, WEIGHT_ROWS * rows, work, |chunk, out| {
        let mut dequantised = vec![0.0f32; out.len() / rows * width];
        weight.read(chunk * WEIGHT_ROWS, &mut dequantised)?;
        for (index, x) in x.iter().enumerate() {
            for (weight, out) in dequantised.chunks_exact(width).zip(out.chunks_exact_mut(rows)) {
                out[index] = functions::dot(weight, x);
            }
        }
        Ok(())
    })?;
    for (row, y) in y.iter_mut().enumerate() {
        for (output, y) in y.iter_mut().enumerate() {
            *y = transposed[output * rows + row] + bias.map_or(0.0, |bias| bias[output]);
        }
    }
    Ok(y)
}

fn side_by_side(rows: usize, parts: &[Matrix]) -> Matrix {
    let width = parts.iter().map(Matrix::width).sum();
    let data = (0..rows).flat_map(|row| parts.iter().flat_map(move |part| part.row(row))).copied();
    Matrix::new(width, data.collect())
}

fn select_wanted(x: &Matrix, rows: &[Row]) -> Matrix {
    let wanted = rows.iter().zip(x.iter()).filter(|(row, _)| row.want);
    Matrix::new(x.width(), wanted.flat_map(|(_, x)| x).copied().collect())
}

fn add(a: Matrix, b: &Matrix) -> Matrix {
    a.zip(b, |a, b| a + b)
}

/// A value that the verifier has seen to be given before it is read.
fn value(values: &Values, id: ValueId) -> &Matrix {
    values[id.index()].as_ref().unwrap_or_else(|| unreachable!("verified: {id} is given before it is read"))
}
