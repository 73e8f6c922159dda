//! [`Texture`]: a resource of the library, as an image of the device.

use super::sys::{ExportedTexture, FD_TYPE_DMABUF, FD_TYPE_SHM, PageList, TextureInfo};
use super::worker::Worker;
use crate::host::renderer::{Direction, RenderError, Rendered};
use crate::host::resolver::{Export, ExportKind, Image, Shown};
use crate::host::{Picture, Window};
use crate::sys::host_pages::HostPages;
use crate::sys::mmap::Mmap;
use crate::wire::virgl::PipeResourceCreate;
use crate::wire::virtio_gpu::{Box3d, TARGET_TEXTURE_2D, TransferHost3d};
use crate::{Alignment, BufferRequest, Format, Layout, Usage};
use rustix::fs::SeekFrom;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Whether it is a texture of one layer and one sample, which is all that is shown or leaves.
pub fn is_flat(texture: &PipeResourceCreate) -> bool {
    let one_layer = texture.depth.get() <= 1 && texture.array_size.get() <= 1;
    texture.target.get() == TARGET_TEXTURE_2D && one_layer && texture.nr_samples.get() <= 1
}

/// A flat texture as transfers show it: rows without padding. `None` for what is no picture of one plane.
pub fn shown_layout(texture: &PipeResourceCreate) -> Option<Layout> {
    let format = Format::from_virgl(texture.format.get()).filter(|_| is_flat(texture))?;
    let request = BufferRequest::new(format, texture.width.get(), texture.height.get(), Usage::TEXTURE);
    let layout = Layout::linear(&request, Alignment::PACKED).ok()?;
    (format.planes().len() == 1).then_some(layout)
}

impl From<TextureInfo> for PipeResourceCreate {
    /// Of a flat one: the library does not tell what it is.
    fn from(TextureInfo { format, width, height, depth, .. }: TextureInfo) -> Self {
        let (target, array_size) = (TARGET_TEXTURE_2D.into(), 1.into());
        let (format, width, height, depth) = (format.into(), width.into(), height.into(), depth.into());
        Self { target, format, width, height, depth, array_size, ..Self::default() }
    }
}

/// Checks that memory has the bytes of its blob: the library compares them with nothing.
fn check_size(fd: BorrowedFd<'_>, blob_bytes: u64) -> Result<(), RenderError> {
    let memory_bytes = rustix::fs::seek(fd, SeekFrom::End(0)).unwrap_or(0);
    if memory_bytes < blob_bytes { Err(RenderError::TooSmall { blob_bytes, memory_bytes }) } else { Ok(()) }
}

/// The layout of a texture's memory that leaves; `None` where the blob has no room for that, or the memory none for the blob.
pub fn leaving_layout(texture: &TextureInfo, exported: &ExportedTexture, size_bytes: u64) -> Option<Layout> {
    check_size(exported.fd.as_fd(), size_bytes).inspect_err(|error| log::debug!("{error}")).ok()?;
    let (extent, plane) = ((texture.width, texture.height), (exported.stride_bytes, exported.offset_bytes.into()));
    let reported = Layout::reported(texture.exported_format, extent, texture.modifier, &[plane], size_bytes);
    reported.inspect_err(|error| log::debug!("a texture that leaves: {error}")).ok()
}

/// What the library has under a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A texture of one layer, of which EGL may make a dma-buf.
    Flat,
    /// A buffer, another texture, or nobody knows.
    Other,
    /// Memory: no texture before PIPE_RESOURCE_SET_TYPE makes one of it.
    Memory,
}

/// A resource of the library, under the guest's number.
pub struct Texture {
    worker: Arc<Worker>,
    id: u32,
    size_bytes: u64,
    kind: Kind,
    /// Where transfers show the bytes of a picture.
    shown: Option<Layout>,
    /// Whether its bytes are those of its memory, and not what transfers show.
    in_place: bool,
    /// What the library points to.
    pages: Mutex<Option<PageList>>,
}

impl Texture {
    /// One that the library has made.
    pub fn new(worker: Arc<Worker>, id: u32, size_bytes: u64, kind: Kind, shown: Option<Layout>, in_place: bool) -> Self {
        Self { worker, id, size_bytes, kind, shown, in_place, pages: Mutex::default() }
    }

    fn pages(&self) -> MutexGuard<'_, Option<PageList>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the pages that the library was given.
    pub fn keep_pages(&self, pages: Option<PageList>) {
        *self.pages() = pages;
    }

    /// All of the picture's bytes.
    fn read_texture(&self, layout: &Layout) -> Result<Vec<u8>, RenderError> {
        let (id, length) = (self.id, usize::try_from(layout.size_bytes).unwrap_or(usize::MAX));
        let stride = layout.planes.first().map_or(0, |plane| plane.stride_bytes);
        let whole = Box3d { w: layout.width.into(), h: layout.height.into(), d: 1.into(), ..Box3d::default() };
        self.worker.call(move |library| {
            let mut bytes = vec![0; length];
            library.read(id, &whole, stride, &mut bytes).map(|()| bytes)
        })?
    }
}

/// A part of bytes, checked.
fn part(bytes: &[u8], offset: u64, length: usize) -> io::Result<&[u8]> {
    let start = usize::try_from(offset).ok();
    let range = start.and_then(|start| Some(start..start.checked_add(length)?));
    range.and_then(|range| bytes.get(range)).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

impl Image for Texture {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn storage(&self) -> &'static str {
        "virglrenderer"
    }

    fn map_info(&self) -> u32 {
        let id = self.id;
        self.worker.call(move |library| library.map_info(id)).unwrap_or(0)
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if let Some(layout) = self.shown.as_ref().filter(|_| !self.in_place) {
            let bytes = self.read_texture(layout).map_err(io::Error::other)?;
            buffer.copy_from_slice(part(&bytes, offset, buffer.len())?);
            return Ok(());
        }
        let map = Mmap::shared(self.export()?.fd.as_fd(), 0, self.size_bytes, None)?;
        let read = usize::try_from(offset).ok().and_then(|offset| map.read(offset, buffer));
        read.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn write(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "only the guest writes what virglrenderer has"))
    }

    fn show(&self, window: &dyn Window, offset: u64) -> io::Result<Shown> {
        window.map(offset, self.size_bytes, self.export()?.fd.as_fd(), 0)?;
        Ok(Shown::Mapped)
    }

    /// It never lies in the window's own pages.
    fn leave(&self) -> io::Result<()> {
        Ok(())
    }

    fn export(&self) -> io::Result<Export> {
        let (id, is_flat) = (self.id, self.kind == Kind::Flat);
        let exported = self.worker.call(move |library| library.export(id, is_flat)).and_then(|exported| exported);
        let (fd, kind) = exported.map_err(io::Error::other)?;
        let kind = match kind {
            FD_TYPE_DMABUF => ExportKind::DmaBuf,
            FD_TYPE_SHM => ExportKind::Memfd,
            _ => return Err(io::Error::new(io::ErrorKind::Unsupported, "it leaves as memory that only its driver understands")),
        };
        check_size(fd.as_fd(), self.size_bytes).map_err(io::Error::other)?;
        Ok(Export { fd, kind })
    }

    fn picture(&self, _: &Layout) -> io::Result<Option<Picture>> {
        let Some(layout) = &self.shown else { return Ok(None) };
        // Before as many are allocated: the guest says how large its textures are.
        Picture::bytes_needed(layout).map_err(io::Error::other)?;
        let bytes = self.read_texture(layout).map_err(io::Error::other)?;
        Picture::decode(layout, &bytes).map(Some).map_err(io::Error::other)
    }
}

impl Rendered for Texture {
    fn is_memory(&self) -> bool {
        self.kind == Kind::Memory
    }

    fn attach_pages(&self, pages: Vec<HostPages>) -> Result<(), RenderError> {
        let (id, list) = (self.id, PageList::new(pages));
        let attached = self.worker.call(move |library| library.attach_pages(id, &list).map(|()| list))??;
        *self.pages() = Some(attached);
        Ok(())
    }

    fn detach_pages(&self) {
        let (id, pages) = (self.id, self.pages().take());
        self.worker.post(move |library| {
            library.detach_pages(id);
            drop(pages);
        });
    }

    fn transfer(&self, direction: Direction, ctx_id: u32, transfer: &TransferHost3d) -> Result<(), RenderError> {
        let (id, transfer) = (self.id, *transfer);
        self.worker.call(move |library| library.transfer(direction, id, ctx_id, &transfer))?
    }
}

impl Drop for Texture {
    fn drop(&mut self) {
        let (id, pages) = (self.id, self.pages().take());
        self.worker.post(move |library| {
            library.unref_resource(id);
            drop(pages);
        });
    }
}
