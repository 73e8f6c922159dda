//! [`GlResolver`]: textures of the host's GL, on a GPU or in software.
//!
//! What it offers was seen to work on this driver: for each format a texture was made, exported, filled by the CPU and by GL, and
//! compared. Textures leave as dma-bufs where EGL exports them. Where it does not, they stay with the host, which reads and writes
//! them by transfers, and CPU usages are left to plain memory. Luma and chroma are planes that stand on each other in one texture,
//! imported as the picture that they are.

mod asked;
mod formats;
mod image;
mod maker;
mod probe;
mod sys;
#[cfg(test)]
mod tests;

use super::measured::Measured;
use super::proof::Finding;
use super::{Allocation, ImageRefused, Parameters, Report, ResolveError, Resolver};
use crate::wire::alloc::{Backing, Capabilities, GlTexture};
use crate::{BufferRequest, Extent, Format, Layout, Support, Unsupported};
use asked::Asked;
use image::GlImage;
use maker::Maker;
use std::path::PathBuf;
use std::sync::Arc;
use sys::{Facts, Gl, LoadError, Platform};
use thiserror::Error;

/// How GL is used.
#[derive(Clone, Debug)]
pub struct GlOptions {
    /// The DRM node whose driver draws, opened by the host's libgbm; without it what EGL has, a GPU before software.
    pub node: Option<PathBuf>,
    /// Whether a driver may do that draws without a GPU.
    pub software: bool,
}

impl Default for GlOptions {
    /// What EGL has, software among it.
    fn default() -> Self {
        Self { node: None, software: true }
    }
}

/// Why there are no textures of GL.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum GlError {
    #[error("no GL here: {0}; a driver and its loader are in the packages libgl1-mesa-dri and libegl1 of Debian")]
    NotHere(String),
    #[error("GL draws in software here: {0}")]
    Software(String),
    #[error("{driver} makes no texture that works: {why}")]
    NothingWorks { driver: String, why: String },
}

/// The resolver for textures of GL. Clones share the context and what was found about it.
#[derive(Clone)]
pub struct GlResolver(Arc<Opened>);

struct Opened {
    maker: Maker,
    support: Vec<Support>,
    findings: Vec<Finding>,
    measured: Measured,
}

/// The largest image of one layer.
fn largest(facts: &Facts) -> Extent {
    Extent { width: facts.largest_side, height: facts.largest_side, layers: 1 }
}

/// The first GPU among EGL's platforms; else the first of them that works at all, where software may.
fn choose(options: &GlOptions) -> Result<Arc<Gl>, GlError> {
    let candidates = match &options.node {
        Some(path) => vec![Platform::Node(path.clone())],
        None => sys::platforms(),
    };
    let (mut software, mut why) = (None, String::new());
    for platform in candidates {
        match Gl::open(&platform) {
            Ok(gl) if !gl.facts().is_software() => return Ok(gl),
            Ok(gl) => software = software.or(Some(gl)),
            Err(error) => {
                log::debug!("GL on {platform}: {error}");
                why = if why.is_empty() { describe(&platform, &error) } else { why };
            }
        }
    }
    match software {
        Some(gl) if options.software => Ok(gl),
        Some(gl) => Err(GlError::Software(gl.facts().renderer.clone())),
        None => Err(GlError::NotHere(why)),
    }
}

fn describe(platform: &Platform, error: &LoadError) -> String {
    format!("{platform}: {error}")
}

impl GlResolver {
    /// Loads EGL and GL, makes a context, and tries what it can.
    ///
    /// # Errors
    /// [`GlError`], which says what is missing.
    pub fn new(options: &GlOptions) -> Result<Self, GlError> {
        Self::probe(choose(options)?)
    }

    /// Tries dma-bufs first, and textures that stay when there are none.
    fn probe(gl: Arc<Gl>) -> Result<Self, GlError> {
        let mut findings = Vec::new();
        for exported in [true, false] {
            if exported && !gl.facts().exports {
                let refused = Some("the driver has no EGL_MESA_image_dma_buf_export".to_owned());
                findings.push(Finding { subject: "dma-bufs".to_owned(), refused });
                continue;
            }
            let mut maker = Maker::new(gl.clone(), exported);
            let mut tried = Vec::new();
            if exported && gl.facts().imports {
                probe::trust(&mut maker, &mut tried);
            }
            let support = probe::survey(&maker, &mut tried);
            if support.is_empty() && exported {
                let refused = tried.into_iter().find_map(|finding| finding.refused);
                findings.push(Finding { subject: "dma-bufs".to_owned(), refused });
                continue;
            }
            if exported {
                findings.push(Finding { subject: "dma-bufs".to_owned(), refused: None });
            }
            findings.append(&mut tried);
            if !support.is_empty() {
                let resolver = Self(Arc::new(Opened { maker, support, findings, measured: Measured::default() }));
                resolver.report().tell();
                return Ok(resolver);
            }
        }
        let why = findings.into_iter().find_map(|finding| finding.refused).unwrap_or_else(|| "it has no format".to_owned());
        Err(GlError::NothingWorks { driver: gl.facts().renderer.clone(), why })
    }

    /// What was tried on the driver, and why it is not offered where it did not work.
    pub fn report(&self) -> Report<'_> {
        let facts = self.0.maker.gl.facts();
        Report {
            resolver: self.name(),
            device: format!("{} ({})", facts.renderer, facts.version),
            software: facts.is_software(),
            dma_bufs: self.exports_dma_bufs(),
            objects: self.live_objects(),
            offered: &self.0.support,
            findings: &self.0.findings,
        }
    }

    /// Whether the driver draws without a GPU.
    pub fn is_software(&self) -> bool {
        self.0.maker.gl.facts().is_software()
    }

    /// Whether its textures leave as dma-bufs, which was tried.
    pub fn exports_dma_bufs(&self) -> bool {
        self.0.maker.exported
    }

    /// How many objects of the driver there are: textures and images of EGL.
    pub fn live_objects(&self) -> usize {
        self.0.maker.gl.live()
    }

    fn image(&self, request: &BufferRequest, layout: &Layout, blob_bytes: u64) -> Result<Allocation, ResolveError> {
        let format = layout.format;
        let info = format.info().ok_or(Unsupported::Format { format })?;
        let (image, made) = self.0.maker.image(request, info)?;
        if made != *layout {
            return Err(ResolveError::Driver(std::io::Error::other(
                "its second layout of the same picture differs from the first",
            )));
        }
        allocation(image, blob_bytes)
    }

    fn described(&self, texture: &GlTexture, blob_bytes: u64) -> Result<Allocation, ResolveError> {
        let maker = &self.0.maker;
        let asked = Asked::new(texture, maker.gl.facts())?;
        if blob_bytes < asked.bytes {
            return Err(ImageRefused::Size { blob_bytes, image_bytes: asked.bytes }.into());
        }
        let offered = |format: Format| self.0.support.iter().any(|support| support.format == format);
        match asked.picture.filter(|info| offered(info.format)) {
            Some(info) => {
                let request = BufferRequest::new(info.format, asked.shape.width, asked.shape.height, crate::Usage::TEXTURE);
                allocation(maker.image(&request, info)?.0, blob_bytes)
            }
            None => allocation(maker.hidden(&asked.shape, asked.internal.attachment, blob_bytes)?, blob_bytes),
        }
    }
}

/// An image for a blob, which is as large: what lies behind the image's end is nobody's.
fn allocation(image: GlImage, blob_bytes: u64) -> Result<Allocation, ResolveError> {
    use super::Image;
    let image_bytes = image.size_bytes();
    if blob_bytes < image_bytes || image.is_mapped() && blob_bytes > image_bytes {
        return Err(ImageRefused::Size { blob_bytes, image_bytes }.into());
    }
    let layout = image.layout;
    Ok(Allocation { image: Arc::new(image), layout })
}

impl Resolver for GlResolver {
    fn name(&self) -> &'static str {
        "gl"
    }

    fn backing(&self) -> Backing {
        Backing::Gl
    }

    fn capabilities(&self) -> Capabilities {
        let export = if self.exports_dma_bufs() { Capabilities::DMA_BUF_EXPORT } else { Capabilities::empty() };
        let imports = self.exports_dma_bufs() && self.0.maker.gl.facts().imports;
        let import = if imports { Capabilities::GUEST_MEMORY_IMPORT } else { Capabilities::empty() };
        Capabilities::GL | export | import
    }

    fn largest(&self) -> Extent {
        largest(self.0.maker.gl.facts())
    }

    fn support(&self) -> &[Support] {
        &self.0.support
    }

    fn layout(&self, request: &BufferRequest, support: &Support) -> Result<Layout, ResolveError> {
        let format = support.format;
        let info = format.info().ok_or(Unsupported::Format { format })?;
        self.0.measured.layout(request, support.modifier, || Ok(self.0.maker.image(request, info)?.1))
    }

    fn allocate(&self, parameters: &Parameters<'_>, size_bytes: u64) -> Result<Allocation, ResolveError> {
        match parameters {
            Parameters::Memory => Err(ResolveError::NoResolver("plain memory")),
            Parameters::Vulkan { .. } => Err(ResolveError::NoResolver("Vulkan images")),
            Parameters::Gl(texture) => self.described(texture, size_bytes),
            Parameters::Image { request, layout } => self.image(request, layout, size_bytes),
            Parameters::DmaBuf { fd, request, layout } => {
                let image = self.0.maker.imported(*fd, request, layout)?;
                Ok(Allocation { image: Arc::new(image), layout: Some(**layout) })
            }
        }
    }
}
