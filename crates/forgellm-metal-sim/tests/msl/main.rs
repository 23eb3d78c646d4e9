//! The Metal Shading Language: what is translated and refused, and what its standard library computes.

use std::path::PathBuf;

use forgellm_metal_sim::sim::api::{Buffer, Constant, Device, Encoder, Options};

mod atomics;
mod compile;
mod constants;
mod instantiation;
mod integers;
mod math;
mod matrices;
mod parameters;
mod refusals;
mod simdgroups;
mod spaces;
mod vectors;

fn cache() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("metal-sim")
}

/// A device that keeps compiled kernels between runs of the tests.
fn device(sanitize: bool) -> Device {
    Device::with(Options { cache: cache(), sanitize, ..Options::default() }).unwrap()
}

/// A buffer that holds `values`.
fn buffer<T: Copy>(device: &Device, values: &[T]) -> Buffer {
    let buffer = device.buffer(size_of_val(values).max(16), "values").unwrap();
    // SAFETY: the buffer is new and at least as long as `values`.
    unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), buffer.contents().cast(), values.len()) };
    buffer
}

/// The first `count` numbers of a buffer.
fn values<T: Copy>(buffer: &Buffer, count: usize) -> Vec<T> {
    assert!(count * size_of::<T>() <= buffer.len());
    // SAFETY: no kernel runs, the buffer is aligned to 4096 bytes and T is a number.
    unsafe { std::slice::from_raw_parts(buffer.contents().cast::<T>(), count) }.to_vec()
}

/// Runs `kernel` of `source` on one threadgroup of `threads`.
fn run(
    device: &Device,
    source: &str,
    kernel: &str,
    constants: &[Constant],
    threads: usize,
    bind: impl FnOnce(&mut Encoder<'_>),
) {
    let library = device.library(source, "test.metal").unwrap_or_else(|error| panic!("{error}\n{source}"));
    let pipeline = device.pipeline(&library, kernel, constants).unwrap_or_else(|error| panic!("{error}"));
    let mut commands = device.queue().unwrap().commands("test commands").unwrap();
    let mut encoder = commands.encoder(false, "test encoder");
    encoder.pipeline(&pipeline);
    bind(&mut encoder);
    encoder.dispatch([1, 1, 1], [threads, 1, 1]);
    drop(encoder);
    commands.commit().wait().unwrap_or_else(|error| panic!("{error}\n{source}"));
}

const HEADER: &str = "#include <metal_stdlib>\nusing namespace metal;\n";

/// What each of `threads` threads gives for each expression, which may use `lane`, `x[lane]` (`inputs`) and what
/// `definitions` define. The plain and the sanitized build must give the same bits.
fn per_lane(definitions: &str, expressions: &[&str], inputs: &[f32], threads: usize) -> Vec<Vec<f32>> {
    let statements: String =
        expressions.iter().enumerate().map(|(i, e)| format!("  y[{i} * threads + lane] = {e};\n")).collect();
    let source = format!(
        "{HEADER}{definitions}\nkernel void k(device const float *x [[buffer(0)]], device float *y [[buffer(1)]],\n\
         uint lane [[thread_index_in_threadgroup]], uint threads [[threads_per_threadgroup]]) {{\n{statements}}}\n"
    );
    let results = [false, true].map(|sanitize| {
        let device = device(sanitize);
        let y = buffer(&device, &vec![0f32; threads * expressions.len()]);
        let x = buffer(&device, inputs);
        run(&device, &source, "k", &[], threads, |encoder| {
            encoder.buffer(0, &x, 0);
            encoder.buffer(1, &y, 0);
        });
        values::<f32>(&y, threads * expressions.len())
    });
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&results[0]), bits(&results[1]), "the builds differ");
    results[0].chunks(threads).map(<[f32]>::to_vec).collect()
}

/// Numbers that kernels of [`floats`] find in `x`: they are not known to the compiler, so nothing is computed early.
const X: [f32; 10] = [0.0, 1.0, 2.0, -1.5, 0.5, 3.0, -0.25, 100.0, 1e30, 7.0];
/// Numbers that kernels find in `n`.
const N: [i32; 8] = [0, 1, 2, -3, 255, 1 << 30, -1, 12];

/// The float values of expressions over `x` ([`X`]) and `n` ([`N`]), computed by one thread.
fn floats(definitions: &str, expressions: &[&str]) -> Vec<f32> {
    let statements: String =
        expressions.iter().enumerate().map(|(i, e)| format!("  y[{i}] = {e};\n")).collect();
    let source = format!(
        "{HEADER}{definitions}\nkernel void k(device const float *x [[buffer(0)]], device const int *n [[buffer(1)]],\n\
         device float *y [[buffer(2)]]) {{\n{statements}}}\n"
    );
    let results = [false, true].map(|sanitize| {
        let device = device(sanitize);
        let (x, n) = (buffer(&device, &X), buffer(&device, &N));
        let y = buffer(&device, &vec![0f32; expressions.len()]);
        run(&device, &source, "k", &[], 1, |encoder| {
            encoder.buffer(0, &x, 0);
            encoder.buffer(1, &n, 0);
            encoder.buffer(2, &y, 0);
        });
        values::<f32>(&y, expressions.len())
    });
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&results[0]), bits(&results[1]), "the builds differ");
    results[0].clone()
}

/// Each expression has exactly this value.
fn check(definitions: &str, cases: &[(&str, f32)]) {
    check_within(0.0, definitions, cases);
}

/// Each expression has this value but for a relative error.
fn check_within(tolerance: f32, definitions: &str, cases: &[(&str, f32)]) {
    let expressions: Vec<&str> = cases.iter().map(|(expression, _)| *expression).collect();
    for ((expression, expected), value) in cases.iter().zip(floats(definitions, &expressions)) {
        let near = (value - expected).abs() <= tolerance * expected.abs();
        assert!(
            value == *expected || near || (value.is_nan() && expected.is_nan()),
            "{expression} gives {value}, not {expected}"
        );
    }
}
