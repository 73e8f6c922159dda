//! dma-bufs: telling that a descriptor is one, and bracketing CPU access to it (`linux/dma-buf.h`).

use rustix::ioctl::{Setter, ioctl, opcode};
use std::io;
use std::os::fd::BorrowedFd;

/// `DMA_BUF_IOCTL_SYNC`: `_IOW('b', 0, struct dma_buf_sync)`, one 64-bit flags word.
const SYNC: rustix::ioctl::Opcode = opcode::write::<u64>(b'b', 0);

const SYNC_READ: u64 = 1;
const SYNC_WRITE: u64 = 2;
const SYNC_END: u64 = 4;

/// Starts (`end` false) or ends CPU access for reading and writing.
///
/// # Errors
/// ENOTTY when the descriptor is no dma-buf; else those of its exporter.
pub fn sync(fd: BorrowedFd<'_>, end: bool) -> io::Result<()> {
    let flags = SYNC_READ | SYNC_WRITE | if end { SYNC_END } else { 0 };
    // SAFETY: SYNC is _IOW of a 64-bit word, and `flags` is one; only dma-bufs know it, others answer ENOTTY.
    let request = unsafe { Setter::<SYNC, u64>::new(flags) };
    // SAFETY: the request reads its 64-bit word and writes no memory.
    Ok(unsafe { ioctl(fd, request) }?)
}

/// Whether the descriptor is a dma-buf, found by asking it for a dma-buf's own ioctl.
pub fn is_dma_buf(fd: BorrowedFd<'_>) -> bool {
    sync(fd, false).and_then(|()| sync(fd, true)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn the_ioctl_number_is_that_of_the_header() {
        assert_eq!(SYNC, 0x4008_6200);
    }

    #[test]
    fn a_memfd_is_no_dma_buf() {
        let memfd = crate::sys::memfd::sealed(4096).unwrap();
        assert!(!is_dma_buf(memfd.as_fd()));
    }
}
