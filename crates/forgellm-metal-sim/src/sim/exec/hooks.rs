//! The functions that kernels call. They run on a kernel's stack and must neither panic nor own anything when they pause.

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_void};

use super::worker::{Lane, pause, stop};
use super::{Access, AccessKind, Position, Scene, Stop};
use crate::sim::abi::{EXCHANGE_BYTES, Host, KIND_LOAD, KIND_STORE, SCOPE_SIMDGROUP, Thread, UNALIGNED};

/// The table that every loaded object gets.
pub(in crate::sim) static HOST: Host =
    Host { thread, barrier, exchange, threadgroup_memory, load, store, atomic, matrix, fail };

thread_local! {
    static CURRENT: Cell<*mut Lane> = const { Cell::new(std::ptr::null_mut()) };
}

/// The GPU thread that runs on this OS thread.
#[inline(always)]
pub(super) fn current() -> *mut Lane {
    CURRENT.get()
}

#[inline(always)]
pub(super) fn set_current(lane: *mut Lane) {
    CURRENT.set(lane);
}

extern "C" fn thread() -> *const Thread {
    current().cast()
}

/// # Safety
/// `lane` is the current thread.
#[cold]
unsafe fn refuse(lane: *mut Lane, message: String, pc: *const c_void) {
    // SAFETY: `lane` is the current thread.
    unsafe {
        let position = Position::of(&(*lane).thread);
        stop(lane, Stop::Refused { message, position, pc: pc as usize });
    }
}

extern "C" fn barrier(scope: u32, flags: u32, pc: *const c_void) {
    // SAFETY: kernels run only as current threads; lane, simdgroup and worker outlive the call.
    unsafe {
        let lane = current();
        let state = (*lane).simdgroup;
        let bit = 1 << (*lane).thread.lane;
        (*state).arrive(pc as usize);
        (*lane).pc = pc as usize;
        (*lane).flags = flags;
        if scope == SCOPE_SIMDGROUP {
            (*state).at_simdgroup_barrier |= bit;
            let worker = (*lane).worker;
            let last = (*state).at_simdgroup_barrier == (*state).exists && (*state).uniform;
            if last && (*worker).watch.is_none() && (*worker).random.is_none() {
                (*state).at_simdgroup_barrier = 0;
                (*state).runnable = (*state).exists & !bit;
                return;
            }
        } else {
            (*state).at_threadgroup_barrier |= bit;
        }
        pause(lane);
    }
}

extern "C" fn exchange(
    value: *const c_void,
    size: u32,
    active: *mut u32,
    pc: *const c_void,
) -> *const c_void {
    // SAFETY: as in `barrier`; `value` has `size` bytes, which are checked to fit a slot.
    unsafe {
        let lane = current();
        let state = (*lane).simdgroup;
        let bit = 1 << (*lane).thread.lane;
        if size as usize > EXCHANGE_BYTES {
            refuse(lane, format!("a lane cannot exchange {size} bytes, the most is {EXCHANGE_BYTES}"), pc);
        }
        let slot = (&raw mut (*state).areas[((*state).round % 2) as usize][(*lane).thread.lane as usize])
            .cast::<u8>();
        match size {
            4 => slot.cast::<[u8; 4]>().write(value.cast::<[u8; 4]>().read()),
            8 => slot.cast::<[u8; 8]>().write(value.cast::<[u8; 8]>().read()),
            12 => slot.cast::<[u8; 12]>().write(value.cast::<[u8; 12]>().read()),
            16 => slot.cast::<[u8; 16]>().write(value.cast::<[u8; 16]>().read()),
            _ => std::ptr::copy_nonoverlapping(value.cast(), slot, size as usize),
        }
        (*state).arrive(pc as usize);
        (*state).at_exchange |= bit;
        (*lane).pc = pc as usize;
        (*lane).published = (value, size);
        let worker = (*lane).worker;
        let last = (*state).at_exchange == (*state).live && (*state).uniform;
        if last && (*worker).watch.is_none() && (*worker).random.is_none() {
            let lanes = (*state).live;
            (*state).release_exchange(lanes);
            (*state).runnable &= !bit;
        } else {
            pause(lane);
        }
        *active = (*state).active;
        (&raw const (*state).areas[((*state).round.wrapping_sub(1) % 2) as usize]).cast()
    }
}

extern "C" fn threadgroup_memory(site: u32, bytes: u64, align: u64, name: *const c_char) -> *mut c_void {
    // SAFETY: as in `barrier`; nothing else refers to the worker's memory now.
    unsafe {
        let lane = current();
        let memory = &mut (*(*lane).worker).memory;
        match memory.get(site, bytes as usize, align as usize, name) {
            Ok(address) => address.cast(),
            Err(message) => {
                refuse(lane, message, std::ptr::null());
                std::ptr::null_mut()
            }
        }
    }
}

/// Tells the watch of an access.
///
/// # Safety
/// Called by a kernel.
#[inline]
unsafe fn access(kind: AccessKind, address: usize, bytes: u64, pc: *const c_void) {
    // SAFETY: as in `barrier`; the watch outlives the dispatch.
    unsafe {
        let lane = current();
        if lane.is_null() || (*lane).stack.contains(&address) {
            return;
        }
        let worker = (*lane).worker;
        let Some(watch) = (*worker).watch else { return };
        let scene = Scene {
            thread: &(*lane).thread,
            stack: &(*lane).stack,
            lent: (*worker).lent(),
            memory: &(*worker).memory,
        };
        let size = (bytes & !UNALIGNED) as usize;
        let natural = bytes & UNALIGNED == 0 && size.is_power_of_two() && size <= 16;
        let alignment = if natural { size } else { 1 };
        let access = Access { kind, address, bytes: size, pc: pc as usize, alignment };
        if !(*watch).access(&scene, access) {
            stop(lane, Stop::Finding);
        }
    }
}

extern "C" fn load(address: *const c_void, bytes: u64, pc: *const c_void) {
    // SAFETY: only kernels call it.
    unsafe { access(AccessKind::Load, address as usize, bytes, pc) }
}

extern "C" fn store(address: *mut c_void, bytes: u64, pc: *const c_void) {
    // SAFETY: only kernels call it.
    unsafe { access(AccessKind::Store, address as usize, bytes, pc) }
}

extern "C" fn atomic(address: *mut c_void, bytes: u64, kind: u32, pc: *const c_void) {
    let kind = match kind {
        KIND_LOAD => AccessKind::AtomicLoad,
        KIND_STORE => AccessKind::AtomicStore,
        _ => AccessKind::AtomicUpdate,
    };
    // SAFETY: only kernels call it.
    unsafe { access(kind, address as usize, bytes, pc) }
}

extern "C" fn matrix(kind: u32, pc: *const c_void) {
    // SAFETY: as in `barrier`; the watch outlives the dispatch.
    unsafe {
        let lane = current();
        if lane.is_null() {
            return;
        }
        let worker = (*lane).worker;
        (*worker).matrix_pc = pc as usize;
        if let Some(watch) = (*worker).watch {
            (*watch).matrix(kind);
        }
    }
}

extern "C" fn fail(message: *const c_char, pc: *const c_void) {
    // SAFETY: `message` is a string of the kernel; `lane` is the current thread.
    unsafe {
        let message = if message.is_null() {
            "the kernel refused to go on".to_owned()
        } else {
            CStr::from_ptr(message).to_string_lossy().into_owned()
        };
        refuse(current(), message, pc);
    }
}
