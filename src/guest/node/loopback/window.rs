//! The host-visible window: the guest driver hands out ranges, the host puts descriptors there.

use crate::host::Window;
use crate::sys::mmap::Mmap;
use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the host put at an offset.
#[derive(Debug)]
struct Mapped {
    fd: OwnedFd,
    source_offset: u64,
    length: u64,
}

#[derive(Debug, Default)]
struct Ranges {
    /// Handed out by the guest: length by offset.
    taken: BTreeMap<u64, u64>,
    /// Filled by the host.
    mapped: BTreeMap<u64, Mapped>,
}

/// The window as both sides see it.
#[derive(Debug)]
pub struct HostVisible {
    size_bytes: u64,
    ranges: Mutex<Ranges>,
}

impl HostVisible {
    pub fn new(size_bytes: u64) -> Self {
        Self { size_bytes, ranges: Mutex::default() }
    }

    fn ranges(&self) -> MutexGuard<'_, Ranges> {
        self.ranges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first free range of this length, `None` when there is none.
    pub fn take(&self, length: u64) -> Option<u64> {
        let mut ranges = self.ranges();
        let mut offset = 0u64;
        for (start, taken) in &ranges.taken {
            if start - offset >= length {
                break;
            }
            offset = start + taken;
        }
        if offset.checked_add(length)? > self.size_bytes {
            return None;
        }
        ranges.taken.insert(offset, length);
        Some(offset)
    }

    /// Gives a range back.
    pub fn give_back(&self, offset: u64) {
        self.ranges().taken.remove(&offset);
    }

    /// Maps what the host put at an offset.
    pub fn mmap(&self, offset: u64, length: u64, owner: Arc<dyn Any + Send + Sync>) -> io::Result<Mmap> {
        let ranges = self.ranges();
        let mapped = ranges.mapped.get(&offset).filter(|mapped| length <= mapped.length);
        let mapped = mapped.ok_or(rustix::io::Errno::INVAL)?;
        Mmap::shared(mapped.fd.as_fd(), mapped.source_offset, length, Some(owner))
    }
}

impl Window for HostVisible {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn pages(&self) -> io::Result<Option<Arc<OwnedFd>>> {
        Ok(None)
    }

    fn map(&self, offset: u64, length: u64, source: BorrowedFd<'_>, source_offset: u64) -> io::Result<()> {
        let fd = source.try_clone_to_owned()?;
        self.ranges().mapped.insert(offset, Mapped { fd, source_offset, length });
        Ok(())
    }

    fn unmap(&self, offset: u64, _: u64) -> io::Result<()> {
        self.ranges().mapped.remove(&offset).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rest(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_handed_out_first_fit_and_given_back() {
        let window = HostVisible::new(100);
        let [first, second, third] = [40, 30, 30].map(|length| window.take(length).unwrap());
        assert_eq!((first, second, third), (0, 40, 70));
        assert_eq!(window.take(1), None);
        window.give_back(second);
        assert_eq!((window.take(31), window.take(20), window.take(10)), (None, Some(40), Some(60)));
        assert_eq!(window.take(u64::MAX), None);
    }
}
