//! The memory of the process.

/// Gives memory that was freed back to the system, where the allocator keeps it otherwise (glibc): what parsing a large file takes would
/// count as the program's for as long as it runs.
pub fn give_back_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes no pointer, and may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
