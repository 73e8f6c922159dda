//! [`Maker`]: what makes images on one context.
//!
//! A picture of red, green and blue is one texture. One of luma and chroma is no texture that GL makes: its planes stand on each
//! other in a texture of their samples, whose dma-buf is imported as the picture that it is, where the driver can. So is a foreign
//! one: its planes are read as a texture of samples, since a shader gives colours and not what is there.

use super::formats::{self, Stacked};
use super::image::{GlImage, Plane, refusal};
use super::sys::{CallFailed, DmaBuf, DmaBufPlane, EglImage, Gl, Shape, TEXTURE_EXTERNAL, Texels, Texture};
use crate::host::resolver::exported::Exported;
use crate::host::resolver::{ImageRefused, ResolveError, foreign};
use crate::{Alignment, BufferRequest, Format, FormatInfo, Layout, Modifier, PlaneFormat, Unsupported, Usage};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// How the rows of a texture that does not leave are counted: as others count those of a linear image.
const ROWS: Alignment = Alignment { stride_bytes: 64, offset_bytes: 64, size_bytes: 4096 };

fn unable(why: impl Into<String>) -> ResolveError {
    ResolveError::Driver(io::Error::other(why.into()))
}

/// What makes images on one context.
pub struct Maker {
    pub gl: Arc<Gl>,
    /// Whether textures leave as dma-bufs.
    pub exported: bool,
    /// The modifiers of dma-bufs that the driver says it takes, and whether only an external texture shows them, by fourcc.
    taken: BTreeMap<u32, Vec<(u64, bool)>>,
    /// What was seen of its imports.
    pub trust: Trust,
}

/// How far a driver's imports can be believed, which was tried: one ignores offsets, and takes no second plane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// What begins behind the start of a dma-buf is found there.
    pub offsets: bool,
    /// Pictures of several planes are sampled in their colours.
    pub planes: bool,
}

/// A texture that left: the layout of the picture in its dma-buf.
struct Left {
    exported: Exported,
    modifier: Modifier,
    planes: Vec<DmaBufPlane>,
}

impl Maker {
    /// A maker that knows what its driver takes.
    pub fn new(gl: Arc<Gl>, exported: bool) -> Self {
        let taken = if gl.facts().imports { gl.dma_buf_formats().into_iter().collect() } else { BTreeMap::new() };
        Self { gl, exported, taken, trust: Trust::default() }
    }

    /// A request's image and its layout, whatever that is.
    pub fn image(&self, request: &BufferRequest, info: &'static FormatInfo) -> Result<(GlImage, Layout), ResolveError> {
        let made = match formats::texels(info.format) {
            Some(texels) => self.texture(request, texels),
            None => self.stack(request, info),
        }?;
        let layout = made.layout.ok_or_else(|| unable("an image without a layout"))?;
        made.zero()?;
        Ok((made, layout))
    }

    fn check_extent(&self, width: u32, height: u32, request: &BufferRequest) -> Result<(), ResolveError> {
        let largest = super::largest(self.gl.facts());
        let BufferRequest { layers, .. } = *request;
        let fits = width <= largest.width && height <= largest.height && layers <= largest.layers;
        let refused = Unsupported::Extent { width: request.width, height: request.height, layers, largest };
        if fits { Ok(()) } else { Err(refused.into()) }
    }

    fn texture(&self, request: &BufferRequest, texels: Texels) -> Result<GlImage, ResolveError> {
        let BufferRequest { format, width, height, .. } = *request;
        self.check_extent(width, height, request)?;
        let refused = |failed| refusal(failed, u64::from(width) * u64::from(height) * u64::from(texels.bytes));
        let shape = Shape::flat(texels.internal_format, width, height);
        let texture = Arc::new(Texture::new(&self.gl, &shape).map_err(refused)?);
        let (layout, exported) = if self.exported {
            let Left { exported, modifier, planes } = self.leave(&texture, format, refused)?;
            let planes: Vec<_> = planes.iter().map(|plane| (plane.stride_bytes, plane.offset_bytes.into())).collect();
            (Layout::reported(format, (width, height), modifier, &planes, exported.size_bytes())?, Some(exported))
        } else {
            (Layout::linear(request, ROWS)?, None)
        };
        let planes = vec![Plane { texture: texture.clone(), texels, first_row: 0, width, height }];
        let (sampled, bytes) = (Some(texture.clone()), layout.size_bytes);
        let memory = Some((texture, shape, glow::COLOR_ATTACHMENT0));
        Ok(GlImage { planes, sampled, layout: Some(layout), bytes, exported, memory })
    }

    /// What the driver says of a texture that leaves, as far as it can be believed before its bytes are looked at.
    fn leave(
        &self,
        texture: &Texture,
        format: Format,
        refused: impl Fn(CallFailed) -> ResolveError + Copy,
    ) -> Result<Left, ResolveError> {
        let told = EglImage::of_texture(texture).and_then(|image| image.export()).map_err(refused)?;
        let gl = |format: Format| format.info().and_then(|info| info.gl);
        let fourcc = Format::from_fourcc(told.fourcc);
        // Padding and alpha are the same bytes.
        if gl(fourcc).is_none() || gl(fourcc) != gl(format) {
            return Err(unable(format!("the driver exports it as {fourcc}")));
        }
        let exported = Exported::new(told.fds.into_iter().flatten())?;
        let modifier = Modifier::new(told.modifier);
        let exported = match modifier {
            Modifier::LINEAR => exported.mapped().map_err(ResolveError::Driver)?,
            _ => exported,
        };
        Ok(Left { exported, modifier, planes: told.planes })
    }

    /// A picture of luma and chroma, in a texture of their samples.
    fn stack(&self, request: &BufferRequest, info: &'static FormatInfo) -> Result<GlImage, ResolveError> {
        let BufferRequest { format, width, height, .. } = *request;
        if !self.exported {
            return Err(unable("it is no texture, and the driver exports none that could be imported as it"));
        }
        let Stacked { texels, width: across, height: rows } =
            formats::stacked(info, width, height).ok_or(Unsupported::Format { format })?;
        self.check_extent(across.max(width), rows, request)?;
        let refused = |failed| refusal(failed, u64::from(across) * u64::from(rows) * u64::from(texels.bytes));
        let shape = Shape::flat(texels.internal_format, across, rows);
        let memory = Arc::new(Texture::new(&self.gl, &shape).map_err(refused)?);
        let samples = formats::with_internal(texels.internal_format).ok_or(Unsupported::Format { format })?;
        let Left { exported, modifier, planes } = self.leave(&memory, samples.format, refused)?;
        let [DmaBufPlane { stride_bytes, offset_bytes }] = planes[..] else { return Err(unable("samples in several planes")) };
        if modifier != Modifier::LINEAR {
            return Err(unable(format!("samples are laid out as {modifier}, so planes can't stand on each other")));
        }
        if offset_bytes != 0 {
            return Err(unable("samples begin behind the start of their dma-buf"));
        }
        let mut next = 0;
        let mut places = Vec::with_capacity(info.planes.len());
        for plane in info.planes {
            places.push((stride_bytes, next));
            next += plane.rows(height) * u64::from(stride_bytes);
        }
        let layout = Layout::reported(format, (width, height), Modifier::LINEAR, &places, exported.size_bytes())?;
        let planes = stacked_planes(info, &layout, &memory, texels).ok_or_else(|| unable("its planes are no whole rows"))?;
        let sampled = if self.trust.planes { Some(self.import(&layout, &exported)?) } else { None };
        let (bytes, memory) = (layout.size_bytes, Some((memory, shape, glow::COLOR_ATTACHMENT0)));
        Ok(GlImage { planes, sampled, layout: Some(layout), bytes, exported: Some(exported), memory })
    }

    /// An image in a dma-buf that is there already.
    pub fn imported(&self, fd: BorrowedFd<'_>, request: &BufferRequest, layout: &Layout) -> Result<GlImage, ResolveError> {
        let format = layout.format;
        let info = format.info().ok_or(Unsupported::Format { format })?;
        self.check_extent(layout.width, layout.height, request)?;
        foreign::check(fd, request, layout, layout.size_bytes)?;
        let own = fd.try_clone_to_owned().map_err(ResolveError::Driver)?;
        let exported = Exported::new([own])?;
        if layout.layers != 1 {
            return Err(ImageRefused::Limit { what: "layers", asked: layout.layers, limit: 1 }.into());
        }
        // A foreign exporter may refuse to be mapped, and can be sampled all the same.
        let exported = if layout.modifier == Modifier::LINEAR {
            let again = exported.fd().try_clone().map_err(ResolveError::Driver)?;
            exported.mapped().or_else(|_| Exported::new([again]))?
        } else {
            exported
        };
        self.shown(info, layout, exported)
    }

    /// An image whose textures show a dma-buf: one that shaders sample, and one whose texels are read as they are.
    fn shown(&self, info: &'static FormatInfo, layout: &Layout, exported: Exported) -> Result<GlImage, ResolveError> {
        let &Layout { width, height, .. } = layout;
        let several = info.planes.len() > 1;
        let sampled = if several && !self.trust.planes { None } else { Some(self.import(layout, &exported)?) };
        let planes = match (&sampled, formats::texels(info.format)) {
            (Some(texture), Some(texels)) if !texture.is_external() => {
                vec![Plane { texture: texture.clone(), texels, first_row: 0, width, height }]
            }
            _ if several => self.samples(info, layout, &exported).unwrap_or_default(),
            _ => Vec::new(),
        };
        if sampled.is_none() && planes.is_empty() {
            return Err(unable("the driver takes no picture of several planes, nor one of their samples"));
        }
        Ok(GlImage { planes, sampled, layout: Some(*layout), bytes: layout.size_bytes, exported: Some(exported), memory: None })
    }

    /// The texture that shows the picture in a dma-buf.
    fn import(&self, layout: &Layout, exported: &Exported) -> Result<Arc<Texture>, ResolveError> {
        let &Layout { format, width, height, modifier, .. } = layout;
        let external = self.external_only(format, modifier)?;
        let places = layout.planes.iter().map(|plane| {
            let offset_bytes = u32::try_from(plane.offset_bytes).map_err(|_| unable("a plane begins beyond 4 GiB"))?;
            Ok(DmaBufPlane { stride_bytes: plane.stride_bytes, offset_bytes })
        });
        let planes: Vec<_> = places.collect::<Result<_, ResolveError>>()?;
        if !self.trust.offsets && planes.first().is_some_and(|plane| plane.offset_bytes != 0) {
            return Err(unable("the driver does not find what begins behind the start of a dma-buf"));
        }
        if external && !self.gl.facts().samples_external {
            return Err(unable("no shader samples external textures here"));
        }
        let target = if external { TEXTURE_EXTERNAL } else { glow::TEXTURE_2D };
        let (fd, fourcc) = (exported.fd().as_fd(), format.fourcc());
        let dma_buf = DmaBuf { fd, fourcc, width, height, modifier: modifier.value(), planes };
        let texture = EglImage::of_dma_buf(&self.gl, &dma_buf).and_then(|image| Texture::of_image(&image, target));
        texture.map(Arc::new).map_err(|failed| refusal(failed, layout.size_bytes))
    }

    /// The planes of a linear picture as rows of one texture of samples; `None` where they do not stand on each other.
    fn samples(&self, info: &'static FormatInfo, layout: &Layout, exported: &Exported) -> Option<Vec<Plane>> {
        let texels = formats::samples(info)?;
        let format = formats::with_internal(texels.internal_format)?.format;
        let stride_bytes = layout.planes.first()?.stride_bytes;
        let plane_ends = layout.planes.iter().zip(info.planes);
        let ends = plane_ends.map(|(plane, format)| plane.offset_bytes + format.rows(layout.height) * u64::from(stride_bytes));
        let rows = ends.max()? / u64::from(stride_bytes);
        let whole = BufferRequest::new(format, stride_bytes / u32::from(texels.bytes), u32::try_from(rows).ok()?, Usage::TEXTURE);
        self.check_extent(whole.width, whole.height, &whole).ok()?;
        let size = (whole.width, whole.height);
        let grid = Layout::reported(format, size, layout.modifier, &[(stride_bytes, 0)], exported.size_bytes()).ok()?;
        let texture = self.import(&grid, exported).ok().filter(|texture| !texture.is_external())?;
        stacked_planes(info, layout, &texture, texels)
    }

    /// Whether only an external texture shows such a dma-buf; an error where none does.
    fn external_only(&self, format: Format, modifier: Modifier) -> Result<bool, ImageRefused> {
        let modifiers = self.taken.get(&format.fourcc()).map(Vec::as_slice).unwrap_or_default();
        let taken = modifiers.iter().find(|(taken, _)| *taken == modifier.value());
        taken.map(|(_, external)| *external).ok_or(ImageRefused::Modifier(1))
    }

    /// A texture as the guest describes it, whose texels nobody outside of the driver sees.
    pub fn hidden(&self, shape: &Shape, attachment: u32, blob_bytes: u64) -> Result<GlImage, ResolveError> {
        let refused = |failed| refusal(failed, blob_bytes);
        let memory = Texture::new(&self.gl, shape).map_err(refused)?;
        memory.clear(shape, attachment).map_err(refused)?;
        let memory = Some((Arc::new(memory), *shape, attachment));
        Ok(GlImage { planes: Vec::new(), sampled: None, layout: None, bytes: blob_bytes, exported: None, memory })
    }
}

/// The planes of a picture as rows of a texture of their samples, which begins where the picture does.
fn stacked_planes(info: &FormatInfo, layout: &Layout, texture: &Arc<Texture>, texels: Texels) -> Option<Vec<Plane>> {
    let stride_bytes = layout.planes.first()?.stride_bytes;
    let plane = |(place, format): (&crate::Plane, &PlaneFormat)| {
        let whole_rows = place.stride_bytes == stride_bytes && place.offset_bytes.is_multiple_of(stride_bytes.into());
        let first_row = u32::try_from(place.offset_bytes / u64::from(stride_bytes)).ok().filter(|_| whole_rows)?;
        let width = u32::try_from(format.row_bytes(layout.width) / u64::from(texels.bytes)).ok()?;
        let height = u32::try_from(format.rows(layout.height)).ok()?;
        Some(Plane { texture: texture.clone(), texels, first_row, width, height })
    };
    layout.planes.iter().zip(info.planes).map(plane).collect()
}
