//! Telling whether two descriptors are the same open file (kcmp(2)), since a DRM file's handles and context belong to that.

use std::os::fd::{AsRawFd, BorrowedFd};

/// `KCMP_FILE` of `linux/kcmp.h`.
const KCMP_FILE: libc::c_int = 0;

/// Whether two descriptors of this process are the same open file; also false where the kernel does not tell.
pub fn is_same_file(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    order(one, other) == 0
}

/// The same of memory, each of which has an inode of its own as dma-bufs and memfds have: by that where the kernel does not tell, as
/// in many containers.
pub fn is_same_memory(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    let inode = |fd| rustix::fs::fstat(fd).ok().map(|status| (status.st_dev, status.st_ino));
    match order(one, other) {
        -1 => inode(one).is_some() && inode(one) == inode(other),
        order => order == 0,
    }
}

/// What kcmp says: 0 for the same, -1 where it does not tell.
fn order(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> libc::c_long {
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    // SAFETY: kcmp takes five integers, and reads and writes no memory of the process.
    unsafe {
        libc::syscall(libc::SYS_kcmp, pid, pid, KCMP_FILE, one.as_raw_fd() as libc::c_ulong, other.as_raw_fd() as libc::c_ulong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd;

    #[test]
    fn duplicates_are_the_same_file_and_files_opened_twice_are_not() {
        let (one, other) = (File::open("/dev/null").unwrap(), File::open("/dev/null").unwrap());
        assert!(is_same_file(one.as_fd(), one.try_clone().unwrap().as_fd()));
        assert!(!is_same_file(one.as_fd(), other.as_fd()));
        assert!(is_same_memory(one.as_fd(), one.try_clone().unwrap().as_fd()));
    }
}
