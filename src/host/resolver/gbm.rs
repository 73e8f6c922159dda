//! [`GbmResolver`]: buffers of the host's own libgbm on a DRM render node, for hosts whose GPU has no other interface that exports.
//!
//! What it offers was seen to work: for each format a buffer was made as the driver likes it, and another linear; exported, filled
//! through the dma-buf and through libgbm, and compared. Formats of several planes are left to others: libgbm maps none, so nobody
//! could look whether its driver and the CPU agree.

mod image;
mod sys;
#[cfg(test)]
mod tests;

use super::measured::Measured;
use super::proof::{Finding, HEIGHT, Proof, WIDTH};
use super::report::{Report, linear_usages};
use super::{Allocation, ImageRefused, Parameters, ResolveError, Resolver};
use crate::wire::alloc::{Backing, Capabilities};
use crate::{Alignment, BufferRequest, Extent, Format, FormatClass, FormatInfo, Layout, Modifier, Support, Unsupported, Usage};
use image::GbmImage;
use std::path::Path;
use std::sync::Arc;
use thiserror::Error;

pub(super) use sys::GbmDevice;

/// What a driver refuses below, it says when it is asked; no GPU takes more.
const LARGEST: Extent = Extent { width: 16_384, height: 16_384, layers: 1 };

/// Why there are no buffers of libgbm.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum GbmError {
    #[error("no libgbm for {node}: {why}; it is in the package libgbm1 of Debian")]
    NotHere { node: String, why: String },
    #[error("libgbm makes no buffer on {node} that works: {why}")]
    NothingWorks { node: String, why: String },
}

/// The resolver for buffers of libgbm. Clones share the device and what was found about it.
#[derive(Clone)]
pub struct GbmResolver(Arc<Opened>);

struct Opened {
    device: Arc<GbmDevice>,
    name: String,
    support: Vec<Support>,
    findings: Vec<Finding>,
    measured: Measured,
}

impl GbmResolver {
    /// Loads libgbm, opens a DRM node, and tries what it can.
    ///
    /// # Errors
    /// [`GbmError`], which says what is missing.
    pub fn new(node: &Path) -> Result<Self, GbmError> {
        let path = node.display().to_string();
        let device = GbmDevice::open(node).map(Arc::new);
        let device = device.map_err(|error| GbmError::NotHere { node: path.clone(), why: error.to_string() })?;
        let (mut support, mut findings): (Vec<Support>, Vec<Finding>) = Default::default();
        for info in Format::all().iter().filter_map(|format| format.info()) {
            if !matches!(info.class, FormatClass::Rgb | FormatClass::RgbFloat) || info.planes.len() != 1 {
                continue;
            }
            for modifier in [None, Some(Modifier::LINEAR)] {
                let proof = prove(&device, info, modifier);
                let subject =
                    format!("{} {}", info.format, modifier.map_or("as it likes".to_owned(), |modifier| modifier.to_string()));
                findings.push(Finding { subject, refused: proof.as_ref().err().cloned() });
                support.extend(proof);
            }
        }
        if support.is_empty() {
            // What displays show is what every driver has; the table's first format few have.
            let shown = findings.iter().find(|finding| finding.subject == "XRGB8888 LINEAR");
            let why = shown.and_then(|finding| finding.refused.clone()).unwrap_or_default();
            return Err(GbmError::NothingWorks { node: path, why });
        }
        let name = format!("{path} ({})", device.backend_name());
        let resolver = Self(Arc::new(Opened { device, name, support, findings, measured: Measured::default() }));
        resolver.report().tell();
        Ok(resolver)
    }

    /// What was tried on the device, and why it is not offered where it did not work.
    pub fn report(&self) -> Report<'_> {
        Report {
            resolver: self.name(),
            device: self.0.name.clone(),
            // A node has a driver of the kernel; what libgbm does behind it, it does not tell.
            software: false,
            dma_bufs: true,
            objects: self.live_objects(),
            offered: &self.0.support,
            findings: &self.0.findings,
        }
    }

    /// How many buffers of libgbm there are.
    pub fn live_objects(&self) -> usize {
        self.0.device.live()
    }

    fn image(&self, request: &BufferRequest, modifier: Modifier) -> Result<GbmImage, ResolveError> {
        let image = GbmImage::new(&self.0.device, request, Some(modifier))?;
        image.zero().map_err(ResolveError::Driver)?;
        Ok(image)
    }
}

/// Makes a buffer and looks whether libgbm and the CPU agree about its bytes.
fn prove(device: &Arc<GbmDevice>, info: &'static FormatInfo, modifier: Option<Modifier>) -> Result<Support, String> {
    let all = [Usage::RENDER | Usage::TEXTURE | Usage::SCANOUT, Usage::RENDER | Usage::TEXTURE, Usage::TEXTURE];
    let makes = |usage: Usage| {
        let request = BufferRequest::new(info.format, WIDTH, HEIGHT, usage);
        GbmImage::new(device, &request, modifier).map(|image| (usage, image))
    };
    let mut refused = String::new();
    let made = all.into_iter().find_map(|usage| makes(usage).map_err(|error| refused = error.to_string()).ok());
    let (mut usages, image) = made.ok_or(refused)?;
    let layout = image.layout;
    match (modifier, layout.modifier) {
        (None, Modifier::INVALID) => return Err("the driver does not tell its modifier".to_owned()),
        (None, Modifier::LINEAR) => return Err("what the driver likes is linear".to_owned()),
        _ => image.zero().map_err(|error| error.to_string())?,
    }
    let proof = Proof::new(info, (WIDTH, HEIGHT))?;
    if image.is_mapped() {
        proof.agree_about_rows(&image, &layout)?;
        usages |= linear_usages(info, true);
    } else {
        proof.agree_about_texels(&image)?;
        // A name that others know it by: what a display takes is what it was made for.
        usages &= Usage::RENDER | Usage::TEXTURE;
    }
    let (format, modifier, plane_count) = (info.format, layout.modifier, layout.planes.len() as u32);
    Ok(Support { format, modifier, usages, plane_count, alignment: Alignment::PACKED, guest_layout: false, transfers: false })
}

impl Resolver for GbmResolver {
    fn name(&self) -> &'static str {
        "gbm"
    }

    fn backing(&self) -> Backing {
        Backing::Gbm
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::DMA_BUF_EXPORT
    }

    fn largest(&self) -> Extent {
        LARGEST
    }

    fn support(&self) -> &[Support] {
        &self.0.support
    }

    fn layout(&self, request: &BufferRequest, support: &Support) -> Result<Layout, ResolveError> {
        let &BufferRequest { width, height, layers, .. } = request;
        if layers > 1 || width > LARGEST.width || height > LARGEST.height {
            return Err(Unsupported::Extent { width, height, layers, largest: LARGEST }.into());
        }
        let modifier = support.modifier;
        self.0.measured.layout(request, modifier, || Ok(GbmImage::new(&self.0.device, request, Some(modifier))?.layout))
    }

    fn allocate(&self, parameters: &Parameters<'_>, size_bytes: u64) -> Result<Allocation, ResolveError> {
        let (request, layout) = match parameters {
            Parameters::Image { request, layout } => (request, layout),
            Parameters::Memory => return Err(ResolveError::NoResolver("plain memory")),
            Parameters::Gl(_) => return Err(ResolveError::NoResolver("GL textures")),
            Parameters::Vulkan { .. } => return Err(ResolveError::NoResolver("Vulkan images")),
            Parameters::DmaBuf { .. } => return Err(ResolveError::NoResolver("memory of others")),
        };
        let image = self.image(request, layout.modifier)?;
        if image.layout != **layout {
            return Err(ResolveError::Driver(std::io::Error::other(
                "its second layout of the same picture differs from the first",
            )));
        }
        let image_bytes = layout.size_bytes;
        if size_bytes < image_bytes || image.is_mapped() && size_bytes > image_bytes {
            return Err(ImageRefused::Size { blob_bytes: size_bytes, image_bytes }.into());
        }
        Ok(Allocation { image: Arc::new(image), layout: Some(**layout) })
    }
}
