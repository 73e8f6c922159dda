//! [`BufferObject`]: a buffer, as a handle of the open file and a layout.

use super::backend::Blob;
use super::error::Error;
use super::mapping::{Access, Mapped, Mapping};
use super::shared::Shared;
use crate::Layout;
use crate::layout::Region;
use crate::sys::dmabuf;
use crate::sys::mmap::Mmap;
use crate::wire::alloc::Backing;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A buffer. It is freed when the last clone and the last mapping go; the host's memory lives on while others have imported it.
#[derive(Clone)]
pub struct BufferObject(Arc<Inner>);

struct Inner {
    /// Made at the first map, kept: later ones cost no call. Each buffer has its own lock.
    view: Mutex<Option<View>>,
    blob: Blob,
    /// What mappings write now and the host's copy may not have yet; nothing where there is no copy.
    unsent: Mutex<Vec<Region>>,
    /// Whether somebody else made it, whose caches may have to be flushed.
    imported: bool,
    layout: Layout,
    shared: Arc<Shared>,
}

/// The CPU's view of a whole buffer.
#[derive(Clone)]
struct View {
    map: Arc<Mmap>,
    /// Told of every access to an imported buffer; none where that is no dma-buf, as in one process.
    dma_buf: Option<Arc<OwnedFd>>,
}

impl BufferObject {
    pub(super) fn new(shared: Arc<Shared>, blob: Blob, layout: Layout, imported: bool) -> Self {
        Self(Arc::new(Inner { view: Mutex::default(), blob, unsent: Mutex::default(), imported, layout, shared }))
    }

    /// Where its bytes lie.
    pub fn layout(&self) -> &Layout {
        &self.0.layout
    }

    /// The kernel's handle, valid in the device's file while the buffer lives.
    pub fn bo_handle(&self) -> u32 {
        self.0.blob.handle.bo_handle()
    }

    /// Its number in the device protocol, as the host lists it; 0 for a dumb buffer, whose number the kernel does not tell.
    pub fn resource_id(&self) -> u32 {
        self.0.blob.resource_id
    }

    /// Its size with padding, in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.0.blob.size_bytes
    }

    /// What the host made it of, where the host said so.
    pub fn made_of(&self) -> Option<Backing> {
        self.0.blob.made_of
    }

    /// Whether what the CPU maps is a copy of the host's, which transfers bring there: what was written is with the host when a
    /// [`wait`](Self::wait) after its mapping says so.
    pub fn is_copied(&self) -> bool {
        self.0.blob.copy.is_some()
    }

    /// A new descriptor for the buffer, for reading and writing, close-on-exec.
    ///
    /// # Errors
    /// [`Error::Node`] with the kernel's errno.
    pub fn export(&self) -> Result<OwnedFd, Error> {
        Ok(self.0.shared.node.prime_handle_to_fd(self.bo_handle())?)
    }

    /// A sync_file of all that is being done to the buffer now: it can be polled, and given to whoever draws next.
    ///
    /// # Errors
    /// [`Error::Node`] when it can't be exported, [`Error::NoFence`] where the kernel has no such descriptors.
    pub fn export_sync_file(&self) -> Result<OwnedFd, Error> {
        dmabuf::export_sync_file(self.export()?.as_fd()).map_err(Error::NoFence)
    }

    /// Waits until the host has done all that the kernel knows of for the buffer.
    ///
    /// # Errors
    /// [`Error::Node`] with EBUSY when it takes too long.
    pub fn wait(&self) -> Result<(), Error> {
        Ok(self.0.shared.node.wait(self.bo_handle())?)
    }

    /// Maps a region for the CPU. Mappings nest, and the buffer stays mapped while it lives, so that only the first costs a call;
    /// of an imported one its maker is told each time, and what is being done to it is waited for.
    ///
    /// # Errors
    /// [`Error::NotMappable`] for a buffer that was made without CPU usage, [`Error::Region`] for one that is not inside,
    /// [`Error::Node`] when kernel or host refuse.
    pub fn map(&self, region: Region, access: Access) -> Result<Mapping, Error> {
        if self.0.layout.plane_region(0, region).is_none() {
            let Region { x, y, width, height } = region;
            let (buffer_width, buffer_height) = (self.0.layout.width, self.0.layout.height);
            return Err(Error::Region { x, y, width, height, buffer_width, buffer_height });
        }
        let View { map, dma_buf } = self.0.view()?;
        if let Some(copy) = self.0.blob.copy.as_ref().filter(|_| access.contains(Access::READ)) {
            let unsent: Vec<_> = self.0.unsent().iter().copied().filter(|unsent| unsent.intersects(&region)).collect();
            copy.fetch(region, &unsent)?;
        }
        if let Some(dma_buf) = dma_buf {
            dmabuf::sync(dma_buf.as_fd(), false).map_err(Error::NoFence)?;
        }
        if self.0.blob.copy.is_some() && access.contains(Access::WRITE) {
            self.0.unsent().push(region);
        }
        Ok(Mapping::new(map, self.0.layout, region, access, self.0.clone()))
    }
}

impl Inner {
    fn unsent(&self) -> MutexGuard<'_, Vec<Region>> {
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn view(&self) -> Result<View, Error> {
        if !self.blob.mappable {
            return Err(Error::NotMappable);
        }
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(view) = &*view {
            return Ok(view.clone());
        }
        let (node, bo_handle) = (&self.shared.node, self.blob.handle.bo_handle());
        let map = Arc::new(node.mmap(node.map(bo_handle)?, self.blob.size_bytes)?);
        let dma_buf = if self.imported { Some(node.prime_handle_to_fd(bo_handle)?) } else { None };
        let dma_buf = dma_buf.filter(|fd| dmabuf::is_dma_buf(fd.as_fd())).map(Arc::new);
        Ok(view.insert(View { map, dma_buf }).clone())
    }
}

impl Mapped for Inner {
    fn end(&self, region: Region, access: Access) {
        if access.contains(Access::WRITE) {
            let mut unsent = self.unsent();
            if let Some(at) = unsent.iter().position(|of| *of == region) {
                unsent.swap_remove(at);
            }
        }
        let view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        let dma_buf = view.as_ref().and_then(|view| view.dma_buf.as_ref());
        if let Some(Err(error)) = dma_buf.map(|fd| dmabuf::sync(fd.as_fd(), true)) {
            log::warn!("the end of access to an imported buffer: {error}");
        }
    }

    fn flush(&self, region: Region) -> Result<(), Error> {
        self.blob.copy.as_ref().map_or(Ok(()), |copy| copy.flush(region))
    }
}

impl fmt::Debug for BufferObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferObject").field("resource_id", &self.resource_id()).field("layout", self.layout()).finish()
    }
}
