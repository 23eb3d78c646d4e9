//! What compiled kernels and the simulator know of each other: the mirror of `include/ms_host.h`.

use std::ffi::{c_char, c_void};

/// Buffer indexes of a kernel, and indexes of threadgroup memory.
pub const BUFFERS: usize = 31;
/// Threads of a simdgroup.
pub const LANES: usize = 32;
/// Bytes that a lane may publish in one exchange.
pub const EXCHANGE_BYTES: usize = 64;

/// `ms_thread`: what a kernel may ask about its own thread.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Thread {
    /// `thread_position_in_grid`.
    pub position_in_grid: [u32; 3],
    /// `threadgroup_position_in_grid`.
    pub threadgroup_position: [u32; 3],
    /// `thread_position_in_threadgroup`.
    pub position_in_threadgroup: [u32; 3],
    /// `threads_per_threadgroup`.
    pub threads_per_threadgroup: [u32; 3],
    /// `threadgroups_per_grid`.
    pub threadgroups_per_grid: [u32; 3],
    /// `threads_per_grid`.
    pub threads_per_grid: [u32; 3],
    /// `thread_index_in_threadgroup`.
    pub index_in_threadgroup: u32,
    /// `thread_index_in_simdgroup`.
    pub lane: u32,
    /// `simdgroup_index_in_threadgroup`.
    pub simdgroup: u32,
    /// `simdgroups_per_threadgroup`.
    pub simdgroups_per_threadgroup: u32,
    /// Simdgroup-matrix operations so far, counted by the kernel.
    pub matrix_operations: u32,
    /// Zero.
    pub reserved: u32,
    /// Device and constant buffers by index, [`BUFFERS`] of them.
    pub buffers: *const *mut c_void,
    /// Threadgroup memory passed as an argument by index, [`BUFFERS`] of them.
    pub threadgroup_buffers: *const *mut c_void,
}

const _: () = assert!(size_of::<Thread>() == 112);

/// `scope` of a barrier: one simdgroup.
pub const SCOPE_SIMDGROUP: u32 = 0;
/// `scope` of a barrier: the threadgroup.
pub const SCOPE_THREADGROUP: u32 = 1;
/// `mem_flags::mem_device`.
pub const MEM_DEVICE: u32 = 1;
/// `mem_flags::mem_threadgroup`.
pub const MEM_THREADGROUP: u32 = 2;

/// `ms_host`: the functions that kernels call.
#[repr(C)]
#[derive(Debug)]
pub struct Host {
    /// The calling thread.
    pub thread: extern "C" fn() -> *const Thread,
    /// Waits for the other threads of `scope`.
    pub barrier: extern "C" fn(scope: u32, mem_flags: u32, pc: *const c_void),
    /// Publishes `size` bytes, waits for the other lanes, gives the slots of all 32 and the mask of those that took part.
    pub exchange:
        extern "C" fn(value: *const c_void, size: u32, active: *mut u32, pc: *const c_void) -> *const c_void,
    /// Threadgroup memory declared in a kernel: the same address for all threads of a threadgroup.
    pub threadgroup_memory:
        extern "C" fn(site: u32, bytes: u64, align: u64, name: *const c_char) -> *mut c_void,
    /// Before a load; only in traced builds.
    pub load: extern "C" fn(address: *const c_void, bytes: u64, pc: *const c_void),
    /// Before a store; only in traced builds.
    pub store: extern "C" fn(address: *mut c_void, bytes: u64, pc: *const c_void),
    /// Before an atomic access. `kind`: 0 load, 1 store, 2 read-modify-write.
    pub atomic: extern "C" fn(address: *mut c_void, bytes: u64, kind: u32, pc: *const c_void),
    /// After a simdgroup-matrix operation, by the lane that did it. `kind`: 0 load, 1 store, 2 multiply-accumulate.
    pub matrix: extern "C" fn(kind: u32, pc: *const c_void),
    /// Refuses to go on. Does not return.
    pub fail: extern "C" fn(message: *const c_char, pc: *const c_void),
}

const _: () = assert!(size_of::<Host>() == 9 * size_of::<usize>());

/// A bit of `bytes` in [`Host::load`] and [`Host::store`]: the compiler does not rely on the address being a multiple of
/// the size.
pub const UNALIGNED: u64 = 1 << 63;

/// `kind` of an atomic access or a simdgroup-matrix operation: a load.
pub const KIND_LOAD: u32 = 0;
/// `kind` of an atomic access or a simdgroup-matrix operation: a store.
pub const KIND_STORE: u32 = 1;
