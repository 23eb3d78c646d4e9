//! Stackful coroutines, one per GPU thread that has begun and not ended, on stacks that are used again and again.

use std::mem::ManuallyDrop;
use std::ops::Range;

use corosensei::stack::{DefaultStack, Stack, StackPointer};
use corosensei::{Coroutine, Yielder};

/// Private memory of a GPU thread. Only pages that are touched exist.
const STACK_BYTES: usize = 320 << 10;

/// No system's guard page is larger.
const LARGEST_PAGE: usize = 64 << 10;

/// How a running thread gives control back to the scheduler.
pub(super) type Pause = Yielder<(), ()>;

/// A stack whose top is moved down a little, differently for each: the tops of 1024 stacks, all at the same offset
/// within a page, would share a few cache sets.
struct LaneStack {
    memory: DefaultStack,
    moved: usize,
}

// SAFETY: base and limit are those of `memory`, which has the guard page, with less than 4 KiB of 256 taken off the top.
unsafe impl Stack for LaneStack {
    fn base(&self) -> StackPointer {
        let base = self.memory.base().get() - self.moved;
        StackPointer::new(base).unwrap_or(StackPointer::MIN)
    }

    fn limit(&self) -> StackPointer {
        self.memory.limit()
    }

    #[cfg(windows)]
    fn teb_fields(&self) -> corosensei::stack::StackTebFields {
        self.memory.teb_fields()
    }

    #[cfg(windows)]
    fn update_teb_fields(&mut self, stack_limit: usize, guaranteed_stack_bytes: usize) {
        self.memory.update_teb_fields(stack_limit, guaranteed_stack_bytes);
    }
}

/// A coroutine that runs GPU threads: each time it is resumed with none, it runs some, then pauses.
pub(super) struct Fiber {
    coroutine: ManuallyDrop<Coroutine<(), (), (), LaneStack>>,
    stack: Range<usize>,
}

impl Fiber {
    /// A coroutine that calls `body` whenever it is resumed and `body` is not paused. `body` must not panic.
    pub(super) fn new(index: usize, body: impl Fn(&Pause) + 'static) -> std::io::Result<Self> {
        // An odd number of cache lines, so that neighbours fall into different sets.
        let moved = index * 5 % 64 * 64;
        Ok(Self::on(LaneStack { memory: DefaultStack::new(STACK_BYTES)?, moved }, body))
    }

    fn on(stack: LaneStack, body: impl Fn(&Pause) + 'static) -> Self {
        let range = stack.limit().get()..stack.base().get();
        let coroutine = Coroutine::with_stack(stack, move |pause: &Pause, ()| {
            loop {
                body(pause);
                pause.suspend(());
            }
        });
        Self { coroutine: ManuallyDrop::new(coroutine), stack: range }
    }

    /// Runs until the next pause.
    pub(super) fn resume(&mut self) {
        self.coroutine.resume(());
    }

    /// The addresses of its stack, without the guard page.
    pub(super) fn stack(&self) -> Range<usize> {
        self.stack.start + LARGEST_PAGE..self.stack.end
    }

    /// Forgets what it was doing, wherever it paused, and starts afresh.
    ///
    /// # Safety
    /// Nothing may point into its stack, and what was on the stack is not dropped.
    pub(super) unsafe fn restart(&mut self, body: impl Fn(&Pause) + 'static) {
        // SAFETY: the coroutine is not used again before it is replaced below.
        let mut coroutine = unsafe { ManuallyDrop::take(&mut self.coroutine) };
        // SAFETY: the frames are those of a kernel and of hooks, which own nothing (the caller's promise).
        unsafe { coroutine.force_reset() };
        let stack = coroutine.into_stack();
        // SAFETY: `self` holds nothing any more: its coroutine was taken, so it must not be dropped.
        unsafe { std::ptr::write(self, Self::on(stack, body)) };
    }
}

impl Drop for Fiber {
    fn drop(&mut self) {
        // SAFETY: the coroutine is taken once, here.
        let mut coroutine = unsafe { ManuallyDrop::take(&mut self.coroutine) };
        // SAFETY: its frames are those of `on`, `body` and perhaps a kernel, which own nothing that must be dropped.
        unsafe { coroutine.force_reset() };
    }
}
