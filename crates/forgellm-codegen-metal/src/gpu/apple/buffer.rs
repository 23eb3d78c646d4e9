//! Memory that GPU and CPU share.

use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;

use objc2::rc::{Retained, autoreleasepool};
use objc2::runtime::ProtocolObject;
use objc2_foundation::NSString;
use objc2_metal::{MTLBuffer, MTLDevice, MTLResource, MTLResourceOptions};

use super::device::Device;
use super::error::GpuError;
use super::limits;

/// Memory of the program that a buffer may stand over without a copy, for example a mapped file.
pub trait Memory: Send + Sync {
    /// The bytes: the same ones at every call, and nobody changes them while the memory lives.
    fn bytes(&self) -> &[u8];
}

/// A buffer. Clones are the same buffer.
#[derive(Clone)]
pub struct Buffer {
    inner: Arc<Inner>,
}

// The fields are dropped in this order: Metal lets go of the memory before it goes.
struct Inner {
    raw: Retained<ProtocolObject<dyn MTLBuffer>>,
    label: String,
    start: *mut u8,
    length: usize,
    device: Device,
    _memory: Option<Arc<dyn Memory>>,
}

// SAFETY: Metal's buffers may be used, retained and released by any thread; who reads and writes their content when is for their users to
// order, who reach it by a raw pointer only.
unsafe impl Send for Inner {}
// SAFETY: as above; nothing in it changes after it was made.
unsafe impl Sync for Inner {}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(residency) = self.device.residency() {
            residency.remove(&self.raw);
        }
    }
}

impl Device {
    /// Zeroed memory that kernels and the program share.
    pub fn buffer(&self, bytes: usize, label: &str) -> Result<Buffer, GpuError> {
        let refuse = |reason| GpuError::Memory { label: label.to_owned(), bytes, reason };
        self.room_for(bytes).map_err(refuse)?;
        // Hazards are tracked: command buffers that write to the same buffer follow one another.
        let options = MTLResourceOptions::StorageModeShared;
        let raw = autoreleasepool(|_| self.raw().newBufferWithLength_options(bytes, options));
        self.wrap(raw, bytes, label, None)
    }

    /// A buffer over memory of the program, without a copy. It must start on a page of 16 KiB, and kernels must not write it.
    pub fn buffer_over(&self, memory: &Arc<dyn Memory>, label: &str) -> Result<Buffer, GpuError> {
        let memory = Arc::clone(memory);
        let bytes = memory.bytes();
        let length = bytes.len();
        let refuse = |reason| GpuError::Memory { label: label.to_owned(), bytes: length, reason };
        self.room_for(length).map_err(refuse)?;
        let pages = limits::whole_pages(bytes.as_ptr() as usize, length).map_err(refuse)?;
        // Nobody writes to it, so there is nothing to track.
        let options = MTLResourceOptions::StorageModeShared | MTLResourceOptions::HazardTrackingModeUntracked;
        let start = NonNull::from(bytes).cast::<c_void>();
        // SAFETY: the memory starts on a page, and memory exists in whole pages, so it can be read up to the end of its last one; it
        // lives as long as the buffer, which holds `memory`.
        let raw = autoreleasepool(|_| unsafe {
            self.raw().newBufferWithBytesNoCopy_length_options_deallocator(start, pages, options, None)
        });
        self.wrap(raw, length, label, Some(memory))
    }

    fn wrap(
        &self,
        raw: Option<Retained<ProtocolObject<dyn MTLBuffer>>>,
        length: usize,
        label: &str,
        memory: Option<Arc<dyn Memory>>,
    ) -> Result<Buffer, GpuError> {
        let label = label.to_owned();
        let Some(raw) = raw else {
            let reason = "Metal gives none; the system may be out of memory".to_owned();
            return Err(GpuError::Memory { label, bytes: length, reason });
        };
        autoreleasepool(|_| raw.setLabel(Some(&NSString::from_str(&label))));
        if let Some(residency) = self.residency() {
            residency.add(&raw);
        }
        let start = raw.contents().as_ptr().cast();
        let device = self.clone();
        Ok(Buffer { inner: Arc::new(Inner { raw, label, start, length, device, _memory: memory }) })
    }
}

impl Buffer {
    /// Bytes.
    #[allow(clippy::len_without_is_empty, reason = "a buffer is never empty")]
    pub fn len(&self) -> usize {
        self.inner.length
    }

    /// The first of its [`len`](Self::len) bytes. Nobody may read or write them while commands that write or read them are under way, and
    /// a buffer over memory of the program must not be written at all.
    pub fn contents(&self) -> *mut u8 {
        self.inner.start
    }

    /// The name in messages.
    pub fn label(&self) -> &str {
        &self.inner.label
    }

    pub(super) fn raw(&self) -> &ProtocolObject<dyn MTLBuffer> {
        &self.inner.raw
    }

    pub(super) fn is(&self, other: &Buffer) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}
