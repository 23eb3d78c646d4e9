//! Threads that all run the same function at the same time.
//!
//! A step of a model takes between a hundred microseconds and seconds and has some hundred points at which threads wait for each other,
//! so threads wait by spinning: for a moment at full speed, then giving way to others. Between steps they go to sleep after
//! `AWAKE`, so an idle program costs nothing.

use std::any::Any;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Threads waiting for work. The caller of [`Pool::run`] is thread 0, so a pool of one has no thread of its own.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts `threads - 1` threads; the error holds the number of the thread that could not be started.
    pub fn new(threads: NonZeroUsize) -> Result<Pool, usize> {
        let threads = threads.get();
        let shared = Arc::new(Shared {
            job: Mutex::new(Job { round: 0, work: None }),
            round: AtomicUsize::new(0),
            wake: Condvar::new(),
            running: AtomicUsize::new(0),
            panic: Mutex::new(None),
            barrier: Barrier::new(threads),
        });
        let mut pool = Pool { shared, workers: Vec::with_capacity(threads - 1) };
        for thread in 1..threads {
            let shared = Arc::clone(&pool.shared);
            let worker = std::thread::Builder::new()
                .name(format!("model-{thread}"))
                .spawn(move || serve(&shared, thread))
                .map_err(|_| thread)?;
            pool.workers.push(worker);
        }
        Ok(pool)
    }

    /// Number of threads, the caller's among them.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `work(thread, barrier)` on every thread and returns when all have returned.
    ///
    /// If one of them panics, those that wait at the barrier panic too, and so does this call, with the first one's message; the pool
    /// stays usable.
    pub fn run(&mut self, work: impl Fn(usize, &Barrier) + Sync) {
        let work: &(dyn Fn(usize, &Barrier) + Sync) = &work;
        // SAFETY: only the lifetime changes. Threads use the reference between the start of the round and their decrement of
        // `running`, and this call does not return, nor unwind, before `running` is 0.
        let work: &'static (dyn Fn(usize, &Barrier) + Sync) = unsafe { std::mem::transmute(work) };
        let shared = &*self.shared;
        shared.barrier.reset();
        if !self.workers.is_empty() {
            shared.running.store(self.workers.len(), Ordering::Relaxed);
            let mut job = lock(&shared.job);
            job.round = job.round.wrapping_add(1);
            job.work = Some(work);
            shared.round.store(job.round, Ordering::Release);
            drop(job);
            shared.wake.notify_all();
        }
        perform(shared, work, 0);
        let mut spins = 0;
        while shared.running.load(Ordering::Acquire) != 0 {
            pause(&mut spins);
        }
        if let Some(payload) = lock(&shared.panic).take() {
            resume_unwind(payload);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut job = lock(&self.shared.job);
        job.round = job.round.wrapping_add(1);
        job.work = None;
        self.shared.round.store(job.round, Ordering::Release);
        drop(job);
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // Panics of work are caught and passed on by `run`; a thread itself has nothing to report.
            let _ = worker.join();
        }
    }
}

/// A point that no thread passes before all have come to it.
pub struct Barrier {
    threads: usize,
    arrived: AtomicUsize,
    /// Counts the times that all have arrived.
    turn: AtomicUsize,
    broken: AtomicBool,
}

impl Barrier {
    fn new(threads: usize) -> Barrier {
        Barrier {
            threads,
            arrived: AtomicUsize::new(0),
            turn: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
        }
    }

    /// Waits for all threads; what any of them wrote before is seen by all after.
    ///
    /// # Panics
    ///
    /// If another thread panicked, as it will never come.
    pub fn wait(&self) {
        if self.threads == 1 {
            return;
        }
        let turn = self.turn.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.threads {
            self.arrived.store(0, Ordering::Relaxed);
            self.turn.store(turn.wrapping_add(1), Ordering::Release);
            return;
        }
        let mut spins = 0;
        while self.turn.load(Ordering::Acquire) == turn {
            if self.broken.load(Ordering::Relaxed) {
                panic!("another thread of the step panicked");
            }
            pause(&mut spins);
        }
    }

    fn reset(&self) {
        self.arrived.store(0, Ordering::Relaxed);
        self.broken.store(false, Ordering::Relaxed);
    }
}

/// How long a thread stays awake after a step, in expectation of the next.
const AWAKE: Duration = Duration::from_micros(200);

type Work = &'static (dyn Fn(usize, &Barrier) + Sync);

struct Shared {
    job: Mutex<Job>,
    /// `job.round`, readable without the lock.
    round: AtomicUsize,
    wake: Condvar,
    /// Workers that have not finished the current round.
    running: AtomicUsize,
    /// The first panic of the round.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    barrier: Barrier,
}

struct Job {
    round: usize,
    /// `None` in a new round: the pool ends.
    work: Option<Work>,
}

fn serve(shared: &Shared, thread: usize) {
    let mut seen = 0;
    loop {
        let idle = Instant::now();
        let mut spins = 0;
        while shared.round.load(Ordering::Acquire) == seen && idle.elapsed() < AWAKE {
            pause(&mut spins);
        }
        let mut job = lock(&shared.job);
        while job.round == seen {
            job = shared.wake.wait(job).unwrap_or_else(PoisonError::into_inner);
        }
        seen = job.round;
        let work = job.work;
        drop(job);
        let Some(work) = work else { return };
        perform(shared, work, thread);
        shared.running.fetch_sub(1, Ordering::Release);
    }
}

fn perform(shared: &Shared, work: Work, thread: usize) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| work(thread, &shared.barrier))) {
        lock(&shared.panic).get_or_insert(payload);
        shared.barrier.broken.store(true, Ordering::Relaxed);
    }
}

/// One round of waiting: a processor hint at first, then a turn for other threads of the machine.
fn pause(spins: &mut u32) {
    if *spins < 2000 {
        *spins += 1;
        std::hint::spin_loop();
    } else {
        std::thread::yield_now();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(threads: usize) -> Pool {
        Pool::new(NonZeroUsize::new(threads).expect("not zero")).expect("threads")
    }

    #[test]
    fn every_thread_sees_what_the_others_wrote_before_a_barrier() {
        for threads in 1..=5 {
            let mut pool = pool(threads);
            let cells: Vec<AtomicUsize> = (0..threads).map(|_| AtomicUsize::new(0)).collect();
            for round in 0..200 {
                pool.run(|thread, barrier| {
                    for turn in 0..10 {
                        cells[thread].fetch_add(1, Ordering::Relaxed);
                        barrier.wait();
                        for cell in &cells {
                            assert_eq!(cell.load(Ordering::Relaxed), round * 10 + turn + 1);
                        }
                        barrier.wait();
                    }
                });
            }
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_leaves_the_pool_usable() {
        let mut pool = pool(4);
        for guilty in 0..4 {
            let result = catch_unwind(AssertUnwindSafe(|| {
                pool.run(|thread, barrier| {
                    barrier.wait();
                    assert!(thread != guilty, "thread {guilty} fails");
                    barrier.wait();
                });
            }));
            let payload = result.expect_err("the panic is passed on");
            assert_eq!(payload.downcast_ref::<String>(), Some(&format!("thread {guilty} fails")));
            let count = AtomicUsize::new(0);
            pool.run(|_, barrier| {
                barrier.wait();
                count.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(count.load(Ordering::Relaxed), 4);
        }
    }

    #[test]
    fn sleeping_threads_wake_for_the_next_round() {
        let mut pool = pool(3);
        let count = AtomicUsize::new(0);
        for _ in 0..20 {
            std::thread::sleep(AWAKE * 5);
            pool.run(|_, barrier| {
                count.fetch_add(1, Ordering::Relaxed);
                barrier.wait();
            });
        }
        assert_eq!(count.load(Ordering::Relaxed), 60);
    }
}
