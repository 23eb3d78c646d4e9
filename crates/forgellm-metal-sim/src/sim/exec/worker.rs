//! One OS thread's part: runs threadgroups one after another, the threads of each in turn.
//!
//! Kernels call back into the simulator while the scheduler below them on the same OS thread is half-way through, so
//! all state is reached through raw pointers and no reference to it lives across a resumption.

use std::ffi::c_void;
use std::ops::Range;
use std::sync::atomic::Ordering;

use super::fiber::{Context, Fiber, switch};
use super::hooks;
use super::memory::ThreadgroupMemory;
use super::order::Order;
use super::simdgroup::Simdgroup;
use super::{Dispatch, Entry, Shared, Stop, Watch, meeting};
use crate::sim::abi::{BUFFERS, Host, LANES, Thread};
use crate::sim::module::Module;

/// A GPU thread. It begins with what kernels see of it.
#[repr(C)]
pub(super) struct Lane {
    pub(super) thread: Thread,
    pub(super) worker: *mut Worker,
    pub(super) simdgroup: *mut Simdgroup,
    /// Where it goes on when it waits.
    context: Context,
    pub(super) stack: Range<usize>,
    /// Where it waits, with which `mem_flags`, and what it publishes.
    pub(super) pc: usize,
    pub(super) flags: u32,
    pub(super) published: (*const c_void, u32),
}

/// What one OS thread needs to run threadgroups; made once and kept.
pub(super) struct Worker {
    pub(super) lanes: Vec<Lane>,
    pub(super) simdgroups: Vec<Simdgroup>,
    fibers: Vec<Fiber>,
    /// Fibers that run no thread.
    free: Vec<usize>,
    /// Where the scheduler goes on.
    pub(super) scheduler: Context,
    pub(super) memory: ThreadgroupMemory,
    buffers: [*mut c_void; BUFFERS],
    threadgroup_buffers: [*mut c_void; BUFFERS],
    /// Threadgroups of the grid and threads of each, for which `lanes` are set up.
    shape: [[u32; 3]; 2],
    entry: Option<Entry>,
    pub(super) module: *const Module,
    pub(super) watch: Option<*const (dyn Watch + 'static)>,
    /// How the order of threads is shuffled.
    pub(super) random: Option<Order>,
    /// Where a lane last did a simdgroup-matrix operation.
    pub(super) matrix_pc: usize,
    /// Set by a hook that must not return to its kernel.
    pub(super) stop: Option<Stop>,
}

// SAFETY: the pointers are to its own parts and to the dispatch that runs; between dispatches nothing is on its fibers.
unsafe impl Send for Worker {}

impl Worker {
    pub(super) fn new() -> Box<Self> {
        Box::new(Self {
            lanes: Vec::new(),
            simdgroups: Vec::new(),
            fibers: Vec::new(),
            free: Vec::new(),
            scheduler: 0,
            memory: ThreadgroupMemory::new(),
            buffers: [std::ptr::null_mut(); BUFFERS],
            threadgroup_buffers: [std::ptr::null_mut(); BUFFERS],
            shape: [[0; 3]; 2],
            entry: None,
            module: std::ptr::null(),
            watch: None,
            random: None,
            matrix_pc: 0,
            stop: None,
        })
    }

    /// Takes threadgroups of a dispatch until none is left or some worker stopped.
    pub(super) fn run(&mut self, shared: &Shared<'_>) -> Result<(), Stop> {
        let dispatch = shared.dispatch;
        self.prepare(dispatch);
        let [x, y, z] = dispatch.threadgroups;
        let count = x * y * z;
        let order = dispatch.seed.map(Order::new);
        let worker: *mut Self = self;
        loop {
            let ticket = shared.next.fetch_add(1, Ordering::Relaxed);
            if ticket >= count || shared.stopped.load(Ordering::Relaxed) {
                hooks::set_current(std::ptr::null_mut());
                return Ok(());
            }
            let index = order.as_ref().map_or(ticket, |order| order.permute(ticket, count));
            let position = [index % x, index / x % y, index / x / y];
            // SAFETY: `worker` is `self`, which nobody else uses during this call.
            let result = unsafe { run_threadgroup(worker, dispatch, position) };
            if let Err(stop) = result {
                shared.stopped.store(true, Ordering::Relaxed);
                // SAFETY: as above; frames of kernels and hooks own nothing.
                unsafe { abandon(worker) };
                return Err(stop);
            }
        }
    }

    /// Sets up what is the same for all threadgroups of a dispatch.
    fn prepare(&mut self, dispatch: &Dispatch<'_>) {
        self.buffers = dispatch.buffers.map(|buffer| buffer.cast());
        self.entry = Some(dispatch.entry);
        self.module = dispatch.module;
        self.watch = dispatch.watch.map(|watch| {
            // SAFETY: only the lifetime changes; the pointer is used while the dispatch runs, which outlives that.
            unsafe { std::mem::transmute::<*const (dyn Watch + '_), *const (dyn Watch + 'static)>(watch) }
        });
        self.random = dispatch.seed.map(Order::new);
        self.stop = None;
        let shape = [dispatch.threadgroups, dispatch.threads];
        if shape != self.shape {
            self.shape = shape;
            self.set_up_lanes(dispatch);
        }
    }

    fn set_up_lanes(&mut self, dispatch: &Dispatch<'_>) {
        let worker: *mut Self = self;
        let [x, y, z] = dispatch.threads;
        let count = (x * y * z) as usize;
        let simdgroups = count.div_ceil(LANES);
        self.simdgroups.resize_with(simdgroups, Simdgroup::new);
        let grid = [0, 1, 2].map(|axis| dispatch.threadgroups[axis].saturating_mul(dispatch.threads[axis]));
        let states = self.simdgroups.as_mut_ptr();
        let (buffers, threadgroup_buffers) = (self.buffers.as_ptr(), self.threadgroup_buffers.as_ptr());
        self.lanes.clear();
        self.lanes.reserve(count);
        let first = self.lanes.as_mut_ptr();
        for (index, simdgroup) in self.simdgroups.iter_mut().enumerate() {
            let lanes = (count - index * LANES).min(LANES);
            simdgroup.exists = u32::MAX >> (LANES - lanes);
            // SAFETY: there is room for `count` of them.
            simdgroup.lanes = unsafe { first.add(index * LANES) };
        }
        self.lanes.extend((0..count as u32).map(|index| Lane {
            thread: Thread {
                position_in_grid: [0; 3],
                threadgroup_position: [0; 3],
                position_in_threadgroup: [index % x, index / x % y, index / x / y],
                threads_per_threadgroup: dispatch.threads,
                threadgroups_per_grid: dispatch.threadgroups,
                threads_per_grid: grid,
                index_in_threadgroup: index,
                lane: index % LANES as u32,
                simdgroup: index / LANES as u32,
                simdgroups_per_threadgroup: simdgroups as u32,
                matrix_operations: 0,
                reserved: 0,
                buffers,
                threadgroup_buffers,
            },
            worker,
            // SAFETY: there are `simdgroups` of them.
            simdgroup: unsafe { states.add(index as usize / LANES) },
            context: 0,
            stack: 0..0,
            pc: 0,
            flags: 0,
            published: (std::ptr::null(), 0),
        }));
    }

    /// Places all threads before their first instruction.
    fn begin(&mut self, dispatch: &Dispatch<'_>, position: [u32; 3]) -> Result<(), Stop> {
        let size = dispatch.threads;
        for lane in &mut self.lanes {
            let thread = &mut lane.thread;
            thread.threadgroup_position = position;
            thread.position_in_grid = [0, 1, 2].map(|axis| {
                position[axis].wrapping_mul(size[axis]).wrapping_add(thread.position_in_threadgroup[axis])
            });
            thread.matrix_operations = 0;
        }
        for simdgroup in &mut self.simdgroups {
            simdgroup.begin();
        }
        self.memory.clear();
        for &(index, bytes) in dispatch.threadgroup_memory {
            let memory = self.memory.get(u32::MAX - index, bytes, 16, std::ptr::null());
            let memory = memory.map_err(Stop::Memory)?;
            if let Some(argument) = self.threadgroup_buffers.get_mut(index as usize) {
                *argument = memory.cast();
            }
        }
        if let Some(watch) = dispatch.watch {
            watch.begin_threadgroup(position);
        }
        Ok(())
    }

    /// The memory that kernels read without its being a buffer: their threads, the exchange, the tables of
    /// buffers and of functions.
    pub(super) fn lent(&self) -> [Range<usize>; 4] {
        let threads = self.lanes.as_ptr_range();
        let exchange = self.simdgroups.as_ptr_range();
        let tables = std::ptr::from_ref(self);
        let functions = &raw const hooks::HOST;
        [
            threads.start as usize..threads.end as usize,
            exchange.start as usize..exchange.end as usize,
            tables as usize..tables as usize + size_of::<Self>(),
            functions as usize..functions as usize + size_of::<Host>(),
        ]
    }

    /// Sees to it that there is a fiber that runs no thread.
    fn provide_fiber(&mut self) -> Result<(), Stop> {
        if self.free.is_empty() {
            let index = self.fibers.len();
            let worker: *mut Self = self;
            let fiber = Fiber::new(run_threads, worker.cast(), index).map_err(|error| {
                Stop::Memory(format!(
                    "no memory for the stack of a thread ({error}); {index} stacks are in use"
                ))
            })?;
            self.fibers.push(fiber);
            self.free.push(index);
        }
        Ok(())
    }
}

/// Runs one threadgroup to its end.
///
/// # Safety
/// `worker` is prepared for `dispatch`, and used by nobody else.
unsafe fn run_threadgroup(
    worker: *mut Worker,
    dispatch: &Dispatch<'_>,
    position: [u32; 3],
) -> Result<(), Stop> {
    // SAFETY: no kernel runs, so nothing else refers to the worker.
    unsafe { (*worker).begin(dispatch, position)? };
    loop {
        // SAFETY: as above; `run_simdgroup` leaves no reference behind.
        unsafe {
            let count = (*worker).simdgroups.len() as u32;
            let order = (*worker).random.as_mut().map(Order::fork);
            for ticket in 0..count {
                let index = order.as_ref().map_or(ticket, |order| order.permute(ticket, count));
                run_simdgroup(worker, index as usize)?;
            }
            if !meeting::of_threadgroup(&mut *worker)? {
                return Ok(());
            }
        }
    }
}

/// Runs a simdgroup until all of its lanes have ended or wait for the threadgroup.
///
/// # Safety
/// As for [`run_threadgroup`]; `index` is a simdgroup of it.
unsafe fn run_simdgroup(worker: *mut Worker, index: usize) -> Result<(), Stop> {
    // SAFETY: the vectors are neither moved nor resized while kernels run.
    unsafe {
        let simdgroup = (*worker).simdgroups.as_mut_ptr().add(index);
        loop {
            if (*simdgroup).runnable == 0 && !meeting::of_simdgroup(&mut *worker, index)? {
                return Ok(());
            }
            (*worker).provide_fiber()?;
            hand_over(worker, simdgroup, &raw mut (*worker).scheduler);
            if let Some(stop) = (*worker).stop.take() {
                return Err(stop);
            }
        }
    }
}

/// Goes on with a lane of the simdgroup that may run, or with the scheduler if there is none (or no fiber for it).
/// Returns when somebody goes on with what is saved at `save`.
///
/// # Safety
/// Called by the scheduler or on a fiber of `worker`; `save` is where that one is looked for.
// Not inlined: what it knows of the OS thread must not survive a switch.
#[inline(never)]
unsafe fn hand_over(worker: *mut Worker, simdgroup: *mut Simdgroup, save: *mut Context) {
    // SAFETY: the lanes of the simdgroup follow each other; the vectors do not move while kernels run.
    unsafe {
        let runnable = (*simdgroup).runnable;
        let mut to = (*worker).scheduler;
        if runnable != 0 {
            let next = choose(runnable, &mut (*worker).random);
            let lane = (*simdgroup).lanes.add(next as usize);
            if (*simdgroup).unstarted & 1 << next == 0 {
                to = (*lane).context;
            } else if let Some(index) = (*worker).free.pop() {
                let fiber = (*worker).fibers.as_ptr().add(index);
                (*lane).stack = (*fiber).stack();
                (*simdgroup).unstarted &= !(1 << next);
                to = (*fiber).context;
            } else {
                return switch(save, to);
            }
            (*simdgroup).runnable &= !(1 << next);
            hooks::set_current(lane);
        }
        switch(save, to);
    }
}

/// Waits: others go on until somebody lets the lane run again.
///
/// # Safety
/// `lane` is the current thread.
#[inline]
pub(super) unsafe fn pause(lane: *mut Lane) {
    // SAFETY: worker and simdgroup outlive the lane.
    unsafe { hand_over((*lane).worker, (*lane).simdgroup, &raw mut (*lane).context) };
}

/// Ends the dispatch: the scheduler finds the reason, and the lane never goes on.
///
/// # Safety
/// `lane` is the current thread.
#[cold]
pub(super) unsafe fn stop(lane: *mut Lane, reason: Stop) {
    // SAFETY: the worker outlives its lanes. The reason moves into it, so this frame owns nothing when it is left.
    unsafe {
        let worker = (*lane).worker;
        (*worker).stop = Some(reason);
        loop {
            switch(&raw mut (*lane).context, (*worker).scheduler);
        }
    }
}

/// What runs on a fiber. Whenever it is gone on with, there is a current thread that has not begun: runs it and, when
/// it ends, others of its simdgroup that have not begun, on the same stack and without a switch.
///
/// # Safety
/// `worker` is the worker that owns the fiber with this index.
unsafe extern "C" fn run_threads(worker: *mut u8, fiber: usize) {
    let worker = worker.cast::<Worker>();
    // SAFETY: the scheduler has set the current thread; the vectors do not move while kernels run.
    unsafe {
        loop {
            let simdgroup = run_unstarted(worker);
            (*worker).free.push(fiber);
            hand_over(worker, simdgroup, &raw mut (*(*worker).fibers.as_mut_ptr().add(fiber)).context);
        }
    }
}

/// # Safety
/// As for [`run_threads`].
// Not inlined, as `hand_over`.
#[inline(never)]
unsafe fn run_unstarted(worker: *mut Worker) -> *mut Simdgroup {
    // SAFETY: as for `run_threads`.
    unsafe {
        let mut lane = hooks::current();
        let simdgroup = (*lane).simdgroup;
        loop {
            if let Some(entry) = (*worker).entry {
                entry(&raw const (*lane).thread);
            }
            (*simdgroup).live &= !(1 << (*lane).thread.lane);
            let unstarted = (*simdgroup).unstarted;
            if unstarted == 0 {
                return simdgroup;
            }
            let next = choose(unstarted, &mut (*worker).random);
            (*simdgroup).unstarted &= !(1 << next);
            (*simdgroup).runnable &= !(1 << next);
            let other = (*simdgroup).lanes.add(next as usize);
            (*other).stack = (*lane).stack.clone();
            lane = other;
            hooks::set_current(lane);
        }
    }
}

/// One of the bits of `lanes`, which are not 0: the lowest, or any.
fn choose(lanes: u32, random: &mut Option<Order>) -> u32 {
    let Some(random) = random else { return lanes.trailing_zeros() };
    let mut rest = lanes;
    for _ in 0..random.below(lanes.count_ones()) {
        rest &= rest - 1;
    }
    rest.trailing_zeros()
}

/// Forgets the threads of a threadgroup that stopped half-way.
///
/// # Safety
/// No kernel of `worker` runs.
unsafe fn abandon(worker: *mut Worker) {
    // SAFETY: nothing else refers to the worker, and frames of kernels and hooks own nothing.
    let state = unsafe { &mut *worker };
    state.free.clear();
    for (index, fiber) in state.fibers.iter_mut().enumerate() {
        fiber.restart(run_threads, worker.cast(), index);
        state.free.push(index);
    }
    hooks::set_current(std::ptr::null_mut());
}
