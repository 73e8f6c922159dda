//! The backend for hosts with virglrenderer ([`wire::virgl`](crate::wire::virgl)).
//!
//! A buffer is a classic resource: the guest's pages and the host's texture, with transfers between them. What the host has no
//! textures of, YUV mostly, is held in a texture of bytes, as the layout says. One-dimensional buffers of bytes are blobs where the
//! host is seen to map them.

use super::classic::{ClassicCopy, Texels, Texture};
use super::{Backend, Blob, Imported};
use crate::guest::error::Error;
use crate::guest::handles::HandleTable;
use crate::guest::node::{BlobCreate, BlobFlags, BlobMem, ContextInit, Handles, Node, Param, ResourceCreate};
use crate::guest::options::DeviceOptions;
use crate::usage::Dialect;
use crate::wire::alloc::{self as wire, Capabilities};
use crate::wire::virgl::{self as protocol, CapsV2, Command, CommandHeader, PipeResourceCreate, SupportedFormatMask};
use crate::wire::virtio_gpu::{TARGET_BUFFER, TARGET_TEXTURE_2D};
use crate::{
    Alignment, BufferRequest, Extent, Format, FormatClass, FormatInfo, Layout, Modifier, Offer, PlaneFormat, Support,
    SupportTable, Usage,
};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use zerocopy::{FromBytes, IntoBytes};

/// `VIRGL_BIND_DEPTH_STENCIL`, which depth has in place of a colour target.
const BIND_DEPTH_STENCIL: u32 = 1;

/// The largest side where the host does not say.
const USUAL_SIDE: u32 = 16_384;

/// Strides of textures of bytes.
const BYTES_STRIDE: u32 = 64;

pub(super) struct VirglBackend {
    node: Arc<dyn Node>,
    handles: Arc<HandleTable>,
    offer: Offer,
    largest_side: u32,
    /// The formats that the host has textures of, by its numbers.
    sampled: SupportedFormatMask,
    /// Whether the host maps a blob of bytes, once that was tried.
    maps_blobs: OnceLock<bool>,
    next_blob_id: AtomicU64,
    round_trips: AtomicU64,
}

/// Whether the node has such contexts, and the reason either way.
pub(super) fn is_offered(node: &dyn Node) -> Result<String, String> {
    if !matches!(node.get_param(Param::Features3d), Ok(value) if value != 0) {
        return Err("the device has no contexts (feature VIRGL)".to_owned());
    }
    let capset_id = capset_of(node).ok_or("the host offers neither of capsets 1 and 2")?;
    Ok(format!("the host offers capset {capset_id}"))
}

/// The better of the two capsets; kernels without CONTEXT_INIT tell of none, and have the first.
fn capset_of(node: &dyn Node) -> Option<u32> {
    match node.get_param(Param::SupportedCapsetIds) {
        Ok(mask) if mask & 1 << protocol::CAPSET_ID_VIRGL2 != 0 => Some(protocol::CAPSET_ID_VIRGL2),
        Ok(mask) if mask & 1 << protocol::CAPSET_ID_VIRGL != 0 => Some(protocol::CAPSET_ID_VIRGL),
        Ok(_) => None,
        Err(_) => Some(protocol::CAPSET_ID_VIRGL),
    }
}

fn version_of(capset_id: u32) -> u32 {
    if capset_id == protocol::CAPSET_ID_VIRGL2 { protocol::VERSION_VIRGL2 } else { protocol::VERSION_VIRGL }
}

impl VirglBackend {
    /// Reads the masks and makes the context.
    pub fn open(node: &Arc<dyn Node>, handles: &Arc<HandleTable>, options: &DeviceOptions) -> Result<Self, Error> {
        let capset_id = capset_of(&**node).unwrap_or(protocol::CAPSET_ID_VIRGL);
        let mut capset = vec![0; size_of::<CapsV2>()];
        node.get_caps(capset_id, version_of(capset_id), &mut capset)?;
        // What the first capset does not reach stays zero.
        let (caps, _) = CapsV2::read_from_prefix(&capset).unwrap_or_default();
        if caps.v1.sampler.bitmask.iter().all(|dword| dword.get() == 0) {
            return Err(Error::NoFormats { capset_id });
        }
        if matches!(node.get_param(Param::ContextInit), Ok(1)) {
            node.context_init(&ContextInit { capset_id, num_rings: 1, debug_name: &options.name })?;
        }
        let largest_side = match caps.max_texture_2d_size.get() {
            0 => USUAL_SIDE,
            side => side.min(1 << 16),
        };
        let entries = Format::all().iter().filter_map(|format| format.info()).flat_map(|info| support(info, &caps)).collect();
        let largest = Extent { width: largest_side, height: largest_side, layers: 1 };
        let offer = Offer::without_limits(Capabilities::empty(), SupportTable::new(entries, largest));
        Ok(Self {
            node: node.clone(),
            handles: handles.clone(),
            offer,
            largest_side,
            sampled: caps.v1.sampler,
            maps_blobs: OnceLock::new(),
            next_blob_id: AtomicU64::new(1),
            round_trips: AtomicU64::new(0),
        })
    }

    /// What the host's texture of a layout is: its format's number, its sides, and how it holds the bytes.
    fn texture(&self, layout: &Layout) -> Result<(u32, (u32, u32), Texture), Error> {
        let (width, height) = (layout.width, layout.height);
        if let Some((info, number)) = layout.format.info().and_then(|info| Some((info, native(info, &self.sampled)?))) {
            let texture = match info.planes {
                [plane] => Texture::Texels(Texels { width, height, texel_bytes: plane.block_bytes.into() }),
                _ => Texture::Planes,
            };
            return Ok((number, (width, height), texture));
        }
        let stride = layout.planes.first().map_or(BYTES_STRIDE, |plane| plane.stride_bytes);
        let rows = layout.size_bytes.div_ceil(stride.max(1).into());
        let height = u32::try_from(rows).ok().filter(|rows| (*rows).max(stride) <= self.largest_side);
        let height = height.ok_or(Error::BeyondHost { size_bytes: layout.size_bytes })?;
        let number = Format::R8.info().and_then(|info| info.virgl).unwrap_or_default();
        Ok((number, (stride, height), Texture::Texels(Texels { width: stride, height, texel_bytes: 1 })))
    }

    /// The resource of a layout and how the host's texture holds its bytes, where a resource can hold them.
    fn resource(&self, layout: &Layout) -> Result<(ResourceCreate, Texture), Error> {
        let (format, (width, height), texture) = self.texture(layout)?;
        let texels = match texture {
            Texture::Texels(texels) => u64::from(width) * u64::from(height) * u64::from(texels.texel_bytes),
            Texture::Planes | Texture::Rows => 0,
        };
        let bytes = texels.max(layout.size_bytes).next_multiple_of(self.offer.blob_alignment.into());
        let size = u32::try_from(bytes).map_err(|_| Error::BeyondHost { size_bytes: bytes })?;
        Ok((ResourceCreate { target: TARGET_TEXTURE_2D, format, bind: 0, width, height, size }, texture))
    }

    fn create_texture(&self, request: &BufferRequest, layout: &Layout) -> Result<Blob, Error> {
        let (resource, texture) = self.resource(layout)?;
        let resource = ResourceCreate { bind: bind(request), ..resource };
        let bytes = resource.size.into();
        let Handles { bo_handle, resource_id } = self.node.resource_create(&resource)?;
        let handle = self.handles.adopt(bo_handle);
        let copy = self.copy_of(bo_handle, layout, texture, request.usage.intersects(drawn()));
        Ok(Blob { handle, resource_id, size_bytes: bytes, mappable: true, made_of: None, copy: Some(Box::new(copy)) })
    }

    fn copy_of(&self, bo_handle: u32, layout: &Layout, texture: Texture, host_writes: bool) -> ClassicCopy {
        ClassicCopy { node: self.node.clone(), bo_handle, layout: *layout, texture, host_writes }
    }

    /// A blob of bytes, which the host makes as a buffer of the GPU.
    fn create_buffer(&self, layout: &Layout) -> Result<Blob, Error> {
        let size = layout.size_bytes;
        let width = u32::try_from(size).map_err(|_| Error::BeyondHost { size_bytes: size })?;
        let blob_id = self.next_blob_id.fetch_add(1, Ordering::Relaxed);
        let body = PipeResourceCreate {
            target: TARGET_BUFFER.into(),
            format: Format::R8.info().and_then(|info| info.virgl).unwrap_or_default().into(),
            bind: (Usage::TEXTURE.to_dialect(Dialect::Virgl) as u32).into(),
            width: width.into(),
            height: 1.into(),
            depth: 1.into(),
            array_size: 1.into(),
            flags: (protocol::RESOURCE_FLAG_MAP_PERSISTENT | protocol::RESOURCE_FLAG_MAP_COHERENT).into(),
            blob_id: (blob_id as u32).into(),
            ..PipeResourceCreate::default()
        };
        let header = CommandHeader::new(Command::PipeResourceCreate, size_of::<PipeResourceCreate>());
        let command = [header.as_bytes(), body.as_bytes()].concat();
        let flags = BlobFlags::MAPPABLE | BlobFlags::SHAREABLE;
        let blob = BlobCreate { mem: BlobMem::Host3d, flags, size, blob_id: blob_id & u64::from(u32::MAX), command: &command };
        let Handles { bo_handle, resource_id } = self.node.resource_create_blob(&blob)?;
        let handle = self.handles.adopt(bo_handle);
        Ok(Blob { handle, resource_id, size_bytes: size, mappable: true, made_of: None, copy: None })
    }

    /// Whether the host maps blobs of bytes: one is made, mapped, written and read back.
    fn maps_blobs(&self) -> bool {
        *self.maps_blobs.get_or_init(|| {
            self.round_trips.fetch_add(1, Ordering::Relaxed);
            let tried = || -> Option<bool> {
                let request = BufferRequest::new(Format::R8, self.offer.blob_alignment, 1, Usage::CPU);
                let layout = Layout::linear(&request, Alignment::PACKED).ok()?;
                let blob = self.create_buffer(&layout).ok()?;
                let map = self.node.mmap(self.node.map(blob.handle.bo_handle()).ok()?, layout.size_bytes).ok()?;
                map.write(0, b"virgbm")?;
                let mut back = [0; 6];
                map.read(0, &mut back)?;
                Some(&back == b"virgbm")
            };
            let can = [Param::ResourceBlob, Param::HostVisible].map(|param| matches!(self.node.get_param(param), Ok(1)));
            can == [true; 2] && tried().unwrap_or(false)
        })
    }
}

/// What the host itself draws, so that the CPU has to fetch it.
fn drawn() -> Usage {
    Usage::RENDER | Usage::VIDEO_DECODER | Usage::CAMERA_WRITE | Usage::FRONT_RENDERING
}

/// The host's number of a format that it has textures of: one texel for each pixel, or several planes.
fn native(info: &FormatInfo, sampled: &SupportedFormatMask) -> Option<u32> {
    let one_texel_a_pixel = |plane: &PlaneFormat| info.class != FormatClass::Yuv && plane.block_width == 1;
    let native = matches!(info.planes, [_, _, ..]) || info.planes.first().is_some_and(one_texel_a_pixel);
    info.virgl.filter(|number| native && sampled.contains(*number))
}

/// A row of whole samples: hosts take strides of planes to be in the proportion of their samples.
fn with_whole_samples(request: &BufferRequest) -> BufferRequest {
    let widest = request.format.planes().iter().map(|plane| plane.horizontal_subsampling).max().unwrap_or(1);
    let width = request.width.checked_next_multiple_of(widest.into()).unwrap_or(request.width);
    BufferRequest { width, ..request.clone() }
}

fn bind(request: &BufferRequest) -> u32 {
    let class = request.format.info().map(|info| info.class);
    let mut usage = request.usage.difference(Usage::CPU);
    let mut depth = 0;
    if class == Some(FormatClass::Depth) {
        depth = if usage.contains(Usage::RENDER) { BIND_DEPTH_STENCIL } else { 0 };
        usage = usage.difference(Usage::RENDER);
    }
    // What is neither drawn nor sampled, such as a buffer for the screen alone, virglrenderer refuses.
    if depth == 0 && !usage.intersects(Usage::RENDER | Usage::TEXTURE) {
        usage |= Usage::TEXTURE;
    }
    usage.to_dialect(Dialect::Virgl) as u32 | depth
}

/// A format as the host's masks have it: with a layout that nobody says, and linear for those who ask for that.
fn support(info: &FormatInfo, caps: &CapsV2) -> Vec<Support> {
    use Usage as U;
    let others = U::CPU | U::CAMERA_WRITE | U::CAMERA_READ | U::VIDEO_DECODER | U::VIDEO_ENCODER;
    let (usages, alignment) = match (native(info, &caps.v1.sampler), info.class) {
        (Some(number), class) => {
            // Depth does not come back from the host as it was sent.
            let depth = class == FormatClass::Depth;
            let mut usages = if depth { U::TEXTURE } else { others | U::TEXTURE };
            let drawn = caps.v1.render.contains(number);
            usages.set(U::RENDER, drawn || depth && caps.v1.depthstencil.contains(number));
            usages.set(U::FRONT_RENDERING, drawn && !depth);
            // Hosts with the first capset show what the 2D commands know.
            let shown = info.format.virtio_2d().is_some() && drawn;
            usages.set(U::SCANOUT, !depth && (caps.scanout.contains(number) || shown));
            usages.set(U::CURSOR, info.format == Format::ARGB8888);
            usages.set(U::GPU_DATA | U::SENSOR_DATA, info.format == Format::R8);
            (usages, Alignment { size_bytes: 1, ..Alignment::PACKED })
        }
        (None, FormatClass::Flexible | FormatClass::Depth) => return Vec::new(),
        // Bytes, which whoever samples them must know how to read.
        (None, class) => {
            let alignment = Alignment { stride_bytes: BYTES_STRIDE, offset_bytes: BYTES_STRIDE, ..Alignment::PACKED };
            (if class == FormatClass::Yuv { others | U::TEXTURE } else { others }, alignment)
        }
    };
    let plane_count = info.planes.len() as u32;
    let entry =
        |modifier| Support { format: info.format, modifier, usages, plane_count, alignment, guest_layout: true, transfers: true };
    vec![entry(Modifier::INVALID), entry(Modifier::LINEAR)]
}

impl Backend for VirglBackend {
    fn offer(&self) -> &Offer {
        &self.offer
    }

    fn resolve(&self, request: &BufferRequest) -> Result<Layout, Error> {
        request.check()?;
        let support = self.offer.table.choose(request)?;
        let whole = Layout::linear(&with_whole_samples(request), support.alignment)?;
        let layout = Layout { width: request.width, modifier: support.modifier, ..whole };
        self.resource(&layout)?;
        Ok(layout)
    }

    fn create(&self, request: &BufferRequest, layout: &Layout, count: usize) -> Result<Vec<Blob>, Error> {
        let bytes = layout.format == Format::R8 && layout.height == 1 && request.usage.contains(Usage::GPU_DATA);
        let mut asked = request.clone();
        asked.usage.set(Usage::LINEAR, layout.modifier == Modifier::LINEAR);
        let bytes = bytes && self.maps_blobs();
        (0..count).map(|_| if bytes { self.create_buffer(layout) } else { self.create_texture(&asked, layout) }).collect()
    }

    fn describe(&self, resource_id: u32) -> Result<(Layout, Option<wire::Backing>), Error> {
        Err(Error::NoLayout { resource_id })
    }

    fn adopt(&self, imported: Imported, layout: &Layout, usage: Usage) -> Blob {
        let Imported { handle, resource_id, size_bytes, blob_mem } = imported;
        // What is a blob has no copy.
        let texture = if blob_mem != 0 { None } else { self.texture(layout).ok() };
        let host_writes = usage.intersects(drawn());
        let copy = texture.map(|(_, _, texture)| Box::new(self.copy_of(handle.bo_handle(), layout, texture, host_writes)) as _);
        Blob { handle, resource_id, size_bytes, mappable: true, made_of: None, copy }
    }

    fn round_trips(&self) -> u64 {
        self.round_trips.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resource_is_drawn_sampled_or_depth() {
        let bind = |format, usage| bind(&BufferRequest::new(format, 1, 1, usage));
        assert_eq!(bind(Format::XRGB8888, Usage::SCANOUT), 1 << 18 | 1 << 3);
        assert_eq!(bind(Format::ARGB8888, Usage::CURSOR | Usage::CPU), 1 << 16 | 1 << 3);
        assert_eq!(bind(Format::XRGB8888, Usage::SCANOUT | Usage::RENDER), 1 << 18 | 1 << 1);
        assert_eq!(bind(Format::DEPTH16, Usage::RENDER), 1 << 0);
        assert_eq!(bind(Format::DEPTH16, Usage::TEXTURE), 1 << 3);
    }
}
