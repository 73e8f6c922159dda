//! [`VulkanImage`]: a driver's image with its memory.
//!
//! Linear images go to memory that the CPU sees, where the driver has such for them: they stay mapped while they live. A dma-buf
//! is the one descriptor that a guest or a window ever sees: an opaque one, where the driver has no better, is for another Vulkan of
//! the same driver.

use super::formats::{self, regions_of_zeroes};
use super::sys::{Buffer, CallFailed, Device, Handle, Image as Raw, ImageSpec, Memory, Region, Use};
use crate::host::Picture;
use crate::host::resolver::foreign;
use crate::host::resolver::{Export, ExportKind, Image, ImageRefused, OpaqueMemory, OutOfMemory, ResolveError, Shown, Window};
use crate::wire::virtio_gpu::{MAP_CACHE_CACHED, MAP_CACHE_UNCACHED, MAP_CACHE_WC};
use crate::{FormatInfo, Layout};
use ash::vk;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

pub const COHERENT: vk::MemoryPropertyFlags = vk::MemoryPropertyFlags::from_raw(
    vk::MemoryPropertyFlags::HOST_VISIBLE.as_raw() | vk::MemoryPropertyFlags::HOST_COHERENT.as_raw(),
);

/// What memory should be, the best first. Reads of memory that is not cached are ten times slower.
pub const FOR_CPU: &[vk::MemoryPropertyFlags] = &[
    vk::MemoryPropertyFlags::from_raw(COHERENT.as_raw() | vk::MemoryPropertyFlags::HOST_CACHED.as_raw()),
    COHERENT,
    vk::MemoryPropertyFlags::empty(),
];
pub const FOR_GPU: &[vk::MemoryPropertyFlags] = &[vk::MemoryPropertyFlags::DEVICE_LOCAL, vk::MemoryPropertyFlags::empty()];

/// The first memory type among those of `bits` that is as wanted; protected memory and what has no pages yet never.
pub fn choose_type(types: &[vk::MemoryPropertyFlags], bits: u32, wanted: &[vk::MemoryPropertyFlags]) -> Option<u32> {
    let never = vk::MemoryPropertyFlags::PROTECTED | vk::MemoryPropertyFlags::LAZILY_ALLOCATED;
    let serves = |index: u32, kind: vk::MemoryPropertyFlags| bits & 1 << index != 0 && !kind.intersects(never);
    let of = |wanted| (0..).zip(types).find(|(index, kind)| serves(*index, **kind) && kind.contains(wanted));
    wanted.iter().find_map(|wanted| of(*wanted)).map(|(index, _)| index)
}

/// A buffer for copies.
pub fn staging(device: &Arc<Device>, bytes: u64) -> Result<Buffer, CallFailed> {
    let types = &device.facts().memory_types;
    let visible = FOR_CPU.split_last().map_or(FOR_CPU, |(_, visible)| visible);
    let buffer = Buffer::new(device, bytes, |bits| choose_type(types, bits, visible))?;
    // What was there before belongs to somebody else.
    buffer.memory.zero().ok_or_else(out_of_memory)?;
    Ok(buffer)
}

pub fn out_of_memory() -> CallFailed {
    CallFailed { call: "vkAllocateMemory", result: vk::Result::ERROR_OUT_OF_DEVICE_MEMORY }
}

/// What a driver's refusal is for the guest.
pub fn refusal(failed: CallFailed, bytes: u64) -> ResolveError {
    use vk::Result as R;
    log::debug!("{bytes} bytes: {failed}");
    match failed.result {
        R::ERROR_OUT_OF_HOST_MEMORY | R::ERROR_OUT_OF_DEVICE_MEMORY | R::ERROR_MEMORY_MAP_FAILED | R::ERROR_TOO_MANY_OBJECTS => {
            ResolveError::Memory(OutOfMemory { bytes, source: rustix::io::Errno::NOMEM.into() })
        }
        R::ERROR_INVALID_EXTERNAL_HANDLE => ImageRefused::Descriptor("the driver does not take it").into(),
        R::ERROR_INVALID_DRM_FORMAT_MODIFIER_PLANE_LAYOUT_EXT => {
            ImageRefused::Descriptor("the driver does not take planes at such places").into()
        }
        _ => ResolveError::Driver(io::Error::other(failed)),
    }
}

/// How its bytes are read and written.
pub enum Access {
    /// The CPU sees them.
    Mapped { cached: bool },
    /// By copies of these regions, one at a time.
    Copied(Mutex<Vec<Region>>),
    /// Nobody but the driver knows where a texel lies.
    None,
}

/// An image with its memory. The fields go in this order.
pub struct VulkanImage {
    pub image: Raw,
    pub memory: Memory,
    pub device: Arc<Device>,
    pub bytes: u64,
    pub access: Access,
    /// The dma-buf that it came as.
    pub source: Option<OwnedFd>,
    /// What goes with its opaque descriptor.
    pub opaque: Option<Box<OpaqueMemory>>,
    /// Whether the CPU alone has used it. The first command takes it over as it is: the probe has seen that its bytes stay.
    pub fresh: AtomicBool,
}

impl VulkanImage {
    /// Whether the CPU sees it.
    pub fn is_mapped(&self) -> bool {
        matches!(self.access, Access::Mapped { .. })
    }

    /// Whether it leaves as a dma-buf.
    pub fn is_dma_buf(&self) -> bool {
        self.image.shared() == Some(Handle::DmaBuf)
    }

    /// Takes away what was in the memory: byte by byte where the CPU sees it, else texel by texel; the padding that a tiling adds
    /// is then as the kernel gave it, which zeroes what it takes from one process for another.
    pub fn zero(&self, spec: &ImageSpec<'_>, info: &'static FormatInfo) -> Result<(), CallFailed> {
        if self.is_mapped() {
            if spec.shared == Some(Handle::Opaque) {
                // Whoever imports it takes it over from there.
                let rests = self.rests();
                self.device.submit(|recorder| recorder.turn(&self.image, rests, Use::Released))?;
            }
            return self.memory.zero().ok_or_else(out_of_memory);
        }
        let converted = formats::is_converted(spec.format.as_raw() as u32);
        if !converted {
            return self.device.submit(|recorder| {
                recorder.turn(&self.image, Use::New, Use::Destination);
                recorder.clear(&self.image);
                recorder.turn(&self.image, Use::Destination, Use::Released);
            });
        }
        let regions = regions_of_zeroes(info, spec.extent, spec.layers).ok_or_else(out_of_memory)?;
        let zeroes = staging(&self.device, regions.iter().map(|region| region.end_bytes).max().unwrap_or(1))?;
        self.device.submit(|recorder| {
            recorder.turn(&self.image, Use::New, Use::Destination);
            recorder.write(&self.image, &zeroes, &regions);
            recorder.turn(&self.image, Use::Destination, Use::Released);
        })
    }

    /// A descriptor that is believed to be a dma-buf of all of it only when it is one: drivers have handed back memfds.
    pub fn dma_buf(&self) -> Result<OwnedFd, ResolveError> {
        if let Some(source) = &self.source {
            return source.try_clone().map_err(ResolveError::Driver);
        }
        let fd = self.memory.export(Handle::DmaBuf).map_err(|failed| refusal(failed, self.bytes))?;
        let bytes = foreign::dma_buf_bytes(fd.as_fd());
        let bytes = bytes.map_err(|refused| ResolveError::Driver(io::Error::other(format!("what it exports: {refused}"))))?;
        if bytes < self.bytes {
            let why = format!("its dma-buf of {bytes} bytes is smaller than the memory of {}", self.bytes);
            return Err(ResolveError::Driver(io::Error::other(why)));
        }
        Ok(fd)
    }

    /// How the image rests before a command.
    pub fn rests(&self) -> Use {
        if self.fresh.swap(false, Ordering::Relaxed) { Use::New } else { Use::Released }
    }

    /// Lets the GPU copy regions to a buffer.
    fn fetch(&self, regions: &[Region], bytes: u64) -> io::Result<Buffer> {
        let buffer = staging(&self.device, bytes).map_err(io::Error::other)?;
        let rests = self.rests();
        let copied = self.device.submit(|recorder| {
            recorder.turn(&self.image, rests, Use::Source);
            recorder.read(&self.image, &buffer, regions);
            recorder.turn(&self.image, Use::Source, Use::Released);
        });
        copied.map_err(io::Error::other)?;
        Ok(buffer)
    }

    /// What the GPU copies, packed; the layout has whole samples of chroma.
    pub fn texels(&self, info: &FormatInfo, packed: &Layout) -> io::Result<Vec<u8>> {
        let buffer = self.fetch(&regions_of(info, packed)?, packed.size_bytes)?;
        let mut bytes = vec![0; usize::try_from(packed.size_bytes).map_err(io::Error::other)?];
        buffer.memory.read(0, &mut bytes).ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(bytes)
    }

    /// Lets the GPU write what is packed.
    pub fn set_texels(&self, info: &FormatInfo, packed: &Layout, bytes: &[u8]) -> io::Result<()> {
        let buffer = staging(&self.device, packed.size_bytes).map_err(io::Error::other)?;
        buffer.memory.write(0, bytes).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.put(&regions_of(info, packed)?, &buffer)
    }

    /// Lets the GPU copy regions from a buffer.
    fn put(&self, regions: &[Region], buffer: &Buffer) -> io::Result<()> {
        let rests = self.rests();
        let copied = self.device.submit(|recorder| {
            recorder.turn(&self.image, rests, Use::Destination);
            recorder.write(&self.image, buffer, regions);
            recorder.turn(&self.image, Use::Destination, Use::Released);
        });
        copied.map_err(io::Error::other)
    }

    fn check_range(&self, offset: u64, length: usize) -> io::Result<()> {
        match offset.checked_add(length as u64) {
            Some(end) if end <= self.bytes => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn regions_of(info: &FormatInfo, packed: &Layout) -> io::Result<Vec<Region>> {
    let extent = vk::Extent3D { width: packed.width, height: packed.height, depth: 1 };
    formats::regions(info, extent, packed).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

fn unsupported<T>(why: &'static str) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, why))
}

const OPAQUE: &str = "only its driver knows where its texels lie";

impl Image for VulkanImage {
    fn size_bytes(&self) -> u64 {
        self.bytes
    }

    fn storage(&self) -> &'static str {
        if self.is_dma_buf() { "vulkan dma-buf" } else { "vulkan" }
    }

    fn map_info(&self) -> u32 {
        match self.access {
            Access::Mapped { cached: true } => MAP_CACHE_CACHED,
            Access::Mapped { cached: false } => MAP_CACHE_WC,
            _ => MAP_CACHE_UNCACHED,
        }
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.check_range(offset, buffer.len())?;
        let read = match &self.access {
            Access::Mapped { .. } => self.memory.read(offset, buffer),
            Access::Copied(regions) => {
                let regions = regions.lock().unwrap_or_else(PoisonError::into_inner);
                self.fetch(&regions, self.bytes)?.memory.read(offset, buffer)
            }
            Access::None => return unsupported(OPAQUE),
        };
        read.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check_range(offset, data.len())?;
        match &self.access {
            Access::Mapped { .. } => self.memory.write(offset, data).ok_or_else(|| io::ErrorKind::UnexpectedEof.into()),
            Access::Copied(regions) => {
                // The lock spans both copies: what another writes meanwhile is not undone.
                let regions = regions.lock().unwrap_or_else(PoisonError::into_inner);
                let buffer = self.fetch(&regions, self.bytes)?;
                buffer.memory.write(offset, data).ok_or(io::ErrorKind::UnexpectedEof)?;
                self.put(&regions, &buffer)
            }
            Access::None => unsupported(OPAQUE),
        }
    }

    fn is_copied(&self) -> bool {
        matches!(self.access, Access::Copied(_))
    }

    fn show(&self, window: &dyn Window, offset: u64) -> io::Result<Shown> {
        if !self.is_mapped() || !self.is_dma_buf() {
            return unsupported("the driver gives no dma-buf of it that the CPU could map: ask for it with a CPU usage");
        }
        let fd = self.dma_buf().map_err(io::Error::other)?;
        window.map(offset, self.bytes, fd.as_fd(), 0)?;
        Ok(Shown::Mapped)
    }

    fn leave(&self) -> io::Result<()> {
        Ok(())
    }

    fn export(&self) -> io::Result<Export> {
        if self.is_dma_buf() {
            return Ok(Export { fd: self.dma_buf().map_err(io::Error::other)?, kind: ExportKind::DmaBuf });
        }
        let Some(told) = &self.opaque else { return unsupported("its memory was not made to leave the device") };
        let fd = self.memory.export(Handle::Opaque).map_err(io::Error::other)?;
        Ok(Export { fd, kind: ExportKind::Opaque(told.clone()) })
    }

    /// What the GPU copies.
    fn picture(&self, layout: &Layout) -> io::Result<Option<Picture>> {
        let &Layout { format, width, height, .. } = layout;
        let info = format.info().ok_or(io::ErrorKind::InvalidInput)?;
        let packed = formats::extent(info, width, height).and_then(|extent| formats::packed(info, extent));
        let packed = packed.ok_or(io::ErrorKind::InvalidInput)?;
        Picture::bytes_needed(&packed).map_err(io::Error::other)?;
        let bytes = self.texels(info, &packed)?;
        // The image has whole samples of chroma, the picture need not.
        let packed = Layout { width, height, ..packed };
        Picture::decode(&packed, &bytes).map(Some).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vk::MemoryPropertyFlags as M;

    #[test]
    fn memory_for_the_cpu_is_cached_where_that_can_be_had() {
        let types = [M::DEVICE_LOCAL, COHERENT, COHERENT | M::HOST_CACHED, M::DEVICE_LOCAL | M::PROTECTED];
        let choose = |bits, wanted| choose_type(&types, bits, wanted);
        assert_eq!((choose(0b1111, FOR_CPU), choose(0b1011, FOR_CPU), choose(0b1001, FOR_CPU)), (Some(2), Some(1), Some(0)));
        assert_eq!((choose(0b1111, FOR_GPU), choose(0b0110, FOR_GPU), choose(0b1000, FOR_GPU)), (Some(0), Some(1), None));
    }
}
