//! The bytes of planned weights, from the tensors of a model file.

use std::borrow::Cow;

use forgellm_frontend::interp::WeightSource as Tensors;
use forgellm_frontend::ir::{DType, Rope, rope_frequencies};
use forgellm_frontend::quant;
use forgellm_plan::{PlannedWeight, WeightSource};

use crate::VECTOR;

/// Packs a matrix `[outputs, inputs]`: its rows as they lie in the model file, and as many bytes as its layout takes.
pub type PackMatrix<'a> = dyn Fn(&PlannedWeight, (usize, usize), &[u8], &mut [u8]) -> Result<(), String> + 'a;

/// Appends one weight in its layout. Vectors become f32, tables of rope frequencies are computed; matrices are the target's.
pub fn pack_weight(
    weight: &PlannedWeight,
    tensors: &dyn Tensors,
    pack_matrix: &PackMatrix<'_>,
    packed: &mut Vec<u8>,
) -> Result<(), String> {
    let source = |name: &str| tensors.bytes(name).map_err(|error| error.to_string());
    match (&weight.source, &weight.shape[..]) {
        (WeightSource::RopeFrequencies(rope), _) => {
            packed.extend(floats(&frequencies(rope, tensors)?));
            Ok(())
        }
        (WeightSource::Tensor, [outputs, inputs]) if weight.layout.name != VECTOR => {
            packed.resize(weight.layout.bytes, 0);
            pack_matrix(weight, (*outputs, *inputs), &source(&weight.name)?, packed)
        }
        (WeightSource::Tensor, [elements]) => {
            packed.extend(floats(&vector(weight.dtype, *elements, source(&weight.name)?)?));
            Ok(())
        }
        _ => Err(format!("layout {} does not fit its shape {:?}", weight.layout.name, weight.shape)),
    }
}

fn frequencies(rope: &Rope<String>, tensors: &dyn Tensors) -> Result<Vec<f32>, String> {
    let factors = match &rope.freq_factors {
        Some(name) => {
            let bytes = tensors.bytes(name).map_err(|error| error.to_string())?;
            Some(vector(DType::F32, rope.rotary_dim / 2, bytes).map_err(|error| format!("{name}: {error}"))?)
        }
        None => None,
    };
    Ok(rope_frequencies(rope, factors.as_deref()).0)
}

fn vector(dtype: DType, elements: usize, bytes: Cow<'_, [u8]>) -> Result<Vec<f32>, String> {
    let mut values = vec![0.0; elements];
    quant::dequantize(dtype, &bytes, &mut values).map_err(|error| error.to_string())?;
    Ok(values)
}

fn floats(values: &[f32]) -> impl Iterator<Item = u8> {
    values.iter().flat_map(|value| value.to_le_bytes())
}
