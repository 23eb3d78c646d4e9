//! Work for the GPU: queues, command buffers, and waiting for them.

use objc2::rc::{Retained, autoreleasepool};
use objc2::runtime::ProtocolObject;
use objc2_foundation::NSString;
use objc2_metal::{MTLCommandBuffer, MTLCommandBufferStatus, MTLCommandQueue, MTLDevice, MTLSharedEvent};

use super::buffer::Buffer;
use super::device::Device;
use super::error::{ArgumentProblem, GpuError};
use super::library::Pipeline;

/// Runs command buffers in the order in which they are committed.
pub struct Queue {
    raw: Retained<ProtocolObject<dyn MTLCommandQueue>>,
    // What is resident for the queue is the device's.
    _device: Device,
}

/// A counter that orders commands of different queues. Clones are the same event.
#[derive(Clone)]
pub struct Event {
    raw: Retained<ProtocolObject<dyn MTLSharedEvent>>,
}

/// A command buffer that is being written.
pub struct Commands {
    pub(super) raw: Retained<ProtocolObject<dyn MTLCommandBuffer>>,
    pub(super) record: Record,
}

/// What belongs to a command buffer until the GPU is done with it.
///
/// The command buffer itself holds no references: few different objects are used very often in a step, and each is held once here.
#[derive(Default)]
pub(super) struct Record {
    label: String,
    buffers: Vec<Buffer>,
    pipelines: Vec<Pipeline>,
    events: Vec<Event>,
    mistake: Option<GpuError>,
}

/// A command buffer that was committed. Dropping it waits for the GPU, too.
#[must_use = "what the commands write can be read after they were waited for"]
pub struct Pending {
    raw: Retained<ProtocolObject<dyn MTLCommandBuffer>>,
    record: Record,
}

// SAFETY: a command buffer may be used by any thread, by one at a time; it is not shared, since all that changes it takes `&mut self`.
unsafe impl Send for Commands {}
// SAFETY: as above.
unsafe impl Send for Pending {}

/// How long the GPU was at work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// From the start of the first kernel to the end of the last one, in seconds.
    pub gpu_seconds: f64,
}

impl Device {
    /// A queue of its own.
    pub fn queue(&self) -> Result<Queue, GpuError> {
        let raw =
            autoreleasepool(|_| self.raw().newCommandQueue()).ok_or(GpuError::Object("command queue"))?;
        if let Some(residency) = self.residency() {
            residency.attach(&raw);
        }
        Ok(Queue { raw, _device: self.clone() })
    }

    /// An event at 0.
    pub fn event(&self) -> Result<Event, GpuError> {
        let raw = autoreleasepool(|_| self.raw().newSharedEvent()).ok_or(GpuError::Object("event"))?;
        Ok(Event { raw })
    }
}

impl Event {
    /// The value that was signalled last; 0 at first.
    pub fn value(&self) -> u64 {
        self.raw.signaledValue()
    }
}

impl Queue {
    /// Begins a command buffer. At most 64 of a queue can be under way; the next one waits for the first of them.
    pub fn commands(&self, label: &str) -> Result<Commands, GpuError> {
        autoreleasepool(|_| {
            let raw =
                self.raw.commandBufferWithUnretainedReferences().ok_or(GpuError::Object("command buffer"))?;
            raw.setLabel(Some(&NSString::from_str(label)));
            Ok(Commands { raw, record: Record { label: label.to_owned(), ..Record::default() } })
        })
    }
}

impl Commands {
    /// After all commands so far: the event reaches `value`.
    pub fn signal(&mut self, event: &Event, value: u64) {
        self.record.keep_event(event);
        self.raw.encodeSignalEvent_value(ProtocolObject::from_ref(&*event.raw), value);
    }

    /// The commands after this one run when the event has reached `value`. Something must be committed that signals it, or they never run.
    pub fn wait_for(&mut self, event: &Event, value: u64) {
        self.record.keep_event(event);
        self.raw.encodeWaitForEvent_value(ProtocolObject::from_ref(&*event.raw), value);
    }

    /// Hands the commands to the GPU. A mistake in encoding them comes as the error of [`Pending::wait`].
    pub fn commit(self) -> Pending {
        // Also after a mistake, when only what stands before it runs: others may wait for the events.
        autoreleasepool(|_| self.raw.commit());
        Pending { raw: self.raw, record: self.record }
    }
}

impl Pending {
    /// Waits until the GPU is done.
    pub fn wait(mut self) -> Result<Timing, GpuError> {
        autoreleasepool(|_| {
            self.raw.waitUntilCompleted();
            if let Some(mistake) = self.record.mistake.take() {
                return Err(mistake);
            }
            if self.raw.status() == MTLCommandBufferStatus::Completed {
                return Ok(Timing { gpu_seconds: self.raw.GPUEndTime() - self.raw.GPUStartTime() });
            }
            let (code, description) = match self.raw.error() {
                Some(error) => (error.code(), error.localizedDescription().to_string()),
                None => (0, "no error".to_owned()),
            };
            Err(GpuError::of_commands(&self.record.label, code, &description))
        })
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // The GPU may still use what `record` holds.
        autoreleasepool(|_| self.raw.waitUntilCompleted());
    }
}

impl Record {
    pub(super) fn keep_buffer(&mut self, buffer: &Buffer) {
        if !self.buffers.iter().any(|kept| kept.is(buffer)) {
            self.buffers.push(buffer.clone());
        }
    }

    pub(super) fn keep_pipeline(&mut self, pipeline: &Pipeline) {
        if !self.pipelines.iter().any(|kept| kept.is(pipeline)) {
            self.pipelines.push(pipeline.clone());
        }
    }

    fn keep_event(&mut self, event: &Event) {
        if !self.events.iter().any(|kept| kept.raw == event.raw) {
            self.events.push(event.clone());
        }
    }

    /// Whether there was no mistake up to now.
    pub(super) fn is_sound(&self) -> bool {
        self.mistake.is_none()
    }

    /// Notes a mistake; the first one counts.
    pub(super) fn mistake(&mut self, encoder: &str, kernel: Option<&str>, problem: ArgumentProblem) {
        self.mistake.get_or_insert_with(|| GpuError::Argument {
            commands: self.label.clone(),
            encoder: encoder.to_owned(),
            kernel: kernel.unwrap_or("(none yet)").to_owned(),
            problem,
        });
    }
}
