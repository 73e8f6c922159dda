//! [`MemoryResolver`]: plain pages, for hosts without a GPU and for what the GPU does not take.
//!
//! Every blob is a sealed memfd of its own, so a descriptor that leaves the host can't show a neighbour. A memfd that never left
//! is used again for the next blob of its size, after its pages were given back: that costs one system call where making a new
//! one costs four. A blob that the guest maps moves into the window's own pages, where there are such: then the VMM has nothing
//! to do for it.

use super::{Allocation, Export, ExportKind, Image, OutOfMemory, Parameters, ResolveError, Resolver, Shown, Window};
use crate::host::{Picture, dma_buf};
use crate::sys::{memfd, udmabuf::Udmabuf};
use crate::wire::alloc::{Backing, Capabilities};
use crate::wire::virtio_gpu::MAP_CACHE_CACHED;
use crate::{Alignment, BufferRequest, ComponentKind, Extent, Format, FormatClass, FormatInfo, Layout, Modifier, Support, Usage};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
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
        let udmabuf = match dma_buf::probe() {
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
        transfers: false,
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
            Parameters::DmaBuf { .. } => return Err(ResolveError::NoResolver("dma-bufs of others")),
        };
        let pages = size_bytes
            .checked_next_multiple_of(PAGE_BYTES)
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
            .and_then(|bytes| Ok((bytes, self.pool.take(bytes)?)));
        let (size_bytes, fd) = pages.map_err(|source| ResolveError::Memory(OutOfMemory { bytes: size_bytes, source }))?;
        let image = MemoryImage {
            place: Mutex::new(Some(Place { fd, offset: 0, slice: false })),
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
struct Pool(Mutex<VecDeque<(u64, Arc<OwnedFd>)>>);

impl Pool {
    fn take(&self, bytes: u64) -> io::Result<Arc<OwnedFd>> {
        let kept = {
            let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // The latest first: its pages are the likeliest to be in the caches.
            let place = free.iter().rposition(|(size, _)| *size == bytes);
            place.and_then(|place| free.remove(place))
        };
        kept.map_or_else(|| memfd::sealed(bytes).map(Arc::new), |(_, fd)| Ok(fd))
    }

    fn keep(&self, bytes: u64, fd: Arc<OwnedFd>) {
        let evicted = {
            let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            free.push_back((bytes, fd));
            if free.len() > POOL_FDS { free.pop_front() } else { None }
        };
        // Closed without the lock, which other threads want.
        drop(evicted);
    }
}

/// Where the bytes of an image are.
#[derive(Clone)]
struct Place {
    fd: Arc<OwnedFd>,
    offset: u64,
    /// A slice of a window's pages, and not a memfd of its own.
    slice: bool,
}

struct MemoryImage {
    /// Taken only by `drop`.
    place: Mutex<Option<Place>>,
    size_bytes: u64,
    /// Whether anybody could have written: a page that nobody touched needs no zeroing.
    written: AtomicBool,
    /// Whether a descriptor left the host: then the pages may be seen as long as its holder likes.
    exported: AtomicBool,
    pool: Arc<Pool>,
    udmabuf: Option<Arc<Udmabuf>>,
}

impl MemoryImage {
    fn place(&self) -> io::Result<Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Moves the bytes, and frees the place where they were.
    fn move_to(&self, to: Place) -> io::Result<()> {
        if self.exported.load(Ordering::Relaxed) {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "it can't move: a descriptor of it has left the host"));
        }
        let from = self.place()?;
        let written = self.written.load(Ordering::Relaxed);
        if written {
            memfd::copy((from.fd.as_fd(), from.offset), (to.fd.as_fd(), to.offset), self.size_bytes)?;
        }
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Some(to);
        self.free(from, written);
        Ok(())
    }

    /// Gives pages back, zeroed where they were written.
    fn free(&self, place: Place, written: bool) {
        let Place { fd, offset, slice } = place;
        if written && let Err(error) = memfd::discard(fd.as_fd(), offset, self.size_bytes) {
            log::error!("giving {} bytes back: {error}", self.size_bytes);
        } else if !slice {
            self.pool.keep(self.size_bytes, fd);
        }
    }

    fn check_range(&self, offset: u64, length: usize) -> io::Result<()> {
        match offset.checked_add(length as u64) {
            Some(end) if end <= self.size_bytes => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Image for MemoryImage {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn storage(&self) -> &'static str {
        if self.place().is_ok_and(|place| place.slice) { "window" } else { "memfd" }
    }

    fn map_info(&self) -> u32 {
        MAP_CACHE_CACHED
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.check_range(offset, buffer.len())?;
        let place = self.place()?;
        memfd::read_exact(place.fd.as_fd(), buffer, place.offset + offset)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check_range(offset, data.len())?;
        self.written.store(true, Ordering::Relaxed);
        let place = self.place()?;
        memfd::write_all(place.fd.as_fd(), data, place.offset + offset)
    }

    fn show(&self, window: &dyn Window, offset: u64) -> io::Result<Shown> {
        let shown = match window.pages()? {
            Some(fd) => {
                self.move_to(Place { fd, offset, slice: true })?;
                Shown::Placed
            }
            None => {
                let place = self.place()?;
                window.map(offset, self.size_bytes, place.fd.as_fd(), place.offset)?;
                Shown::Mapped
            }
        };
        // Nobody tells when the guest writes.
        self.written.store(true, Ordering::Relaxed);
        Ok(shown)
    }

    fn leave(&self) -> io::Result<()> {
        if !self.place()?.slice {
            return Ok(());
        }
        self.move_to(Place { fd: self.pool.take(self.size_bytes)?, offset: 0, slice: false })
    }

    fn export(&self) -> io::Result<Export> {
        let place = self.place()?;
        let fd = place.fd.as_fd();
        let (fd, kind) = match &self.udmabuf {
            Some(udmabuf) => (udmabuf.create(fd, place.offset, self.size_bytes)?, ExportKind::DmaBuf),
            None if place.slice => {
                let why = "it lies among others in the guest's window, and without udmabuf a descriptor would show them too";
                return Err(io::Error::new(io::ErrorKind::Unsupported, why));
            }
            None => (fd.try_clone_to_owned()?, ExportKind::Memfd),
        };
        self.exported.store(true, Ordering::Relaxed);
        Ok(Export { fd, kind })
    }

    fn picture(&self, _: &Layout) -> io::Result<Option<Picture>> {
        Ok(None)
    }
}

impl Drop for MemoryImage {
    fn drop(&mut self) {
        let Some(place) = self.place.get_mut().unwrap_or_else(PoisonError::into_inner).take() else { return };
        // What has left the host is never used again. A slice is: its pages stay with the descriptor, and new ones take their place.
        if place.slice || !*self.exported.get_mut() {
            let written = *self.written.get_mut();
            self.free(place, written);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::test_rig::Shelf;
    use crate::sys::mmap::Mmap;

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
        let (image, window) = (allocate(&resolver, 4096), Shelf::default());
        assert_eq!(image.show(&window, 8192).unwrap(), Shown::Mapped);
        window.write(8192, &[9; 4096]);
        drop(image);
        assert_eq!(bytes_of(&*allocate(&resolver, 4096)), [0; 4096]);
    }

    #[test]
    fn in_a_windows_pages_it_is_a_slice_that_leaves_nothing_behind() {
        let (resolver, window) = (MemoryResolver::without_udmabuf(), Shelf::with_pages());
        let image = allocate(&resolver, 4096);
        image.write(0, b"before").unwrap();
        assert_eq!(image.show(&window, 8192).unwrap(), Shown::Placed);
        assert_eq!((image.storage(), &window.read(8192, 6)[..]), ("window", &b"before"[..]));
        window.write(8192, b"after!");
        assert_eq!(bytes_of(&*image)[..6], *b"after!");
        drop(image);
        assert_eq!(window.read(0, 16_384), [0; 16_384]);
    }

    #[test]
    fn a_slice_that_leaves_takes_its_bytes_along() {
        let (resolver, window) = (MemoryResolver::without_udmabuf(), Shelf::with_pages());
        let image = allocate(&resolver, 4096);
        image.show(&window, 4096).unwrap();
        window.write(4096, b"mine");
        image.leave().unwrap();
        window.write(4096, b"others");
        assert_eq!((image.storage(), &bytes_of(&*image)[..6]), ("memfd", &b"mine\0\0"[..]));
    }

    #[test]
    fn a_slice_is_bounded_and_no_descriptor_shows_its_neighbours() {
        let (resolver, window) = (MemoryResolver::without_udmabuf(), Shelf::with_pages());
        let image = allocate(&resolver, 4096);
        image.show(&window, 4096).unwrap();
        assert!(image.read(4095, &mut [0; 2]).is_err() && image.write(u64::MAX, &[0]).is_err());
        assert_eq!(image.export().unwrap_err().kind(), io::ErrorKind::Unsupported);
    }

    #[test]
    fn what_has_left_the_host_does_not_move() {
        let (resolver, window) = (MemoryResolver::without_udmabuf(), Shelf::with_pages());
        let image = allocate(&resolver, 4096);
        let _export = image.export().unwrap();
        assert_eq!(image.show(&window, 0).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        assert_eq!(image.storage(), "memfd");
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
    fn udmabuf_of_a_slice_shows_that_slice_and_never_the_next_one() {
        let resolver = MemoryResolver::new();
        if resolver.udmabuf.is_none() {
            eprintln!("skipped: udmabuf does not work here");
            return;
        }
        let (image, window) = (allocate(&resolver, 4096), Shelf::with_pages());
        image.show(&window, 8192).unwrap();
        window.write(8192, b"mine");
        let export = image.export().unwrap();
        let map = Mmap::shared(export.fd.as_fd(), 0, 4096, None).unwrap();
        let read = || {
            let mut bytes = [1; 6];
            map.read(0, &mut bytes).unwrap();
            bytes
        };
        assert_eq!(&read(), b"mine\0\0");
        drop(image);
        allocate(&resolver, 4096).show(&window, 8192).unwrap();
        window.write(8192, b"others");
        assert_eq!(&read(), b"mine\0\0");
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
