//! What Metal takes, checked before it is asked: on these mistakes it ends the process or reads what is not there.

use super::error::ArgumentProblem;

/// The page of Apple silicon, in bytes: memory of the process is given to the GPU in whole pages.
pub(super) const PAGE: usize = 16 * 1024;
/// Buffers that a kernel can have.
pub(super) const BUFFERS: usize = 31;
/// Threadgroup memory that every supported GPU has, in bytes.
pub(super) const THREADGROUP_MEMORY: usize = 32 * 1024;
/// Bytes that can be handed to a kernel without a buffer.
const INLINE_BYTES: usize = 4096;
/// Threadgroup memory is given in multiples of this.
const THREADGROUP_MEMORY_ALIGNMENT: usize = 16;

/// Whether a buffer can have `bytes` bytes where one can have `largest`, and `used` of `limit` bytes are taken.
pub(super) fn room(bytes: usize, largest: usize, used: u64, limit: u64) -> Result<(), String> {
    if bytes == 0 {
        return Err("a buffer cannot be empty".into());
    }
    if bytes > largest {
        return Err(format!("a buffer of this GPU has at most {largest} bytes"));
    }
    if used.saturating_add(bytes as u64) > limit {
        return Err(format!(
            "{used} of the {limit} bytes that the GPU may use are taken; use a smaller model or a shorter context, or let the GPU \
             use more (sysctl iogpu.wired_limit_mb)"
        ));
    }
    Ok(())
}

/// Bytes of the whole pages that hold `bytes` bytes at `address`, which must be the start of a page.
pub(super) fn whole_pages(address: usize, bytes: usize) -> Result<usize, String> {
    if !address.is_multiple_of(PAGE) {
        return Err(format!(
            "the memory starts at {address:#x}, which is no multiple of the page of {PAGE} bytes"
        ));
    }
    bytes.checked_next_multiple_of(PAGE).ok_or_else(|| "the size is absurd".to_owned())
}

/// Whether a buffer of `length` bytes can be bound from `offset` on. What the offset must be a multiple of depends on the kernel's type of
/// it, which is not known here.
pub(super) fn buffer(index: usize, label: &str, length: usize, offset: usize) -> Result<(), ArgumentProblem> {
    slot(index)?;
    if offset >= length {
        return Err(ArgumentProblem::OffsetPastEnd { index, label: label.to_owned(), offset, length });
    }
    Ok(())
}

/// Whether `length` bytes can be handed over without a buffer.
pub(super) fn inline_bytes(index: usize, length: usize) -> Result<(), ArgumentProblem> {
    slot(index)?;
    if length == 0 || length > INLINE_BYTES {
        return Err(ArgumentProblem::BytesLength { index, length });
    }
    Ok(())
}

/// Whether a kernel can be given `bytes` bytes of threadgroup memory.
pub(super) fn threadgroup_memory(index: usize, bytes: usize) -> Result<(), ArgumentProblem> {
    slot(index)?;
    if !bytes.is_multiple_of(THREADGROUP_MEMORY_ALIGNMENT) {
        return Err(ArgumentProblem::ThreadgroupAlignment { index, bytes });
    }
    Ok(())
}

fn slot(index: usize) -> Result<(), ArgumentProblem> {
    if index < BUFFERS { Ok(()) } else { Err(ArgumentProblem::Index { index }) }
}

/// What a kernel needs and allows.
#[derive(Debug, Clone, Copy)]
pub(super) struct KernelLimits {
    /// Threads that a threadgroup can have at most.
    pub(super) threads: usize,
    /// Threadgroup memory declared in the kernel, in bytes.
    pub(super) declared_memory: usize,
    /// Threadgroup memory that a threadgroup can have, in bytes.
    pub(super) device_memory: usize,
}

impl KernelLimits {
    /// Whether a grid can be run with `passed` bytes of threadgroup memory as arguments.
    pub(super) fn dispatch(
        self,
        threadgroups: [usize; 3],
        threads: [usize; 3],
        passed: usize,
    ) -> Result<(), ArgumentProblem> {
        let product = |sides: [usize; 3]| sides.into_iter().try_fold(1usize, usize::checked_mul);
        let [x, y, z] = threads;
        let per_threadgroup = match product(threads) {
            Some(count) if (1..=self.threads).contains(&count) => count,
            _ => return Err(ArgumentProblem::Threads { x, y, z, most: self.threads }),
        };
        let all = product(threadgroups).and_then(|count| count.checked_mul(per_threadgroup));
        if all.is_none_or(|all| all == 0 || u32::try_from(all).is_err()) {
            let [x, y, z] = threadgroups;
            return Err(ArgumentProblem::Threadgroups { x, y, z });
        }
        let bytes = self.declared_memory.saturating_add(passed);
        if bytes > self.device_memory {
            return Err(ArgumentProblem::ThreadgroupMemory { bytes, most: self.device_memory });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_fit_the_memory() {
        assert_eq!(room(100, 100, 900, 1000), Ok(()));
        assert!(room(0, 100, 0, 1000).unwrap_err().contains("empty"));
        assert!(room(101, 100, 0, 1000).unwrap_err().contains("at most 100"));
        assert!(room(100, 100, 901, 1000).unwrap_err().contains("901 of the 1000"));
        assert!(room(100, 100, u64::MAX, 1000).is_err());
    }

    #[test]
    fn mappings_are_whole_pages() {
        assert_eq!(whole_pages(2 * PAGE, 1), Ok(PAGE));
        assert_eq!(whole_pages(2 * PAGE, PAGE), Ok(PAGE));
        assert_eq!(whole_pages(2 * PAGE, PAGE + 1), Ok(2 * PAGE));
        assert!(whole_pages(PAGE + 4096, 100).is_err());
        assert!(whole_pages(0, usize::MAX).is_err());
    }

    #[test]
    fn arguments_stay_in_their_bounds() {
        assert_eq!(buffer(30, "x", 8, 4), Ok(()));
        assert_eq!(buffer(31, "x", 8, 4), Err(ArgumentProblem::Index { index: 31 }));
        let past = ArgumentProblem::OffsetPastEnd { index: 0, label: "x".into(), offset: 8, length: 8 };
        assert_eq!(buffer(0, "x", 8, 8), Err(past));
        assert_eq!(inline_bytes(0, 4096), Ok(()));
        assert_eq!(inline_bytes(0, 4097), Err(ArgumentProblem::BytesLength { index: 0, length: 4097 }));
        assert_eq!(inline_bytes(0, 0), Err(ArgumentProblem::BytesLength { index: 0, length: 0 }));
        assert_eq!(threadgroup_memory(30, 32), Ok(()));
        assert_eq!(
            threadgroup_memory(0, 4),
            Err(ArgumentProblem::ThreadgroupAlignment { index: 0, bytes: 4 })
        );
    }

    #[test]
    fn grids_fit_the_kernel() {
        let limits = KernelLimits { threads: 1024, declared_memory: 1024, device_memory: 32 * 1024 };
        assert_eq!(limits.dispatch([7, 1, 1], [32, 32, 1], 31 * 1024), Ok(()));
        let memory = ArgumentProblem::ThreadgroupMemory { bytes: 32 * 1024 + 16, most: 32 * 1024 };
        assert_eq!(limits.dispatch([7, 1, 1], [32, 32, 1], 31 * 1024 + 16), Err(memory));
        for threads in [[32, 33, 1], [32, 0, 1], [usize::MAX, 2, 1]] {
            let [x, y, z] = threads;
            let problem = ArgumentProblem::Threads { x, y, z, most: 1024 };
            assert_eq!(limits.dispatch([1, 1, 1], threads, 0), Err(problem));
        }
        for threadgroups in [[7, 0, 1], [1 << 27, 1, 1], [usize::MAX, 2, 1]] {
            let [x, y, z] = threadgroups;
            let problem = ArgumentProblem::Threadgroups { x, y, z };
            assert_eq!(limits.dispatch(threadgroups, [32, 1, 1], 0), Err(problem));
        }
    }
}
