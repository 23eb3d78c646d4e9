//! Kernels with their arguments, written into a command buffer.

use std::ffi::c_void;
use std::ptr::NonNull;

use objc2::rc::{Retained, autoreleasepool};
use objc2::runtime::ProtocolObject;
use objc2_foundation::NSString;
use objc2_metal::{
    MTLBarrierScope, MTLCommandBuffer, MTLCommandEncoder, MTLComputeCommandEncoder, MTLDispatchType, MTLSize,
};

use super::buffer::Buffer;
use super::commands::{Commands, Record};
use super::error::ArgumentProblem;
use super::library::Pipeline;
use super::limits::{self, BUFFERS};

/// Encodes dispatches. What is bound stays bound for the next dispatch of the same encoder. Dropping it ends it.
///
/// After a mistake nothing more is encoded, and waiting for the commands gives the error.
pub struct Encoder<'c> {
    raw: Option<Retained<Raw>>,
    record: &'c mut Record,
    label: String,
    pipeline: Option<Pipeline>,
    threadgroup_memory: [usize; BUFFERS],
}

type Raw = ProtocolObject<dyn MTLComputeCommandEncoder>;

impl Commands {
    /// Dispatches are encoded with it. Those of a serial encoder run one after another; those of a concurrent one at the same time, unless
    /// there is a [`barrier`](Encoder::barrier) between them. Encoders run one after another.
    pub fn encoder(&mut self, concurrent: bool, label: &str) -> Encoder<'_> {
        let order = if concurrent { MTLDispatchType::Concurrent } else { MTLDispatchType::Serial };
        let raw = autoreleasepool(|_| {
            let raw = self.raw.computeCommandEncoderWithDispatchType(order)?;
            raw.setLabel(Some(&NSString::from_str(label)));
            Some(raw)
        });
        if raw.is_none() {
            self.record.mistake(label, None, ArgumentProblem::NoEncoder);
        }
        Encoder {
            raw,
            record: &mut self.record,
            label: label.to_owned(),
            pipeline: None,
            threadgroup_memory: [0; BUFFERS],
        }
    }
}

impl Encoder<'_> {
    /// The kernel of the next dispatches.
    pub fn pipeline(&mut self, pipeline: &Pipeline) {
        self.pipeline = Some(pipeline.clone());
        self.encode(Ok(()), |raw| raw.setComputePipelineState(pipeline.raw()));
        self.record.keep_pipeline(pipeline);
    }

    /// Binds a buffer from `offset` bytes on.
    pub fn buffer(&mut self, index: usize, buffer: &Buffer, offset: usize) {
        self.record.keep_buffer(buffer);
        self.encode(limits::buffer(index, buffer.label(), buffer.len(), offset), |raw| {
            // SAFETY: the index exists and the offset lies in the buffer, which `record` keeps until the GPU is done.
            unsafe { raw.setBuffer_offset_atIndex(Some(buffer.raw()), offset, index) };
        });
    }

    /// Binds a few bytes, which are copied.
    pub fn bytes(&mut self, index: usize, bytes: &[u8]) {
        self.encode(limits::inline_bytes(index, bytes.len()), |raw| {
            let start = NonNull::from(bytes).cast::<c_void>();
            // SAFETY: the index exists, and Metal copies the bytes.
            unsafe { raw.setBytes_length_atIndex(start, bytes.len(), index) };
        });
    }

    /// Gives the threadgroup argument `index` that many bytes, a multiple of 16.
    pub fn threadgroup_memory(&mut self, index: usize, bytes: usize) {
        if let Some(slot) = self.threadgroup_memory.get_mut(index) {
            *slot = bytes;
        }
        self.encode(limits::threadgroup_memory(index, bytes), |raw| {
            if bytes > 0 {
                // SAFETY: the index exists; whether there is that much memory is checked at the dispatch.
                unsafe { raw.setThreadgroupMemoryLength_atIndex(bytes, index) };
            }
        });
    }

    /// Runs the pipeline over `threadgroups` of `threads` each.
    pub fn dispatch(&mut self, threadgroups: [usize; 3], threads: [usize; 3]) {
        let passed = self.threadgroup_memory.iter().fold(0usize, |sum, bytes| sum.saturating_add(*bytes));
        let check = match &self.pipeline {
            Some(pipeline) => pipeline.limits().dispatch(threadgroups, threads, passed),
            None => Err(ArgumentProblem::NoPipeline),
        };
        self.encode(check, |raw| {
            raw.dispatchThreadgroups_threadsPerThreadgroup(size(threadgroups), size(threads));
        });
    }

    /// Dispatches after it see what those before it wrote.
    pub fn barrier(&mut self) {
        self.encode(Ok(()), |raw| raw.memoryBarrierWithScope(MTLBarrierScope::Buffers));
    }

    /// Encodes with what passed its check, unless there was a mistake before.
    fn encode(&mut self, check: Result<(), ArgumentProblem>, write: impl FnOnce(&Raw)) {
        if let Err(problem) = check {
            let kernel = self.pipeline.as_ref().map(Pipeline::function);
            self.record.mistake(&self.label, kernel, problem);
        }
        if let Some(raw) = &self.raw
            && self.record.is_sound()
        {
            write(raw);
        }
    }
}

impl Drop for Encoder<'_> {
    fn drop(&mut self) {
        if let Some(raw) = &self.raw {
            autoreleasepool(|_| raw.endEncoding());
        }
    }
}

fn size([width, height, depth]: [usize; 3]) -> MTLSize {
    MTLSize { width, height, depth }
}
