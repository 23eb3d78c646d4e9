//! What can go wrong on the GPU.

/// Why the GPU did not do what was asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GpuError {
    /// There is no GPU that this process may use.
    #[error(
        "no Metal device was found; run this on a Mac with Apple silicon, in a session that may use the GPU"
    )]
    NoDevice,
    /// The GPU or the system is too old.
    #[error("the GPU '{device}' cannot run this program: it needs {needs}")]
    Unsupported {
        /// The GPU's name.
        device: String,
        /// What is missing.
        needs: String,
    },
    /// No memory for a buffer.
    #[error("cannot make the buffer '{label}' of {bytes} bytes: {reason}")]
    Memory {
        /// The buffer's label.
        label: String,
        /// Its size.
        bytes: usize,
        /// Why.
        reason: String,
    },
    /// Metal source that does not compile, or a compiled library that does not load.
    #[error("the kernels of {library} cannot be used: {reason}")]
    Library {
        /// The library's label.
        library: String,
        /// What Metal's compiler says.
        reason: String,
    },
    /// The library has no such kernel.
    #[error("{library} has no kernel '{function}'; it has: {known}")]
    UnknownFunction {
        /// The library's label.
        library: String,
        /// The kernel asked for.
        function: String,
        /// The kernels that it has.
        known: String,
    },
    /// A kernel cannot be specialised for its function constants, or not be compiled for this GPU.
    #[error("kernel '{function}' of {library} cannot be used: {reason}")]
    Pipeline {
        /// The library's label.
        library: String,
        /// The kernel.
        function: String,
        /// What Metal says.
        reason: String,
    },
    /// Metal gives no object of a kind that it gives as long as there is memory.
    #[error("Metal gives no {0}; the system may be out of memory")]
    Object(&'static str),
    /// A dispatch that a device would refuse.
    #[error("commands '{commands}', encoder '{encoder}', kernel '{kernel}': {problem}")]
    Argument {
        /// The command buffer's label.
        commands: String,
        /// The encoder's label.
        encoder: String,
        /// The kernel.
        kernel: String,
        /// What is wrong.
        problem: ArgumentProblem,
    },
    /// The GPU failed while it ran the commands; what they wrote is not to be used.
    #[error("commands '{commands}': the GPU failed: {reason}")]
    DeviceLost {
        /// The command buffer's label.
        commands: String,
        /// What Metal says.
        reason: String,
    },
}

/// What is wrong with the arguments of a dispatch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgumentProblem {
    /// Nothing to encode with.
    #[error("Metal gives no encoder; the system may be out of memory")]
    NoEncoder,
    /// Nothing to run.
    #[error("dispatch without a pipeline; call `pipeline` before it")]
    NoPipeline,
    /// An index that does not exist.
    #[error("index {index}: there are indexes 0 to 30")]
    Index {
        /// The index.
        index: usize,
    },
    /// An offset that leaves nothing.
    #[error("buffer {index}: offset {offset} is past the end of '{label}', which has {length} bytes")]
    OffsetPastEnd {
        /// The buffer index.
        index: usize,
        /// The buffer's label.
        label: String,
        /// The offset in bytes.
        offset: usize,
        /// The buffer's bytes.
        length: usize,
    },
    /// Too many bytes, or none.
    #[error("bytes {index}: {length} bytes; 1 to 4096 can be passed, use a buffer for more")]
    BytesLength {
        /// The buffer index.
        index: usize,
        /// The number of bytes.
        length: usize,
    },
    /// A size that a device refuses.
    #[error("threadgroup memory {index}: {bytes} bytes are no multiple of 16")]
    ThreadgroupAlignment {
        /// The index.
        index: usize,
        /// The size.
        bytes: usize,
    },
    /// More than a threadgroup has.
    #[error("{bytes} bytes of threadgroup memory, declared and passed; a threadgroup has {most}")]
    ThreadgroupMemory {
        /// What the dispatch takes.
        bytes: usize,
        /// What there is.
        most: usize,
    },
    /// Too many threads, or none.
    #[error("{x} x {y} x {z} threads per threadgroup; there can be 1 to {most}")]
    Threads {
        /// Threads along x.
        x: usize,
        /// Threads along y.
        y: usize,
        /// Threads along z.
        z: usize,
        /// The most that the kernel can have.
        most: usize,
    },
    /// Too many threadgroups, or none.
    #[error(
        "a grid of {x} x {y} x {z} threadgroups; each number must be at least 1, and all threads fewer than 2^32"
    )]
    Threadgroups {
        /// Threadgroups along x.
        x: usize,
        /// Threadgroups along y.
        y: usize,
        /// Threadgroups along z.
        z: usize,
    },
}

impl GpuError {
    /// The failure of a command buffer with Metal's error `code` (`MTLCommandBufferError`) and `description`.
    pub(super) fn of_commands(commands: &str, code: isize, description: &str) -> GpuError {
        let meaning = match code {
            2 => "the work took so long that the system stopped it",
            3 => "a kernel touched memory that does not belong to it",
            4 => "the system took the GPU from this process after earlier failures; start the program again",
            7 => "this process may not use the GPU, for example because it runs in the background",
            8 => "the GPU's memory did not suffice; close other programs, or use a shorter context",
            9 => "a kernel used a resource that is gone",
            11 => "the GPU was removed",
            12 => "a kernel's stack overflowed",
            _ => "an internal failure",
        };
        GpuError::DeviceLost {
            commands: commands.to_owned(),
            reason: format!("{meaning} (Metal says: {description}, code {code})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_say_what_they_mean() {
        let error = GpuError::of_commands("step", 8, "Insufficient Memory").to_string();
        assert!(error.contains("'step': the GPU failed: the GPU's memory did not suffice"), "{error}");
        assert!(error.contains("Insufficient Memory, code 8"), "{error}");
        let unknown = GpuError::of_commands("step", -1, "?").to_string();
        assert!(unknown.contains("internal failure"), "{unknown}");
    }
}
