//! Finds a model's weights in the weights file.

use super::format::Format;
use super::weights::{Matrix, Vector, Weights};
use crate::runtime::open::OpenError;

/// The matrix `name`.
pub fn matrix<F: Format, const OUT: usize, const IN: usize>(
    weights: &Weights,
    name: &str,
) -> Result<Matrix<F, OUT, IN>, OpenError> {
    let bytes = F::INFO
        .bytes(OUT, IN)
        .ok_or_else(|| OpenError::Device(format!("{name}: rows of {IN} are not whole blocks")))?;
    Ok(Matrix::at(weights.find(name, bytes)?))
}

/// The vector `name` of `elements` f32.
pub fn vector(weights: &Weights, name: &str, elements: usize) -> Result<Vector, OpenError> {
    Ok(Vector { offset: weights.find(name, elements * size_of::<f32>())?, len: elements })
}
