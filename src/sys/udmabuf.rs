//! udmabuf: a dma-buf made of the pages of a sealed memfd (`linux/udmabuf.h`).

use rustix::fs::{Mode, OFlags};
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl, opcode};
use std::ffi::c_void;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `struct udmabuf_create_item`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Item {
    memfd: u32,
    padding: u32,
    offset: u64,
    size: u64,
}

/// `struct udmabuf_create_list` without its items, which lie behind it.
#[repr(C)]
struct ListHead {
    flags: u32,
    count: u32,
}

/// The list as the driver reads it: the head, padded to an item's alignment by its own size, and the items.
struct CreateList(Vec<u64>);

/// `UDMABUF_FLAGS_CLOEXEC`.
const FLAGS_CLOEXEC: u32 = 1;

/// `UDMABUF_CREATE_LIST`: `_IOW('u', 0x43, struct udmabuf_create_list)`, which returns the new descriptor.
const CREATE_LIST: Opcode = opcode::write::<ListHead>(b'u', 0x43);

impl CreateList {
    fn new(items: &[Item]) -> Option<Self> {
        let count = u32::try_from(items.len()).ok()?;
        let word = |low: u32, high: u32| {
            let ([a, b, c, d], [e, f, g, h]) = (low.to_ne_bytes(), high.to_ne_bytes());
            u64::from_ne_bytes([a, b, c, d, e, f, g, h])
        };
        let head = word(FLAGS_CLOEXEC, count);
        let words = items.iter().flat_map(|item| [word(item.memfd, item.padding), item.offset, item.size]);
        Some(Self(std::iter::once(head).chain(words).collect()))
    }
}

// SAFETY: CREATE_LIST reads a `struct udmabuf_create_list` and as many items behind it as it says, which `CreateList::new` lays out
// in one allocation of that length; it writes no memory and returns a descriptor.
unsafe impl Ioctl for CreateList {
    type Output = OwnedFd;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        CREATE_LIST
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.0.as_mut_ptr().cast()
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
        self.create_list(&[(memfd, offset, size)])
    }

    /// One dma-buf of several pieces, each a memfd, an offset and a size as for [`create`](Self::create).
    ///
    /// # Errors
    /// Those of the driver: also EINVAL for none or more pieces than its module parameter allows, 1024 by default.
    pub fn create_list(&self, pieces: &[(BorrowedFd<'_>, u64, u64)]) -> io::Result<OwnedFd> {
        let item = |(memfd, offset, size): &(BorrowedFd<'_>, u64, u64)| {
            let memfd = memfd.as_raw_fd() as u32;
            Item { memfd, padding: 0, offset: *offset, size: *size }
        };
        let list = CreateList::new(&pieces.iter().map(item).collect::<Vec<_>>()).ok_or(rustix::io::Errno::INVAL)?;
        // SAFETY: `CreateList` describes the ioctl truthfully (see its impl).
        Ok(unsafe { ioctl(&self.0, list) }?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ioctl_number_and_size_are_those_of_the_header() {
        assert_eq!((size_of::<Item>(), size_of::<ListHead>(), CREATE_LIST), (24, 8, 0x4008_7543));
    }

    #[test]
    fn a_list_lies_in_memory_as_the_header_says() {
        let item = Item { memfd: 7, padding: 0, offset: 4096, size: 8192 };
        let list = CreateList::new(&[item, Item { memfd: 9, ..item }]).unwrap();
        let bytes: Vec<u8> = list.0.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let number = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!((bytes.len(), number(0), number(4)), (8 + 2 * 24, 1, 2));
        assert_eq!((number(8), number(16), number(24), number(32)), (7, 4096, 8192, 9));
    }
}
