//! Speed of the matrix kernels: GB/s of packed weights for one row, GMAC/s for 512 rows, beside the machine's read
//! bandwidth in the same run. `cargo run --release --example matrix_bench -- [THREADS] [FORMAT]`.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use forgellm_codegen_cpu::device::matrix::format::*;
use forgellm_codegen_cpu::device::matrix::{
    ActivationBlock, Activations, Format, Isa, Matrix, Project, quantise_row,
};

const ROWS: usize = 512;
/// Copies of a matrix are walked through, so that one row finds its weights in memory, not in a cache.
const WORKING_SET: usize = 128 << 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let threads = arguments.next().map_or(Ok(1), |threads| threads.parse())?;
    let only = arguments.next();
    let isa = Isa::detect()?;
    println!("{} on {threads} threads; reading memory: {:.1} GB/s", isa.name(), read_bandwidth(threads));
    println!("{:8} {:>12} {:>14} {:>15}", "format", "shape", "1 row, GB/s", "512 rows, GMAC/s");
    macro_rules! bench {
        ($($format:ident),*) => {$(
            if only.as_deref().is_none_or(|only| only == stringify!($format)) {
                shape::<$format, 576, 1536>(isa, threads)?;
                shape::<$format, 1536, 576>(isa, threads)?;
                shape::<$format, 896, 4864>(isa, threads)?;
            }
        )*};
    }
    // K-quants need columns in whole blocks of 256: 576 is none.
    macro_rules! bench_k {
        ($($format:ident),*) => {$(
            if only.as_deref().is_none_or(|only| only == stringify!($format)) {
                shape::<$format, 576, 1536>(isa, threads)?;
                shape::<$format, 1536, 768>(isa, threads)?;
                shape::<$format, 896, 4864>(isa, threads)?;
            }
        )*};
    }
    bench!(F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL, MXFP4);
    bench_k!(Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, Q8_K, IQ4_XS);
    Ok(())
}

fn shape<F: Format, const OUT: usize, const IN: usize>(
    isa: Isa,
    threads: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let bytes = Matrix::<F, OUT, IN>::BYTES;
    let copies = WORKING_SET.div_ceil(bytes);
    let memory: Vec<[u8; 64]> = vec![[0x2a; 64]; (copies * bytes).div_ceil(64)];
    let memory: &[u8] = memory.as_flattened();
    let matrices: Vec<Matrix<'_, F, OUT, IN>> =
        memory.chunks_exact(bytes).map(Matrix::new).collect::<Result<_, _>>()?;
    let x: Vec<f32> = (0..ROWS * IN).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0).collect();
    let mut blocks = vec![ActivationBlock::default(); ROWS * IN / 32];
    for (row, blocks) in x.chunks_exact(IN).zip(blocks.chunks_exact_mut(IN / 32)) {
        quantise_row(isa, row, blocks);
    }
    let x = Activations::new(IN, &x, &blocks);

    let run = |thread: usize, matrix: &Matrix<'_, F, OUT, IN>, rows| {
        let panels = matrix.panels();
        let share = panels * thread / threads..panels * (thread + 1) / threads;
        matrix.project(isa, &x, 0..rows, share, &mut |_, _, tile| {
            black_box(tile);
        });
    };
    let decode = fastest(threads, |thread| matrices.iter().for_each(|matrix| run(thread, matrix, 1)));
    let prefill = fastest(threads, |thread| run(thread, &matrices[0], ROWS));
    println!(
        "{:8} {:>12} {:>14.1} {:>15.1}",
        F::NAME,
        format!("{OUT}x{IN}"),
        (matrices.len() * bytes) as f64 / decode.as_secs_f64() / 1e9,
        (ROWS * OUT * IN) as f64 / prefill.as_secs_f64() / 1e9,
    );
    Ok(())
}

/// The shortest run of `work` on all threads at once, of as many as fit into half a second: on a busy machine most
/// are interrupted.
fn fastest(threads: usize, work: impl Fn(usize) + Sync) -> Duration {
    let mut best = Duration::MAX;
    let first = Instant::now();
    while first.elapsed() < Duration::from_millis(500) {
        let start = Barrier::new(threads);
        let slowest = std::thread::scope(|scope| {
            let timed = |thread| {
                let (start, work) = (&start, &work);
                scope.spawn(move || {
                    start.wait();
                    let begun = Instant::now();
                    work(thread);
                    begun.elapsed()
                })
            };
            let all: Vec<_> = (0..threads).map(timed).collect();
            all.into_iter().map(|thread| thread.join().unwrap_or(Duration::MAX)).max()
        });
        best = best.min(slowest.unwrap_or(Duration::MAX));
    }
    best
}

/// GB/s of summing up memory on all threads at once.
fn read_bandwidth(threads: usize) -> f64 {
    let memory = vec![1u64; WORKING_SET / 8];
    let time = fastest(threads, |thread| {
        let share = memory.len() / threads;
        let mut sums = [0u64; 32];
        for values in memory[thread * share..][..share].as_chunks::<32>().0 {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum ^= value;
            }
        }
        black_box(sums);
    });
    WORKING_SET as f64 / time.as_secs_f64() / 1e9
}
