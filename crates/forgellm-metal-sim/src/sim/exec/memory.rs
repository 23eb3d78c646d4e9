//! Threadgroup memory of one worker: 32 KiB for the threadgroup that it runs, laid out as threads ask for it.

use std::ffi::{CStr, c_char};

use super::THREADGROUP_MEMORY;

/// Bytes between two allocations and around all of them, so that an access a little too far hits no other.
const GAP: usize = 256;
/// Bytes before the first and behind the last allocation, for accesses far too far.
const GUARD: usize = 64 << 10;
/// More allocations than this in one threadgroup are refused; it bounds the gaps.
const MAX_SITES: usize = 64;
const SIZE: usize = GUARD + THREADGROUP_MEMORY + MAX_SITES * (GAP + 64) + GUARD;

/// A piece of threadgroup memory.
#[derive(Debug, Clone)]
pub struct Allocation {
    /// Which declaration (`u32::MAX - index` for an argument).
    pub(in crate::sim) site: u32,
    pub(in crate::sim) address: usize,
    pub(in crate::sim) bytes: usize,
    name: *const c_char,
}

impl Allocation {
    /// The variable's name, or the argument's index.
    pub(in crate::sim) fn name(&self) -> String {
        if self.name.is_null() {
            return format!("argument {}", u32::MAX - self.site);
        }
        // SAFETY: a string constant of a shared object that stays loaded while its kernels run.
        unsafe { CStr::from_ptr(self.name) }.to_string_lossy().into_owned()
    }
}

/// The threadgroup memory of a worker.
pub struct ThreadgroupMemory {
    bytes: Box<[u8]>,
    next: usize,
    used: usize,
    allocations: Vec<Allocation>,
}

impl ThreadgroupMemory {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; SIZE].into_boxed_slice(), next: GUARD, used: 0, allocations: Vec::new() }
    }

    /// Forgets all allocations: another threadgroup begins.
    pub(super) fn clear(&mut self) {
        self.next = GUARD;
        self.used = 0;
        self.allocations.clear();
    }

    /// The whole area, with its guards.
    pub(in crate::sim) fn range(&self) -> std::ops::Range<usize> {
        let start = self.bytes.as_ptr() as usize;
        start..start + SIZE
    }

    /// What this threadgroup has allocated, in ascending order.
    pub(in crate::sim) fn allocations(&self) -> &[Allocation] {
        &self.allocations
    }

    /// The address of a declaration's memory. The first call for a `site` allocates.
    pub(super) fn get(
        &mut self,
        site: u32,
        bytes: usize,
        align: usize,
        name: *const c_char,
    ) -> Result<*mut u8, String> {
        if let Some(known) = self.allocations.iter().find(|known| known.site == site) {
            return Ok(known.address as *mut u8);
        }
        let align = align.clamp(16, 64).next_power_of_two();
        self.used += bytes.next_multiple_of(16);
        if self.used > THREADGROUP_MEMORY || self.allocations.len() == MAX_SITES {
            return Err(format!(
                "the threadgroup uses more than {} KiB of threadgroup memory ({} bytes in {} pieces)",
                THREADGROUP_MEMORY >> 10,
                self.used,
                self.allocations.len() + 1
            ));
        }
        let start = self.bytes.as_mut_ptr();
        let address = (start as usize + self.next).next_multiple_of(align);
        let offset = address - start as usize;
        self.next = offset + bytes + GAP;
        self.allocations.push(Allocation { site, address, bytes, name });
        // SAFETY: SIZE has room for THREADGROUP_MEMORY and MAX_SITES gaps and alignments.
        Ok(unsafe { start.add(offset) })
    }
}
