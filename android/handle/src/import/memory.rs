//! The memory of an imported buffer: the device's, or where a test's host is in some process the descriptor's own.

use crate::device::Source;
use crate::handle::{BadHandle, Description};
use std::os::fd::{BorrowedFd, OwnedFd};
#[cfg(feature = "loopback")]
use std::sync::Arc;
use virgbm::Usage;
use virgbm::guest::{self, Access, BufferObject, Mapping};
use virgbm::layout::Region;
#[cfg(feature = "loopback")]
use virgbm::sys::mmap::Mmap;
use virgbm::usage::Dialect;

/// Where the bytes are.
#[derive(Debug)]
pub enum Memory {
    /// In a buffer of the device.
    Buffer(BufferObject),
    /// In the file that the descriptor is.
    #[cfg(feature = "loopback")]
    File(Arc<Mmap>),
}

/// A lock.
#[derive(Debug)]
pub enum Held {
    Mapping {
        mapping: Mapping,
        written: bool,
    },
    #[cfg(feature = "loopback")]
    File(Arc<Mmap>, Region),
    /// Of somebody who only wants to know where the planes are.
    Nothing,
}

impl Memory {
    /// Takes the memory behind a descriptor, whose layout was checked.
    pub fn import(fd: BorrowedFd<'_>, description: &Description, source: &Source) -> Result<Self, BadHandle> {
        match source {
            Source::Device(device) => {
                // The word was read before: what it does not say, nobody draws.
                let usage = Usage::from_dialect(Dialect::Android, description.usage).unwrap_or(Usage::all());
                device.import_made_for(fd, &description.layout, usage).map(Self::Buffer).map_err(BadHandle::NotOurs)
            }
            #[cfg(feature = "loopback")]
            Source::Files => {
                let map = Mmap::shared(fd, 0, description.allocation_bytes, None).map_err(BadHandle::NotMapped)?;
                Ok(Self::File(Arc::new(map)))
            }
        }
    }

    pub fn map(&self, region: Region, access: Access) -> Result<Held, guest::Error> {
        match self {
            Self::Buffer(buffer) => {
                Ok(Held::Mapping { mapping: buffer.map(region, access)?, written: access.contains(Access::WRITE) })
            }
            #[cfg(feature = "loopback")]
            Self::File(map) => Ok(Held::File(map.clone(), region)),
        }
    }
}

impl Held {
    /// The first byte of the buffer.
    pub fn address(&self) -> *mut u8 {
        match self {
            Self::Mapping { mapping, .. } => mapping.as_ptr(),
            #[cfg(feature = "loopback")]
            Self::File(map, _) => map.as_ptr(),
            Self::Nothing => std::ptr::null_mut(),
        }
    }

    pub fn region(&self) -> Option<Region> {
        match self {
            Self::Mapping { mapping, .. } => Some(mapping.region()),
            #[cfg(feature = "loopback")]
            Self::File(_, region) => Some(*region),
            Self::Nothing => None,
        }
    }

    pub fn flush(&self) -> Result<(), guest::Error> {
        match self {
            Self::Mapping { mapping, .. } => mapping.flush(),
            #[cfg(feature = "loopback")]
            Self::File(..) => Ok(()),
            Self::Nothing => Ok(()),
        }
    }

    /// Sends what was written. The fence is that of the transfer; without one it is waited for.
    pub fn end(self, memory: &Memory) -> Result<Option<OwnedFd>, guest::Error> {
        match (self, memory) {
            (Self::Mapping { mapping, written: true }, Memory::Buffer(buffer)) if buffer.is_copied() => {
                mapping.finish()?;
                buffer.export_sync_file().map(Some).or_else(|_| buffer.wait().map(|()| None))
            }
            (Self::Mapping { mapping, .. }, _) => mapping.finish().map(|()| None),
            #[cfg(feature = "loopback")]
            (Self::File(..), _) => Ok(None),
            (Self::Nothing, _) => Ok(None),
        }
    }
}
