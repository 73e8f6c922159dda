//! udmabuf: a dma-buf made of the pages of a sealed memfd (`linux/udmabuf.h`).

use rustix::fs::{Mode, OFlags};
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl, opcode};
use std::ffi::c_void;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `struct udmabuf_create`.
#[repr(C)]
struct Create {
    memfd: u32,
    flags: u32,
    offset: u64,
    size: u64,
}

/// `UDMABUF_CREATE`: `_IOW('u', 0x42, struct udmabuf_create)`, which returns the new descriptor.
const CREATE: Opcode = opcode::write::<Create>(b'u', 0x42);

const FLAGS_CLOEXEC: u32 = 1;

// SAFETY: CREATE reads one `struct udmabuf_create`, whose layout `Create` repeats, writes no memory and returns a descriptor.
unsafe impl Ioctl for Create {
    type Output = OwnedFd;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        CREATE
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::from_mut(self).cast()
    }

    unsafe fn output_from_ptr(output: IoctlOutput, _: *mut c_void) -> rustix::io::Result<OwnedFd> {
        // SAFETY: rustix calls this only on success, where the driver has installed a descriptor that nobody else owns.
        Ok(unsafe { OwnedFd::from_raw_fd(output) })
    }
}

/// The open driver.
#[derive(Debug)]
pub struct Udmabuf(OwnedFd);

impl Udmabuf {
    /// Opens `/dev/udmabuf`.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn open() -> io::Result<Self> {
        Ok(Self(rustix::fs::open("/dev/udmabuf", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?))
    }

    /// A dma-buf of `size` bytes from `offset` of a memfd that is sealed against shrinking and not against writing.
    ///
    /// # Errors
    /// Those of the driver: EINVAL for other seals, and an offset or size that is no multiple of a page.
    pub fn create(&self, memfd: BorrowedFd<'_>, offset: u64, size: u64) -> io::Result<OwnedFd> {
        let create = Create { memfd: memfd.as_raw_fd() as u32, flags: FLAGS_CLOEXEC, offset, size };
        // SAFETY: `Create` describes the ioctl truthfully (see its impl).
        Ok(unsafe { ioctl(&self.0, create) }?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ioctl_number_and_size_are_those_of_the_header() {
        assert_eq!(size_of::<Create>(), 24);
        assert_eq!(CREATE, 0x4018_7542);
    }
}
