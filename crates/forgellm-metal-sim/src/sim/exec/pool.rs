//! OS threads that share the threadgroups of a dispatch.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::worker::Worker;
use super::{Dispatch, Shared, Stop};

/// How often a thread looks for work before it sleeps: some microseconds, since dispatches follow each other closely.
const LOOKS: u32 = 4000;

/// Runs dispatches, one after another.
pub struct Executor {
    worker: Box<Worker>,
    pool: Option<Pool>,
}

impl Executor {
    /// With `threads` OS threads, the caller's one of them.
    pub fn new(threads: usize) -> Self {
        #[cfg(target_os = "linux")]
        super::crash::install();
        Self { worker: Worker::new(), pool: (threads > 1).then(|| Pool::new(threads - 1)) }
    }

    /// Runs a dispatch to its end.
    pub fn run(&mut self, dispatch: &Dispatch<'_>) -> Result<(), Stop> {
        let shared = Shared { dispatch, next: AtomicU32::new(0), stopped: AtomicBool::new(false) };
        let alone = dispatch.watch.is_some() || dispatch.threadgroups == [1; 3];
        match &mut self.pool {
            Some(pool) if !alone => pool.run(&mut self.worker, &shared),
            _ => self.worker.run(&shared),
        }
    }
}

/// The other threads.
struct Pool {
    post: Arc<Post>,
    threads: Vec<JoinHandle<()>>,
}

/// Where jobs are posted.
struct Post {
    /// Counts the jobs, so that a thread sees a new one without the lock.
    number: AtomicUsize,
    job: Mutex<Job>,
    posted: Condvar,
    /// Threads that have not finished the job.
    busy: AtomicUsize,
    /// The first reason to stop.
    stop: Mutex<Option<Stop>>,
}

#[derive(Clone, Copy)]
struct Job {
    number: usize,
    /// `None`: the pool ends.
    shared: Option<*const Shared<'static>>,
}

// SAFETY: the pointer is to something `Sync`, which stays until every thread has finished the job.
unsafe impl Send for Job {}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    fn new(threads: usize) -> Self {
        let post = Arc::new(Post {
            number: AtomicUsize::new(0),
            job: Mutex::new(Job { number: 0, shared: None }),
            posted: Condvar::new(),
            busy: AtomicUsize::new(0),
            stop: Mutex::new(None),
        });
        let spawn = |_| {
            let post = Arc::clone(&post);
            std::thread::Builder::new().name("metal-sim".to_owned()).spawn(move || serve(&post)).ok()
        };
        // Without a thread there is less speed, nothing else.
        let threads = (0..threads).filter_map(spawn).collect();
        Self { post, threads }
    }

    fn run(&mut self, worker: &mut Worker, shared: &Shared<'_>) -> Result<(), Stop> {
        self.post.busy.store(self.threads.len(), Ordering::Relaxed);
        // SAFETY: only the lifetime changes; every thread is done with it before this function returns.
        let pointer = unsafe { std::mem::transmute::<*const Shared<'_>, *const Shared<'static>>(shared) };
        self.post(Some(pointer));
        let mine = worker.run(shared);
        let mut looks = 0;
        while self.post.busy.load(Ordering::Acquire) != 0 {
            looks += 1;
            if looks < LOOKS {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
        let theirs = lock(&self.post.stop).take();
        mine.and(theirs.map_or(Ok(()), Err))
    }

    fn post(&self, shared: Option<*const Shared<'static>>) {
        let mut job = lock(&self.post.job);
        job.number += 1;
        job.shared = shared;
        self.post.number.store(job.number, Ordering::Release);
        self.post.posted.notify_all();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.post(None);
        for thread in self.threads.drain(..) {
            // A worker does not panic; if it did, there is nothing left to do about it here.
            let _ = thread.join();
        }
    }
}

/// The life of a thread of the pool.
fn serve(post: &Post) {
    let mut worker = Worker::new();
    let mut seen = 0;
    loop {
        let mut looks = 0;
        while looks < LOOKS && post.number.load(Ordering::Acquire) == seen {
            looks += 1;
            std::hint::spin_loop();
        }
        let mut job = lock(&post.job);
        while job.number == seen {
            job = post.posted.wait(job).unwrap_or_else(PoisonError::into_inner);
        }
        let Job { number, shared } = *job;
        drop(job);
        seen = number;
        let Some(shared) = shared else { return };
        // SAFETY: `Pool::run` keeps it until `busy` is 0.
        if let Err(stop) = worker.run(unsafe { &*shared }) {
            lock(&post.stop).get_or_insert(stop);
        }
        post.busy.fetch_sub(1, Ordering::Release);
    }
}
