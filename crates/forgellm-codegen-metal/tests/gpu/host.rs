//! A small program for the GPU that makes use of the whole device API. It runs in the simulator, and is type-checked against Metal: the two
//! have the same shape.

use std::sync::Arc;

use crate::gpu::{
    Buffer, Commands, Constant, ConstantValue, Device, Event, GpuError, Library, Memory, Pending, Pipeline,
    Queue,
};

/// Values that the kernels take at once.
pub const VALUES: usize = 4096;
/// Threads of a threadgroup.
const THREADS: usize = 64;

/// A program may keep them where it likes, and move them to another thread.
const fn moves_between_threads<T: Send>() {}
const _: () = {
    moves_between_threads::<(Device, Buffer, Library, Pipeline, Queue, Event)>();
    moves_between_threads::<(Commands, Pending, GpuError)>();
};

/// Weights on a page of their own.
#[repr(C, align(16384))]
pub struct Weights(pub [f32; VALUES]);

impl Memory for Weights {
    fn bytes(&self) -> &[u8] {
        // SAFETY: floats are bytes without holes, and nobody changes them while they are shared.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), size_of_val(&self.0)) }
    }
}

/// Gives `offset + weights * (weights * x)`, where every threadgroup turns around the order of its values, twice.
pub fn run(
    device: &Device,
    library: &Library,
    weights: Weights,
    x: &[f32; VALUES],
    offset: f32,
) -> Result<Vec<f32>, GpuError> {
    let memory: Arc<dyn Memory> = Arc::new(weights);
    let weights = device.buffer_over(&memory, "weights")?;
    let values = device.buffer(2 * size_of_val(x), "values")?;
    let second = size_of_val(x);
    // SAFETY: the buffer is longer than `x`, and nothing runs yet.
    unsafe { values.contents().add(second).cast::<f32>().copy_from_nonoverlapping(x.as_ptr(), VALUES) };

    let constants = |last| {
        let threads = ConstantValue::U32(THREADS as u32);
        [Constant { index: 0, value: threads }, Constant { index: 1, value: ConstantValue::Bool(last) }]
    };
    let first = device.pipeline(library, "scale_and_turn", &constants(false))?;
    let last = device.pipeline(library, "scale_and_turn", &constants(true))?;

    let (queue, done) = (device.queue()?, device.event()?);
    let mut commands = queue.commands("first")?;
    let mut encoder = commands.encoder(true, "both");
    for pipeline in [&first, &last] {
        encoder.pipeline(pipeline);
        encoder.buffer(0, &values, second);
        encoder.buffer(1, &weights, 0);
        encoder.bytes(2, &offset.to_ne_bytes());
        encoder.threadgroup_memory(0, THREADS * size_of::<f32>());
        encoder.dispatch([VALUES / THREADS, 1, 1], [THREADS, 1, 1]);
        encoder.barrier();
    }
    drop(encoder);
    commands.signal(&done, 1);
    let first = commands.commit();

    let mut commands = queue.commands("second")?;
    commands.wait_for(&done, 1);
    commands.signal(&done, 2);
    commands.commit().wait()?;
    first.wait()?;

    let mut result = vec![0.0; VALUES];
    if done.value() == 2 && values.len() == 2 * second {
        // SAFETY: all commands are done, and the buffer has these values from its second half on.
        unsafe { values.contents().add(second).cast::<f32>().copy_to(result.as_mut_ptr(), VALUES) };
    }
    Ok(result)
}

/// Runs it and compares the result with what it must be.
pub fn check(device: &Device, library: &Library) -> Result<bool, GpuError> {
    let weights: [f32; VALUES] = std::array::from_fn(|i| (i % 7) as f32 + 1.0);
    let x: [f32; VALUES] = std::array::from_fn(|i| i as f32);
    let result = run(device, library, Weights(weights), &x, 0.5)?;
    let right = |(i, &value): (usize, &f32)| {
        // Its place within its threadgroup is turned around and back. All numbers are exact.
        let (start, place) = (i / THREADS * THREADS, i % THREADS);
        value == x[i] * weights[i] * weights[start + THREADS - 1 - place] + 0.5
    };
    Ok(result.iter().enumerate().all(right))
}

/// The error of commands with a mistake in them.
pub fn mistake(device: &Device, library: &Library) -> Result<Option<GpuError>, GpuError> {
    let constants = [
        Constant { index: 0, value: ConstantValue::U32(1) },
        Constant { index: 1, value: ConstantValue::Bool(true) },
    ];
    let pipeline = device.pipeline(library, "scale_and_turn", &constants)?;
    let queue = device.queue()?;
    let mut commands = queue.commands("wrong")?;
    let mut encoder = commands.encoder(false, "only");
    encoder.pipeline(&pipeline);
    encoder.bytes(31, &[0]);
    encoder.dispatch([1, 1, 1], [1, 1, 1]);
    drop(encoder);
    Ok(commands.commit().wait().err())
}
