//! [`VulkanImage`]: a driver's image with its memory, and [`Maker`], which makes them.
//!
//! Linear images go to memory that the CPU sees, where the driver has such for them: they stay mapped while they live. A dma-buf
//! is the one descriptor that leaves: an opaque one is for Vulkan only, and its first byte need not be the image's.

use super::formats::{self, regions, regions_of_zeroes};
use super::sys::{Buffer, CallFailed, Device, Image as Raw, ImageLimits, ImageSpec, Memory, MemorySpec, Region, Tiling, Use};
use crate::host::resolver::{Export, ExportKind, Image, ImageRefused, OutOfMemory, ResolveError, Shown, Window};
use crate::sys::dmabuf;
use crate::wire::virtio_gpu::{MAP_CACHE_CACHED, MAP_CACHE_UNCACHED, MAP_CACHE_WC};
use crate::{BufferRequest, Extent, FormatInfo, Layout, Modifier, Support, Unsupported, Usage};
use ash::vk;
use rustix::fs::SeekFrom;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

const PAGE_BYTES: u64 = 4096;

/// A format with a modifier, as the driver makes images of it.
#[derive(Clone, Debug)]
pub struct Offered {
    pub support: Support,
    pub info: &'static FormatInfo,
    pub limits: ImageLimits,
    /// The modifier as a list of one, or none for an image that is linear without one.
    pub modifiers: Vec<u64>,
}

impl Offered {
    fn tiling(&self) -> Tiling<'_> {
        if self.modifiers.is_empty() { Tiling::Linear } else { Tiling::Modifiers(&self.modifiers) }
    }

    /// The image of a request.
    pub fn spec(&self, request: &BufferRequest, exported: bool) -> Result<ImageSpec<'_>, ResolveError> {
        let BufferRequest { format, width, height, layers, usage, .. } = *request;
        let vk::Extent3D { width: widest, height: highest, .. } = self.limits.extent;
        let largest = Extent { width: widest, height: highest, layers: self.limits.layers };
        let extent = formats::extent(self.info, width, height)
            .filter(|extent| extent.width <= widest && extent.height <= highest && layers <= largest.layers)
            .ok_or(Unsupported::Extent { width, height, layers, largest })?;
        let number = formats::number(format).ok_or(Unsupported::Format { format })?;
        let offered = self.support.usages;
        let missing = usage.difference(offered | Usage::LINEAR);
        if !missing.is_empty() {
            return Err(Unsupported::Usage { format, missing, offered }.into());
        }
        Ok(ImageSpec { layers, usage: formats::image_usage(usage), tiling: self.tiling(), exported, ..plain(number, extent) })
    }
}

/// An image of one level, layer and sample.
pub fn plain(format: vk::Format, extent: vk::Extent3D) -> ImageSpec<'static> {
    ImageSpec {
        flags: vk::ImageCreateFlags::empty(),
        kind: vk::ImageType::TYPE_2D,
        format,
        extent,
        levels: 1,
        layers: 1,
        samples: vk::SampleCountFlags::TYPE_1,
        usage: formats::TRANSFERS,
        view_formats: &[],
        tiling: Tiling::Optimal,
        exported: false,
    }
}

/// Whose planes are where.
#[derive(Clone, Copy)]
pub struct Named<'a> {
    pub request: &'a BufferRequest,
    pub info: &'static FormatInfo,
    pub modifier: Modifier,
    pub plane_count: u32,
    /// Whether the image has its modifier from a list.
    pub listed: bool,
}

impl Named<'_> {
    /// Where the driver says that the planes lie, checked.
    fn layout(&self, image: &Raw) -> Result<Layout, ResolveError> {
        let Self { request, info, modifier, .. } = *self;
        let BufferRequest { format, width, height, layers, .. } = *request;
        let aspect = if self.listed { formats::memory_aspect } else { formats::plane_aspect };
        let places: Vec<_> = (0..self.plane_count as usize).map(|plane| image.place(aspect(info, plane))).collect();
        let stride = |place: &vk::SubresourceLayout| u32::try_from(place.row_pitch).unwrap_or(u32::MAX);
        let planes: Vec<_> = places.iter().map(|place| (stride(place), place.offset)).collect();
        let size_bytes = image.requirements().bytes;
        let array_pitch = places.first().map_or(0, |place| place.array_pitch);
        let layer_bytes = if layers > 1 { array_pitch } else { size_bytes };
        let first = Layout::reported(format, (width, height), modifier, &planes, layer_bytes)?;
        let layout = Layout { layers, size_bytes, ..first };
        layout.check()?;
        Ok(layout)
    }
}

/// What makes images on one device.
pub struct Maker {
    pub device: Arc<Device>,
    /// Whether their memory leaves as dma-bufs.
    pub exported: bool,
    /// Whether the CPU may see linear ones; tests do without.
    pub mapped: bool,
}

impl Maker {
    /// The layout of a request's image, which is made for that without memory.
    pub fn layout(&self, request: &BufferRequest, offered: &Offered) -> Result<Layout, ResolveError> {
        let spec = offered.spec(request, self.exported)?;
        let image = Raw::new(&self.device, &spec).map_err(|failed| refusal(failed, 0))?;
        named(request, offered).layout(&image)
    }

    /// A request's image, whose layout is as agreed.
    pub fn image(
        &self,
        request: &BufferRequest,
        offered: &Offered,
        agreed: &Layout,
        blob_bytes: u64,
    ) -> Result<VulkanImage, ResolveError> {
        let spec = offered.spec(request, self.exported)?;
        let image = Raw::new(&self.device, &spec).map_err(|failed| refusal(failed, blob_bytes))?;
        let layout = named(request, offered).layout(&image)?;
        if layout != *agreed {
            return Err(ResolveError::Driver(io::Error::other("its second layout of the same picture differs from the first")));
        }
        self.furnish(image, &spec, offered.info, Some(&layout), blob_bytes)
    }

    /// An image as the guest describes it, and its layout where it has one that others understand.
    pub fn described(
        &self,
        spec: &ImageSpec<'_>,
        info: &'static FormatInfo,
        blob_bytes: u64,
        plane_count: impl FnOnce(u64) -> u32,
    ) -> Result<(VulkanImage, Option<Layout>), ResolveError> {
        let image = Raw::new(&self.device, spec).map_err(|failed| refusal(failed, blob_bytes))?;
        let modifier = match spec.tiling {
            Tiling::Optimal => None,
            Tiling::Linear => Some(0),
            Tiling::Modifiers(_) => image.modifier().map_err(|failed| refusal(failed, blob_bytes))?,
        };
        let is_picture = spec.kind == vk::ImageType::TYPE_2D && spec.levels == 1;
        let layout = match modifier.filter(|_| is_picture) {
            Some(modifier) => {
                let listed = matches!(spec.tiling, Tiling::Modifiers(_));
                let plane_count = if listed { plane_count(modifier) } else { info.planes.len() as u32 };
                let vk::Extent3D { width, height, .. } = spec.extent;
                let request = BufferRequest::new(info.format, width, height, Usage::TEXTURE).with_layers(spec.layers);
                let named = Named { request: &request, info, modifier: Modifier::new(modifier), plane_count, listed };
                Some(named.layout(&image)?)
            }
            None => None,
        };
        Ok((self.furnish(image, spec, info, layout.as_ref(), blob_bytes)?, layout))
    }

    /// Gives an image zeroed memory, and that a descriptor.
    fn furnish(
        &self,
        image: Raw,
        spec: &ImageSpec<'_>,
        info: &'static FormatInfo,
        layout: Option<&Layout>,
        blob_bytes: u64,
    ) -> Result<VulkanImage, ResolveError> {
        let refused = |failed| refusal(failed, blob_bytes);
        let requirements = image.requirements();
        if blob_bytes < requirements.bytes {
            return Err(ImageRefused::Size { blob_bytes, image_bytes: requirements.bytes }.into());
        }
        let whole = blob_bytes.checked_next_multiple_of(PAGE_BYTES).ok_or_else(|| refused(out_of_memory()))?;
        // Memory of an image alone has the image's own size: what a guest with large pages adds needs memory of the other kind.
        let exact = requirements.bytes == whole;
        let dedicated = requirements.requires_dedicated || requirements.prefers_dedicated && exact;
        let bytes = if dedicated { requirements.bytes } else { whole };
        if !bytes.is_multiple_of(PAGE_BYTES) {
            return Err(ResolveError::Driver(io::Error::other(format!("{bytes} bytes of an image alone are no whole pages"))));
        }
        let linear = layout.filter(|layout| layout.modifier == Modifier::LINEAR);
        let types = &self.device.facts().memory_types;
        let wanted = if linear.is_some() && self.mapped { FOR_CPU } else { FOR_GPU };
        let memory_type = choose_type(types, requirements.types, wanted).ok_or_else(|| refused(out_of_memory()))?;
        let kind = types.get(memory_type as usize).copied().unwrap_or_default();
        let mapped = linear.is_some() && self.mapped && kind.contains(COHERENT);
        let memory = MemorySpec { bytes, memory_type, dedicated, exported: spec.exported, mapped };
        let memory = Memory::new(&self.device, &memory, Some(&image)).map_err(refused)?;
        image.bind(&memory).map_err(refused)?;
        let access = match linear {
            Some(_) if mapped => Access::Mapped { cached: kind.contains(vk::MemoryPropertyFlags::HOST_CACHED) },
            Some(layout) if spec.layers == 1 => {
                regions(info, spec.extent, layout).map_or(Access::None, |rows| Access::Copied(Mutex::new(rows)))
            }
            _ => Access::None,
        };
        let mut made = VulkanImage { image, memory, device: self.device.clone(), bytes, access, descriptor: None };
        made.zero(spec, info).map_err(refused)?;
        if spec.exported {
            made.descriptor = Some(made.dma_buf()?);
        }
        Ok(made)
    }
}

fn named<'a>(request: &'a BufferRequest, offered: &Offered) -> Named<'a> {
    let Support { modifier, plane_count, .. } = offered.support;
    Named { request, info: offered.info, modifier, plane_count, listed: !offered.modifiers.is_empty() }
}

const COHERENT: vk::MemoryPropertyFlags = vk::MemoryPropertyFlags::from_raw(
    vk::MemoryPropertyFlags::HOST_VISIBLE.as_raw() | vk::MemoryPropertyFlags::HOST_COHERENT.as_raw(),
);

/// What memory should be, the best first. Reads of memory that is not cached are ten times slower.
const FOR_CPU: &[vk::MemoryPropertyFlags] = &[
    vk::MemoryPropertyFlags::from_raw(COHERENT.as_raw() | vk::MemoryPropertyFlags::HOST_CACHED.as_raw()),
    COHERENT,
    vk::MemoryPropertyFlags::empty(),
];
const FOR_GPU: &[vk::MemoryPropertyFlags] = &[vk::MemoryPropertyFlags::DEVICE_LOCAL, vk::MemoryPropertyFlags::empty()];

/// The first memory type among those of `bits` that is as wanted; protected memory and what has no pages yet never.
fn choose_type(types: &[vk::MemoryPropertyFlags], bits: u32, wanted: &[vk::MemoryPropertyFlags]) -> Option<u32> {
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

fn out_of_memory() -> CallFailed {
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
        _ => ResolveError::Driver(io::Error::other(failed)),
    }
}

/// How its bytes are read and written.
enum Access {
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
    memory: Memory,
    device: Arc<Device>,
    bytes: u64,
    access: Access,
    /// Its dma-buf.
    descriptor: Option<OwnedFd>,
}

impl VulkanImage {
    /// Whether the CPU sees it.
    pub fn is_mapped(&self) -> bool {
        matches!(self.access, Access::Mapped { .. })
    }

    /// Its dma-buf.
    pub fn descriptor(&self) -> Option<&OwnedFd> {
        self.descriptor.as_ref()
    }

    /// Takes away what was in the memory: byte by byte where the CPU sees it, else texel by texel; the padding that a tiling adds
    /// is then as the kernel gave it, which zeroes what it takes from one process for another.
    fn zero(&self, spec: &ImageSpec<'_>, info: &'static FormatInfo) -> Result<(), CallFailed> {
        if self.is_mapped() {
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
    fn dma_buf(&self) -> Result<OwnedFd, ResolveError> {
        let fd = self.memory.export().map_err(|failed| refusal(failed, self.bytes))?;
        if !dmabuf::is_dma_buf(fd.as_fd()) {
            return Err(ResolveError::Driver(io::Error::other("what it exports as a dma-buf is none")));
        }
        let bytes = rustix::fs::seek(&fd, SeekFrom::End(0)).map_err(|errno| ResolveError::Driver(errno.into()))?;
        if bytes < self.bytes {
            let why = format!("its dma-buf of {bytes} bytes is smaller than the memory of {}", self.bytes);
            return Err(ResolveError::Driver(io::Error::other(why)));
        }
        Ok(fd)
    }

    fn fetch(&self, regions: &[Region]) -> io::Result<Buffer> {
        let buffer = staging(&self.device, self.bytes).map_err(io::Error::other)?;
        let copied = self.device.submit(|recorder| {
            recorder.turn(&self.image, Use::Released, Use::Source);
            recorder.read(&self.image, &buffer, regions);
            recorder.turn(&self.image, Use::Source, Use::Released);
        });
        copied.map_err(io::Error::other)?;
        Ok(buffer)
    }

    fn check_range(&self, offset: u64, length: usize) -> io::Result<()> {
        match offset.checked_add(length as u64) {
            Some(end) if end <= self.bytes => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
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
        if self.descriptor.is_some() { "vulkan dma-buf" } else { "vulkan" }
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
                self.fetch(&regions)?.memory.read(offset, buffer)
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
                let buffer = self.fetch(&regions)?;
                buffer.memory.write(offset, data).ok_or(io::ErrorKind::UnexpectedEof)?;
                let copied = self.device.submit(|recorder| {
                    recorder.turn(&self.image, Use::Released, Use::Destination);
                    recorder.write(&self.image, &buffer, &regions);
                    recorder.turn(&self.image, Use::Destination, Use::Released);
                });
                copied.map_err(io::Error::other)
            }
            Access::None => unsupported(OPAQUE),
        }
    }

    fn show(&self, window: &dyn Window, offset: u64) -> io::Result<Shown> {
        let Some(fd) = self.descriptor.as_ref().filter(|_| self.is_mapped()) else {
            return unsupported("the driver gives no dma-buf of it that the CPU could map: ask for it with a CPU usage");
        };
        window.map(offset, self.bytes, fd.as_fd(), 0)?;
        Ok(Shown::Mapped)
    }

    fn leave(&self) -> io::Result<()> {
        Ok(())
    }

    fn export(&self) -> io::Result<Export> {
        match &self.descriptor {
            Some(fd) => Ok(Export { fd: fd.try_clone()?, kind: ExportKind::DmaBuf }),
            None => unsupported("the driver gives no dma-bufs, and its opaque descriptors mean nothing to others"),
        }
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
