//! [`MemoryResolver`]: plain pages, for hosts without a GPU and for what the GPU does not take.
//!
//! Every blob is a sealed memfd of its own, so a descriptor that leaves the host can't show a neighbour. A memfd that never left
//! is used again for the next blob of its size, after its pages were given back: that costs one system call where making a new
//! one costs four.

use super::{Allocation, Export, ExportKind, Image, OutOfMemory, Parameters, ResolveError, Resolver};
use crate::sys::{dmabuf, memfd, mmap::Mmap, udmabuf::Udmabuf};
use crate::wire::alloc::{Backing, Capabilities};
use crate::wire::virtio_gpu::MAP_CACHE_CACHED;
use crate::{Alignment, BufferRequest, ComponentKind, Extent, Format, FormatClass, FormatInfo, Layout, Modifier, Support, Usage};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

const PAGE_BYTES: u64 = 4096;

/// Strides and planes start at cache lines, which software and hardware renderers take alike; sizes are whole pages.
const ALIGNMENT: Alignment = Alignment { stride_bytes: 64, offset_bytes: 64, size_bytes: PAGE_BYTES as u32 };

const LARGEST: Extent = Extent { width: 1 << 24, height: 1 << 24, layers: 256 };

/// Memfds kept for another blob: enough for the swapchains of a desktop, little in descriptors.
const POOL_FDS: usize = 64;

/// The resolver for plain pages.
pub struct MemoryResolver {
    pool: Arc<Pool>,
    udmabuf: Option<Arc<Udmabuf>>,
    support: Vec<Support>,
}

impl MemoryResolver {
    /// A resolver whose blobs leave the host as dma-bufs where udmabuf works here, which is tried, and as memfds elsewhere.
    pub fn new() -> Self {
        let udmabuf = match probe_udmabuf() {
            Ok(udmabuf) => Some(Arc::new(udmabuf)),
            Err(error) => {
                log::info!("no dma-bufs from plain memory: udmabuf: {error}");
                None
            }
        };
        Self { udmabuf, ..Self::without_udmabuf() }
    }

    /// A resolver whose blobs leave the host as memfds.
    pub fn without_udmabuf() -> Self {
        let support = Format::all().iter().filter_map(|format| support(format.info()?)).collect();
        Self { pool: Arc::default(), udmabuf: None, support }
    }
}

impl Default for MemoryResolver {
    fn default() -> Self {
        Self::new()
    }
}

/// Makes a dma-buf of one page, writes through the memfd and reads through the dma-buf: only then it is believed.
fn probe_udmabuf() -> io::Result<Udmabuf> {
    let udmabuf = Udmabuf::open()?;
    let pages = memfd::sealed(PAGE_BYTES)?;
    let exported = udmabuf.create(pages.as_fd(), PAGE_BYTES)?;
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

fn support(info: &FormatInfo) -> Option<Support> {
    use Usage as U;
    let touched = U::CPU | U::TEXTURE | U::RENDER;
    let usages = match info.class {
        FormatClass::Flexible => return None,
        FormatClass::Raw => U::CPU | U::CAMERA_WRITE | U::CAMERA_READ,
        FormatClass::Depth => touched,
        FormatClass::Yuv => touched | U::CAMERA_WRITE | U::CAMERA_READ | U::VIDEO_DECODER | U::VIDEO_ENCODER,
        FormatClass::Rgb | FormatClass::RgbFloat => {
            let mut usages = touched | U::CAMERA_WRITE | U::CAMERA_READ | U::VIDEO_ENCODER | U::FRONT_RENDERING;
            // Scanouts have the eight formats of the device protocol, and a cursor among them needs alpha.
            if info.format.virtio_2d().is_some() {
                usages |= if info.has(ComponentKind::A) { U::SCANOUT | U::CURSOR } else { U::SCANOUT };
            }
            // One-byte rows are also what data buffers are made of.
            if info.format == Format::R8 {
                usages |= U::GPU_DATA | U::SENSOR_DATA | U::VIDEO_DECODER;
            }
            usages
        }
    };
    Some(Support {
        format: info.format,
        modifier: Modifier::LINEAR,
        usages,
        plane_count: info.planes.len() as u32,
        alignment: ALIGNMENT,
        guest_layout: true,
    })
}

impl Resolver for MemoryResolver {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn backing(&self) -> Backing {
        Backing::Memory
    }

    fn capabilities(&self) -> Capabilities {
        let export = if self.udmabuf.is_some() { Capabilities::DMA_BUF_EXPORT } else { Capabilities::empty() };
        Capabilities::GUEST_MEMORY_IMPORT | export
    }

    fn largest(&self) -> Extent {
        LARGEST
    }

    fn support(&self) -> &[Support] {
        &self.support
    }

    fn layout(&self, request: &BufferRequest, support: &Support) -> Result<Layout, ResolveError> {
        Ok(Layout::linear(request, support.alignment)?)
    }

    fn allocate(&self, parameters: &Parameters<'_>, size_bytes: u64) -> Result<Allocation, ResolveError> {
        let layout = match parameters {
            Parameters::Memory => None,
            Parameters::Image { layout, .. } => Some(**layout),
            Parameters::Gl(_) => return Err(ResolveError::NoResolver("GL textures")),
            Parameters::Vulkan { .. } => return Err(ResolveError::NoResolver("Vulkan images")),
        };
        let pages = size_bytes
            .checked_next_multiple_of(PAGE_BYTES)
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
            .and_then(|bytes| Ok((bytes, self.pool.take(bytes)?)));
        let (size_bytes, fd) = pages.map_err(|source| ResolveError::Memory(OutOfMemory { bytes: size_bytes, source }))?;
        let image = MemoryImage {
            pages: Some(fd),
            size_bytes,
            written: AtomicBool::new(false),
            exported: AtomicBool::new(false),
            pool: self.pool.clone(),
            udmabuf: self.udmabuf.clone(),
        };
        Ok(Allocation { image: Arc::new(image), layout })
    }
}

/// Memfds that no blob uses, zeroed, with their sizes, the longest unused first.
#[derive(Debug, Default)]
struct Pool(Mutex<VecDeque<(u64, OwnedFd)>>);

impl Pool {
    fn take(&self, bytes: u64) -> io::Result<OwnedFd> {
        let kept = {
            let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // The latest first: its pages are the likeliest to be in the caches.
            let place = free.iter().rposition(|(size, _)| *size == bytes);
            place.and_then(|place| free.remove(place))
        };
        kept.map_or_else(|| memfd::sealed(bytes), |(_, fd)| Ok(fd))
    }

    fn keep(&self, bytes: u64, fd: OwnedFd) {
        let evicted = {
            let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            free.push_back((bytes, fd));
            if free.len() > POOL_FDS { free.pop_front() } else { None }
        };
        // Closed without the lock, which other threads want.
        drop(evicted);
    }
}

struct MemoryImage {
    /// Taken only by `drop`.
    pages: Option<OwnedFd>,
    size_bytes: u64,
    /// Whether anybody could have written: a page that nobody touched needs no zeroing.
    written: AtomicBool,
    /// Whether a descriptor left the host: then the pages may be seen as long as its holder likes.
    exported: AtomicBool,
    pool: Arc<Pool>,
    udmabuf: Option<Arc<Udmabuf>>,
}

impl MemoryImage {
    fn pages(&self) -> io::Result<BorrowedFd<'_>> {
        self.pages.as_ref().map(AsFd::as_fd).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Image for MemoryImage {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn storage(&self) -> &'static str {
        "memfd"
    }

    fn map_info(&self) -> u32 {
        MAP_CACHE_CACHED
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        memfd::read_exact(self.pages()?, buffer, offset)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.written.store(true, Ordering::Relaxed);
        memfd::write_all(self.pages()?, data, offset)
    }

    fn window_source(&self) -> io::Result<(BorrowedFd<'_>, u64)> {
        self.written.store(true, Ordering::Relaxed);
        Ok((self.pages()?, 0))
    }

    fn export(&self) -> io::Result<Export> {
        self.exported.store(true, Ordering::Relaxed);
        match &self.udmabuf {
            Some(udmabuf) => Ok(Export { fd: udmabuf.create(self.pages()?, self.size_bytes)?, kind: ExportKind::DmaBuf }),
            None => Ok(Export { fd: self.pages()?.try_clone_to_owned()?, kind: ExportKind::Memfd }),
        }
    }
}

impl Drop for MemoryImage {
    fn drop(&mut self) {
        let Some(pages) = self.pages.take() else { return };
        if *self.exported.get_mut() {
            return;
        }
        let clean = !*self.written.get_mut() || memfd::discard(pages.as_fd(), self.size_bytes).is_ok();
        if clean {
            self.pool.keep(self.size_bytes, pages);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allocate(resolver: &MemoryResolver, bytes: u64) -> Arc<dyn Image> {
        resolver.allocate(&Parameters::Memory, bytes).unwrap().image
    }

    fn bytes_of(image: &dyn Image) -> Vec<u8> {
        let mut bytes = vec![1; image.size_bytes() as usize];
        image.read(0, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn memory_is_zeroed_when_new_and_when_used_again() {
        let resolver = MemoryResolver::without_udmabuf();
        for _ in 0..3 {
            let image = allocate(&resolver, 10_000);
            assert_eq!(bytes_of(&*image), [0; 12_288]);
            image.write(0, &[7; 12_288]).unwrap();
        }
    }

    #[test]
    fn writes_through_the_window_are_zeroed_too() {
        let resolver = MemoryResolver::without_udmabuf();
        let image = allocate(&resolver, 4096);
        let (fd, offset) = image.window_source().unwrap();
        memfd::write_all(fd, &[9; 4096], offset).unwrap();
        drop(image);
        assert_eq!(bytes_of(&*allocate(&resolver, 4096)), [0; 4096]);
    }

    #[test]
    fn an_exported_memfd_never_shows_a_later_blob() {
        let resolver = MemoryResolver::without_udmabuf();
        let image = allocate(&resolver, 4096);
        let export = image.export().unwrap();
        drop(image);
        let next = allocate(&resolver, 4096);
        next.write(0, b"secret").unwrap();
        let mut seen = [1; 6];
        memfd::read_exact(export.fd.as_fd(), &mut seen, 0).unwrap();
        assert_eq!(seen, [0; 6]);
    }

    #[test]
    fn the_pool_keeps_a_bounded_number_of_descriptors_and_lets_the_oldest_go() {
        let resolver = MemoryResolver::without_udmabuf();
        let sizes = || resolver.pool.0.lock().unwrap().iter().map(|(size, _)| *size).collect::<Vec<_>>();
        let images: Vec<_> = (0..POOL_FDS * 2).map(|_| allocate(&resolver, 4096)).collect();
        drop(images);
        assert_eq!(sizes(), [4096; POOL_FDS]);
        drop(allocate(&resolver, 8192));
        assert_eq!((sizes().len(), sizes().last()), (POOL_FDS, Some(&8192)));
        let taken = allocate(&resolver, 8192);
        assert_eq!(sizes(), [4096; POOL_FDS - 1]);
        drop(taken);
    }

    #[test]
    fn ranges_outside_and_impossible_sizes_are_errors() {
        let resolver = MemoryResolver::without_udmabuf();
        let image = allocate(&resolver, 4096);
        assert!(image.read(4000, &mut [0; 97]).is_err());
        assert!(image.write(4096, &[0]).is_err());
        for bytes in [u64::MAX, 1 << 63] {
            assert!(matches!(resolver.allocate(&Parameters::Memory, bytes), Err(ResolveError::Memory(_))));
        }
    }

    #[test]
    fn every_format_with_a_layout_is_offered_and_none_for_protected_use() {
        let resolver = MemoryResolver::without_udmabuf();
        let with_layout = Format::all().iter().filter(|format| !format.planes().is_empty()).count();
        assert_eq!(resolver.support().len(), with_layout);
        assert!(resolver.support().iter().all(|support| !support.usages.contains(Usage::PROTECTED)));
    }

    #[test]
    fn udmabuf_gives_a_dma_buf_where_the_host_has_it() {
        let resolver = MemoryResolver::new();
        let kind = allocate(&resolver, 4096).export().unwrap().kind;
        if resolver.udmabuf.is_none() {
            eprintln!("skipped: udmabuf does not work here");
            assert_eq!(kind, ExportKind::Memfd);
            return;
        }
        assert_eq!(kind, ExportKind::DmaBuf);
    }
}
