//! [`Mapping`]: a CPU view of a region of a buffer.

use super::error::Error;
use crate::Layout;
use crate::layout::{PlaneRegion, Region};
use crate::sys::mmap::Mmap;
use std::fmt;
use std::sync::Arc;

bitflags::bitflags! {
    /// What the CPU does through a mapping.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Access: u8 {
        /// It reads.
        const READ = 1;
        /// It writes.
        const WRITE = 2;
    }
}

/// A view of a region. The host and other processes see the same bytes, so they are copied in and out, never borrowed.
///
/// It keeps the buffer and the device alive. Where the host has a copy of the buffer, what was written is sent when it is dropped.
pub struct Mapping {
    map: Arc<Mmap>,
    layout: Layout,
    region: Region,
    access: Access,
    /// Whether nothing is left to be sent.
    finished: bool,
    /// The buffer, which must not be freed under it.
    buffer: Arc<dyn Mapped>,
}

/// A buffer that is mapped.
pub(super) trait Mapped: Send + Sync {
    /// Sends what the CPU has written in a region to the host, where that has a copy.
    fn flush(&self, region: Region) -> Result<(), Error>;

    /// The CPU has done with one mapping of it, of that region.
    fn end(&self, region: Region, access: Access);
}

impl Mapping {
    pub(super) fn new(map: Arc<Mmap>, layout: Layout, region: Region, access: Access, buffer: Arc<dyn Mapped>) -> Self {
        Self { map, layout, region, access, finished: false, buffer }
    }

    /// The buffer's layout: strides and offsets of the mapping are the same.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The region.
    pub fn region(&self) -> Region {
        self.region
    }

    /// The first byte of the buffer, for callers across a C boundary; valid while the mapping lives.
    pub fn as_ptr(&self) -> *mut u8 {
        self.map.as_ptr()
    }

    /// How long a row of the region is in a plane, and how many there are; `None` where there is no such plane.
    pub fn plane(&self, plane: usize) -> Option<PlaneRegion> {
        self.layout.plane_region(plane, self.region)
    }

    /// Copies a row of the region out of a plane; `row` counts the plane's rows from the top of the region, and `buffer` may be
    /// shorter than the row.
    ///
    /// # Errors
    /// [`Error::Access`] without [`Access::READ`], [`Error::Range`] for a plane or row that is not there.
    pub fn read_row(&self, plane: usize, row: u64, buffer: &mut [u8]) -> Result<(), Error> {
        self.require(Access::READ, "reading")?;
        let offset = self.row_offset(plane, row, buffer.len())?;
        let outside = Error::Range { offset, length: buffer.len() as u64 };
        usize::try_from(offset).ok().and_then(|offset| self.map.read(offset, buffer)).ok_or(outside)
    }

    /// Copies a row of the region into a plane; the same as [`read_row`](Self::read_row) the other way.
    ///
    /// # Errors
    /// [`Error::Access`] without [`Access::WRITE`], [`Error::Range`] for a plane or row that is not there.
    pub fn write_row(&self, plane: usize, row: u64, data: &[u8]) -> Result<(), Error> {
        self.require(Access::WRITE, "writing")?;
        let offset = self.row_offset(plane, row, data.len())?;
        let outside = Error::Range { offset, length: data.len() as u64 };
        usize::try_from(offset).ok().and_then(|offset| self.map.write(offset, data)).ok_or(outside)
    }

    fn require(&self, access: Access, what: &'static str) -> Result<(), Error> {
        if self.access.contains(access) { Ok(()) } else { Err(Error::Access(what)) }
    }

    fn row_offset(&self, plane: usize, row: u64, length: usize) -> Result<u64, Error> {
        let outside = Error::Range { offset: row, length: length as u64 };
        let Some(rows) = self.plane(plane).filter(|rows| row < rows.rows && length as u64 <= rows.row_bytes) else {
            return Err(outside);
        };
        Ok(rows.offset_bytes + row * rows.stride_bytes)
    }
}

impl Mapping {
    /// Sends what was written to the host, where that has a copy, and goes on; does not wait for it.
    ///
    /// # Errors
    /// [`Error::Node`] with the kernel's errno.
    pub fn flush(&self) -> Result<(), Error> {
        if self.access.contains(Access::WRITE) { self.buffer.flush(self.region) } else { Ok(()) }
    }

    /// Ends it, and tells what its drop would only log: what was written is sent once.
    ///
    /// # Errors
    /// The same.
    pub fn finish(mut self) -> Result<(), Error> {
        self.finished = true;
        self.flush()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if !self.finished
            && let Err(error) = self.flush()
        {
            log::warn!("what was written to a buffer does not reach the host: {error}");
        }
        self.buffer.end(self.region, self.access);
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping").field("region", &self.region).field("access", &self.access).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Alignment, BufferRequest, Format, Usage};
    use std::os::fd::AsFd;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Counts what is sent to its host.
    #[derive(Default)]
    struct Copied(AtomicUsize);

    impl Mapped for Copied {
        fn flush(&self, _: Region) -> Result<(), Error> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }

        fn end(&self, _: Region, _: Access) {}
    }

    fn mapping(buffer: &Arc<Copied>, access: Access) -> Mapping {
        let file = rustix::fs::memfd_create("mapping", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&file, 4096).unwrap();
        let map = Arc::new(Mmap::shared(file.as_fd(), 0, 4096, None).unwrap());
        let layout = Layout::linear(&BufferRequest::new(Format::R8, 64, 64, Usage::CPU), Alignment::PACKED).unwrap();
        Mapping::new(map, layout, layout.whole(), access, buffer.clone())
    }

    #[test]
    fn what_was_written_is_sent_once_however_it_ends() {
        let buffer = Arc::new(Copied::default());
        let sent = || buffer.0.load(Ordering::Relaxed);
        drop(mapping(&buffer, Access::WRITE));
        assert_eq!(sent(), 1);
        mapping(&buffer, Access::READ | Access::WRITE).finish().unwrap();
        assert_eq!(sent(), 2);
        mapping(&buffer, Access::READ).finish().unwrap();
        assert_eq!(sent(), 2);
    }
}
