//! The backend for hosts with a 2D device: buffers are pages of the guest, of which the host has a copy to show.
//!
//! A primary node makes dumb buffers, which the kernel itself sends to the host when they are shown. A render node makes classic
//! resources, which are sent when they are unmapped. Whatever the format, the host is told of rows of four-byte pixels: what it
//! can't show is memory of the CPU.

use super::classic::{ClassicCopy, Texels, Texture};
use super::{Backend, Blob, Imported};
use crate::guest::error::Error;
use crate::guest::handles::{Handle, HandleTable};
use crate::guest::node::{Handles, Node, Param, ResourceCreate};
use crate::wire::alloc::{self as wire, Capabilities};
use crate::wire::virtio_gpu::TARGET_TEXTURE_2D;
use crate::{Alignment, BufferRequest, Extent, Format, FormatClass, FormatInfo, Layout, Modifier};
use crate::{Offer, Support, SupportTable, Usage};
use std::sync::Arc;

/// What every pixel of a 2D device has.
const PIXEL_BYTES: u32 = 4;

/// Rows of what is no picture for the host, in pixels.
const BYTES_ROW_PIXELS: u32 = 1024;

/// The largest side of a resource that hosts take.
const LARGEST_SIDE: u32 = 16_384;

pub(super) struct DumbBackend {
    node: Arc<dyn Node>,
    handles: Arc<HandleTable>,
    offer: Offer,
    /// Whether the node makes dumb buffers.
    primary: bool,
}

/// Whether the node can make such buffers, and the reason either way.
pub(super) fn is_offered(node: &dyn Node) -> Result<String, String> {
    let shown = "XRGB8888 is shown, ARGB8888 is a cursor, every other format is memory of the CPU";
    match node.create_dumb(1, 1, PIXEL_BYTES * 8) {
        Ok(dumb) => {
            let _closed = node.gem_close(dumb.bo_handle);
            Ok(format!("the node makes dumb buffers: {shown}"))
        }
        Err(_) if matches!(node.get_param(Param::Features3d), Ok(0)) => Ok(format!("the device is a 2D one: {shown}")),
        Err(error) => Err(format!("the node makes no dumb buffers ({error}), and the device is no 2D one")),
    }
}

fn support(info: &FormatInfo) -> Option<Support> {
    use Usage as U;
    // What draws and decodes here is software.
    let touched = U::CPU | U::TEXTURE | U::RENDER | U::CAMERA_WRITE | U::CAMERA_READ | U::VIDEO_DECODER | U::VIDEO_ENCODER;
    let usages = match info.class {
        FormatClass::Flexible => return None,
        _ if info.format == Format::XRGB8888 => touched | U::SCANOUT | U::FRONT_RENDERING,
        _ if info.format == Format::ARGB8888 => touched | U::CURSOR,
        _ if info.format == Format::R8 => touched | U::GPU_DATA | U::SENSOR_DATA,
        _ => touched,
    };
    let plane_count = info.planes.len() as u32;
    let alignment = if is_pixels(info) { Alignment::PACKED } else { Alignment { stride_bytes: 4, ..Alignment::PACKED } };
    Some(Support {
        format: info.format,
        modifier: Modifier::LINEAR,
        usages,
        plane_count,
        alignment,
        guest_layout: true,
        transfers: true,
    })
}

/// Whether the host's pixels are the format's: four bytes, one plane.
fn is_pixels(info: &FormatInfo) -> bool {
    matches!(info.planes, [plane] if u32::from(plane.block_bytes) == PIXEL_BYTES && plane.block_width == 1)
}

impl DumbBackend {
    /// Finds out what the node is.
    pub fn open(node: &Arc<dyn Node>, handles: &Arc<HandleTable>) -> Result<Self, Error> {
        let dumb = node.create_dumb(1, 1, PIXEL_BYTES * 8);
        if let Ok(dumb) = &dumb {
            node.gem_close(dumb.bo_handle)?;
        }
        let entries = Format::all().iter().filter_map(|format| support(format.info()?)).collect();
        let largest = Extent { width: LARGEST_SIDE, height: LARGEST_SIDE, layers: 1 };
        let offer = Offer::without_limits(Capabilities::empty(), SupportTable::new(entries, largest));
        Ok(Self { node: node.clone(), handles: handles.clone(), offer, primary: dumb.is_ok() })
    }

    /// What the host is told of a layout.
    fn texels(layout: &Layout) -> Result<Texels, Error> {
        let pixels = layout.format.info().is_some_and(is_pixels);
        let width = if pixels { layout.width } else { BYTES_ROW_PIXELS };
        let rows = layout.size_bytes.div_ceil(u64::from(width) * u64::from(PIXEL_BYTES));
        let height = u32::try_from(rows).ok().filter(|rows| *rows <= LARGEST_SIDE);
        let height = height.ok_or(Error::BeyondHost { size_bytes: layout.size_bytes })?;
        Ok(Texels { width, height, texel_bytes: PIXEL_BYTES })
    }

    /// The same with its bytes, where a resource can hold them.
    fn resource(layout: &Layout) -> Result<(Texels, u32), Error> {
        let texels = Self::texels(layout)?;
        let needed = u64::from(texels.width) * u64::from(PIXEL_BYTES) * u64::from(texels.height);
        Ok((texels, u32::try_from(needed).map_err(|_| Error::BeyondHost { size_bytes: needed })?))
    }

    fn create_one(&self, layout: &Layout) -> Result<Blob, Error> {
        let (texels, size) = Self::resource(layout)?;
        let Texels { width, height, .. } = texels;
        if self.primary {
            let dumb = self.node.create_dumb(width, height, PIXEL_BYTES * 8)?;
            let handle = self.handles.adopt(dumb.bo_handle);
            if dumb.stride_bytes != width * PIXEL_BYTES {
                return Err(Error::OtherStride { agreed: width * PIXEL_BYTES, reported: dumb.stride_bytes });
            }
            // The kernel sends a dumb buffer to the host when it is shown, and does not tell its number.
            return Ok(blob(handle, 0, dumb.size.max(size.into()), None));
        }
        let format = Self::number_of(layout.format);
        let resource = ResourceCreate { target: TARGET_TEXTURE_2D, format, bind: 0, width, height, size };
        let Handles { bo_handle, resource_id } = self.node.resource_create(&resource)?;
        let handle = self.handles.adopt(bo_handle);
        let copy = self.copy_of(bo_handle, layout, texels);
        Ok(blob(handle, resource_id, size.into(), Some(copy)))
    }

    /// The host's number of a format, or of the one that stands for bytes.
    fn number_of(format: Format) -> u32 {
        let pixels = format.virtio_2d().or(Format::XRGB8888.virtio_2d());
        pixels.unwrap_or_default()
    }

    fn copy_of(&self, bo_handle: u32, layout: &Layout, texels: Texels) -> ClassicCopy {
        let texture = Texture::Texels(texels);
        ClassicCopy { node: self.node.clone(), bo_handle, layout: *layout, texture, host_writes: false }
    }
}

fn blob(handle: Handle, resource_id: u32, size_bytes: u64, copy: Option<ClassicCopy>) -> Blob {
    let copy = copy.map(|copy| Box::new(copy) as _);
    Blob { handle, resource_id, size_bytes, mappable: true, made_of: Some(wire::Backing::Guest), copy }
}

impl Backend for DumbBackend {
    fn offer(&self) -> &Offer {
        &self.offer
    }

    fn resolve(&self, request: &BufferRequest) -> Result<Layout, Error> {
        request.check()?;
        let support = self.offer.table.choose(request)?;
        let layout = Layout::linear(request, support.alignment)?;
        Self::resource(&layout)?;
        Ok(layout)
    }

    fn create(&self, _: &BufferRequest, layout: &Layout, count: usize) -> Result<Vec<Blob>, Error> {
        (0..count).map(|_| self.create_one(layout)).collect()
    }

    fn describe(&self, resource_id: u32) -> Result<(Layout, Option<wire::Backing>), Error> {
        Err(Error::NoLayout { resource_id })
    }

    fn adopt(&self, imported: Imported, layout: &Layout, _: Usage) -> Blob {
        let Imported { handle, resource_id, size_bytes, .. } = imported;
        let texels = if self.primary { None } else { Self::texels(layout).ok() };
        let copy = texels.map(|texels| self.copy_of(handle.bo_handle(), layout, texels));
        blob(handle, resource_id, size_bytes, copy)
    }

    fn round_trips(&self) -> u64 {
        0
    }
}
