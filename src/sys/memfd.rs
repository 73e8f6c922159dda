//! Plain pages with a descriptor: memfds that can't change their size, so that nobody who maps them can be hit by SIGBUS.

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// A memfd of `bytes` zeroes, sealed against shrinking, growing and further seals: whoever receives it can write, which udmabuf
/// demands, and can't take that from others.
///
/// # Errors
/// Those of memfd_create(2), ftruncate(2) and fcntl(2).
pub fn sealed(bytes: u64) -> io::Result<OwnedFd> {
    let fd = rustix::fs::memfd_create(c"virgbm", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    rustix::fs::ftruncate(&fd, bytes)?;
    rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(fd)
}

/// Gives the pages of `bytes` from `offset` back, so that they read as zeroes again.
///
/// # Errors
/// Those of fallocate(2).
pub fn discard(fd: BorrowedFd<'_>, offset: u64, bytes: u64) -> io::Result<()> {
    Ok(rustix::fs::fallocate(fd, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, bytes)?)
}

/// Copies `bytes` from one file and offset to another.
///
/// # Errors
/// Those of [`read_exact`] and [`write_all`].
pub fn copy(from: (BorrowedFd<'_>, u64), to: (BorrowedFd<'_>, u64), bytes: u64) -> io::Result<()> {
    const STEP: u64 = 256 * 1024;
    let mut buffer = vec![0; bytes.min(STEP) as usize];
    let mut done = 0;
    while done < bytes {
        let step = (bytes - done).min(STEP);
        let piece = buffer.get_mut(..step as usize).unwrap_or_default();
        read_exact(from.0, piece, from.1 + done)?;
        write_all(to.0, piece, to.1 + done)?;
        done += step;
    }
    Ok(())
}

/// Reads exactly `buffer.len()` bytes.
///
/// # Errors
/// Those of pread(2); [`io::ErrorKind::UnexpectedEof`] when the file is shorter.
pub fn read_exact(fd: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match rustix::io::pread(fd, rest, offset + done as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => done += count,
        }
    }
    Ok(())
}

/// Writes all of `data`.
///
/// # Errors
/// Those of pwrite(2); [`io::ErrorKind::WriteZero`] when the file takes no more.
pub fn write_all(fd: BorrowedFd<'_>, data: &[u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while let Some(rest) = data.get(done..).filter(|rest| !rest.is_empty()) {
        match rustix::io::pwrite(fd, rest, offset + done as u64)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => done += count,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_sealed_memfd_keeps_its_size_and_takes_no_more_seals() {
        let fd = sealed(8192).unwrap();
        assert!(rustix::fs::ftruncate(&fd, 4096).is_err());
        assert!(rustix::fs::ftruncate(&fd, 16384).is_err());
        assert!(rustix::fs::fcntl_add_seals(&fd, SealFlags::WRITE).is_err());
    }

    #[test]
    fn discarded_pages_read_as_zeroes() {
        let fd = sealed(8192).unwrap();
        write_all(fd.as_fd(), &[7; 8192], 0).unwrap();
        discard(fd.as_fd(), 4096, 4096).unwrap();
        let mut back = [1; 8192];
        read_exact(fd.as_fd(), &mut back, 0).unwrap();
        assert_eq!((&back[..4096], &back[4096..]), (&[7; 4096][..], &[0; 4096][..]));
    }

    #[test]
    fn a_copy_has_all_bytes_and_no_others() {
        let (from, to) = (sealed(1 << 20).unwrap(), sealed(1 << 20).unwrap());
        let bytes: Vec<u8> = (0..700_000u32).map(|at| (at / 3) as u8).collect();
        write_all(from.as_fd(), &bytes, 100).unwrap();
        copy((from.as_fd(), 100), (to.as_fd(), 4096), 600_000).unwrap();
        let mut back = vec![1; 1 << 20];
        read_exact(to.as_fd(), &mut back, 0).unwrap();
        assert_eq!(back[4096..604_096], bytes[..600_000]);
        assert!(back[..4096].iter().chain(&back[604_096..]).all(|byte| *byte == 0));
    }

    #[test]
    fn reads_and_writes_beyond_the_end_are_errors() {
        let fd = sealed(4096).unwrap();
        assert!(read_exact(fd.as_fd(), &mut [0; 2], 4095).is_err());
        assert!(write_all(fd.as_fd(), &[0; 2], 4095).is_err());
    }
}
