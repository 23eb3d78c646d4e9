//! The GPU.

use std::sync::Arc;

use objc2::rc::{Retained, autoreleasepool};
use objc2::runtime::ProtocolObject;
use objc2_metal::{MTLCreateSystemDefaultDevice, MTLDevice, MTLGPUFamily, MTLLanguageVersion};

use super::error::GpuError;
use super::limits;
use super::residency::Residency;

// A program without windows gets no default device unless it is linked to this framework.
#[link(name = "CoreGraphics", kind = "framework")]
unsafe extern "C" {}

/// A GPU. Clones are the same GPU.
#[derive(Clone)]
pub struct Device(Arc<Shared>);

struct Shared {
    raw: Retained<ProtocolObject<dyn MTLDevice>>,
    name: String,
    language: MTLLanguageVersion,
    residency: Option<Residency>,
}

impl Device {
    /// Opens the GPU of this Mac, if it is one that the kernels are written for.
    pub fn open() -> Result<Device, GpuError> {
        autoreleasepool(|_| {
            let raw = MTLCreateSystemDefaultDevice().ok_or(GpuError::NoDevice)?;
            let name = raw.name().to_string();
            let unsupported = |needs| GpuError::Unsupported { device: name.clone(), needs };
            if !raw.supportsFamily(MTLGPUFamily::Apple7) {
                return Err(unsupported("Apple silicon (GPU family Apple7, M1 or later)".to_owned()));
            }
            let language =
                language().ok_or_else(|| unsupported("macOS 13 or later (Metal 3.0)".to_owned()))?;
            if raw.maxThreadgroupMemoryLength() < limits::THREADGROUP_MEMORY {
                let needs = format!("{} bytes of threadgroup memory", limits::THREADGROUP_MEMORY);
                return Err(unsupported(needs));
            }
            if raw.recommendedMaxWorkingSetSize() == 0 {
                return Err(unsupported("memory, and the system lets it use none".to_owned()));
            }
            let residency = Residency::of(&raw);
            Ok(Device(Arc::new(Shared { raw, name, language, residency })))
        })
    }

    /// What Metal calls it.
    pub fn name(&self) -> String {
        self.0.name.clone()
    }

    /// Bytes that the GPU can use and stay fast, all buffers of all programs together.
    pub fn memory(&self) -> u64 {
        self.raw().recommendedMaxWorkingSetSize()
    }

    /// Bytes of threadgroup memory that a threadgroup can have.
    pub fn threadgroup_memory(&self) -> usize {
        self.raw().maxThreadgroupMemoryLength()
    }

    /// Whether kernels can use `bfloat` (Metal 3.1: macOS 14 and later).
    pub fn supports_bfloat(&self) -> bool {
        self.0.language >= MTLLanguageVersion::Version3_1
    }

    pub(super) fn raw(&self) -> &ProtocolObject<dyn MTLDevice> {
        &self.0.raw
    }

    pub(super) fn language(&self) -> MTLLanguageVersion {
        self.0.language
    }

    pub(super) fn residency(&self) -> Option<&Residency> {
        self.0.residency.as_ref()
    }

    /// Whether there is memory for a buffer of `bytes` bytes, or why not.
    pub(super) fn room_for(&self, bytes: usize) -> Result<(), String> {
        let used = self.raw().currentAllocatedSize() as u64;
        limits::room(bytes, self.raw().maxBufferLength(), used, self.memory())
    }
}

/// The version of the Metal language that kernels are compiled as: the newest that they make use of. `None` if this system's is too old.
fn language() -> Option<MTLLanguageVersion> {
    if objc2::available!(macos = 14.0) {
        return Some(MTLLanguageVersion::Version3_1);
    }
    objc2::available!(macos = 13.0).then_some(MTLLanguageVersion::Version3_0)
}
