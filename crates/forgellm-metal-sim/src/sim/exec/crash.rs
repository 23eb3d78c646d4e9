//! Turns the processor's faults in kernels into errors.
//!
//! A plain build checks no address. When a kernel touches one that is not mapped, or runs out of its stack, the system
//! sends a signal; the handler leaves a reason with the worker and lets the OS thread go on in the scheduler. Faults of
//! everything else are left to whoever handled them before.

use std::ffi::c_void;
use std::sync::OnceLock;

use libc::{SA_ONSTACK, SA_SIGINFO, SIGBUS, SIGFPE, SIGILL, SIGSEGV, c_int, siginfo_t, ucontext_t};

use super::{Position, Stop, fiber, hooks};

const SIGNALS: [c_int; 4] = [SIGSEGV, SIGBUS, SIGFPE, SIGILL];

/// The handlers before ours, in the order of `SIGNALS`.
static BEFORE: OnceLock<[libc::sigaction; 4]> = OnceLock::new();

/// Installs the handler, once in a process.
pub(super) fn install() {
    BEFORE.get_or_init(|| {
        SIGNALS.map(|signal| {
            // SAFETY: plain data, for which all zeros are valid; `handle` has the type that SA_SIGINFO asks for.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                let mut before: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = handle as *const () as usize;
                action.sa_flags = SA_SIGINFO | SA_ONSTACK;
                libc::sigaction(signal, &raw const action, &raw mut before);
                before
            }
        })
    });
}

/// Runs on the signal stack of the OS thread, with the kernel's registers in `context`.
extern "C" fn handle(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the system passes both for SA_SIGINFO.
    let (context, address) = unsafe { (&mut *context.cast::<ucontext_t>(), address(&*info)) };
    let (pc, sp) = registers(context);
    // SAFETY: this is the OS thread that faulted, and it goes on with what is returned.
    match unsafe { blame(signal, address, pc, sp) } {
        Some(scheduler) => go_on(context, scheduler),
        None => give_up(signal),
    }
}

/// The address of a faulting access, where the processor tells it. Those of x86-64 do not for an address that is not
/// aligned as the instruction asks, or that no memory can have.
fn address(info: &siginfo_t) -> Option<usize> {
    /// Sent by the kernel, without a place: `SI_KERNEL`.
    const NO_ADDRESS: c_int = 0x80;
    // SAFETY: signals of memory accesses carry an address; for others it is not used.
    (!cfg!(target_os = "linux") || info.si_code != NO_ADDRESS).then(|| unsafe { info.si_addr() } as usize)
}

/// Leaves the reason with the worker if the current thread of this OS thread is to blame: where the scheduler goes on.
///
/// # Safety
/// Called on the OS thread that faulted. With a context as the answer, the fault must not happen again: the scheduler
/// goes on.
unsafe fn blame(signal: c_int, address: Option<usize>, pc: usize, sp: usize) -> Option<fiber::Context> {
    let lane = hooks::current();
    if lane.is_null() {
        return None;
    }
    // SAFETY: a current lane and its worker are alive. Kernels hold no locks, so memory can be allocated here.
    unsafe {
        let stack = (*lane).stack.clone();
        let guard = stack.start.saturating_sub(fiber::GUARD)..stack.start;
        if !stack.contains(&sp) && !guard.contains(&sp) {
            return None;
        }
        let message = match signal {
            SIGSEGV | SIGBUS => match address {
                Some(address) if guard.contains(&address) => {
                    "its private memory is full: variables and calls take more than 256 KiB".to_owned()
                }
                Some(address) => format!("access to unmapped memory at {address:#x}; sanitizers tell more"),
                None => "access to a misaligned or impossible address; sanitizers tell more".to_owned(),
            },
            SIGFPE => "division of an integer by zero".to_owned(),
            _ => "the processor refuses an instruction".to_owned(),
        };
        let position = Position::of(&(*lane).thread);
        let worker = (*lane).worker;
        // A place is looked up by the address behind an instruction.
        (*worker).stop = Some(Stop::Refused { message, position, pc: pc + 1 });
        Some((*worker).scheduler)
    }
}

/// Lets the handler before ours see the fault, which happens again.
fn give_up(signal: c_int) {
    let before = BEFORE.get().and_then(|all| all.get(SIGNALS.iter().position(|&known| known == signal)?));
    // SAFETY: the action came from the system; without one, the default ends the process.
    unsafe {
        match before {
            Some(before) => libc::sigaction(signal, before, std::ptr::null_mut()),
            None => libc::signal(signal, libc::SIG_DFL) as c_int,
        };
    }
}

#[cfg(target_arch = "x86_64")]
fn registers(context: &ucontext_t) -> (usize, usize) {
    let registers = &context.uc_mcontext.gregs;
    (registers[libc::REG_RIP as usize] as usize, registers[libc::REG_RSP as usize] as usize)
}

#[cfg(target_arch = "x86_64")]
fn go_on(context: &mut ucontext_t, at: fiber::Context) {
    let registers = &mut context.uc_mcontext.gregs;
    registers[libc::REG_RSP as usize] = at as i64;
    registers[libc::REG_RIP as usize] = fiber::restore as *const () as i64;
}

#[cfg(target_arch = "aarch64")]
fn registers(context: &ucontext_t) -> (usize, usize) {
    (context.uc_mcontext.pc as usize, context.uc_mcontext.sp as usize)
}

#[cfg(target_arch = "aarch64")]
fn go_on(context: &mut ucontext_t, at: fiber::Context) {
    context.uc_mcontext.sp = at as u64;
    context.uc_mcontext.pc = fiber::restore as *const () as u64;
}
