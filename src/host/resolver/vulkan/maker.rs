//! [`Maker`]: what makes images on one device, each from an image of the driver and memory that fits it.

use super::formats::{self, regions};
use super::image::{Access, COHERENT, FOR_CPU, FOR_GPU, VulkanImage, choose_type, out_of_memory, refusal};
use super::sys::{CallFailed, Device, Handle, Image as Raw, ImageLimits, ImageSpec, Memory, MemorySpec, Requirements, Tiling};
use crate::host::resolver::{ImageRefused, ResolveError};
use crate::{BufferRequest, Extent, FormatInfo, Layout, Modifier, Support, Unsupported, Usage};
use ash::vk;
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

const PAGE_BYTES: u64 = 4096;

/// A format with a modifier, as the driver makes images of it.
#[derive(Clone, Debug)]
pub struct Offered {
    pub support: Support,
    pub info: &'static FormatInfo,
    pub limits: ImageLimits,
    /// Whether an image was seen to work in memory that came from elsewhere.
    pub importable: bool,
    /// The modifier as a list of one, or none for an image that is linear without one.
    pub modifiers: Vec<u64>,
}

impl Offered {
    fn tiling(&self) -> Tiling<'_> {
        if self.modifiers.is_empty() { Tiling::Linear } else { Tiling::Modifiers(&self.modifiers) }
    }

    /// The image of a request.
    pub fn spec(&self, request: &BufferRequest, shared: Option<Handle>) -> Result<ImageSpec<'_>, ResolveError> {
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
        Ok(ImageSpec { layers, usage: formats::image_usage(usage), tiling: self.tiling(), shared, ..plain(number, extent) })
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
        shared: None,
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
    pub fn layout(&self, image: &Raw) -> Result<Layout, ResolveError> {
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
    /// As what their memory leaves.
    pub shared: Option<Handle>,
    /// Whether the CPU may see linear ones; tests do without.
    pub mapped: bool,
}

impl Maker {
    /// The layout of a request's image, which is made for that without memory.
    pub fn layout(&self, request: &BufferRequest, offered: &Offered) -> Result<Layout, ResolveError> {
        let spec = offered.spec(request, self.shared)?;
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
        let spec = offered.spec(request, self.shared)?;
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
            Tiling::Modifiers(_) | Tiling::Explicit { .. } => image.modifier().map_err(|failed| refusal(failed, blob_bytes))?,
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

    /// Gives an image zeroed memory.
    fn furnish(
        &self,
        image: Raw,
        spec: &ImageSpec<'_>,
        info: &'static FormatInfo,
        layout: Option<&Layout>,
        blob_bytes: u64,
    ) -> Result<VulkanImage, ResolveError> {
        let requirements = image.requirements();
        if blob_bytes < requirements.bytes {
            return Err(ImageRefused::Size { blob_bytes, image_bytes: requirements.bytes }.into());
        }
        let refused = |failed| refusal(failed, blob_bytes);
        let whole = blob_bytes.checked_next_multiple_of(PAGE_BYTES).ok_or_else(|| refused(out_of_memory()))?;
        let for_cpu = self.mapped && layout.is_some_and(is_linear);
        let memory =
            self.memory_for(&requirements, requirements.types, for_cpu, whole).ok_or_else(|| refused(out_of_memory()))?;
        let memory = MemorySpec { shared: spec.shared, ..memory };
        let MemorySpec { bytes, .. } = memory;
        if !bytes.is_multiple_of(PAGE_BYTES) {
            return Err(ResolveError::Driver(io::Error::other(format!("{bytes} bytes of an image alone are no whole pages"))));
        }
        let told = (spec.shared == Some(Handle::Opaque)).then(|| self.told(&image, spec, &memory, layout)).transpose();
        let opaque = told.map_err(refused)?.map(Box::new);
        let memory = Memory::new(&self.device, &memory, Some(&image), None).map_err(refused)?;
        let mut made = self.bound(image, memory, spec, info, layout).map_err(refused)?;
        made.zero(spec, info).map_err(refused)?;
        made.opaque = opaque;
        Ok(made)
    }

    /// Memory for an image, of these types: of `whole` bytes, or as many as the image alone needs where that is what the driver
    /// wants. What a guest with large pages adds makes it memory of the first kind.
    pub fn memory_for(&self, requirements: &Requirements, among: u32, for_cpu: bool, whole: u64) -> Option<MemorySpec> {
        let dedicated = requirements.requires_dedicated || requirements.prefers_dedicated && requirements.bytes == whole;
        let bytes = if dedicated { requirements.bytes } else { whole };
        let types = &self.device.facts().memory_types;
        let memory_type = choose_type(types, among, if for_cpu { FOR_CPU } else { FOR_GPU })?;
        let mapped = for_cpu && types.get(memory_type as usize)?.contains(COHERENT);
        Some(MemorySpec { bytes, memory_type, dedicated, shared: None, mapped })
    }

    /// An image with its memory.
    pub fn bound(
        &self,
        image: Raw,
        memory: Memory,
        spec: &ImageSpec<'_>,
        info: &'static FormatInfo,
        layout: Option<&Layout>,
    ) -> Result<VulkanImage, CallFailed> {
        image.bind(&memory)?;
        let access = match layout.filter(|layout| is_linear(layout)) {
            Some(_) if memory.is_mapped() => Access::Mapped { cached: memory.is_cached() },
            Some(layout) if spec.layers == 1 => {
                regions(info, spec.extent, layout).map_or(Access::None, |rows| Access::Copied(Mutex::new(rows)))
            }
            _ => Access::None,
        };
        let (device, bytes, fresh) = (self.device.clone(), memory.bytes(), AtomicBool::new(memory.is_mapped()));
        Ok(VulkanImage { image, memory, device, bytes, access, source: None, opaque: None, fresh })
    }
}

pub fn is_linear(layout: &Layout) -> bool {
    layout.modifier == Modifier::LINEAR
}

pub fn named<'a>(request: &'a BufferRequest, offered: &Offered) -> Named<'a> {
    let Support { modifier, plane_count, .. } = offered.support;
    Named { request, info: offered.info, modifier, plane_count, listed: !offered.modifiers.is_empty() }
}
