//! What can go wrong on a device.

use crate::sim::compile::CompileError;
use crate::sim::exec::Position;
use crate::sim::module::ModuleError;
use crate::sim::shadow::Report;

/// An error of the device. It names the command buffer, the kernel and the argument.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GpuError {
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
    /// A text that cannot be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The compiled kernels cannot be loaded.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// The environment asks for something unknown.
    #[error(
        "{variable}: '{word}' is not known; the words are sanitize, seed=N, orders=N, threads=N, count=FILE, with commas between"
    )]
    Environment {
        /// The variable.
        variable: &'static str,
        /// What it says.
        word: String,
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
    /// The library was compiled without this kernel.
    #[error(
        "kernel '{function}' of {library} was not compiled: `Options::only` names other kernels; add it there"
    )]
    LeftOut {
        /// The library's label.
        library: String,
        /// The kernel asked for.
        function: String,
    },
    /// A function constant has no value, or one of the wrong type.
    #[error("kernel '{function}' of {library}: function constant {index}{problem}")]
    Constant {
        /// The library's label.
        library: String,
        /// The kernel.
        function: String,
        /// The constant's index.
        index: u32,
        /// What is wrong.
        problem: String,
    },
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
        problem: Box<ArgumentProblem>,
    },
    /// A kernel did what the language or the simulator refuses.
    #[error("commands '{commands}', kernel '{kernel}', {position}: {message}")]
    Kernel {
        /// The command buffer's label.
        commands: String,
        /// The kernel.
        kernel: String,
        /// The thread.
        position: Position,
        /// What it did, and where in the text.
        message: String,
    },
    /// The sanitizers found something.
    #[error("commands '{commands}':\n{report}")]
    Sanitizer {
        /// The command buffer's label.
        commands: String,
        /// What they found.
        report: Box<Report>,
    },
    /// A kernel was compiled by a device without sanitizers and counts, and is to be run by one that has them.
    #[error(
        "kernel '{kernel}' comes from a device without sanitizers and counts; compile it with the device that runs it"
    )]
    Untraced {
        /// The kernel.
        kernel: String,
    },
    /// The operating system gives no memory for threads.
    #[error("commands '{commands}', kernel '{kernel}': {reason}")]
    Threads {
        /// The command buffer's label.
        commands: String,
        /// The kernel.
        kernel: String,
        /// Why.
        reason: String,
    },
    /// Nothing that is committed signals an event that commands wait for.
    #[error(
        "commands '{commands}' cannot run: '{waiting}' waits for an event to reach {value}, it is at {reached} \
         and nothing that is committed will signal it"
    )]
    Event {
        /// The commands that were waited for.
        commands: String,
        /// The commands that hold up the queue.
        waiting: String,
        /// The value that must come.
        value: u64,
        /// The value that it has.
        reached: u64,
    },
}

/// What is wrong with the arguments of a dispatch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgumentProblem {
    /// Nothing to run.
    #[error("dispatch without a pipeline; call `pipeline` before it")]
    NoPipeline,
    /// An index that does not exist.
    #[error("index {index}: there are indexes 0 to 30")]
    Index {
        /// The index.
        index: usize,
    },
    /// The kernel has a buffer that nobody bound.
    #[error("buffer {index} (parameter '{name}') is not bound")]
    MissingBuffer {
        /// The buffer index.
        index: usize,
        /// The parameter's name.
        name: String,
    },
    /// The kernel has a threadgroup argument without a size.
    #[error(
        "threadgroup memory {index} (parameter '{name}') has no size; call `threadgroup_memory` before the dispatch"
    )]
    MissingThreadgroupMemory {
        /// The index.
        index: usize,
        /// The parameter's name.
        name: String,
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
    /// An offset that the parameter's type cannot have.
    #[error(
        "buffer {index} (parameter '{name}'): offset {offset} is no multiple of {alignment}, which the parameter's type asks for"
    )]
    OffsetAlignment {
        /// The buffer index.
        index: usize,
        /// The parameter's name.
        name: String,
        /// The offset in bytes.
        offset: usize,
        /// What it must be a multiple of.
        alignment: usize,
    },
    /// Fewer bytes than one value of the parameter's type.
    #[error("buffer {index} (parameter '{name}'): {bytes} bytes are bound, its type has {needed}")]
    TooFewBytes {
        /// The buffer index.
        index: usize,
        /// The parameter's name.
        name: String,
        /// The bytes behind the offset.
        bytes: usize,
        /// The bytes of the type.
        needed: usize,
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
