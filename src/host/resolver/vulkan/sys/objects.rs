//! Images, buffers and memory, each destroyed when it is dropped.

use super::{CallFailed, Device, ImageSpec, Tiling};
use ash::vk;
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;

/// An image.
pub struct Image {
    pub(super) device: Arc<Device>,
    pub(super) raw: vk::Image,
    pub(super) levels: u32,
    pub(super) layers: u32,
    pub(super) exported: bool,
    modified: bool,
}

/// What an image or a buffer needs of its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirements {
    pub bytes: u64,
    /// Which memory types serve, a bit each.
    pub types: u32,
    /// Whether the driver wants the memory to be the image's alone, and whether it demands it.
    pub prefers_dedicated: bool,
    pub requires_dedicated: bool,
}

/// Memory to be made.
#[derive(Clone, Copy, Debug)]
pub struct MemorySpec {
    pub bytes: u64,
    pub memory_type: u32,
    pub dedicated: bool,
    pub exported: bool,
    /// Whether the CPU sees it; the type must be coherent then.
    pub mapped: bool,
}

impl Image {
    /// Makes an image without memory.
    pub fn new(device: &Arc<Device>, spec: &ImageSpec<'_>) -> Result<Self, CallFailed> {
        let mut info = vk::ImageCreateInfo::default()
            .flags(spec.flags)
            .image_type(spec.kind)
            .format(spec.format)
            .extent(spec.extent)
            .mip_levels(spec.levels)
            .array_layers(spec.layers)
            .samples(spec.samples)
            .tiling(spec.tiling.raw())
            .usage(spec.usage)
            .sharing_mode(vk::SharingMode::EXCLUSIVE)
            .initial_layout(vk::ImageLayout::UNDEFINED);
        let mut external =
            vk::ExternalMemoryImageCreateInfo::default().handle_types(vk::ExternalMemoryHandleTypeFlags::DMA_BUF_EXT);
        if spec.exported {
            info = info.push_next(&mut external);
        }
        let mut modifiers = vk::ImageDrmFormatModifierListCreateInfoEXT::default();
        if let Tiling::Modifiers(list) = spec.tiling {
            modifiers = modifiers.drm_format_modifiers(list);
            info = info.push_next(&mut modifiers);
        }
        let mut views = vk::ImageFormatListCreateInfo::default().view_formats(spec.view_formats);
        if !spec.view_formats.is_empty() {
            info = info.push_next(&mut views);
        }
        // SAFETY: the chain lives until the call returns; callers have asked the driver for the limits of such an image.
        let raw = device.make("vkCreateImage", || unsafe { device.raw.create_image(&info, None) })?;
        let modified = matches!(spec.tiling, Tiling::Modifiers(_));
        let ImageSpec { levels, layers, exported, .. } = *spec;
        Ok(Self { device: device.clone(), raw, levels, layers, exported, modified })
    }

    /// What it needs.
    pub fn requirements(&self) -> Requirements {
        let info = vk::ImageMemoryRequirementsInfo2::default().image(self.raw);
        let mut dedicated = vk::MemoryDedicatedRequirements::default();
        let mut requirements = vk::MemoryRequirements2::default().push_next(&mut dedicated);
        // SAFETY: the image lives, and is not disjoint.
        unsafe { self.device.raw.get_image_memory_requirements2(&info, &mut requirements) };
        let vk::MemoryRequirements { size, memory_type_bits, .. } = requirements.memory_requirements;
        Requirements {
            bytes: size,
            types: memory_type_bits,
            prefers_dedicated: dedicated.prefers_dedicated_allocation != 0,
            requires_dedicated: dedicated.requires_dedicated_allocation != 0,
        }
    }

    /// The modifier that the driver has chosen; `None` for an image without one.
    pub fn modifier(&self) -> Result<Option<u64>, CallFailed> {
        let Some(functions) = self.device.modifiers.as_ref().filter(|_| self.modified) else { return Ok(None) };
        let mut properties = vk::ImageDrmFormatModifierPropertiesEXT::default();
        self.device.call("vkGetImageDrmFormatModifierPropertiesEXT", || {
            // SAFETY: the image lives and was made with a list of modifiers.
            unsafe { functions.get_image_drm_format_modifier_properties(self.raw, &mut properties) }
        })?;
        Ok(Some(properties.drm_format_modifier))
    }

    /// Where the first level and layer of an aspect lies. Only for images that are linear or have a modifier.
    pub fn place(&self, aspect: vk::ImageAspectFlags) -> vk::SubresourceLayout {
        let subresource = vk::ImageSubresource::default().aspect_mask(aspect);
        // SAFETY: the image lives; callers name aspects that its format or modifier has.
        unsafe { self.device.raw.get_image_subresource_layout(self.raw, subresource) }
    }

    /// Gives it its memory, from the start.
    pub fn bind(&self, memory: &Memory) -> Result<(), CallFailed> {
        let device = &self.device.raw;
        // SAFETY: both are of one device and live; callers made the memory by the image's requirements and bind once.
        self.device.call("vkBindImageMemory", || unsafe { device.bind_image_memory(self.raw, memory.raw, 0) })
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // SAFETY: it is destroyed only here, and every submission was waited for.
        unsafe { self.device.raw.destroy_image(self.raw, None) };
        self.device.destroyed();
    }
}

/// Memory of the driver.
pub struct Memory {
    device: Arc<Device>,
    raw: vk::DeviceMemory,
    bytes: usize,
    /// Where the CPU sees all of it.
    address: Option<NonNull<u8>>,
}

// SAFETY: the mapping belongs to the process, not to a thread, and all access goes through raw copies.
unsafe impl Send for Memory {}
// SAFETY: no method hands out a reference to the bytes, so threads can only race as the guest can.
unsafe impl Sync for Memory {}

impl Memory {
    /// Makes memory, for one image alone where it is dedicated.
    pub fn new(device: &Arc<Device>, spec: &MemorySpec, image: Option<&Image>) -> Result<Self, CallFailed> {
        let too_large = |_| CallFailed { call: "vkAllocateMemory", result: vk::Result::ERROR_OUT_OF_DEVICE_MEMORY };
        let bytes = usize::try_from(spec.bytes).map_err(too_large)?;
        let mut info = vk::MemoryAllocateInfo::default().allocation_size(spec.bytes).memory_type_index(spec.memory_type);
        let mut dedicated = vk::MemoryDedicatedAllocateInfo::default();
        if let Some(image) = image.filter(|_| spec.dedicated) {
            dedicated = dedicated.image(image.raw);
            info = info.push_next(&mut dedicated);
        }
        let mut export = vk::ExportMemoryAllocateInfo::default().handle_types(vk::ExternalMemoryHandleTypeFlags::DMA_BUF_EXT);
        if spec.exported {
            info = info.push_next(&mut export);
        }
        // SAFETY: the chain lives until the call returns, and the image in it lives.
        let raw = device.make("vkAllocateMemory", || unsafe { device.raw.allocate_memory(&info, None) })?;
        let mut memory = Self { device: device.clone(), raw, bytes, address: None };
        if spec.mapped {
            let flags = vk::MemoryMapFlags::empty();
            // SAFETY: the memory is of a type that the CPU sees, and is mapped once, whole.
            let map = || unsafe { device.raw.map_memory(raw, 0, vk::WHOLE_SIZE, flags) };
            memory.address = NonNull::new(device.call("vkMapMemory", map)?.cast());
        }
        Ok(memory)
    }

    /// How many bytes it has.
    pub fn bytes(&self) -> u64 {
        self.bytes as u64
    }

    /// What should be a dma-buf of all of it.
    pub fn export(&self) -> Result<OwnedFd, CallFailed> {
        let call = "vkGetMemoryFdKHR";
        let Some(functions) = &self.device.memory_fd else {
            return Err(CallFailed { call, result: vk::Result::ERROR_EXTENSION_NOT_PRESENT });
        };
        let info = vk::MemoryGetFdInfoKHR::default().memory(self.raw).handle_type(vk::ExternalMemoryHandleTypeFlags::DMA_BUF_EXT);
        // SAFETY: the memory lives and was made to be exported.
        let fd = self.device.call(call, || unsafe { functions.get_memory_fd(&info) })?;
        // SAFETY: the driver gives a new descriptor, which nobody else owns.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Copies from it; `None` and nothing copied when the range is outside or the CPU does not see it.
    #[must_use]
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> Option<()> {
        let from = self.at(offset, buffer.len())?;
        // SAFETY: `at` checked that the range is mapped; `buffer` is exclusive, so it can't overlap.
        unsafe { std::ptr::copy_nonoverlapping(from, buffer.as_mut_ptr(), buffer.len()) };
        Some(())
    }

    /// Copies to it; `None` and nothing copied when the range is outside or the CPU does not see it.
    #[must_use]
    pub fn write(&self, offset: u64, data: &[u8]) -> Option<()> {
        let to = self.at(offset, data.len())?;
        // SAFETY: `at` checked that the range is mapped; no Rust reference to it exists, so `data` can't overlap.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), to, data.len()) };
        Some(())
    }

    /// Fills all of it with zeroes; `None` when the CPU does not see it.
    #[must_use]
    pub fn zero(&self) -> Option<()> {
        let to = self.at(0, self.bytes)?;
        // SAFETY: all of it is mapped.
        unsafe { std::ptr::write_bytes(to, 0, self.bytes) };
        Some(())
    }

    fn at(&self, offset: u64, length: usize) -> Option<*mut u8> {
        let offset = usize::try_from(offset).ok()?;
        let end = offset.checked_add(length)?;
        let address = self.address.filter(|_| end <= self.bytes)?;
        Some(address.as_ptr().wrapping_add(offset))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: it is freed only here, which unmaps it; what was bound to it is dropped before it by whoever has both.
        unsafe { self.device.raw.free_memory(self.raw, None) };
        self.device.destroyed();
    }
}

/// A buffer that the CPU sees, for copies.
pub struct Buffer {
    pub(super) raw: RawBuffer,
    /// After the buffer, so that it goes later.
    pub memory: Memory,
}

pub(super) struct RawBuffer {
    device: Arc<Device>,
    pub handle: vk::Buffer,
}

impl Buffer {
    /// A buffer of this many bytes, in the memory type that `choose` takes from those that serve.
    pub fn new(device: &Arc<Device>, bytes: u64, choose: impl FnOnce(u32) -> Option<u32>) -> Result<Self, CallFailed> {
        let usage = vk::BufferUsageFlags::TRANSFER_SRC | vk::BufferUsageFlags::TRANSFER_DST;
        let info = vk::BufferCreateInfo::default().size(bytes).usage(usage).sharing_mode(vk::SharingMode::EXCLUSIVE);
        // SAFETY: the structure lives until the call returns; no caller asks for 0 bytes.
        let handle = device.make("vkCreateBuffer", || unsafe { device.raw.create_buffer(&info, None) })?;
        let raw = RawBuffer { device: device.clone(), handle };
        // SAFETY: the buffer lives.
        let requirements = unsafe { device.raw.get_buffer_memory_requirements(handle) };
        let none = CallFailed { call: "vkAllocateMemory", result: vk::Result::ERROR_OUT_OF_DEVICE_MEMORY };
        let memory_type = choose(requirements.memory_type_bits).ok_or(none)?;
        let spec = MemorySpec { bytes: requirements.size, memory_type, dedicated: false, exported: false, mapped: true };
        let memory = Memory::new(device, &spec, None)?;
        // SAFETY: both are of one device and live, and the memory was made by the buffer's requirements.
        device.call("vkBindBufferMemory", || unsafe { device.raw.bind_buffer_memory(handle, memory.raw, 0) })?;
        Ok(Self { raw, memory })
    }
}

impl Drop for RawBuffer {
    fn drop(&mut self) {
        // SAFETY: it is destroyed only here, and every submission was waited for.
        unsafe { self.device.raw.destroy_buffer(self.handle, None) };
        self.device.destroyed();
    }
}
