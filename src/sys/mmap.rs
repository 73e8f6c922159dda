//! A shared mapping, read and written by bounded copies, since others may write the same bytes at any time.

use rustix::mm::{MapFlags, ProtFlags};
use std::any::Any;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Shared memory, mapped for reading and writing until it is dropped.
pub struct Mmap {
    address: NonNull<u8>,
    length: usize,
    /// What must outlive the mapping, as the kernel's mappings keep their buffer object.
    _owner: Option<Arc<dyn Any + Send + Sync>>,
}

// SAFETY: the mapping belongs to the process, not to a thread, and all access goes through raw copies and atomics.
unsafe impl Send for Mmap {}
// SAFETY: no method hands out a reference to the bytes, so threads can only race as other processes can.
unsafe impl Sync for Mmap {}

impl Mmap {
    /// Maps `length` bytes of a file from `offset`, shared. `owner` is kept as long as the mapping.
    ///
    /// The file must not shrink while it is mapped: memfds are sealed against it, and device memory does not.
    ///
    /// # Errors
    /// Those of mmap(2); EINVAL for a length of 0 or beyond the address space.
    pub fn shared(fd: BorrowedFd<'_>, offset: u64, length: u64, owner: Option<Arc<dyn Any + Send + Sync>>) -> io::Result<Self> {
        let length = usize::try_from(length).map_err(|_| rustix::io::Errno::INVAL)?;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a null hint lets the kernel choose free addresses, so no existing memory is replaced.
        let address = unsafe { rustix::mm::mmap(std::ptr::null_mut(), length, protection, MapFlags::SHARED, fd, offset) }?;
        let address = NonNull::new(address.cast()).ok_or(rustix::io::Errno::NOMEM)?;
        Ok(Self { address, length, _owner: owner })
    }

    /// How many bytes are mapped.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing is mapped; never true, since the kernel maps no empty range.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The first byte, for callers across a C boundary; valid while the mapping lives.
    pub fn as_ptr(&self) -> *mut u8 {
        self.address.as_ptr()
    }

    /// Copies from the mapping; `None` and nothing copied when the range is outside.
    #[must_use]
    pub fn read(&self, offset: usize, buffer: &mut [u8]) -> Option<()> {
        let from = self.at(offset, buffer.len())?;
        // SAFETY: `at` checked that the range is mapped; `buffer` is exclusive, so it can't overlap.
        unsafe { std::ptr::copy_nonoverlapping(from, buffer.as_mut_ptr(), buffer.len()) };
        Some(())
    }

    /// Copies to the mapping; `None` and nothing copied when the range is outside.
    #[must_use]
    pub fn write(&self, offset: usize, data: &[u8]) -> Option<()> {
        let to = self.at(offset, data.len())?;
        // SAFETY: `at` checked that the range is mapped; no Rust reference to it exists, so `data` can't overlap.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), to, data.len()) };
        Some(())
    }

    /// Loads a number that another party stored with release order; `None` when outside or unaligned.
    pub fn load_acquire(&self, offset: usize) -> Option<u32> {
        Some(self.atomic(offset)?.load(Ordering::Acquire))
    }

    /// Stores a number with release order; `None` when outside or unaligned.
    #[must_use]
    pub fn store_release(&self, offset: usize, value: u32) -> Option<()> {
        self.atomic(offset)?.store(value, Ordering::Release);
        Some(())
    }

    fn at(&self, offset: usize, length: usize) -> Option<*mut u8> {
        let end = offset.checked_add(length)?;
        (end <= self.length).then(|| self.address.as_ptr().wrapping_add(offset))
    }

    fn atomic(&self, offset: usize) -> Option<&AtomicU32> {
        let address = self.at(offset, size_of::<u32>())?.cast::<u32>();
        if !address.is_aligned() {
            return None;
        }
        // SAFETY: `at` checked that four bytes are mapped, which live as long as `self`, and they are aligned.
        Some(unsafe { AtomicU32::from_ptr(address) })
    }
}

impl Drop for Mmap {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `shared`, is unmapped only here, and nothing borrows from it any more.
        if let Err(error) = unsafe { rustix::mm::munmap(self.address.as_ptr().cast(), self.length) } {
            log::error!("munmap of {} bytes: {error}", self.length);
        }
    }
}

impl fmt::Debug for Mmap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mmap").field("length", &self.length).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn mapped(bytes: u64) -> Mmap {
        let file = tempfile::tempfile().unwrap();
        file.set_len(bytes).unwrap();
        Mmap::shared(file.as_fd(), 0, bytes, None).unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let map = mapped(4096);
        map.write(4090, b"abcdef").unwrap();
        let mut back = [0; 6];
        map.read(4090, &mut back).unwrap();
        assert_eq!(&back, b"abcdef");
    }

    #[test]
    fn ranges_outside_are_refused() {
        let map = mapped(4096);
        assert_eq!(map.write(4091, b"abcdef"), None);
        assert_eq!(map.read(usize::MAX, &mut [0; 2]), None);
        assert_eq!(map.load_acquire(4094), None);
        assert_eq!(map.store_release(2, 1), None, "unaligned");
    }

    #[test]
    fn an_empty_or_impossible_mapping_is_an_error() {
        let file = tempfile::tempfile().unwrap();
        assert!(Mmap::shared(file.as_fd(), 0, 0, None).is_err());
        assert!(Mmap::shared(file.as_fd(), 0, u64::MAX, None).is_err());
    }

    #[test]
    fn the_owner_lives_as_long_as_the_mapping() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4096).unwrap();
        let owner = Arc::new(());
        let map = Mmap::shared(file.as_fd(), 0, 4096, Some(owner.clone())).unwrap();
        assert_eq!(Arc::strong_count(&owner), 2);
        drop(map);
        assert_eq!(Arc::strong_count(&owner), 1);
    }
}
