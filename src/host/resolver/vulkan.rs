//! [`VulkanResolver`]: images of the host's GPU, or of a Vulkan that draws in software.
//!
//! What it offers was seen to work on this driver: for each format and modifier an image was made, exported, filled by the CPU
//! and by the GPU, and compared. Memory leaves as dma-bufs. Where the driver gives none that really is one, it leaves for another
//! Vulkan of the same driver only, and what the guest's CPU does goes by transfers. A format that Vulkan has not (NV21, whose chroma
//! is a swizzle there; depth, whose bytes no driver tells) is left to others.

mod asked;
mod device;
mod formats;
mod image;
mod import;
mod maker;
mod probe;
mod sys;
#[cfg(test)]
mod tests;

use super::measured::Measured;
use super::{Allocation, Finding, ImageRefused, OpaqueMemory, Parameters, Report, ResolveError, Resolver, foreign};
use crate::wire::alloc::{Backing, Capabilities, VkImage};
use crate::{BufferRequest, Extent, Layout, Support, Unsupported};
use asked::Asked;
use maker::{Maker, Offered};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use sys::{Device, Handle, Instance};
use thiserror::Error;

pub use device::DeviceChoice;

/// How Vulkan is used.
#[derive(Clone, Debug)]
pub struct VulkanOptions {
    /// Which device.
    pub device: DeviceChoice,
    /// Whether a device may do that draws without a GPU.
    pub software: bool,
    /// Whether every call is checked by the validation layer, where that is installed; slow, for tests.
    pub validation: bool,
}

impl Default for VulkanOptions {
    /// The best device, software among them, without validation.
    fn default() -> Self {
        Self { device: DeviceChoice::Best, software: true, validation: false }
    }
}

/// Why there are no images of Vulkan.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum VulkanError {
    #[error("no Vulkan here: {0}; a driver and its loader are in the packages mesa-vulkan-drivers and libvulkan1 of Debian")]
    NotHere(String),
    #[error("none of Vulkan's devices {seen:?} is {asked}{}", if *software { "" } else { " and a GPU" })]
    NoDevice { asked: DeviceChoice, software: bool, seen: Vec<String> },
    #[error("the driver: {0}")]
    Driver(String),
    #[error("{device} makes no image that works: {why}")]
    NothingWorks { device: String, why: String },
}

impl VulkanError {
    fn driver(error: impl ToString) -> Self {
        Self::Driver(error.to_string())
    }
}

/// The resolver for images of Vulkan. Clones share the device and what was found about it.
#[derive(Clone)]
pub struct VulkanResolver(Arc<Opened>);

struct Opened {
    maker: Maker,
    /// In step with `support`.
    offered: Vec<Offered>,
    support: Vec<Support>,
    measured: Measured,
    findings: Vec<Finding>,
}

impl VulkanResolver {
    /// Loads Vulkan, opens a device, and tries what it can.
    ///
    /// # Errors
    /// [`VulkanError`], which says what is missing.
    pub fn new(options: &VulkanOptions) -> Result<Self, VulkanError> {
        let instance = Instance::load(options.validation).map_err(|error| VulkanError::NotHere(error.to_string()))?;
        let (adapter, facts) = device::choose(&instance, &options.device, options.software)?;
        let device = Device::open(&adapter, &facts).map_err(VulkanError::driver)?;
        Self::probe(device, true)
    }

    /// Tries dma-bufs first, then what only the same driver imports, and images that stay when there is neither.
    fn probe(device: Arc<Device>, mapped: bool) -> Result<Self, VulkanError> {
        let extensions = device.facts().extensions;
        let ways = [
            (Some(Handle::DmaBuf), extensions.dma_buf, "the driver has no VK_EXT_external_memory_dma_buf"),
            (Some(Handle::Opaque), extensions.memory_fd, "the driver has no VK_KHR_external_memory_fd"),
            (None, true, "it has no format"),
        ];
        let (mut findings, mut why) = (Vec::new(), String::new());
        for (shared, there, missing) in ways {
            let mut tried = Vec::new();
            let maker = Maker { device: device.clone(), shared, mapped };
            let offered = if there { probe::survey(&maker, &mut tried) } else { Vec::new() };
            let works = !offered.is_empty();
            why = tried.iter().find_map(|finding| finding.refused.clone()).unwrap_or(missing.to_owned());
            if let Some(handle) = shared {
                let why = why.clone();
                findings.push(Finding { subject: handle.name().to_owned(), refused: (!works).then_some(why) });
            }
            if works || shared.is_none() {
                findings.append(&mut tried);
            }
            if works {
                let support = offered.iter().map(|offered| offered.support).collect();
                let resolver = Self(Arc::new(Opened { maker, offered, support, findings, measured: Measured::default() }));
                resolver.report().tell();
                return Ok(resolver);
            }
        }
        Err(VulkanError::NothingWorks { device: device.facts().name.clone(), why })
    }

    /// What was tried on the device, and why it is not offered where it did not work.
    pub fn report(&self) -> Report<'_> {
        Report {
            resolver: self.name(),
            device: self.device_name(),
            software: self.is_software(),
            dma_bufs: self.exports_dma_bufs(),
            objects: self.live_objects(),
            offered: &self.0.support,
            findings: &self.0.findings,
        }
    }

    /// The device's name and its driver's.
    pub fn device_name(&self) -> String {
        let facts = self.0.maker.device.facts();
        format!("{} ({})", facts.name, facts.driver.trim())
    }

    /// The device's UUID, by which others find it.
    pub fn device_uuid(&self) -> [u8; 16] {
        self.0.maker.device.facts().uuid
    }

    /// Whether the device draws without a GPU.
    pub fn is_software(&self) -> bool {
        device::is_software(self.0.maker.device.facts())
    }

    /// Whether its images leave as dma-bufs, which was tried.
    pub fn exports_dma_bufs(&self) -> bool {
        self.0.maker.shared == Some(Handle::DmaBuf)
    }

    /// Whether it makes images in dma-bufs of others, which was tried.
    pub fn imports_dma_bufs(&self) -> bool {
        self.exports_dma_bufs() && self.0.offered.iter().any(|offered| offered.importable)
    }

    /// How many objects of the driver there are: images, buffers and memories.
    pub fn live_objects(&self) -> usize {
        self.0.maker.device.live()
    }

    /// How often the driver was called.
    pub fn driver_calls(&self) -> u64 {
        self.0.maker.device.instance().calls()
    }

    /// The first complaints of the validation layer; `None` where it is not there or not asked for.
    pub fn complaints(&self) -> Option<Vec<String>> {
        self.0.maker.device.instance().complaints()
    }

    fn offered(&self, support: &Support) -> Result<&Offered, Unsupported> {
        let mut found = self.0.offered.iter();
        let found = found.find(|offered| offered.support == *support);
        found.ok_or(Unsupported::Format { format: support.format })
    }

    fn image(&self, request: &BufferRequest, layout: &Layout, blob_bytes: u64) -> Result<Allocation, ResolveError> {
        let wanted = |offered: &&Offered| (offered.support.format, offered.support.modifier) == (layout.format, layout.modifier);
        let format = layout.format;
        let offered = self.0.offered.iter().find(wanted).ok_or(Unsupported::Format { format })?;
        let image = self.0.maker.image(request, offered, layout, blob_bytes)?;
        Ok(Allocation { image: Arc::new(image), layout: Some(*layout) })
    }

    fn import(
        &self,
        fd: BorrowedFd<'_>,
        request: &BufferRequest,
        layout: &Layout,
        bytes: u64,
    ) -> Result<Allocation, ResolveError> {
        if !self.imports_dma_bufs() {
            return Err(ResolveError::NoResolver("dma-bufs of others"));
        }
        let real_bytes = foreign::check(fd, request, layout, bytes)?;
        let (format, modifier) = (layout.format, layout.modifier);
        let of_format = || self.0.offered.iter().filter(|offered| offered.importable && offered.support.format == format);
        let offered = of_format().find(|offered| offered.support.modifier == modifier);
        let offered = offered.ok_or_else(|| match of_format().next() {
            None => ResolveError::from(Unsupported::Format { format }),
            Some(_) => ImageRefused::Modifier(1).into(),
        })?;
        let image = self.0.maker.import(fd, real_bytes, request, offered, layout)?;
        Ok(Allocation { image: Arc::new(image), layout: Some(*layout) })
    }

    /// The image of another device of the same driver, by the descriptor that [`ExportKind::Opaque`] came with. The driver believes
    /// that it is one, so it must come from such an export.
    ///
    /// # Errors
    /// [`ResolveError::Image`] for what this device can't have.
    ///
    /// [`ExportKind::Opaque`]: crate::host::ExportKind::Opaque
    pub fn import_opaque(&self, fd: BorrowedFd<'_>, memory: &OpaqueMemory) -> Result<Allocation, ResolveError> {
        let image = self.0.maker.import_opaque(fd, memory)?;
        Ok(Allocation { image: Arc::new(image), layout: memory.layout })
    }

    fn described(&self, image: &VkImage, views: &[u32], modifiers: &[u64], blob_bytes: u64) -> Result<Allocation, ResolveError> {
        let maker = &self.0.maker;
        let asked = Asked::new(image, views, modifiers)?;
        let known = |modifier: u64| {
            let number = formats::raw(image.format.get());
            let entries = maker.device.adapter().format(number, true).modifiers;
            let entry = entries.iter().find(|entry| entry.drm_format_modifier == modifier);
            entry.map_or(1, |entry| entry.drm_format_modifier_plane_count)
        };
        let made = asked.with_limits(&maker.device, maker.shared, |spec| maker.described(spec, asked.info, blob_bytes, known));
        let (image, layout) = made?;
        Ok(Allocation { image: Arc::new(image), layout })
    }
}

impl Resolver for VulkanResolver {
    fn name(&self) -> &'static str {
        "vulkan"
    }

    fn backing(&self) -> Backing {
        Backing::Vulkan
    }

    fn capabilities(&self) -> Capabilities {
        let export = if self.exports_dma_bufs() { Capabilities::DMA_BUF_EXPORT } else { Capabilities::empty() };
        let import = if self.imports_dma_bufs() { Capabilities::GUEST_MEMORY_IMPORT } else { Capabilities::empty() };
        Capabilities::VULKAN | export | import
    }

    fn largest(&self) -> Extent {
        let facts = self.0.maker.device.facts();
        Extent { width: facts.largest_side, height: facts.largest_side, layers: facts.most_layers }
    }

    fn support(&self) -> &[Support] {
        &self.0.support
    }

    fn layout(&self, request: &BufferRequest, support: &Support) -> Result<Layout, ResolveError> {
        let offered = self.offered(support)?;
        self.0.measured.layout(request, support.modifier, || self.0.maker.layout(request, offered))
    }

    fn allocate(&self, parameters: &Parameters<'_>, size_bytes: u64) -> Result<Allocation, ResolveError> {
        match parameters {
            Parameters::Memory => Err(ResolveError::NoResolver("plain memory")),
            Parameters::Gl(_) => Err(ResolveError::NoResolver("GL textures")),
            Parameters::DmaBuf { fd, request, layout } => self.import(*fd, request, layout, size_bytes),
            Parameters::Image { request, layout } => self.image(request, layout, size_bytes),
            Parameters::Vulkan { image, view_formats, modifiers } => self.described(image, view_formats, modifiers, size_bytes),
        }
    }
}
