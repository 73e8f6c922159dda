//! Images, buffers and memory, each destroyed when it is dropped.

use super::{CallFailed, Device, Handle, ImageSpec, Tiling};
use crate::sys::kcmp::is_same_memory;
use ash::vk;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;

/// An image.
pub struct Image {
    pub(super) device: Arc<Device>,
    pub(super) raw: vk::Image,
    pub(super) levels: u32,
    pub(super) layers: u32,
    pub(super) shared: Option<Handle>,
    modified: bool,
    requirements: Requirements,
}

/// What an image needs of its memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// As what it leaves, or comes where it has a source.
    pub shared: Option<Handle>,
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
        let mut external = vk::ExternalMemoryImageCreateInfo::default();
        if let Some(handle) = spec.shared {
            external = external.handle_types(handle.raw());
            info = info.push_next(&mut external);
        }
        let mut modifiers = vk::ImageDrmFormatModifierListCreateInfoEXT::default();
        let mut explicit = vk::ImageDrmFormatModifierExplicitCreateInfoEXT::default();
        match spec.tiling {
            Tiling::Linear | Tiling::Optimal => {}
            Tiling::Modifiers(list) => {
                modifiers = modifiers.drm_format_modifiers(list);
                info = info.push_next(&mut modifiers);
            }
            Tiling::Explicit { modifier, places } => {
                explicit = explicit.drm_format_modifier(modifier).plane_layouts(places);
                info = info.push_next(&mut explicit);
            }
        }
        let mut views = vk::ImageFormatListCreateInfo::default().view_formats(spec.view_formats);
        if !spec.view_formats.is_empty() {
            info = info.push_next(&mut views);
        }
        // SAFETY: the chain lives until the call returns; callers have asked the driver for the limits of such an image.
        let raw = device.make("vkCreateImage", || unsafe { device.vk().create_image(&info, None) })?;
        let modified = spec.tiling.first_modifier().is_some();
        let ImageSpec { levels, layers, shared, .. } = *spec;
        let requirements = Requirements::default();
        let mut image = Self { device: device.clone(), raw, levels, layers, shared, modified, requirements };
        image.requirements = image.ask();
        Ok(image)
    }

    /// As what its memory leaves or comes.
    pub fn shared(&self) -> Option<Handle> {
        self.shared
    }

    /// What it needs.
    pub fn requirements(&self) -> Requirements {
        self.requirements
    }

    fn ask(&self) -> Requirements {
        let info = vk::ImageMemoryRequirementsInfo2::default().image(self.raw);
        let mut dedicated = vk::MemoryDedicatedRequirements::default();
        let mut requirements = vk::MemoryRequirements2::default().push_next(&mut dedicated);
        // SAFETY: the image lives, and is not disjoint.
        unsafe { self.device.vk().get_image_memory_requirements2(&info, &mut requirements) };
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
        let Some(functions) = self.device.modifiers().filter(|_| self.modified) else { return Ok(None) };
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
        let place = unsafe { self.device.vk().get_image_subresource_layout(self.raw, subresource) };
        self.device.faults.place(place)
    }

    /// Gives it its memory, from the start.
    pub fn bind(&self, memory: &Memory) -> Result<(), CallFailed> {
        // SAFETY: both are of one device and live; callers made the memory by the image's requirements and bind once.
        self.device.call("vkBindImageMemory", || unsafe { self.device.vk().bind_image_memory(self.raw, memory.raw, 0) })
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // SAFETY: it is destroyed only here, and every submission was waited for.
        unsafe { self.device.vk().destroy_image(self.raw, None) };
        self.device.destroyed();
    }
}

/// Memory of the driver.
pub struct Memory {
    device: Arc<Device>,
    raw: vk::DeviceMemory,
    bytes: usize,
    cached: bool,
    /// Where the CPU sees all of it.
    address: Option<NonNull<u8>>,
}

// SAFETY: the mapping belongs to the process, not to a thread, and all access goes through raw copies.
unsafe impl Send for Memory {}
// SAFETY: no method hands out a reference to the bytes, so threads can only race as the guest can.
unsafe impl Sync for Memory {}

impl Memory {
    /// Makes memory, for one image alone where it is dedicated; with a `source`, it is that memory.
    pub fn new(
        device: &Arc<Device>,
        spec: &MemorySpec,
        image: Option<&Image>,
        source: Option<BorrowedFd<'_>>,
    ) -> Result<Self, CallFailed> {
        let too_many = |_| CallFailed { call: "dup", result: vk::Result::ERROR_TOO_MANY_OBJECTS };
        let too_large = |_| CallFailed { call: "vkAllocateMemory", result: vk::Result::ERROR_OUT_OF_DEVICE_MEMORY };
        let bytes = usize::try_from(spec.bytes).map_err(too_large)?;
        let mut info = vk::MemoryAllocateInfo::default().allocation_size(spec.bytes).memory_type_index(spec.memory_type);
        let mut dedicated = vk::MemoryDedicatedAllocateInfo::default();
        if let Some(image) = image.filter(|_| spec.dedicated) {
            dedicated = dedicated.image(image.raw);
            info = info.push_next(&mut dedicated);
        }
        let given = source.map(|fd| fd.try_clone_to_owned()).transpose().map_err(too_many)?;
        let (mut export, mut import) = <(vk::ExportMemoryAllocateInfo<'_>, vk::ImportMemoryFdInfoKHR<'_>)>::default();
        match (spec.shared, &given) {
            (Some(handle), Some(fd)) => {
                import = import.handle_type(handle.raw()).fd(fd.as_raw_fd());
                info = info.push_next(&mut import);
            }
            (Some(handle), None) => {
                export = export.handle_types(handle.raw());
                info = info.push_next(&mut export);
            }
            (None, _) => {}
        }
        // SAFETY: the chain lives until the call returns, and the image and the descriptor in it live.
        let made = device.make("vkAllocateMemory", || unsafe { device.vk().allocate_memory(&info, None) });
        if let (Some(fd), Some(source)) = (given, source) {
            // A call that works takes the descriptor, and one that fails must not; software's driver in Mesa 22.3 closes it even so.
            let ours = made.is_err() && is_same_memory(fd.as_fd(), source);
            if !ours {
                let _drivers = fd.into_raw_fd();
            }
        }
        let raw = made?;
        let kind = device.facts().memory_types.get(spec.memory_type as usize).copied().unwrap_or_default();
        let cached = kind.contains(vk::MemoryPropertyFlags::HOST_CACHED);
        let mut memory = Self { device: device.clone(), raw, bytes, cached, address: None };
        if spec.mapped {
            let flags = vk::MemoryMapFlags::empty();
            // SAFETY: the memory is of a type that the CPU sees, and is mapped once, whole.
            let map = || unsafe { device.vk().map_memory(raw, 0, vk::WHOLE_SIZE, flags) };
            memory.address = NonNull::new(device.call("vkMapMemory", map)?.cast());
        }
        Ok(memory)
    }

    /// Whether the CPU sees it, and whether it caches what it sees.
    pub fn is_mapped(&self) -> bool {
        self.address.is_some()
    }

    pub fn is_cached(&self) -> bool {
        self.cached
    }

    /// How many bytes it has.
    pub fn bytes(&self) -> u64 {
        self.bytes as u64
    }

    /// What should be a descriptor of that kind for all of it, which it was made for.
    pub fn export(&self, handle: Handle) -> Result<OwnedFd, CallFailed> {
        let call = "vkGetMemoryFdKHR";
        let functions = self.device.memory_fd();
        let functions = functions.ok_or(CallFailed { call, result: vk::Result::ERROR_EXTENSION_NOT_PRESENT })?;
        if let Some(false_one) = self.device.faults.descriptor(handle) {
            return Ok(false_one);
        }
        let info = vk::MemoryGetFdInfoKHR::default().memory(self.raw).handle_type(handle.raw());
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
        unsafe { self.device.vk().free_memory(self.raw, None) };
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
        let handle = device.make("vkCreateBuffer", || unsafe { device.vk().create_buffer(&info, None) })?;
        let raw = RawBuffer { device: device.clone(), handle };
        // SAFETY: the buffer lives.
        let requirements = unsafe { device.vk().get_buffer_memory_requirements(handle) };
        let none = CallFailed { call: "vkAllocateMemory", result: vk::Result::ERROR_OUT_OF_DEVICE_MEMORY };
        let memory_type = choose(requirements.memory_type_bits).ok_or(none)?;
        let spec = MemorySpec { bytes: requirements.size, memory_type, dedicated: false, shared: None, mapped: true };
        let memory = Memory::new(device, &spec, None, None)?;
        // SAFETY: both are of one device and live, and the memory was made by the buffer's requirements.
        device.call("vkBindBufferMemory", || unsafe { device.vk().bind_buffer_memory(handle, memory.raw, 0) })?;
        Ok(Self { raw, memory })
    }
}

impl Drop for RawBuffer {
    fn drop(&mut self) {
        // SAFETY: it is destroyed only here, and every submission was waited for.
        unsafe { self.device.vk().destroy_buffer(self.handle, None) };
        self.device.destroyed();
    }
}
