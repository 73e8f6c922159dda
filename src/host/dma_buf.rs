//! dma-bufs of plain pages, where the kernel has udmabuf.

use crate::sys::{dmabuf, memfd, mmap::Mmap, udmabuf::Udmabuf};
use std::io;
use std::os::fd::AsFd;

const PAGE_BYTES: u64 = 4096;

/// Makes a dma-buf of one page, writes through the memfd and reads through the dma-buf: only then it is believed.
pub(super) fn probe() -> io::Result<Udmabuf> {
    let udmabuf = Udmabuf::open()?;
    let pages = memfd::sealed(PAGE_BYTES)?;
    let exported = udmabuf.create(pages.as_fd(), 0, PAGE_BYTES)?;
    if !dmabuf::is_dma_buf(exported.as_fd()) {
        return Err(io::Error::other("what it made is no dma-buf"));
    }
    memfd::write_all(pages.as_fd(), b"virgbm", 0)?;
    let mut seen = [0; 6];
    let read = Mmap::shared(exported.as_fd(), 0, PAGE_BYTES, None)?.read(0, &mut seen);
    match (read, &seen) {
        (Some(()), b"virgbm") => Ok(udmabuf),
        _ => Err(io::Error::other("the dma-buf does not show the memfd's pages")),
    }
}
