//! Who allocates the buffers of the mapper's cases.

use super::gralloc::OpenDevice;
use crate::sys::handle::Raw;
use virgbm_android_handle::allocate::AllocationError;
use virgbm_android_handle::{Allocator, Descriptor};

/// An allocator.
pub enum Source {
    /// None: no mapper is checked.
    None,
    /// virgbm's, which takes whole descriptors.
    Virgbm(Allocator),
    /// A gralloc module, which knows sizes, formats and 32 bits of usage.
    Gralloc(OpenDevice),
}

/// A buffer as another process gets it.
#[derive(Debug)]
pub struct Allocated {
    /// The handle.
    pub raw: Raw,
    /// In pixels.
    pub stride: u32,
}

/// Why there is no buffer.
#[derive(Debug)]
pub enum NotAllocated {
    /// The allocator can't be asked that.
    Unasked(&'static str),
    /// It said no.
    Refused(AllocationError, String),
}

impl Source {
    /// virgbm's allocator on this machine's device.
    pub fn open_virgbm() -> Result<Self, String> {
        Ok(Self::Virgbm(Allocator::open().map_err(|error| format!("virgbm's allocator: {error}"))?))
    }

    /// A buffer.
    pub fn allocate(&self, descriptor: &Descriptor) -> Result<Allocated, NotAllocated> {
        match self {
            Self::None => Err(NotAllocated::Unasked("there is no allocator")),
            Self::Virgbm(allocator) => {
                let refused =
                    |refusal: virgbm_android_handle::Refusal| NotAllocated::Refused(refusal.error(), refusal.to_string());
                let mut allocation = allocator.allocate(descriptor, 1).map_err(refused)?;
                let handle = allocation.handles.pop().ok_or(NotAllocated::Unasked("there is no buffer"))?;
                let (fds, ints) = handle.into_parts();
                Ok(Allocated { raw: Raw::new(fds, &ints), stride: allocation.pixel_stride })
            }
            Self::Gralloc(device) => {
                let plain = descriptor.layer_count == 1 && descriptor.reserved_bytes == 0 && descriptor.options.is_empty();
                if !plain || descriptor.usage >> 32 != 0 || descriptor.name.iter().any(|byte| *byte != 0) {
                    return Err(NotAllocated::Unasked("gralloc0 has no words for it"));
                }
                let Descriptor { width, height, format, usage, .. } = *descriptor;
                let error = |number: i32| NotAllocated::Refused(AllocationError::Unsupported, format!("errno {}", -number));
                let (handle, stride) = device.alloc(width, height, format, usage as u32 as i32).map_err(error)?;
                let raw = Raw::clone_of(handle).ok_or(NotAllocated::Unasked("its descriptors can't be duplicated"));
                device.free(handle);
                Ok(Allocated { raw: raw?, stride: stride as u32 })
            }
        }
    }

    /// Whether what the CPU sees of such a buffer is a copy, which transfers bring to the host; `None` where nobody tells.
    pub fn is_copied(&self, descriptor: &Descriptor) -> Option<bool> {
        let Self::Virgbm(allocator) = self else { return None };
        let request = descriptor.resolve(allocator.device()).ok()?.request;
        Some(allocator.device().create(&request).ok()?.is_copied())
    }

    /// Whether such a buffer can be allocated, as the allocator says without doing it; `None` where it can't be asked.
    pub fn supports(&self, descriptor: &Descriptor) -> Option<bool> {
        match self {
            Self::Virgbm(allocator) => Some(allocator.supports(descriptor).is_ok()),
            _ => None,
        }
    }
}
