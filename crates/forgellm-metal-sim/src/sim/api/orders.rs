//! Runs the same dispatches under several orders of threads and compares what they write.

use std::ops::Range;

use super::GpuError;
use super::encode::Encoded;
use super::run::{Runner, bindings, written};
use crate::sim::exec::Position;
use crate::sim::shadow::{Access, Binding, Finding, FindingKind, Memory, Operation, Report};

/// Runs `dispatches` as the device's options say, then under further orders; what they write must be the same. The
/// buffers hold what the first run wrote.
pub(super) fn compare(runner: &mut Runner<'_>, dispatches: &[&Encoded]) -> Result<(), GpuError> {
    let ranges = written(dispatches);
    let before = copy(&ranges);
    runner.once(dispatches)?;
    let first = copy(&ranges);
    for order in 1..=u64::from(runner.device.options.orders) {
        restore(&ranges, &before);
        runner.plain(dispatches, Some(order))?;
        let other = copy(&ranges);
        restore(&ranges, &first);
        for ((range, first), other) in ranges.iter().zip(&first).zip(&other) {
            let differs = first.iter().zip(other).position(|(a, b)| a != b);
            if let Some(at) = differs {
                return Err(different(runner, dispatches, range.start + at, order, (first[at], other[at])));
            }
        }
    }
    Ok(())
}

fn copy(ranges: &[Range<usize>]) -> Vec<Vec<u8>> {
    // SAFETY: the ranges are those of buffers that the dispatches hold, and no kernel runs.
    let copy = |range: &Range<usize>| unsafe {
        std::slice::from_raw_parts(range.start as *const u8, range.len()).to_vec()
    };
    ranges.iter().map(copy).collect()
}

fn restore(ranges: &[Range<usize>], contents: &[Vec<u8>]) {
    for (range, content) in ranges.iter().zip(contents) {
        // SAFETY: as in `copy`; the buffers may be written, and `content` was copied from there.
        unsafe { std::ptr::copy_nonoverlapping(content.as_ptr(), range.start as *mut u8, content.len()) };
    }
}

/// The error for a byte that differs.
fn different(
    runner: &Runner<'_>,
    dispatches: &[&Encoded],
    address: usize,
    order: u64,
    (first, other): (u8, u8),
) -> GpuError {
    let holds = |binding: &Binding| binding.read_only.is_none() && binding.bound.contains(&address);
    let found = dispatches.iter().find_map(|encoded| {
        let binding = bindings(encoded).into_iter().find(|binding| holds(binding))?;
        Some((encoded.pipeline.function().to_owned(), binding))
    });
    let (kernel, memory) = match found {
        Some((kernel, binding)) => {
            let offset = address as i64 - binding.bound.start as i64;
            let (index, length) = (binding.index, binding.bound.len());
            (kernel, Memory::Buffer { index, label: binding.label, offset, length })
        }
        None => (String::new(), Memory::Unknown { address: address as u64 }),
    };
    let nowhere = Position { threadgroup: [0; 3], thread: [0; 3], simdgroup: 0, lane: 0 };
    let finding = Finding {
        kind: FindingKind::OrderDependent,
        access: Access {
            kernel,
            operation: Operation::Run,
            bytes: 1,
            thread: nowhere,
            file: String::new(),
            line: 0,
            column: 0,
        },
        other: None,
        memory: Some(memory),
        detail: format!("{first:#04x} in the first order, {other:#04x} under seed {order}"),
        repeats: 0,
    };
    let report = Box::new(Report { findings: vec![finding] });
    GpuError::Sanitizer { commands: runner.commands.to_owned(), report }
}
