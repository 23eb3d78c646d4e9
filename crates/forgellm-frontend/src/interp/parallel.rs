//! Work spread over the cores.

use std::sync::{Mutex, PoisonError};

/// Calls `f` with the index and content of each chunk of `out`, on all cores where `work` (multiplications in all) is worth it.
///
/// Chunks are handed out one by one, so they may differ in cost. The first error ends the work.
pub fn for_chunks<E: Send>(
    out: &mut [f32],
    chunk: usize,
    work: usize,
    f: impl Fn(usize, &mut [f32]) -> Result<(), E> + Sync,
) -> Result<(), E> {
    const WORTH_A_THREAD: usize = 1 << 18;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(work / WORTH_A_THREAD).max(1);
    let chunks = Mutex::new(out.chunks_mut(chunk).enumerate());
    let run = || {
        loop {
            let next = chunks.lock().unwrap_or_else(PoisonError::into_inner).next();
            match next {
                Some((index, chunk)) => f(index, chunk)?,
                None => return Ok(()),
            }
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        let mine = run();
        others.into_iter().fold(mine, |result, thread| {
            let theirs = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            result.and(theirs)
        })
    })
}
