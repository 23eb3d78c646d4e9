//! The weights of a graph as f32.

use std::borrow::Cow;
use std::collections::HashMap;
use std::error::Error;

use super::InterpError;
use crate::checkpoint::gguf::GgufFile;
use crate::ir::{Graph, Weight, WeightId};
use crate::quant;

/// Where the bytes of weights come from: a model file, or a map of names to bytes.
pub trait WeightSource: Sync {
    /// All bytes of a weight, in the layout of its type; an error where there is no such weight or it cannot be read.
    fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>, WeightError>;
}

/// Why the bytes of a weight could not be had.
pub type WeightError = Box<dyn Error + Send + Sync>;

impl WeightSource for HashMap<String, Vec<u8>> {
    fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>, WeightError> {
        match self.get(name) {
            Some(bytes) => Ok(Cow::Borrowed(bytes)),
            None => Err("there is no weight of this name".into()),
        }
    }
}

impl WeightSource for GgufFile {
    fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>, WeightError> {
        Ok(Cow::Borrowed(self.data(self.tensor(name)?)))
    }
}

/// The weights of a graph, each known to be there in its size.
pub struct Weights<'a> {
    graph: &'a Graph,
    source: &'a dyn WeightSource,
    /// Weights of one dimension, by id; empty for matrices.
    vectors: Vec<Vec<f32>>,
}

/// The rows of a matrix in its own type.
pub struct WeightRows<'a> {
    weight: &'a Weight,
    bytes: Cow<'a, [u8]>,
    row_bytes: usize,
}

impl<'a> Weights<'a> {
    /// Finds every weight of `graph` in `source`.
    pub fn new(graph: &'a Graph, source: &'a dyn WeightSource) -> Result<Self, InterpError> {
        let mut weights = Weights { graph, source, vectors: Vec::new() };
        for (id, weight) in graph.weights().iter().enumerate() {
            let rows = weights.rows(WeightId(id as u32))?;
            let mut vector = Vec::new();
            if weight.shape.len() == 1 {
                vector.resize(weight.shape[0], 0.0);
                rows.read(0, &mut vector)?;
            }
            weights.vectors.push(vector);
        }
        Ok(weights)
    }

    /// A weight of one dimension.
    pub fn vector(&self, id: WeightId) -> &[f32] {
        &self.vectors[id.index()]
    }

    /// The rows of a matrix; a weight of one dimension is one row.
    pub fn rows(&self, id: WeightId) -> Result<WeightRows<'a>, InterpError> {
        let weight = self.graph.weight(id);
        let bytes = self
            .source
            .bytes(&weight.name)
            .map_err(|source| InterpError::Weight { name: weight.name.clone(), source })?;
        let (width, outer) = weight.shape.split_last().unwrap_or((&0, &[]));
        let row_bytes = weight.dtype.row_bytes(*width).unwrap_or(0);
        let expected = outer.iter().fold(row_bytes, |bytes, dim| bytes.saturating_mul(*dim));
        if bytes.len() != expected {
            return Err(InterpError::WeightSize {
                name: weight.name.clone(),
                dtype: weight.dtype,
                shape: weight.shape.clone(),
                expected,
                found: bytes.len(),
            });
        }
        Ok(WeightRows { weight, bytes, row_bytes })
    }
}

impl WeightRows<'_> {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.row_bytes
    }

    /// Elements of a row.
    pub fn width(&self) -> usize {
        self.weight.shape.last().copied().unwrap_or(0)
    }

    /// As many rows from `first` on as `out` has room for, dequantised. Panics where there are not so many.
    pub fn read(&self, first: usize, out: &mut [f32]) -> Result<(), InterpError> {
        let start = first * self.row_bytes;
        let end = start + out.len() / self.width() * self.row_bytes;
        quant::dequantize(self.weight.dtype, &self.bytes[start..end], out)
            .map_err(|source| InterpError::Quant { name: self.weight.name.clone(), source })
    }
}
