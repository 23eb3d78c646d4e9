//! How fast this machine's threads read memory.

use std::hint::black_box;
use std::thread;
use std::time::Instant;

/// Bytes to read: more than the caches of any processor in use hold.
const BYTES: usize = 1 << 30;
/// How often all of it is read; the fastest counts, since nothing but disturbance can make one slower.
const PASSES: usize = 4;

/// Why memory could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BandwidthError {
    /// There is not enough of it.
    #[error("{0} bytes of memory are needed to measure its speed; free some, or use --no-bandwidth")]
    Memory(usize),
    /// A thread failed.
    #[error(
        "a thread that measures the speed of memory could not be run; use fewer --threads, or --no-bandwidth"
    )]
    Thread,
}

/// Bytes per second that `threads` threads read together, each its own part of a buffer, from its beginning to its end.
pub fn bandwidth(threads: usize) -> Result<f64, BandwidthError> {
    measure(threads.max(1), BYTES)
}

fn measure(threads: usize, bytes: usize) -> Result<f64, BandwidthError> {
    let words = bytes / size_of::<u64>() / threads;
    let mut parts = Vec::new();
    for _ in 0..threads {
        let mut part: Vec<u64> = Vec::new();
        part.try_reserve_exact(words).map_err(|_| BandwidthError::Memory(bytes))?;
        parts.push(part);
    }
    // Each thread writes first what it reads later, so that the memory is near it and not all one page of zeros.
    in_threads(&mut parts, |part| {
        part.resize(words, part.capacity() as u64 | 1);
        0
    })?;
    let mut seconds = f64::INFINITY;
    for _ in 0..PASSES {
        let start = Instant::now();
        in_threads(&mut parts, |part| sum(black_box(part)))?;
        seconds = seconds.min(start.elapsed().as_secs_f64());
    }
    Ok((words * size_of::<u64>() * threads) as f64 / seconds.max(f64::MIN_POSITIVE))
}

/// Does `work` with all parts, each in a thread of its own. Starting them takes well under a thousandth of reading them.
fn in_threads(
    parts: &mut [Vec<u64>],
    work: impl Fn(&mut Vec<u64>) -> u64 + Sync,
) -> Result<(), BandwidthError> {
    thread::scope(|scope| {
        let work = &work;
        let spawn = |part| thread::Builder::new().spawn_scoped(scope, move || black_box(work(part)));
        let started: Vec<_> = parts.iter_mut().map(spawn).collect();
        let joined = started.into_iter().map(|thread| thread.is_ok_and(|thread| thread.join().is_ok()));
        // All are waited for, also behind one that failed.
        let failed = joined.filter(|is_done| !is_done).count();
        if failed == 0 { Ok(()) } else { Err(BandwidthError::Thread) }
    })
}

/// Reads everything; eight sums at a time, so that no addition waits for the one before.
fn sum(words: &[u64]) -> u64 {
    let mut sums = [0u64; 8];
    let chunks = words.chunks_exact(8);
    let rest: u64 = chunks.remainder().iter().fold(0, |sum, word| sum.wrapping_add(*word));
    for chunk in chunks {
        for (sum, word) in sums.iter_mut().zip(chunk) {
            *sum = sum.wrapping_add(*word);
        }
    }
    sums.iter().fold(rest, |sum, part| sum.wrapping_add(*part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_read() {
        let words: Vec<u64> = (0..1003).collect();
        assert_eq!(sum(&words), 1003 * 1002 / 2);
    }

    #[test]
    fn a_speed_is_one_of_memory() {
        for threads in [1, 3] {
            let speed = measure(threads, 1 << 22).unwrap();
            // A test machine may be slow or read from its caches, but not a thousand times.
            assert!((1e7..1e13).contains(&speed), "{speed:e}");
        }
        assert_eq!(measure(1, usize::MAX), Err(BandwidthError::Memory(usize::MAX)));
    }
}
