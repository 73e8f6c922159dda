//! The opened device: one queue, and the count of what was made on it.

use super::commands::Commands;
use super::faults::Faults;
use super::{Adapter, CallFailed, Extensions, Facts, Handle, ImageLimits, ImageSpec, Instance, of};
use ash::{ext, khr, vk};
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A device that is open until everything that was made on it is gone.
pub struct Device {
    raw: ash::Device,
    modifiers: Option<ext::image_drm_format_modifier::Device>,
    memory_fd: Option<khr::external_memory_fd::Device>,
    pub(super) queue_family: u32,
    pub(super) commands: Mutex<Commands>,
    facts: Facts,
    adapter: Adapter,
    live: AtomicUsize,
    lost: AtomicBool,
    pub faults: Faults,
}

impl Device {
    /// Opens a device with the extensions that `facts` has.
    pub fn open(adapter: &Adapter, facts: &Facts) -> Result<Arc<Self>, CallFailed> {
        let call = "vkCreateDevice";
        let queue_family = facts.queue_family.ok_or(CallFailed { call, result: vk::Result::ERROR_FEATURE_NOT_PRESENT })?;
        let Extensions { modifiers, memory_fd, dma_buf, foreign } = facts.extensions;
        let wanted: [(bool, &CStr); 4] = [
            (modifiers, ext::image_drm_format_modifier::NAME),
            (memory_fd, khr::external_memory_fd::NAME),
            (dma_buf, ext::external_memory_dma_buf::NAME),
            (foreign, ext::queue_family_foreign::NAME),
        ];
        let names: Vec<_> = wanted.iter().filter(|(there, _)| *there).map(|(_, name)| name.as_ptr()).collect();
        let queues = [vk::DeviceQueueCreateInfo::default().queue_family_index(queue_family).queue_priorities(&[1.0])];
        let info = vk::DeviceCreateInfo::default().queue_create_infos(&queues).enabled_extension_names(&names);
        let instance = adapter.instance.vk();
        // SAFETY: the device is one of the instance's and has the extensions and the queue family; the names have an end.
        let raw = unsafe { instance.create_device(adapter.raw, &info, None) }.map_err(of(call))?;
        let commands = Commands::new(&raw, queue_family).inspect_err(|_| {
            // SAFETY: nothing was made on it.
            unsafe { raw.destroy_device(None) };
        })?;
        Ok(Arc::new(Self {
            modifiers: modifiers.then(|| ext::image_drm_format_modifier::Device::new(instance, &raw)),
            memory_fd: memory_fd.then(|| khr::external_memory_fd::Device::new(instance, &raw)),
            raw,
            queue_family,
            commands: Mutex::new(commands),
            facts: facts.clone(),
            adapter: adapter.clone(),
            live: AtomicUsize::new(0),
            lost: AtomicBool::new(false),
            faults: Faults::default(),
        }))
    }

    /// What it says of itself.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The device as the loader lists it, to ask about formats.
    pub fn adapter(&self) -> &Adapter {
        &self.adapter
    }

    /// The limits of such an image, with the first of its modifiers.
    pub fn limits(&self, spec: &ImageSpec<'_>) -> Result<ImageLimits, CallFailed> {
        self.adapter.limits(spec).map(|limits| self.faults.limits(limits))
    }

    /// The loader that it came from.
    pub fn instance(&self) -> &Instance {
        &self.adapter.instance
    }

    /// How many images, buffers and memories there are.
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// The device, for one call.
    pub(super) fn vk(&self) -> &ash::Device {
        self.instance().count();
        &self.raw
    }

    /// The calls of VK_EXT_image_drm_format_modifier, for one of them.
    pub(super) fn modifiers(&self) -> Option<&ext::image_drm_format_modifier::Device> {
        self.modifiers.as_ref().inspect(|_| self.instance().count())
    }

    /// The calls of VK_KHR_external_memory_fd, for one of them.
    pub(super) fn memory_fd(&self) -> Option<&khr::external_memory_fd::Device> {
        self.memory_fd.as_ref().inspect(|_| self.instance().count())
    }

    /// Where shared images rest when this device does not use them: with any device, or with others of the same driver.
    pub(super) fn family_outside(&self, handle: Handle) -> u32 {
        let any = handle == Handle::DmaBuf && self.facts.extensions.foreign;
        if any { vk::QUEUE_FAMILY_FOREIGN_EXT } else { vk::QUEUE_FAMILY_EXTERNAL }
    }

    /// Which memory types can be the memory of a dma-buf, a bit each.
    pub fn types_of(&self, dma_buf: BorrowedFd<'_>) -> Result<u32, CallFailed> {
        let call = "vkGetMemoryFdPropertiesKHR";
        let functions = self.memory_fd().filter(|_| self.facts.extensions.dma_buf);
        let functions = functions.ok_or(CallFailed { call, result: vk::Result::ERROR_EXTENSION_NOT_PRESENT })?;
        let mut properties = vk::MemoryFdPropertiesKHR::default();
        let (kind, fd) = (Handle::DmaBuf.raw(), dma_buf.as_raw_fd());
        // SAFETY: the device has both extensions, and the descriptor lives.
        self.call(call, || unsafe { functions.get_memory_fd_properties(kind, fd, &mut properties) })?;
        Ok(properties.memory_type_bits)
    }

    /// Makes a call; a device that was lost once is asked no more.
    pub(super) fn call<T>(&self, call: &'static str, work: impl FnOnce() -> ash::prelude::VkResult<T>) -> Result<T, CallFailed> {
        if self.lost.load(Ordering::Relaxed) {
            return Err(CallFailed { call, result: vk::Result::ERROR_DEVICE_LOST });
        }
        self.faults.stumble().and_then(|()| work()).map_err(|result| {
            if result == vk::Result::ERROR_DEVICE_LOST {
                self.lose(call);
            }
            CallFailed { call, result }
        })
    }

    /// Asks the device no more.
    pub(super) fn lose(&self, call: &'static str) {
        if !self.lost.swap(true, Ordering::Relaxed) {
            log::error!("Vulkan: {} was lost in {call}: no more images are made", self.facts.name);
        }
    }

    /// The same for what is counted until its owner calls [`destroyed`](Self::destroyed).
    pub(super) fn make<T>(&self, call: &'static str, work: impl FnOnce() -> ash::prelude::VkResult<T>) -> Result<T, CallFailed> {
        self.call(call, work).inspect(|_| {
            self.live.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// Something counted is gone.
    pub(super) fn destroyed(&self) {
        self.live.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let commands = self.commands.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        commands.destroy(&self.raw);
        // SAFETY: what was made on it held it, so all of that is gone, and every submission was waited for.
        unsafe { self.raw.destroy_device(None) };
    }
}
