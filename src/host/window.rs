//! [`Window`]: the part of the guest's address space where the host makes blobs visible.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

/// The host-visible window, which the VMM implements; offsets are from its start, in bytes, multiples of a page.
///
/// The device calls it with no lock held that its other calls need, one call at a time.
pub trait Window: Send + Sync {
    /// How large it is; 0 when there is none.
    fn size_bytes(&self) -> u64;

    /// The memfd that shows through the whole window, byte for byte: plain memory is put there without asking the VMM. `None`
    /// where every blob is a map of its own. All of it that nobody was given reads as zeroes.
    ///
    /// # Errors
    /// The VMM's; the guest's mmap then fails.
    fn pages(&self) -> io::Result<Option<Arc<OwnedFd>>>;

    /// Makes `length` bytes of a descriptor from `source_offset` appear at `offset`, shared and writable.
    ///
    /// # Errors
    /// The VMM's; the guest's mmap then fails.
    fn map(&self, offset: u64, length: u64, source: BorrowedFd<'_>, source_offset: u64) -> io::Result<()>;

    /// Takes away what `map` put there.
    ///
    /// # Errors
    /// The VMM's; the range counts as free all the same.
    fn unmap(&self, offset: u64, length: u64) -> io::Result<()>;

    /// The guest has no context of a capset and nothing in the window: `pages` may stop to show, until they are asked for again.
    ///
    /// # Errors
    /// The VMM's.
    fn rest(&self) -> io::Result<()>;
}

/// A device without a window: blobs of the host can't be mapped by the guest.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoWindow;

impl Window for NoWindow {
    fn size_bytes(&self) -> u64 {
        0
    }

    fn pages(&self) -> io::Result<Option<Arc<OwnedFd>>> {
        Ok(None)
    }

    fn map(&self, _: u64, _: u64, _: BorrowedFd<'_>, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn unmap(&self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn rest(&self) -> io::Result<()> {
        Ok(())
    }
}
