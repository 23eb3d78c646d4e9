//! Memory that stays where the GPU can reach it.

use std::sync::{Mutex, PoisonError};

use objc2::rc::Retained;
use objc2::runtime::{NSObjectProtocol, ProtocolObject};
use objc2::sel;
use objc2_foundation::NSString;
use objc2_metal::{MTLBuffer, MTLCommandQueue, MTLDevice, MTLResidencySet, MTLResidencySetDescriptor};

/// All buffers of a device, which Metal keeps resident (macOS 15 and later; before, it makes them so again for each command buffer).
pub(super) struct Residency(Mutex<Set>);

struct Set(Retained<ProtocolObject<dyn MTLResidencySet>>);

// SAFETY: a residency set belongs to no thread; the mutex around it lets one thread at a time use it.
unsafe impl Send for Set {}

impl Residency {
    /// A set for `device`, or nothing where the system has none: all works without it.
    pub(super) fn of(device: &ProtocolObject<dyn MTLDevice>) -> Option<Residency> {
        if !device.respondsToSelector(sel!(newResidencySetWithDescriptor:error:)) {
            return None;
        }
        let descriptor = MTLResidencySetDescriptor::new();
        descriptor.setLabel(Some(&NSString::from_str("model")));
        let set = device.newResidencySetWithDescriptor_error(&descriptor).ok()?;
        Some(Residency(Mutex::new(Set(set))))
    }

    /// Makes `buffer` resident, now rather than when it is first used.
    pub(super) fn add(&self, buffer: &ProtocolObject<dyn MTLBuffer>) {
        self.with(|set| {
            set.addAllocation(ProtocolObject::from_ref(buffer));
            set.commit();
            set.requestResidency();
        });
    }

    /// Lets `buffer` go.
    pub(super) fn remove(&self, buffer: &ProtocolObject<dyn MTLBuffer>) {
        self.with(|set| {
            set.removeAllocation(ProtocolObject::from_ref(buffer));
            set.commit();
        });
    }

    /// Tells `queue` that its commands find all buffers resident.
    pub(super) fn attach(&self, queue: &ProtocolObject<dyn MTLCommandQueue>) {
        self.with(|set| queue.addResidencySet(set));
    }

    fn with(&self, use_set: impl FnOnce(&ProtocolObject<dyn MTLResidencySet>)) {
        // Nothing in here panics halfway, so a poisoned set is a whole one.
        let set = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        objc2::rc::autoreleasepool(|_| use_set(&set.0));
    }
}
