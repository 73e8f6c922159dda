//! Vulkan's calls as methods that keep its rules about lifetimes, threads and ranges: all `unsafe` of the resolver is here.
//!
//! What is made holds what it was made of, so nothing is destroyed too early, and everything is destroyed when it is dropped.

#![allow(unsafe_code)]

mod commands;
mod device;
mod faults;
mod objects;

use ash::{ext, vk};
use std::ffi::{CStr, c_void};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;

pub use commands::{Region, Use};
pub use device::Device;
#[cfg(test)]
pub use faults::Lie;
pub use objects::{Buffer, Image, Memory, MemorySpec, Requirements};

/// The version that is asked for, and the least that serves.
pub const VERSION: u32 = vk::API_VERSION_1_2;

/// Said of images with a modifier on drivers that tell its features in the first of Vulkan's two lists, which the probe reads,
/// and do not know the second, which the layer reads (Mesa 25.0's software).
const NO_FEATURES: &str = "VkFormatFeatureFlags2(0)";

/// The complaints that are kept.
const COMPLAINTS: usize = 16;

const VALIDATION: &CStr = c"VK_LAYER_KHRONOS_validation";

/// A call that the driver refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{call}: {result:?}")]
pub struct CallFailed {
    /// The call's name.
    pub call: &'static str,
    /// What it returned.
    pub result: vk::Result,
}

/// Names the call of a failure.
fn of(call: &'static str) -> impl Fn(vk::Result) -> CallFailed {
    move |result| CallFailed { call, result }
}

/// Why there is no Vulkan here.
#[derive(Debug, Error)]
pub enum LoadError {
    #[error("its loader: {0}")]
    Loader(#[from] ash::LoadingError),
    #[error("its loader is older than 1.2")]
    Old,
    #[error(transparent)]
    Call(#[from] CallFailed),
}

/// The loader with its drivers.
pub struct Instance {
    raw: ash::Instance,
    /// Calls of the driver.
    calls: AtomicU64,
    messenger: Option<Messenger>,
    /// The library, which goes last.
    _entry: ash::Entry,
}

/// Where the validation layer complains.
struct Messenger {
    functions: ext::debug_utils::Instance,
    raw: vk::DebugUtilsMessengerEXT,
    complaints: Arc<Mutex<Vec<String>>>,
}

impl Instance {
    /// Loads the drivers; with `validation`, and the layer that checks every call where it is installed.
    pub fn load(validation: bool) -> Result<Arc<Self>, LoadError> {
        // SAFETY: the loader and its drivers run code when they are loaded, as every Vulkan program trusts them to.
        let entry = unsafe { ash::Entry::load() }?;
        // SAFETY: the loader is there.
        let version = unsafe { entry.try_enumerate_instance_version() }.map_err(of("vkEnumerateInstanceVersion"))?;
        if version.is_none_or(|version| version < VERSION) {
            return Err(LoadError::Old);
        }
        // SAFETY: the loader is there.
        let layers = unsafe { entry.enumerate_instance_layer_properties() }.map_err(of("vkEnumerateInstanceLayerProperties"))?;
        let validation = validation && layers.iter().any(|layer| layer.layer_name_as_c_str() == Ok(VALIDATION));
        let count = usize::from(validation);
        let (layers, extensions) = ([VALIDATION.as_ptr()], [ext::debug_utils::NAME.as_ptr()]);
        let application = vk::ApplicationInfo::default().application_name(c"virgbm").api_version(VERSION);
        let info = vk::InstanceCreateInfo::default()
            .application_info(&application)
            .enabled_layer_names(layers.get(..count).unwrap_or(&[]))
            .enabled_extension_names(extensions.get(..count).unwrap_or(&[]));
        // SAFETY: the names are strings with an end, and the layer was found, which has the extension.
        let raw = unsafe { entry.create_instance(&info, None) }.map_err(of("vkCreateInstance"))?;
        let mut instance = Self { raw, calls: AtomicU64::new(0), messenger: None, _entry: entry };
        if validation {
            instance.messenger = Some(instance.listen()?);
        }
        Ok(Arc::new(instance))
    }

    /// The instance, for one call.
    fn vk(&self) -> &ash::Instance {
        self.count();
        &self.raw
    }

    fn count(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// How often the driver was called, by all devices of this instance.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    fn listen(&self) -> Result<Messenger, CallFailed> {
        let functions = ext::debug_utils::Instance::new(&self._entry, &self.raw);
        let complaints = Arc::<Mutex<Vec<String>>>::default();
        let info = vk::DebugUtilsMessengerCreateInfoEXT::default()
            .message_severity(vk::DebugUtilsMessageSeverityFlagsEXT::WARNING | vk::DebugUtilsMessageSeverityFlagsEXT::ERROR)
            .message_type(vk::DebugUtilsMessageTypeFlagsEXT::VALIDATION)
            .pfn_user_callback(Some(hear))
            .user_data(Arc::as_ptr(&complaints).cast_mut().cast());
        // SAFETY: the extension is enabled, and the list lives in the messenger, which goes before it.
        let raw = unsafe { functions.create_debug_utils_messenger(&info, None) }.map_err(of("vkCreateDebugUtilsMessengerEXT"))?;
        Ok(Messenger { functions, raw, complaints })
    }

    /// The first complaints of the validation layer; `None` where it is not there or not asked for.
    pub fn complaints(&self) -> Option<Vec<String>> {
        let complaints = &self.messenger.as_ref()?.complaints;
        Some(complaints.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// The devices, in the loader's order, which may change from one start to the next.
    pub fn adapters(self: &Arc<Self>) -> Result<Vec<Adapter>, CallFailed> {
        // SAFETY: the instance lives.
        let found = unsafe { self.vk().enumerate_physical_devices() }.map_err(of("vkEnumeratePhysicalDevices"))?;
        Ok(found.into_iter().map(|raw| Adapter { instance: self.clone(), raw }).collect())
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(messenger) = &self.messenger {
            // SAFETY: it is of this instance, and destroyed only here.
            unsafe { messenger.functions.destroy_debug_utils_messenger(messenger.raw, None) };
        }
        // SAFETY: what was made of it held it, so all of that is gone.
        unsafe { self.raw.destroy_instance(None) };
    }
}

/// What the validation layer calls.
unsafe extern "system" fn hear(
    _: vk::DebugUtilsMessageSeverityFlagsEXT,
    _: vk::DebugUtilsMessageTypeFlagsEXT,
    data: *const vk::DebugUtilsMessengerCallbackDataEXT<'_>,
    complaints: *mut c_void,
) -> vk::Bool32 {
    // SAFETY: the list is that of the messenger, which is destroyed before it is.
    let complaints = unsafe { &*complaints.cast::<Mutex<Vec<String>>>() };
    // SAFETY: the layer gives a valid structure for the time of the call.
    let data = unsafe { &*data };
    // SAFETY: the message is a string with an end, or null.
    let message = unsafe { data.message_as_c_str() };
    let message = message.unwrap_or_default().to_string_lossy();
    if message.contains(NO_FEATURES) && message.contains("TILING_DRM_FORMAT_MODIFIER") {
        return vk::FALSE;
    }
    log::error!("Vulkan validation: {message}");
    let mut complaints = complaints.lock().unwrap_or_else(PoisonError::into_inner);
    if complaints.len() < COMPLAINTS {
        complaints.push(message.into_owned());
    }
    vk::FALSE
}

/// A device as the loader lists it.
#[derive(Clone)]
pub struct Adapter {
    instance: Arc<Instance>,
    raw: vk::PhysicalDevice,
}

/// What a device says of itself.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its name, and its driver's.
    pub name: String,
    pub driver: String,
    pub kind: vk::PhysicalDeviceType,
    pub uuid: [u8; 16],
    pub driver_uuid: [u8; 16],
    /// Major and minor number of its primary and its render node.
    pub nodes: Vec<(i64, i64)>,
    pub version: u32,
    /// The largest side of a 2D image in texels, and the most array layers.
    pub largest_side: u32,
    pub most_layers: u32,
    pub memory_types: Vec<vk::MemoryPropertyFlags>,
    /// The first queue family that copies and clears.
    pub queue_family: Option<u32>,
    pub extensions: Extensions,
}

/// The extensions that are used where they are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// VK_EXT_image_drm_format_modifier.
    pub modifiers: bool,
    /// VK_KHR_external_memory_fd, and with it VK_EXT_external_memory_dma_buf.
    pub memory_fd: bool,
    pub dma_buf: bool,
    /// VK_EXT_queue_family_foreign.
    pub foreign: bool,
}

/// What can be done with a format.
#[derive(Clone, Debug, Default)]
pub struct FormatFacts {
    /// Of a linear image without a modifier.
    pub linear: vk::FormatFeatureFlags,
    pub modifiers: Vec<vk::DrmFormatModifierPropertiesEXT>,
}

/// How the texels of an image lie.
#[derive(Clone, Copy, Debug)]
pub enum Tiling<'a> {
    Linear,
    Optimal,
    /// As one of these modifiers says, which the driver chooses.
    Modifiers(&'a [u64]),
    /// With this modifier, and its planes at these places.
    Explicit {
        modifier: u64,
        places: &'a [vk::SubresourceLayout],
    },
}

impl Tiling<'_> {
    fn first_modifier(self) -> Option<u64> {
        match self {
            Self::Linear | Self::Optimal => None,
            Self::Modifiers(list) => list.first().copied(),
            Self::Explicit { modifier, .. } => Some(modifier),
        }
    }

    pub fn raw(self) -> vk::ImageTiling {
        match self {
            Self::Linear => vk::ImageTiling::LINEAR,
            Self::Optimal => vk::ImageTiling::OPTIMAL,
            Self::Modifiers(_) | Self::Explicit { .. } => vk::ImageTiling::DRM_FORMAT_MODIFIER_EXT,
        }
    }
}

/// What memory is for those outside of its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handle {
    /// A dma-buf.
    DmaBuf,
    /// A descriptor that only the same driver understands.
    Opaque,
}

impl Handle {
    /// What such memory leaves as, for lists.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DmaBuf => "dma-bufs",
            Self::Opaque => "opaque descriptors",
        }
    }

    fn raw(self) -> vk::ExternalMemoryHandleTypeFlags {
        match self {
            Self::DmaBuf => vk::ExternalMemoryHandleTypeFlags::DMA_BUF_EXT,
            Self::Opaque => vk::ExternalMemoryHandleTypeFlags::OPAQUE_FD,
        }
    }
}

/// An image to be made.
#[derive(Clone, Copy, Debug)]
pub struct ImageSpec<'a> {
    pub flags: vk::ImageCreateFlags,
    pub kind: vk::ImageType,
    pub format: vk::Format,
    pub extent: vk::Extent3D,
    pub levels: u32,
    pub layers: u32,
    pub samples: vk::SampleCountFlags,
    pub usage: vk::ImageUsageFlags,
    pub view_formats: &'a [vk::Format],
    pub tiling: Tiling<'a>,
    /// As what its memory leaves or comes.
    pub shared: Option<Handle>,
}

/// The limits of an image, and whether its memory leaves, and comes, as was asked.
#[derive(Clone, Copy, Debug)]
pub struct ImageLimits {
    pub extent: vk::Extent3D,
    pub levels: u32,
    pub layers: u32,
    pub samples: vk::SampleCountFlags,
    pub exportable: bool,
    pub importable: bool,
}

impl Adapter {
    /// What it says of itself.
    pub fn facts(&self) -> Result<Facts, CallFailed> {
        let instance = self.instance.vk();
        // SAFETY: the device is one of the instance's.
        let extensions = unsafe { instance.enumerate_device_extension_properties(self.raw) }
            .map_err(of("vkEnumerateDeviceExtensionProperties"))?;
        let has = |name: &CStr| extensions.iter().any(|extension| extension.extension_name_as_c_str() == Ok(name));
        let (mut ids, mut driver, mut drm) = <(
            vk::PhysicalDeviceIDProperties<'_>,
            vk::PhysicalDeviceDriverProperties<'_>,
            vk::PhysicalDeviceDrmPropertiesEXT<'_>,
        )>::default();
        let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut ids).push_next(&mut driver);
        if has(ext::physical_device_drm::NAME) {
            properties = properties.push_next(&mut drm);
        }
        // SAFETY: the device is one of the instance's, and the chain has what its version and extensions know.
        unsafe { instance.get_physical_device_properties2(self.raw, &mut properties) };
        let properties = properties.properties;
        // SAFETY: the device is one of the instance's.
        let memory = unsafe { instance.get_physical_device_memory_properties(self.raw) };
        // SAFETY: the device is one of the instance's.
        let families = unsafe { instance.get_physical_device_queue_family_properties(self.raw) };
        let works = |family: &vk::QueueFamilyProperties| {
            family.queue_flags.intersects(vk::QueueFlags::GRAPHICS | vk::QueueFlags::COMPUTE)
        };
        let text =
            |name: Result<&CStr, _>| name.map_or_else(|_| String::new(), |name: &CStr| name.to_string_lossy().into_owned());
        let primary = (drm.has_primary != 0).then_some((drm.primary_major, drm.primary_minor));
        let render = (drm.has_render != 0).then_some((drm.render_major, drm.render_minor));
        Ok(Facts {
            name: text(properties.device_name_as_c_str()),
            driver: format!("{} {}", text(driver.driver_name_as_c_str()), text(driver.driver_info_as_c_str())),
            kind: properties.device_type,
            uuid: ids.device_uuid,
            driver_uuid: ids.driver_uuid,
            nodes: primary.into_iter().chain(render).collect(),
            version: properties.api_version,
            largest_side: properties.limits.max_image_dimension2_d,
            most_layers: properties.limits.max_image_array_layers,
            memory_types: memory.memory_types_as_slice().iter().map(|kind| kind.property_flags).collect(),
            queue_family: families.iter().position(works).and_then(|index| u32::try_from(index).ok()),
            extensions: Extensions {
                modifiers: has(ext::image_drm_format_modifier::NAME),
                memory_fd: has(ash::khr::external_memory_fd::NAME),
                dma_buf: has(ash::khr::external_memory_fd::NAME) && has(ext::external_memory_dma_buf::NAME),
                foreign: has(ext::queue_family_foreign::NAME),
            },
        })
    }

    /// What can be done with a format.
    pub fn format(&self, format: vk::Format, modifiers: bool) -> FormatFacts {
        let mut counted = vk::DrmFormatModifierPropertiesListEXT::default();
        let mut entries = Vec::new();
        if modifiers {
            let mut properties = vk::FormatProperties2::default().push_next(&mut counted);
            // SAFETY: the device is one of the instance's and has the extension; without an array it counts.
            unsafe { self.instance.vk().get_physical_device_format_properties2(self.raw, format, &mut properties) };
            entries = vec![vk::DrmFormatModifierPropertiesEXT::default(); counted.drm_format_modifier_count as usize];
        }
        let mut list = vk::DrmFormatModifierPropertiesListEXT::default().drm_format_modifier_properties(&mut entries);
        let mut properties = vk::FormatProperties2::default();
        if modifiers {
            properties = properties.push_next(&mut list);
        }
        // SAFETY: the device is one of the instance's; the list is chained where it has the extension, with its true length.
        unsafe { self.instance.vk().get_physical_device_format_properties2(self.raw, format, &mut properties) };
        let linear = properties.format_properties.linear_tiling_features;
        let filled = list.drm_format_modifier_count as usize;
        entries.truncate(filled);
        FormatFacts { linear, modifiers: entries }
    }

    /// The limits of such an image, with the first of its modifiers.
    fn limits(&self, spec: &ImageSpec<'_>) -> Result<ImageLimits, CallFailed> {
        let mut info = vk::PhysicalDeviceImageFormatInfo2::default()
            .format(spec.format)
            .ty(spec.kind)
            .tiling(spec.tiling.raw())
            .usage(spec.usage)
            .flags(spec.flags);
        let mut external = vk::PhysicalDeviceExternalImageFormatInfo::default();
        if let Some(handle) = spec.shared {
            external = external.handle_type(handle.raw());
            info = info.push_next(&mut external);
        }
        let mut modifier = vk::PhysicalDeviceImageDrmFormatModifierInfoEXT::default().sharing_mode(vk::SharingMode::EXCLUSIVE);
        if let Some(first) = spec.tiling.first_modifier() {
            modifier = modifier.drm_format_modifier(first);
            info = info.push_next(&mut modifier);
        }
        let mut views = vk::ImageFormatListCreateInfo::default().view_formats(spec.view_formats);
        if !spec.view_formats.is_empty() {
            info = info.push_next(&mut views);
        }
        let mut shared = vk::ExternalImageFormatProperties::default();
        let mut properties = vk::ImageFormatProperties2::default();
        if spec.shared.is_some() {
            properties = properties.push_next(&mut shared);
        }
        // SAFETY: the device is one of the instance's, and the chains have what it knows: callers ask for a modifier or a handle
        // only where it has the extension.
        unsafe { self.instance.vk().get_physical_device_image_format_properties2(self.raw, &info, &mut properties) }
            .map_err(of("vkGetPhysicalDeviceImageFormatProperties2"))?;
        let vk::ImageFormatProperties { max_extent, max_mip_levels, max_array_layers, sample_counts, .. } =
            properties.image_format_properties;
        let features = shared.external_memory_properties.external_memory_features;
        Ok(ImageLimits {
            extent: max_extent,
            levels: max_mip_levels,
            layers: max_array_layers,
            samples: sample_counts,
            exportable: features.contains(vk::ExternalMemoryFeatureFlags::EXPORTABLE),
            importable: features.contains(vk::ExternalMemoryFeatureFlags::IMPORTABLE),
        })
    }
}
