//! What the device's queue does: copies and clears, each waited for.

use super::{Buffer, CallFailed, Device, Image, of};
use ash::vk;
use std::sync::PoisonError;

/// The queue with the one command buffer that is used for everything.
pub struct Commands {
    queue: vk::Queue,
    pool: vk::CommandPool,
    buffer: vk::CommandBuffer,
    fence: vk::Fence,
}

impl Commands {
    pub(super) fn new(device: &ash::Device, queue_family: u32) -> Result<Self, CallFailed> {
        // SAFETY: the device was made with one queue of this family.
        let queue = unsafe { device.get_device_queue(queue_family, 0) };
        let info = vk::CommandPoolCreateInfo::default().queue_family_index(queue_family);
        // SAFETY: the device lives and has the family.
        let pool = unsafe { device.create_command_pool(&info, None) }.map_err(of("vkCreateCommandPool"))?;
        let mut commands = Self { queue, pool, buffer: vk::CommandBuffer::null(), fence: vk::Fence::null() };
        commands.fill(device).inspect_err(|_| commands.destroy(device))?;
        Ok(commands)
    }

    fn fill(&mut self, device: &ash::Device) -> Result<(), CallFailed> {
        let info = vk::CommandBufferAllocateInfo::default().command_pool(self.pool).command_buffer_count(1);
        // SAFETY: the pool lives.
        let buffers = unsafe { device.allocate_command_buffers(&info) }.map_err(of("vkAllocateCommandBuffers"))?;
        self.buffer = buffers.first().copied().unwrap_or_default();
        // SAFETY: the device lives.
        self.fence = unsafe { device.create_fence(&vk::FenceCreateInfo::default(), None) }.map_err(of("vkCreateFence"))?;
        Ok(())
    }

    pub(super) fn destroy(&self, device: &ash::Device) {
        // SAFETY: every submission was waited for; a null handle is ignored.
        unsafe { device.destroy_fence(self.fence, None) };
        // SAFETY: the same; its command buffer goes with it.
        unsafe { device.destroy_command_pool(self.pool, None) };
    }
}

/// What is done with an image, before or after a barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It has just been made, and what is in it does not matter.
    New,
    /// Its texels are read by a copy.
    Source,
    /// Its texels are written by a copy or a clear.
    Destination,
    /// The CPU or others use it.
    Released,
}

/// The texels of one plane: where they are in a buffer, and their extent in texels of the plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    pub aspect: vk::ImageAspectFlags,
    /// From the start of the buffer, and from one row to the next in texels.
    pub offset_bytes: u64,
    pub row_texels: u32,
    pub width: u32,
    pub height: u32,
    /// How many layers, from the first on, lie one behind the other in the buffer.
    pub layers: u32,
    /// Where the last byte of all of them ends in the buffer.
    pub end_bytes: u64,
}

/// What one submission does.
pub struct Recorder<'a> {
    device: &'a Device,
    buffer: vk::CommandBuffer,
}

impl Device {
    /// Lets the queue do what `record` says, and waits for it: a GPU that hangs is reset by its kernel driver, which ends that.
    pub fn submit(&self, record: impl FnOnce(&Recorder<'_>)) -> Result<(), CallFailed> {
        let commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        let Commands { queue, pool, buffer, fence } = *commands;
        let reset = vk::CommandPoolResetFlags::empty();
        // SAFETY: the lock is held, and the last submission was waited for.
        self.call("vkResetCommandPool", || unsafe { self.vk().reset_command_pool(pool, reset) })?;
        // SAFETY: as before.
        self.call("vkResetFences", || unsafe { self.vk().reset_fences(&[fence]) })?;
        let begin = vk::CommandBufferBeginInfo::default().flags(vk::CommandBufferUsageFlags::ONE_TIME_SUBMIT);
        // SAFETY: the command buffer was reset with its pool.
        self.call("vkBeginCommandBuffer", || unsafe { self.vk().begin_command_buffer(buffer, &begin) })?;
        let recorder = Recorder { device: self, buffer };
        record(&recorder);
        recorder.show_to_cpu();
        // SAFETY: it was begun.
        self.call("vkEndCommandBuffer", || unsafe { self.vk().end_command_buffer(buffer) })?;
        let buffers = [buffer];
        let submit = [vk::SubmitInfo::default().command_buffers(&buffers)];
        // SAFETY: the lock is held; what was recorded outlives the wait below, since `record` borrowed it from the caller.
        self.call("vkQueueSubmit", || unsafe { self.vk().queue_submit(queue, &submit, fence) })?;
        // SAFETY: the fence was submitted. Nothing may fail before it: what the queue works on must not go.
        unsafe { self.vk().wait_for_fences(&[fence], true, u64::MAX) }.map_err(|result| {
            // Whatever the reason: the queue still works on what the caller will free, so nothing more goes there.
            self.lose("vkWaitForFences");
            CallFailed { call: "vkWaitForFences", result }
        })
    }
}

impl Recorder<'_> {
    /// Orders what is done with an image, and moves it between this queue and others where it is shared.
    pub fn turn(&self, image: &Image, from: Use, to: Use) {
        let (source, destination) = (self.state(image, from), self.state(image, to));
        // A new image belongs to nobody, so there is nothing to move.
        let moved = from != Use::New && image.shared.is_some() && source.family != destination.family;
        let ignored = (vk::QUEUE_FAMILY_IGNORED, vk::QUEUE_FAMILY_IGNORED);
        let released = image.shared.is_some() && to == Use::Released;
        let families = if moved || released { (source.family, destination.family) } else { ignored };
        let barrier = vk::ImageMemoryBarrier::default()
            .image(image.raw)
            .subresource_range(whole(image))
            .old_layout(source.layout)
            .new_layout(destination.layout)
            .src_access_mask(source.access)
            .dst_access_mask(destination.access)
            .src_queue_family_index(families.0)
            .dst_queue_family_index(families.1);
        let (before, after, no) = (source.stage, destination.stage, vk::DependencyFlags::empty());
        // SAFETY: the command buffer is being recorded, and the image lives until the submission was waited for.
        unsafe { self.device.vk().cmd_pipeline_barrier(self.buffer, before, after, no, &[], &[], &[barrier]) };
    }

    fn state(&self, image: &Image, used: Use) -> State {
        use vk::{AccessFlags as A, ImageLayout as L, PipelineStageFlags as S};
        let ours = self.device.queue_family;
        let others = image.shared.map_or(ours, |handle| self.device.family_outside(handle));
        let (layout, access, stage, family) = match used {
            Use::New => (L::UNDEFINED, A::empty(), S::TOP_OF_PIPE, ours),
            Use::Source => (L::TRANSFER_SRC_OPTIMAL, A::TRANSFER_READ, S::TRANSFER, ours),
            Use::Destination => (L::TRANSFER_DST_OPTIMAL, A::TRANSFER_WRITE, S::TRANSFER, ours),
            Use::Released => (L::GENERAL, A::MEMORY_READ | A::MEMORY_WRITE, S::ALL_COMMANDS, others),
        };
        State { layout, access, stage, family }
    }

    /// Fills every texel of an image in [`Use::Destination`] with zeroes.
    pub fn clear(&self, image: &Image) {
        let (layout, colour) = (vk::ImageLayout::TRANSFER_DST_OPTIMAL, vk::ClearColorValue::default());
        // SAFETY: the command buffer is being recorded, and the image lives until the submission was waited for.
        unsafe { self.device.vk().cmd_clear_color_image(self.buffer, image.raw, layout, &colour, &[whole(image)]) };
    }

    /// Copies regions of an image in [`Use::Source`]; those beyond the buffer's end are left out.
    pub fn read(&self, image: &Image, buffer: &Buffer, regions: &[Region]) {
        let copies = copies(buffer, regions);
        if copies.is_empty() {
            return;
        }
        let (from, to, layout) = (image.raw, buffer.raw.handle, vk::ImageLayout::TRANSFER_SRC_OPTIMAL);
        // SAFETY: the command buffer is being recorded, both live until the submission was waited for, the regions are inside.
        unsafe { self.device.vk().cmd_copy_image_to_buffer(self.buffer, from, layout, to, &copies) };
    }

    /// Copies regions to an image in [`Use::Destination`]; those beyond the buffer's end are left out.
    pub fn write(&self, image: &Image, buffer: &Buffer, regions: &[Region]) {
        let copies = copies(buffer, regions);
        if copies.is_empty() {
            return;
        }
        let (from, to, layout) = (buffer.raw.handle, image.raw, vk::ImageLayout::TRANSFER_DST_OPTIMAL);
        // SAFETY: the command buffer is being recorded, both live until the submission was waited for, the regions are inside.
        unsafe { self.device.vk().cmd_copy_buffer_to_image(self.buffer, from, to, layout, &copies) };
    }

    /// What was written is there when the CPU looks after the wait.
    fn show_to_cpu(&self) {
        let barrier = vk::MemoryBarrier::default()
            .src_access_mask(vk::AccessFlags::TRANSFER_WRITE)
            .dst_access_mask(vk::AccessFlags::HOST_READ | vk::AccessFlags::HOST_WRITE);
        let (before, after) = (vk::PipelineStageFlags::TRANSFER, vk::PipelineStageFlags::HOST);
        let no = vk::DependencyFlags::empty();
        // SAFETY: the command buffer is being recorded.
        unsafe { self.device.vk().cmd_pipeline_barrier(self.buffer, before, after, no, &[barrier], &[], &[]) };
    }
}

/// What a barrier says of one side.
struct State {
    layout: vk::ImageLayout,
    access: vk::AccessFlags,
    stage: vk::PipelineStageFlags,
    family: u32,
}

fn whole(image: &Image) -> vk::ImageSubresourceRange {
    vk::ImageSubresourceRange {
        aspect_mask: vk::ImageAspectFlags::COLOR,
        base_mip_level: 0,
        level_count: image.levels,
        base_array_layer: 0,
        layer_count: image.layers,
    }
}

fn copies(buffer: &Buffer, regions: &[Region]) -> Vec<vk::BufferImageCopy> {
    let inside = regions.iter().filter(|region| region.end_bytes <= buffer.memory.bytes());
    inside
        .map(|region| {
            let layers = vk::ImageSubresourceLayers {
                aspect_mask: region.aspect,
                mip_level: 0,
                base_array_layer: 0,
                layer_count: region.layers,
            };
            vk::BufferImageCopy::default()
                .buffer_offset(region.offset_bytes)
                .buffer_row_length(region.row_texels)
                .image_subresource(layers)
                .image_extent(vk::Extent3D { width: region.width, height: region.height, depth: 1 })
        })
        .collect()
}
