//! dma-bufs: telling that a descriptor is one, bracketing CPU access to it, and the fences in it (`linux/dma-buf.h`).

use rustix::ioctl::{Setter, Updater, ioctl, opcode};
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};

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

/// `struct dma_buf_export_sync_file`.
#[derive(Clone, Copy)]
#[repr(C)]
struct ExportSyncFile {
    flags: u32,
    fd: i32,
}

/// `DMA_BUF_IOCTL_EXPORT_SYNC_FILE`: `_IOWR('b', 2, struct dma_buf_export_sync_file)`.
const EXPORT_SYNC_FILE: rustix::ioctl::Opcode = opcode::read_write::<ExportSyncFile>(b'b', 2);

/// A sync_file of all that is being done to a dma-buf now: whoever wants to write waits for it.
///
/// # Errors
/// ENOTTY when the descriptor is no dma-buf, or the kernel is older than 6.0.
pub fn export_sync_file(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut argument = ExportSyncFile { flags: (SYNC_READ | SYNC_WRITE) as u32, fd: -1 };
    // SAFETY: the number is that of an ioctl which reads and writes exactly this structure.
    let request = unsafe { Updater::<EXPORT_SYNC_FILE, ExportSyncFile>::new(&mut argument) };
    // SAFETY: the structure is valid and holds no address.
    unsafe { ioctl(fd, request) }?;
    // SAFETY: a call that works leaves a new descriptor here, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(argument.fd) })
}

/// `DMA_BUF_MAGIC` of `linux/magic.h`, since Linux 5.3.
const FILE_SYSTEM: u64 = 0x444d_4142;

/// Whether the descriptor is a dma-buf, found by the file system that it is of: asking its driver waits for fences, and maps pages.
pub fn is_dma_buf(fd: BorrowedFd<'_>) -> bool {
    rustix::fs::fstatfs(fd).is_ok_and(|found| found.f_type as u64 == FILE_SYSTEM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn the_ioctl_numbers_are_those_of_the_header() {
        assert_eq!((SYNC, EXPORT_SYNC_FILE), (0x4008_6200, 0xc008_6202));
    }

    #[test]
    fn a_memfd_is_no_dma_buf() {
        let memfd = crate::sys::memfd::sealed(4096).unwrap();
        assert!(!is_dma_buf(memfd.as_fd()));
        assert!(export_sync_file(memfd.as_fd()).is_err());
    }
}
