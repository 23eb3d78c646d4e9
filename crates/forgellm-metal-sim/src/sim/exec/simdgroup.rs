//! The state of one simdgroup: who runs, who waits, what was exchanged.

use super::worker::Lane;
use crate::sim::abi::{EXCHANGE_BYTES, LANES};

/// What a lane publishes.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub(super) struct Slot(pub(super) [u8; EXCHANGE_BYTES]);

/// Lanes are bits. Each live lane is in exactly one of `runnable`, `at_exchange`, `at_simdgroup_barrier`,
/// `at_threadgroup_barrier`, or is the one that runs.
pub(super) struct Simdgroup {
    /// Its first lane; the others follow.
    pub(super) lanes: *mut Lane,
    /// Lanes that exist: fewer than 32 in the last simdgroup of a partial threadgroup.
    pub(super) exists: u32,
    /// Lanes that have not ended.
    pub(super) live: u32,
    /// Lanes that may run and did not yet.
    pub(super) runnable: u32,
    /// Those of `runnable` that have not begun.
    pub(super) unstarted: u32,
    pub(super) at_exchange: u32,
    pub(super) at_simdgroup_barrier: u32,
    pub(super) at_threadgroup_barrier: u32,
    /// The program counter of the first lane that waits, and whether all others wait there too.
    pub(super) pc: usize,
    pub(super) uniform: bool,
    /// Exchanges so far: the area to publish in is `round % 2`, so the last exchange's slots outlive the next's begin.
    pub(super) round: u32,
    /// Lanes of the last exchange.
    pub(super) active: u32,
    pub(super) areas: [[Slot; LANES]; 2],
}

impl Simdgroup {
    pub(super) fn new() -> Self {
        Self {
            lanes: std::ptr::null_mut(),
            exists: 0,
            live: 0,
            runnable: 0,
            unstarted: 0,
            at_exchange: 0,
            at_simdgroup_barrier: 0,
            at_threadgroup_barrier: 0,
            pc: 0,
            uniform: true,
            round: 0,
            active: 0,
            areas: [[Slot([0; EXCHANGE_BYTES]); LANES]; 2],
        }
    }

    /// All lanes stand before their first instruction.
    pub(super) fn begin(&mut self) {
        self.live = self.exists;
        self.runnable = self.exists;
        self.unstarted = self.exists;
        self.at_exchange = 0;
        self.at_simdgroup_barrier = 0;
        self.at_threadgroup_barrier = 0;
        self.uniform = true;
    }

    /// Notes that a lane waits at `pc`, before its bit is set.
    pub(super) fn arrive(&mut self, pc: usize) {
        if self.at_exchange | self.at_simdgroup_barrier | self.at_threadgroup_barrier == 0 {
            self.pc = pc;
            self.uniform = true;
        } else if self.pc != pc {
            self.uniform = false;
        }
    }

    /// Lets the lanes of an exchange go on.
    pub(super) fn release_exchange(&mut self, lanes: u32) {
        self.at_exchange &= !lanes;
        self.active = lanes;
        self.runnable = lanes;
        self.round = self.round.wrapping_add(1);
    }
}
