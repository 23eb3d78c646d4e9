//! Runs encoded commands.

use super::GpuError;
use super::commands::Step;
use super::device::{Shared, lock};
use super::encode::Encoded;
use crate::sim::abi::BUFFERS;
use crate::sim::exec::{Dispatch, Executor, Position, Stop};
use crate::sim::module::Module;

/// Runs the steps between two events of a command buffer with the label `commands`.
pub(super) fn run(device: &Shared, commands: &str, steps: &[Step]) -> Result<(), GpuError> {
    let mut executor = lock(&device.executor);
    for step in steps {
        if let Step::Dispatch(encoded) = step {
            plain(device, &mut executor, commands, encoded)?;
        }
    }
    Ok(())
}

/// One dispatch of the fast build.
fn plain(
    device: &Shared,
    executor: &mut Executor,
    commands: &str,
    encoded: &Encoded,
) -> Result<(), GpuError> {
    let (module, entry) = encoded.pipeline.plain();
    let constants = module.specialise(encoded.pipeline.constants())?;
    let dispatch = Dispatch {
        entry,
        module,
        threadgroups: encoded.threadgroups,
        threads: encoded.threads,
        buffers: addresses(encoded),
        threadgroup_memory: &encoded.threadgroup_memory,
        seed: device.options.seed,
        watch: None,
    };
    let result = executor.run(&dispatch);
    drop(constants);
    result.map_err(|stop| stopped(stop, commands, encoded, module))
}

fn addresses(encoded: &Encoded) -> [*mut u8; BUFFERS] {
    let mut addresses = [std::ptr::null_mut(); BUFFERS];
    for (index, bound) in &encoded.buffers {
        addresses[*index] = bound.range().start as *mut u8;
    }
    addresses
}

/// The error of a kernel that did not come to its end.
fn stopped(stop: Stop, commands: &str, encoded: &Encoded, module: &Module) -> GpuError {
    let kernel = encoded.pipeline.function().to_owned();
    let commands = commands.to_owned();
    let at = |pc: usize| match module.place(pc).user_frame() {
        Some(frame) => format!(" ({frame})"),
        None => String::new(),
    };
    match stop {
        Stop::Refused { message, position, pc } => {
            GpuError::Kernel { commands, kernel, position, message, place: at(pc) }
        }
        Stop::Memory(reason) => GpuError::Threads { commands, kernel, reason },
        Stop::Divergent(divergence) => {
            let (position, pc) = divergence.waits;
            let message = format!(
                "{} that not all threads reach: {}{}",
                divergence.what,
                absence(divergence.absent.0, divergence.absent.1),
                at(divergence.absent.1)
            );
            GpuError::Kernel { commands, kernel, position, message, place: at(pc) }
        }
        Stop::Finding => {
            // Only a watched dispatch ends so, and it has its report.
            GpuError::Threads { commands, kernel, reason: "a finding without a report".to_owned() }
        }
    }
}

fn absence(position: Position, pc: usize) -> String {
    if pc == 0 { format!("{position} has ended") } else { format!("{position} waits elsewhere") }
}
