//! The weights of a plan in the layouts of Metal.

use std::path::Path;

use forgellm_codegen::{WeightsWriteError, pack_weight, write_weights};
use forgellm_frontend::interp::WeightSource as Tensors;
use forgellm_plan::{Plan, PlannedWeight};

use crate::pack;

/// Writes the weights file of `plan`, taking the tensors from `tensors`. See [`write_weights`].
pub fn write_metal_weights(
    plan: &Plan,
    tensors: &dyn Tensors,
    path: &Path,
    progress: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<(), WeightsWriteError> {
    write_weights(
        plan,
        path,
        &mut |weight, bytes| pack_weight(weight, tensors, &pack_planes, bytes),
        progress,
    )
}

fn pack_planes(
    weight: &PlannedWeight,
    (outputs, inputs): (usize, usize),
    source: &[u8],
    packed: &mut [u8],
) -> Result<(), String> {
    pack::pack(weight.dtype, outputs, inputs, source, packed).map_err(|error| error.to_string())
}
