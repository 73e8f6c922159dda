//! dma-bufs of plain pages, the guest's among them, where the kernel has udmabuf.

use super::FilePiece;
use crate::sys::{dmabuf, memfd, mmap::Mmap, udmabuf::Udmabuf};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;

const PAGE_BYTES: u64 = 4096;

/// dma-bufs of guest pages: udmabuf, tried when one is wanted first.
#[derive(Debug, Default)]
pub(super) struct GuestPages(OnceLock<Result<Udmabuf, String>>);

impl GuestPages {
    /// One dma-buf of these pieces of the files that back the guest's memory.
    pub fn export(&self, pieces: &[FilePiece]) -> io::Result<OwnedFd> {
        let udmabuf = self.0.get_or_init(|| probe().map_err(|error| error.to_string()));
        let udmabuf = udmabuf.as_ref().map_err(|why| io::Error::new(io::ErrorKind::Unsupported, format!("udmabuf: {why}")))?;
        let items: Vec<_> = pieces.iter().map(|piece| (piece.file.as_fd(), piece.offset, piece.length)).collect();
        udmabuf.create_list(&items)
    }
}

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
