//! [`VulkanResolver`]: images of the host's GPU, or of a Vulkan that draws in software.
//!
//! What it offers was seen to work on this driver: for each format and modifier an image was made, exported, filled by the CPU
//! and by the GPU, and compared. Memory leaves only as dma-bufs. Where the driver gives none that really is one, CPU usages are
//! not offered, so buffers that the guest maps are left to plain memory; what is offered can be rendered to, sampled and looked
//! at by the host. A format that Vulkan has not (NV21, whose chroma is a swizzle there; depth, whose bytes no driver tells) is
//! left to others.

mod asked;
mod device;
mod formats;
mod image;
mod probe;
mod sys;
#[cfg(test)]
mod tests;

use super::{Allocation, Parameters, ResolveError, Resolver};
use crate::wire::alloc::{Backing, Capabilities, VkImage};
use crate::{BufferRequest, Extent, Layout, Support, Unsupported};
use asked::Asked;
use image::{Maker, Offered};
use std::collections::BTreeMap;
use std::sync::Arc;
use sys::{Device, Instance};
use thiserror::Error;

pub use device::DeviceChoice;
pub use probe::Finding;

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

    /// Tries dma-bufs first, and images that stay when there are none.
    fn probe(device: Arc<Device>, mapped: bool) -> Result<Self, VulkanError> {
        let mut findings = Vec::new();
        let ways = [device.facts().extensions.dma_buf, false];
        for exported in ways.into_iter().skip(usize::from(!ways.contains(&true))) {
            let maker = Maker { device: device.clone(), exported, mapped };
            let mut tried = Vec::new();
            let offered = probe::survey(&maker, &mut tried);
            if offered.is_empty() && exported {
                let why = tried.into_iter().find_map(|finding| finding.refused);
                let refused = Some(why.unwrap_or_else(|| "the driver exports no image".to_owned()));
                findings.push(Finding { subject: "dma-bufs".to_owned(), refused });
                continue;
            }
            let refused =
                (!exported && findings.is_empty()).then(|| "the driver has no VK_EXT_external_memory_dma_buf".to_owned());
            if exported || refused.is_some() {
                findings.push(Finding { subject: "dma-bufs".to_owned(), refused });
            }
            findings.append(&mut tried);
            if offered.is_empty() {
                break;
            }
            let support = offered.iter().map(|offered| offered.support).collect();
            let resolver = Self(Arc::new(Opened { maker, offered, support, findings }));
            resolver.tell();
            return Ok(resolver);
        }
        let why = findings.into_iter().find_map(|finding| finding.refused).unwrap_or_else(|| "it has no format".to_owned());
        Err(VulkanError::NothingWorks { device: device.facts().name.clone(), why })
    }

    fn tell(&self) {
        let facts = self.0.maker.device.facts();
        log::info!("Vulkan on {} ({}): {} formats and modifiers work", facts.name, facts.driver, self.0.support.len());
        let mut refused: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for finding in self.findings() {
            if let Some(why) = &finding.refused {
                refused.entry(why).or_default().push(&finding.subject);
            }
        }
        for (why, subjects) in refused {
            log::info!("Vulkan: not {}: {why}", subjects.join(", "));
        }
    }

    /// What was tried on the device, and why it is not offered where it did not work.
    pub fn findings(&self) -> &[Finding] {
        &self.0.findings
    }

    /// The device's name and its driver's.
    pub fn device_name(&self) -> String {
        let facts = self.0.maker.device.facts();
        format!("{} ({})", facts.name, facts.driver.trim())
    }

    /// Whether the device draws without a GPU.
    pub fn is_software(&self) -> bool {
        device::is_software(self.0.maker.device.facts())
    }

    /// Whether its images leave as dma-bufs, which was tried.
    pub fn exports_dma_bufs(&self) -> bool {
        self.0.maker.exported
    }

    /// How many objects of the driver there are: images, buffers and memories.
    pub fn live_objects(&self) -> usize {
        self.0.maker.device.live()
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

    fn described(&self, image: &VkImage, views: &[u32], modifiers: &[u64], blob_bytes: u64) -> Result<Allocation, ResolveError> {
        let maker = &self.0.maker;
        let asked = Asked::new(image, views, modifiers)?;
        let known = |modifier: u64| {
            let number = formats::raw(image.format.get());
            let entries = maker.device.adapter().format(number, true).modifiers;
            let entry = entries.iter().find(|entry| entry.drm_format_modifier == modifier);
            entry.map_or(1, |entry| entry.drm_format_modifier_plane_count)
        };
        let made = asked.with_limits(&maker.device, maker.exported, |spec| maker.described(spec, asked.info, blob_bytes, known));
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
        Capabilities::VULKAN | export
    }

    fn largest(&self) -> Extent {
        let facts = self.0.maker.device.facts();
        Extent { width: facts.largest_side, height: facts.largest_side, layers: facts.most_layers }
    }

    fn support(&self) -> &[Support] {
        &self.0.support
    }

    fn layout(&self, request: &BufferRequest, support: &Support) -> Result<Layout, ResolveError> {
        self.0.maker.layout(request, self.offered(support)?)
    }

    fn allocate(&self, parameters: &Parameters<'_>, size_bytes: u64) -> Result<Allocation, ResolveError> {
        match parameters {
            Parameters::Memory => Err(ResolveError::NoResolver("plain memory")),
            Parameters::Gl(_) => Err(ResolveError::NoResolver("GL textures")),
            Parameters::Image { request, layout } => self.image(request, layout, size_bytes),
            Parameters::Vulkan { image, view_formats, modifiers } => self.described(image, view_formats, modifiers, size_bytes),
        }
    }
}
