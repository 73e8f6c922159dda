//! What a program makes of Vulkan by itself: the same image, calls in a row and no checks.
//!
//! Everything unsafe here is a call of Vulkan with handles that were just made, on one thread, and its results unwrapped.

#![allow(unsafe_code)]

use ash::{ext, khr, vk};
use std::os::fd::{FromRawFd, OwnedFd};

/// A device opened by hand.
pub struct Bare {
    _entry: ash::Entry,
    _instance: ash::Instance,
    device: ash::Device,
    memory_fd: khr::external_memory_fd::Device,
    queue: vk::Queue,
    pool: vk::CommandPool,
    commands: vk::CommandBuffer,
    fence: vk::Fence,
    memory_types: Vec<vk::MemoryPropertyFlags>,
    handle: vk::ExternalMemoryHandleTypeFlags,
    with_modifiers: bool,
    /// Calls that an image takes.
    pub calls: u64,
}

impl Bare {
    /// Opens the device with this UUID; its images leave as dma-bufs, or as what only the driver understands.
    pub fn open(uuid: [u8; 16], dma_bufs: bool) -> Option<Self> {
        // SAFETY: Vulkan's library is trusted as every program trusts it.
        let entry = unsafe { ash::Entry::load() }.ok()?;
        let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_2);
        let info = vk::InstanceCreateInfo::default().application_info(&application);
        // SAFETY: no layers and no extensions are asked for.
        let instance = unsafe { entry.create_instance(&info, None) }.ok()?;
        // SAFETY: the instance lives.
        let adapters = unsafe { instance.enumerate_physical_devices() }.unwrap();
        let adapter = adapters.into_iter().find(|adapter| {
            let mut ids = vk::PhysicalDeviceIDProperties::default();
            let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut ids);
            // SAFETY: the adapter is one of the instance's.
            unsafe { instance.get_physical_device_properties2(*adapter, &mut properties) };
            ids.device_uuid == uuid
        })?;
        // SAFETY: the adapter is one of the instance's.
        let extensions = unsafe { instance.enumerate_device_extension_properties(adapter) }.unwrap();
        let wanted = [
            khr::external_memory_fd::NAME,
            ext::external_memory_dma_buf::NAME,
            ext::image_drm_format_modifier::NAME,
            ext::queue_family_foreign::NAME,
        ];
        let there = |name: &std::ffi::CStr| extensions.iter().any(|extension| extension.extension_name_as_c_str() == Ok(name));
        let names: Vec<_> = wanted.iter().filter(|name| there(name)).map(|name| name.as_ptr()).collect();
        let queues = [vk::DeviceQueueCreateInfo::default().queue_family_index(0).queue_priorities(&[1.0])];
        let info = vk::DeviceCreateInfo::default().queue_create_infos(&queues).enabled_extension_names(&names);
        // SAFETY: every device has a queue family 0, and the extensions are there.
        let device = unsafe { instance.create_device(adapter, &info, None) }.unwrap();
        // SAFETY: the device was made with this queue.
        let queue = unsafe { device.get_device_queue(0, 0) };
        // SAFETY: the device lives.
        let pool = unsafe { device.create_command_pool(&vk::CommandPoolCreateInfo::default(), None) }.unwrap();
        let info = vk::CommandBufferAllocateInfo::default().command_pool(pool).command_buffer_count(1);
        // SAFETY: the pool lives.
        let commands = unsafe { device.allocate_command_buffers(&info) }.unwrap()[0];
        // SAFETY: the device lives.
        let fence = unsafe { device.create_fence(&vk::FenceCreateInfo::default(), None) }.unwrap();
        // SAFETY: the adapter is one of the instance's.
        let memory = unsafe { instance.get_physical_device_memory_properties(adapter) };
        let kinds = vk::ExternalMemoryHandleTypeFlags::DMA_BUF_EXT;
        Some(Self {
            memory_fd: khr::external_memory_fd::Device::new(&instance, &device),
            queue,
            pool,
            commands,
            fence,
            memory_types: memory.memory_types_as_slice().iter().map(|kind| kind.property_flags).collect(),
            handle: if dma_bufs { kinds } else { vk::ExternalMemoryHandleTypeFlags::OPAQUE_FD },
            with_modifiers: there(ext::image_drm_format_modifier::NAME),
            device,
            _instance: instance,
            _entry: entry,
            calls: 0,
        })
    }

    fn count(&mut self) -> &ash::Device {
        self.calls += 1;
        &self.device
    }

    /// Makes a linear image that is drawn to and sampled, in zeroed memory, takes a descriptor for it, and frees all of that.
    pub fn round(&mut self, width: u32, height: u32) {
        let mut external = vk::ExternalMemoryImageCreateInfo::default().handle_types(self.handle);
        let linear = [0];
        let mut modifiers = vk::ImageDrmFormatModifierListCreateInfoEXT::default().drm_format_modifiers(&linear);
        let usage = vk::ImageUsageFlags::TRANSFER_SRC | vk::ImageUsageFlags::TRANSFER_DST;
        let mut info = vk::ImageCreateInfo::default()
            .image_type(vk::ImageType::TYPE_2D)
            .format(vk::Format::B8G8R8A8_UNORM)
            .extent(vk::Extent3D { width, height, depth: 1 })
            .mip_levels(1)
            .array_layers(1)
            .samples(vk::SampleCountFlags::TYPE_1)
            .tiling(vk::ImageTiling::LINEAR)
            .usage(usage | vk::ImageUsageFlags::SAMPLED | vk::ImageUsageFlags::COLOR_ATTACHMENT)
            .push_next(&mut external);
        let mut aspect = vk::ImageAspectFlags::COLOR;
        if self.with_modifiers {
            info = info.tiling(vk::ImageTiling::DRM_FORMAT_MODIFIER_EXT).push_next(&mut modifiers);
            aspect = vk::ImageAspectFlags::MEMORY_PLANE_0_EXT;
        }
        // SAFETY: the chain lives until the call returns.
        let image = unsafe { self.count().create_image(&info, None) }.unwrap();
        let mut dedicated = vk::MemoryDedicatedRequirements::default();
        let mut requirements = vk::MemoryRequirements2::default().push_next(&mut dedicated);
        let asked = vk::ImageMemoryRequirementsInfo2::default().image(image);
        // SAFETY: the image lives.
        unsafe { self.count().get_image_memory_requirements2(&asked, &mut requirements) };
        let vk::MemoryRequirements { size, memory_type_bits, .. } = requirements.memory_requirements;
        let alone = dedicated.requires_dedicated_allocation != 0;
        // SAFETY: the image lives and is linear.
        let layout =
            unsafe { self.count().get_image_subresource_layout(image, vk::ImageSubresource::default().aspect_mask(aspect)) };
        assert!(layout.row_pitch >= u64::from(width) * 4);
        let seen = vk::MemoryPropertyFlags::HOST_VISIBLE | vk::MemoryPropertyFlags::HOST_COHERENT;
        let serves = |index: u32| memory_type_bits & 1 << index != 0 && self.memory_types[index as usize].contains(seen);
        let memory_type = (0..self.memory_types.len() as u32).find(|index| serves(*index)).unwrap();
        let bytes = if alone { size } else { size.next_multiple_of(4096) };
        let mut export = vk::ExportMemoryAllocateInfo::default().handle_types(self.handle);
        let mut own = vk::MemoryDedicatedAllocateInfo::default().image(image);
        let mut info =
            vk::MemoryAllocateInfo::default().allocation_size(bytes).memory_type_index(memory_type).push_next(&mut export);
        if alone {
            info = info.push_next(&mut own);
        }
        // SAFETY: the chain lives until the call returns.
        let memory = unsafe { self.count().allocate_memory(&info, None) }.unwrap();
        // SAFETY: the memory is of a type that the CPU sees.
        let map = unsafe { self.count().map_memory(memory, 0, vk::WHOLE_SIZE, vk::MemoryMapFlags::empty()) }.unwrap();
        // SAFETY: the memory is the image's, by its requirements.
        unsafe { self.count().bind_image_memory(image, memory, 0) }.unwrap();
        if self.handle == vk::ExternalMemoryHandleTypeFlags::OPAQUE_FD {
            self.hand_over(image);
        }
        // SAFETY: all of it is mapped.
        unsafe { std::ptr::write_bytes(map.cast::<u8>(), 0, bytes as usize) };
        let info = vk::MemoryGetFdInfoKHR::default().memory(memory).handle_type(self.handle);
        self.calls += 1;
        // SAFETY: the memory was made to be exported.
        let fd = unsafe { self.memory_fd.get_memory_fd(&info) }.unwrap();
        // SAFETY: the driver gives a new descriptor.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
        // SAFETY: nobody uses it any more.
        unsafe { self.count().destroy_image(image, None) };
        // SAFETY: nobody uses it any more.
        unsafe { self.count().free_memory(memory, None) };
    }

    /// Another device of the driver takes the image over from a layout that is known.
    fn hand_over(&mut self, image: vk::Image) {
        let (commands, pool, queue, fences) = (self.commands, self.pool, self.queue, [self.fence]);
        // SAFETY: the last submission was waited for.
        unsafe { self.count().reset_command_pool(pool, vk::CommandPoolResetFlags::empty()) }.unwrap();
        // SAFETY: as before.
        unsafe { self.count().reset_fences(&fences) }.unwrap();
        // SAFETY: the command buffer was reset.
        unsafe { self.count().begin_command_buffer(commands, &vk::CommandBufferBeginInfo::default()) }.unwrap();
        let barrier = vk::ImageMemoryBarrier::default()
            .image(image)
            .new_layout(vk::ImageLayout::GENERAL)
            .dst_queue_family_index(vk::QUEUE_FAMILY_EXTERNAL)
            .subresource_range(vk::ImageSubresourceRange {
                aspect_mask: vk::ImageAspectFlags::COLOR,
                level_count: 1,
                layer_count: 1,
                ..vk::ImageSubresourceRange::default()
            });
        let (before, after) = (vk::PipelineStageFlags::TOP_OF_PIPE, vk::PipelineStageFlags::ALL_COMMANDS);
        let no = vk::DependencyFlags::empty();
        // SAFETY: the command buffer is being recorded, and the image lives.
        unsafe { self.count().cmd_pipeline_barrier(commands, before, after, no, &[], &[], &[barrier]) };
        // SAFETY: it was begun.
        unsafe { self.count().end_command_buffer(commands) }.unwrap();
        let buffers = [commands];
        let submit = [vk::SubmitInfo::default().command_buffers(&buffers)];
        // SAFETY: the queue is this thread's.
        unsafe { self.count().queue_submit(queue, &submit, fences[0]) }.unwrap();
        // SAFETY: the fence was submitted.
        unsafe { self.count().wait_for_fences(&fences, true, u64::MAX) }.unwrap();
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // SAFETY: every submission was waited for.
        unsafe { self.device.destroy_fence(self.fence, None) };
        // SAFETY: as before; the command buffer goes with it.
        unsafe { self.device.destroy_command_pool(self.pool, None) };
        // SAFETY: all that was made on it is gone.
        unsafe { self.device.destroy_device(None) };
    }
}
