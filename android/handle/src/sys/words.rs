//! Shared memory as words, which are loaded and stored one by one: other processes write the same ones at any time.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::AtomicU32;
use virgbm::sys::mmap::Mmap;

/// A mapped file as words.
#[derive(Debug)]
pub struct SharedWords(Mmap);

impl SharedWords {
    /// Maps the first `bytes` of a file that does not shrink.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn map(fd: BorrowedFd<'_>, bytes: u64) -> io::Result<Self> {
        Ok(Self(Mmap::shared(fd, 0, bytes, None)?))
    }

    /// All of it.
    pub fn words(&self) -> &[AtomicU32] {
        let count = self.0.len() / size_of::<u32>();
        // SAFETY: the mapping starts at a page, has room for `count` words, and lives as long as `self`; everybody who writes there
        // does so by words, or sees a value that is checked.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), count) }
    }

    /// The address of a byte, for callers across a C boundary; valid while the mapping lives. `None` outside.
    pub fn address(&self, offset: usize) -> Option<*mut u8> {
        (offset < self.0.len()).then(|| self.0.as_ptr().wrapping_add(offset))
    }
}
