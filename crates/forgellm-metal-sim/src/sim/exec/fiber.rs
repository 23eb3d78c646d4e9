//! Stackful coroutines, one per GPU thread that has begun and not ended, on stacks that are used again and again.
//!
//! A switch goes from any fiber to any other, without a detour: lanes that wait at the same place hand over to each other
//! at the same depth of calls, so the processor predicts all of their returns.

use std::arch::naked_asm;
use std::ops::Range;

use corosensei::stack::{DefaultStack, Stack};

/// Private memory of a GPU thread, with the guard. Only pages that are touched exist.
const STACK_BYTES: usize = 320 << 10;

/// What belongs to the guard at the end of a stack: no system's guard page is larger.
pub(super) const GUARD: usize = 64 << 10;

/// What runs on a fiber: called once, with the two arguments of [`Fiber::new`]; it must not return.
pub(super) type Body = unsafe extern "C" fn(*mut u8, usize);

/// Where something that does not run will go on: its stack pointer.
pub(super) type Context = usize;

/// A stack, and where it goes on while it runs no thread.
pub(super) struct Fiber {
    stack: DefaultStack,
    moved: usize,
    pub(super) context: Context,
}

impl Fiber {
    /// A fiber that will begin `body(argument, index)` when it is switched to.
    pub(super) fn new(body: Body, argument: *mut u8, index: usize) -> std::io::Result<Self> {
        // The tops of all stacks, at the same offset within a page, would share a few cache sets: move each down by a
        // different number of cache lines.
        let moved = index * 5 % 64 * 64;
        let mut fiber = Self { stack: DefaultStack::new(STACK_BYTES)?, moved, context: 0 };
        fiber.restart(body, argument, index);
        Ok(fiber)
    }

    /// Forgets what it was doing, wherever that is, and will begin `body(argument, index)`. What was on the stack is
    /// not dropped.
    pub(super) fn restart(&mut self, body: Body, argument: *mut u8, index: usize) {
        let frame = first_frame(body, argument, index);
        let context = self.stack.base().get() - self.moved - size_of_val(&frame);
        // SAFETY: the frame lies within the stack, 4 KiB from its top at most, and nobody runs on it.
        unsafe { std::ptr::write(context as *mut _, frame) };
        self.context = context;
    }

    /// The addresses of its stack, without the guard page.
    pub(super) fn stack(&self) -> Range<usize> {
        self.stack.limit().get() + GUARD..self.stack.base().get()
    }
}

/// What [`switch`] finds on a stack that has not begun: values for the registers that it restores, then the address
/// that it returns to.
#[cfg(target_arch = "x86_64")]
fn first_frame(body: Body, argument: *mut u8, index: usize) -> [usize; 7] {
    // r15, r14, r13, r12, rbx, rbp, the return address. Behind them the stack is aligned for a call.
    [0, body as usize, index, argument as usize, 0, 0, begin as *const () as usize]
}

/// Saves where the caller is at `*save`, and goes on at `to`. Returns when somebody switches back.
///
/// # Safety
/// `to` is the context of a fiber that does not run (or of the scheduler), saved by `switch` or made by
/// [`Fiber::restart`] on this OS thread or while no thread ran on the fiber.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn switch(save: *mut Context, to: Context) {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov [rdi], rsp",
        "mov rsp, rsi",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}

/// The second half of [`switch`]: goes on with the context that the stack pointer is. Jumped to, never called.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn restore() {
    naked_asm!("pop r15", "pop r14", "pop r13", "pop r12", "pop rbx", "pop rbp", "ret")
}

/// The first instructions on a fiber.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "sysv64" fn begin() {
    naked_asm!("mov rdi, r12", "mov rsi, r13", "call r14", "ud2")
}

#[cfg(target_arch = "aarch64")]
fn first_frame(body: Body, argument: *mut u8, index: usize) -> [usize; 20] {
    // x19 to x28, the frame pointer, the return address, d8 to d15.
    let mut frame = [0; 20];
    frame[..3].copy_from_slice(&[argument as usize, index, body as usize]);
    frame[11] = begin as *const () as usize;
    frame
}

/// Saves where the caller is at `*save`, and goes on at `to`. Returns when somebody switches back.
///
/// # Safety
/// `to` is the context of a fiber that does not run (or of the scheduler), saved by `switch` or made by
/// [`Fiber::restart`] on this OS thread or while no thread ran on the fiber.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
pub(super) unsafe extern "C" fn switch(save: *mut Context, to: Context) {
    naked_asm!(
        "sub sp, sp, #160",
        "stp x19, x20, [sp]",
        "stp x21, x22, [sp, #16]",
        "stp x23, x24, [sp, #32]",
        "stp x25, x26, [sp, #48]",
        "stp x27, x28, [sp, #64]",
        "stp x29, x30, [sp, #80]",
        "stp d8, d9, [sp, #96]",
        "stp d10, d11, [sp, #112]",
        "stp d12, d13, [sp, #128]",
        "stp d14, d15, [sp, #144]",
        "mov x9, sp",
        "str x9, [x0]",
        "mov sp, x1",
        "ldp x19, x20, [sp]",
        "ldp x21, x22, [sp, #16]",
        "ldp x23, x24, [sp, #32]",
        "ldp x25, x26, [sp, #48]",
        "ldp x27, x28, [sp, #64]",
        "ldp x29, x30, [sp, #80]",
        "ldp d8, d9, [sp, #96]",
        "ldp d10, d11, [sp, #112]",
        "ldp d12, d13, [sp, #128]",
        "ldp d14, d15, [sp, #144]",
        "add sp, sp, #160",
        "ret",
    )
}

/// The second half of [`switch`]: goes on with the context that the stack pointer is. Jumped to, never called.
#[cfg(all(target_arch = "aarch64", target_os = "linux"))]
#[unsafe(naked)]
pub(super) unsafe extern "C" fn restore() {
    naked_asm!(
        "ldp x19, x20, [sp]",
        "ldp x21, x22, [sp, #16]",
        "ldp x23, x24, [sp, #32]",
        "ldp x25, x26, [sp, #48]",
        "ldp x27, x28, [sp, #64]",
        "ldp x29, x30, [sp, #80]",
        "ldp d8, d9, [sp, #96]",
        "ldp d10, d11, [sp, #112]",
        "ldp d12, d13, [sp, #128]",
        "ldp d14, d15, [sp, #144]",
        "add sp, sp, #160",
        "ret",
    )
}

/// The first instructions on a fiber.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
unsafe extern "C" fn begin() {
    naked_asm!("mov x0, x19", "mov x1, x20", "blr x21", "brk #1")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Shared {
        main: Context,
        fibers: Vec<Fiber>,
        log: Vec<(usize, f64)>,
    }

    /// Counts in a register that must survive the switches, and hands over to the next fiber or to the test.
    unsafe extern "C" fn body(shared: *mut u8, index: usize) {
        let shared = shared.cast::<Shared>();
        let mut sum = index as f64;
        // SAFETY: the test keeps `shared`, and one fiber runs at a time.
        unsafe {
            loop {
                sum += 0.5;
                (*shared).log.push((index, sum));
                let fibers = (*shared).fibers.as_mut_ptr();
                let save = &raw mut (*fibers.add(index)).context;
                let last = index + 1 == (*shared).fibers.len();
                let to = if last { (*shared).main } else { (*fibers.add(index + 1)).context };
                switch(save, to);
            }
        }
    }

    #[test]
    fn fibers_hand_over_to_each_other_and_keep_what_they_know() {
        let mut shared = Box::new(Shared { main: 0, fibers: Vec::new(), log: Vec::new() });
        let pointer: *mut Shared = &raw mut *shared;
        let new = |index| Fiber::new(body, pointer.cast(), index).unwrap();
        shared.fibers = (0..3).map(new).collect();
        let mut local = 1.0f64;
        for _ in 0..2 {
            // SAFETY: the fibers end up here again, and nothing else uses `shared` meanwhile.
            unsafe { switch(&raw mut (*pointer).main, (&(*pointer).fibers)[0].context) };
            local *= 2.0;
        }
        shared.fibers[1].restart(body, pointer.cast(), 1);
        // SAFETY: as above.
        unsafe { switch(&raw mut (*pointer).main, (&(*pointer).fibers)[0].context) };
        let expected =
            [(0, 0.5), (1, 1.5), (2, 2.5), (0, 1.0), (1, 2.0), (2, 3.0), (0, 1.5), (1, 1.5), (2, 3.5)];
        assert_eq!((&shared.log[..], local), (&expected[..], 4.0));
    }
}
