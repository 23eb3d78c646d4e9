//! Kernels on the simulated device.

use std::path::PathBuf;
use std::sync::Arc;

use forgellm_metal_sim::sim::api::{Buffer, Constant, Device, Encoder, GpuError, Memory, Options, Timing};

mod arguments;
mod cli;
mod counts;
mod execution;
mod faulty;
mod queues;

/// A device that keeps compiled kernels between runs of the tests.
fn device(options: Options) -> Device {
    let cache = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("metal-sim");
    Device::with(Options { cache, ..options }).unwrap()
}

fn sanitized() -> Device {
    device(Options { sanitize: true, ..Options::default() })
}

/// Plain, sanitized, and both in shuffled orders: what a kernel computes must not depend on it.
fn devices() -> Vec<Device> {
    let with = |sanitize, seed| device(Options { sanitize, seed, ..Options::default() });
    vec![with(false, None), with(false, Some(1)), with(true, None), with(true, Some(2))]
}

/// The text of a kernel file of the tests.
fn text(path: &str) -> String {
    std::fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(path)).unwrap()
}

/// Runs one dispatch; `bind` binds its arguments.
fn run(
    device: &Device,
    source: &str,
    kernel: &str,
    constants: &[Constant],
    bind: impl FnOnce(&mut Encoder<'_>),
    (threadgroups, threads): ([usize; 3], [usize; 3]),
) -> Result<Timing, GpuError> {
    let library = device.library(source, "test.metal")?;
    let pipeline = device.pipeline(&library, kernel, constants)?;
    let mut commands = device.queue()?.commands("test commands")?;
    let mut encoder = commands.encoder(false, "test encoder");
    encoder.pipeline(&pipeline);
    bind(&mut encoder);
    encoder.dispatch(threadgroups, threads);
    drop(encoder);
    commands.commit().wait()
}

/// A buffer that holds `values`.
fn buffer<T: Copy>(device: &Device, label: &str, values: &[T]) -> Buffer {
    let buffer = device.buffer(size_of_val(values), label).unwrap();
    // SAFETY: the buffer is new and as long as `values`.
    unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), buffer.contents().cast(), values.len()) };
    buffer
}

/// What a buffer holds.
fn values<T: Copy>(buffer: &Buffer) -> Vec<T> {
    let count = buffer.len() / size_of::<T>();
    // SAFETY: no kernel runs, the buffer is aligned to 4096 bytes and T is a number.
    unsafe { std::slice::from_raw_parts(buffer.contents().cast::<T>(), count) }.to_vec()
}

/// Memory of the test, to be lent.
struct Lent(Vec<f32>);

impl Memory for Lent {
    fn bytes(&self) -> &[u8] {
        // SAFETY: floats are bytes.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * 4) }
    }
}

fn lent(device: &Device, label: &str, values: &[f32]) -> Buffer {
    let memory: Arc<dyn Memory> = Arc::new(Lent(values.to_vec()));
    device.buffer_over(&memory, label).unwrap()
}
