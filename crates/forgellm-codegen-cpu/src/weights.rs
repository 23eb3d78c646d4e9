//! The weights of a plan in the layouts of the CPU.

use std::borrow::Cow;
use std::path::Path;
use std::thread;

use forgellm_codegen::{WeightsWriteError, write_weights};
use forgellm_frontend::interp::WeightSource as Tensors;
use forgellm_frontend::ir::{DType, Rope, rope_frequencies};
use forgellm_frontend::quant;
use forgellm_plan::{Plan, PlannedWeight, WeightSource};

use crate::device::matrix::PANEL_ROWS;
use crate::pack;
use crate::target::PANELS;

/// Writes the weights file of `plan`, taking the tensors from `tensors`. See [`write_weights`].
pub fn write_cpu_weights(
    plan: &Plan,
    tensors: &dyn Tensors,
    path: &Path,
    progress: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<(), WeightsWriteError> {
    write_weights(plan, path, &mut |weight, bytes| pack_weight(weight, tensors, bytes), progress)
}

/// Appends one weight in its layout.
fn pack_weight(weight: &PlannedWeight, tensors: &dyn Tensors, packed: &mut Vec<u8>) -> Result<(), String> {
    let source = |name: &str| tensors.bytes(name).map_err(|error| error.to_string());
    match (&weight.source, &weight.shape[..]) {
        (WeightSource::RopeFrequencies(rope), _) => {
            packed.extend(floats(&frequencies(rope, tensors)?));
            Ok(())
        }
        (WeightSource::Tensor, [out, inputs]) if weight.layout.name == PANELS => {
            packed.resize(weight.layout.bytes, 0);
            pack_panels(weight, (*out, *inputs), &source(&weight.name)?, packed)
        }
        (WeightSource::Tensor, [elements]) => {
            packed.extend(floats(&vector(weight.dtype, *elements, source(&weight.name)?)?));
            Ok(())
        }
        _ => Err(format!("layout {} does not fit its shape {:?}", weight.layout.name, weight.shape)),
    }
}

/// Packs a matrix on all cores, each with its own run of panels.
fn pack_panels(
    weight: &PlannedWeight,
    (out, inputs): (usize, usize),
    source: &[u8],
    packed: &mut [u8],
) -> Result<(), String> {
    let panels = out.div_ceil(PANEL_ROWS).max(1);
    let panel_bytes = packed.len() / panels;
    let share = panels.div_ceil(thread::available_parallelism().map_or(1, usize::from));
    thread::scope(|scope| {
        let workers: Vec<_> = packed
            .chunks_mut((share * panel_bytes).max(1))
            .enumerate()
            .map(|(worker, chunk)| {
                let first = worker * share;
                let range = first..first + chunk.len() / panel_bytes.max(1);
                scope.spawn(move || pack::pack_panels(weight.dtype, out, inputs, source, range, chunk))
            })
            .collect();
        for worker in workers {
            worker.join().map_err(|_| "packing failed".to_owned())?.map_err(|error| error.to_string())?;
        }
        Ok(())
    })
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
