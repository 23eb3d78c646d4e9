//! Finds a model's weights in the weights file.

use super::matrix::{Format, Matrix};
use crate::runtime::open::OpenError;
use crate::runtime::weights::Weights;

/// The matrix `name`.
pub fn matrix<'w, F: Format, const OUT: usize, const IN: usize>(
    weights: &'w Weights,
    name: &str,
) -> Result<Matrix<'w, F, OUT, IN>, OpenError> {
    let bytes = weights.tensor(name, Matrix::<F, OUT, IN>::BYTES)?;
    Matrix::new(bytes).map_err(|error| OpenError::Device(format!("{name}: {error}")))
}

/// The vector `name` of `elements` f32.
pub fn vector<'w>(weights: &'w Weights, name: &str, elements: usize) -> Result<&'w [f32], OpenError> {
    let bytes = weights.tensor(name, elements * size_of::<f32>())?;
    bytemuck::try_cast_slice(bytes).map_err(|error| OpenError::Device(format!("{name}: {error}")))
}
