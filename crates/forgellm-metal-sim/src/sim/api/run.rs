//! Runs encoded commands.

use std::ops::Range;

use super::GpuError;
use super::commands::Step;
use super::device::{Shared, lock};
use super::encode::{Bound, Encoded};
use super::orders;
use crate::sim::abi::BUFFERS;
use crate::sim::exec::{Dispatch, Executor, Order, Position, Stop, Watch};
use crate::sim::module::Module;
use crate::sim::shadow::{Binding, Counts, Interval, Monitor};
use crate::sim::translate::ParameterKind;

/// Runs the steps between two events of a command buffer with the label `commands`.
pub(super) fn run(device: &Shared, commands: &str, steps: &[Step]) -> Result<(), GpuError> {
    let mut executor = lock(&device.executor);
    let mut runner = Runner { device, executor: &mut executor, commands };
    let mut concurrent = false;
    // Dispatches that nothing orders.
    let mut together: Vec<&Encoded> = Vec::new();
    for step in steps {
        match step {
            Step::Dispatch(encoded) => {
                runner.warn(encoded);
                together.push(encoded);
                if !concurrent {
                    runner.together(&std::mem::take(&mut together))?;
                }
            }
            Step::Barrier => runner.together(&std::mem::take(&mut together))?,
            Step::Begin { concurrent: next } => {
                runner.together(&std::mem::take(&mut together))?;
                concurrent = *next;
            }
            // Between events there are none.
            Step::Signal(..) | Step::WaitFor(..) => {}
        }
    }
    runner.together(&together)
}

pub(super) struct Runner<'r> {
    pub(super) device: &'r Shared,
    executor: &'r mut Executor,
    pub(super) commands: &'r str,
}

impl Runner<'_> {
    /// Runs dispatches that a device may run at the same time, one after another.
    fn together(&mut self, dispatches: &[&Encoded]) -> Result<(), GpuError> {
        let options = &self.device.options;
        if options.orders != 0 {
            return orders::compare(self, dispatches);
        }
        self.once(dispatches)
    }

    /// Runs them in one order, as the device's options say.
    pub(super) fn once(&mut self, dispatches: &[&Encoded]) -> Result<(), GpuError> {
        let options = &self.device.options;
        if options.sanitize || options.count {
            return self.watched(dispatches);
        }
        self.plain(dispatches, options.seed)
    }

    /// Runs the fast build.
    pub(super) fn plain(&mut self, dispatches: &[&Encoded], seed: Option<u64>) -> Result<(), GpuError> {
        for encoded in shuffled(dispatches, seed) {
            let (module, entry) = encoded.pipeline.plain();
            let constants = module.specialise(encoded.pipeline.constants())?;
            let dispatch = Dispatch { entry, seed, ..prepared(encoded, module) };
            let result = self.executor.run(&dispatch);
            drop(constants);
            result.map_err(|stop| stopped(stop, self.commands, encoded, module))?;
        }
        Ok(())
    }

    /// Runs the traced build.
    fn watched(&mut self, dispatches: &[&Encoded]) -> Result<(), GpuError> {
        let options = &self.device.options;
        let mut interval = Interval::new(&written(dispatches));
        for encoded in shuffled(dispatches, options.seed) {
            let Some((module, entry)) = encoded.pipeline.traced() else {
                return Err(GpuError::Untraced { kernel: encoded.pipeline.function().to_owned() });
            };
            let constants = module.specialise(encoded.pipeline.constants())?;
            let size = (encoded.threadgroups, encoded.threads);
            let counts = counts(self.commands, encoded);
            let monitor = Monitor::new(
                &mut interval,
                module,
                size,
                bindings(encoded),
                counts,
                (options.sanitize, options.count),
            );
            let watch: Option<&dyn Watch> = Some(&monitor);
            let dispatch = Dispatch { entry, watch, seed: options.seed, ..prepared(encoded, module) };
            let result = self.executor.run(&dispatch);
            drop(constants);
            let (number, counts) = monitor.finish();
            if options.count {
                lock(&self.device.counts).push(counts);
            }
            match result {
                Ok(()) => {}
                Err(Stop::Finding) => break,
                Err(Stop::Divergent(divergence)) if options.sanitize => {
                    interval.diverged(number, &divergence);
                    break;
                }
                Err(stop) => return Err(stopped(stop, self.commands, encoded, module)),
            }
        }
        match interval.report() {
            Some(report) => {
                Err(GpuError::Sanitizer { commands: self.commands.to_owned(), report: Box::new(report) })
            }
            None => Ok(()),
        }
    }

    /// Notes bound buffers that the kernel does not have.
    fn warn(&self, encoded: &Encoded) {
        for (index, bound) in &encoded.buffers {
            if declared(encoded, *index).is_none() {
                let kernel = encoded.pipeline.function();
                let (label, _) = bound.whole();
                let warning =
                    format!("kernel '{kernel}' has no buffer {index}, but '{label}' is bound there");
                let mut warnings = lock(&self.device.warnings);
                if !warnings.contains(&warning) {
                    warnings.push(warning);
                }
            }
        }
    }
}

/// The dispatches in the order in which a seed runs them.
fn shuffled<'e>(dispatches: &[&'e Encoded], seed: Option<u64>) -> impl Iterator<Item = &'e Encoded> {
    let count = dispatches.len() as u32;
    let order = seed.map(|seed| Order::new(seed).fork());
    (0..count).map(move |i| dispatches[order.map_or(i, |order| order.permute(i, count)) as usize])
}

/// A dispatch but for its build.
fn prepared<'e>(encoded: &'e Encoded, module: &'e Module) -> Dispatch<'e> {
    let mut buffers = [std::ptr::null_mut(); BUFFERS];
    for (index, bound) in &encoded.buffers {
        buffers[*index] = bound.range().start as *mut u8;
    }
    Dispatch {
        entry: encoded.pipeline.plain().1,
        module,
        threadgroups: encoded.threadgroups,
        threads: encoded.threads,
        buffers,
        threadgroup_memory: &encoded.threadgroup_memory,
        seed: None,
        watch: None,
    }
}

/// Whether the kernel has this buffer, and may write it.
fn declared(encoded: &Encoded, index: usize) -> Option<bool> {
    encoded.pipeline.kernel().parameters.iter().find_map(|parameter| match &parameter.kind {
        ParameterKind::Buffer { index: declared, writable, .. } if *declared as usize == index => {
            Some(*writable)
        }
        _ => None,
    })
}

fn read_only(bound: &Bound, writable: bool) -> Option<&'static str> {
    match bound {
        Bound::Bytes(_) => Some("the command carries these bytes"),
        Bound::Buffer(buffer, _) if buffer.read_only() => Some("the buffer lies over memory that is lent"),
        Bound::Buffer(..) if !writable => Some("the kernel declares it const"),
        Bound::Buffer(..) => None,
    }
}

/// The buffers that dispatches may write, whole.
pub(super) fn written(dispatches: &[&Encoded]) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    for encoded in dispatches {
        for (index, bound) in &encoded.buffers {
            if declared(encoded, *index).is_some_and(|writable| read_only(bound, writable).is_none()) {
                ranges.push(bound.whole().1);
            }
        }
    }
    ranges.sort_by_key(|range| range.start);
    ranges.dedup();
    ranges
}

pub(super) fn bindings(encoded: &Encoded) -> Vec<Binding> {
    let known = encoded.buffers.iter().filter_map(|(index, bound)| {
        let writable = declared(encoded, *index)?;
        let (label, whole) = bound.whole();
        Some(Binding {
            index: *index,
            label,
            bound: bound.range(),
            whole,
            read_only: read_only(bound, writable),
        })
    });
    known.collect()
}

fn counts(commands: &str, encoded: &Encoded) -> Counts {
    let product = |sizes: [u32; 3]| sizes.iter().map(|&size| u64::from(size)).product::<u64>();
    let threadgroups = product(encoded.threadgroups);
    Counts {
        commands: commands.to_owned(),
        encoder: encoded.place.encoder.clone(),
        concurrent: encoded.place.concurrent,
        number: encoded.place.number,
        barriers_before: encoded.place.barriers_before,
        kernel: encoded.pipeline.function().to_owned(),
        threadgroups,
        threads: threadgroups * product(encoded.threads),
        ..Counts::default()
    }
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
            let message = format!("{message}{}", at(pc));
            GpuError::Kernel { commands, kernel, position, message }
        }
        Stop::Memory(reason) => GpuError::Threads { commands, kernel, reason },
        Stop::Divergent(divergence) => {
            let (position, pc) = divergence.waits;
            let (absent, elsewhere) = divergence.absent;
            let message = format!(
                "{}{} that not all threads reach: {}{}",
                divergence.what,
                at(pc),
                absence(absent, elsewhere),
                at(elsewhere)
            );
            GpuError::Kernel { commands, kernel, position, message }
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
