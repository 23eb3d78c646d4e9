//! The weights of a plan in the layouts of the CPU.

use std::path::Path;
use std::thread;

use forgellm_codegen::{WeightsWriteError, pack_weight, write_weights};
use forgellm_frontend::interp::WeightSource as Tensors;
use forgellm_plan::{Plan, PlannedWeight};

use crate::device::matrix::PANEL_ROWS;
use crate::pack;

/// Writes the weights file of `plan`, taking the tensors from `tensors`. See [`write_weights`].
pub fn write_cpu_weights(
    plan: &Plan,
    tensors: &dyn Tensors,
    path: &Path,
    progress: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<(), WeightsWriteError> {
    write_weights(
        plan,
        path,
        &mut |weight, bytes| pack_weight(weight, tensors, &pack_panels, bytes),
        progress,
    )
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
