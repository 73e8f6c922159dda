//! [`HostPages`]: guest pages at the address where this process has them, for libraries that take pointers.

use super::mmap::Mmap;
use std::any::Any;
use std::ptr::NonNull;
use std::sync::Arc;

/// A run of guest pages that stays mapped for as long as this lives. The guest writes it at any time.
#[derive(Clone)]
pub struct HostPages {
    address: NonNull<u8>,
    length: usize,
    /// What keeps the mapping.
    _owner: Arc<dyn Any + Send + Sync>,
}

// SAFETY: the mapping belongs to the process, not to a thread, and this gives no access to its bytes but by a raw pointer.
unsafe impl Send for HostPages {}
// SAFETY: the same.
unsafe impl Sync for HostPages {}

impl HostPages {
    /// `length` bytes at an address.
    ///
    /// # Safety
    /// They must be mapped, readable and writable, for as long as `owner` lives.
    pub unsafe fn new(address: NonNull<u8>, length: usize, owner: Arc<dyn Any + Send + Sync>) -> Self {
        Self { address, length, _owner: owner }
    }

    /// A range of a mapping; `None` when it is outside.
    pub fn of_mapping(map: &Arc<Mmap>, offset: usize, length: usize) -> Option<Self> {
        let end = offset.checked_add(length)?;
        let address = NonNull::new(map.as_ptr().wrapping_add(offset)).filter(|_| end <= map.len())?;
        // SAFETY: the range is inside of what the mapping has mapped for as long as it lives, and it is shared and writable.
        Some(unsafe { Self::new(address, length, map.clone()) })
    }

    /// Where it starts.
    pub const fn as_ptr(&self) -> *mut u8 {
        self.address.as_ptr()
    }

    /// How many bytes it has.
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether it has none.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl std::fmt::Debug for HostPages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostPages").field("length", &self.length).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::memfd;
    use std::os::fd::AsFd;

    #[test]
    fn a_range_of_a_mapping_keeps_it_and_one_outside_is_none() {
        let fd = memfd::sealed(8192).unwrap();
        let map = Arc::new(Mmap::shared(fd.as_fd(), 0, 8192, None).unwrap());
        let pages = HostPages::of_mapping(&map, 4096, 4096).unwrap();
        assert_eq!((pages.len(), pages.as_ptr() as usize), (4096, map.as_ptr() as usize + 4096));
        assert_eq!(Arc::strong_count(&map), 2);
        for (offset, length) in [(4096, 4097), (usize::MAX, 2), (8193, 0)] {
            assert!(HostPages::of_mapping(&map, offset, length).is_none());
        }
    }
}
