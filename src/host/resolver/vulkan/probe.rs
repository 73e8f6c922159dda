//! What a driver really does: for each format and modifier an image is made, exported, filled from both sides and compared. What
//! fails is not offered.

use super::formats::{self, TRANSFERS, regions};
use super::image::{Maker, Offered, VulkanImage, plain, staging};
use super::sys::{Device, FormatFacts, Image as Raw, ImageSpec, Region, Tiling, Use};
use crate::host::resolver::Image;
use crate::sys::mmap::Mmap;
use crate::{Alignment, BufferRequest, ComponentKind, Format, FormatClass, FormatInfo, Layout, Modifier, Support, Usage};
use ash::vk;
use std::os::fd::AsFd;
use std::sync::Arc;

/// An odd size, which has every kind of padding.
const WIDTH: u32 = 67;
const HEIGHT: u32 = 35;

/// What was tried, and why it is not offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The format with its modifier, or the capability.
    pub subject: String,
    /// Why it does not work; `None` where it does.
    pub refused: Option<String>,
}

/// Tries every format that the driver says it can, and gives those that work.
pub fn survey(maker: &Maker, findings: &mut Vec<Finding>) -> Vec<Offered> {
    let mut offered = Vec::new();
    for info in Format::all().iter().filter_map(|format| format.info()) {
        for candidate in candidates(maker, info, findings) {
            let subject = subject(info, candidate.modifiers.first());
            let proof = prove(maker, candidate);
            findings.push(Finding { subject, refused: proof.as_ref().err().cloned() });
            offered.extend(proof);
        }
    }
    offered
}

fn subject(info: &FormatInfo, modifier: Option<&u64>) -> String {
    match modifier {
        Some(modifier) => format!("{} {}", info.format, Modifier::new(*modifier)),
        None => format!("{} in rows", info.format),
    }
}

/// What the driver says that it can do with a format, in its order of preference; LINEAR, which all take, last.
fn candidates(maker: &Maker, info: &'static FormatInfo, findings: &mut Vec<Finding>) -> Vec<Offered> {
    let pictures = matches!(info.class, FormatClass::Rgb | FormatClass::RgbFloat | FormatClass::Yuv);
    let Some(number) = formats::number(info.format).filter(|_| pictures) else { return Vec::new() };
    let device = &maker.device;
    let FormatFacts { linear, modifiers, .. } = device.adapter().format(number, device.facts().extensions.modifiers);
    let listed = modifiers.into_iter().map(|entry| Way {
        modifier: Some(entry.drm_format_modifier),
        features: entry.drm_format_modifier_tiling_features,
        plane_count: entry.drm_format_modifier_plane_count,
    });
    let unlisted = Way { modifier: None, features: linear, plane_count: info.planes.len() as u32 };
    let mut found: Vec<Offered> = Vec::new();
    for way in listed.chain([unlisted]) {
        // An image can be linear without a modifier that says so; the other is better, where it can be had.
        if way.modifier.is_none() && found.iter().any(|offered| offered.support.modifier == Modifier::LINEAR) {
            continue;
        }
        match candidate(maker, info, number, way) {
            Ok(candidate) => found.push(candidate),
            Err(why) => findings.push(Finding { subject: subject(info, way.modifier.as_ref()), refused: Some(why) }),
        }
    }
    preferred(device, number, found)
}

/// How a driver says that it lays out a format: with a modifier, or linear without one.
#[derive(Clone, Copy)]
struct Way {
    modifier: Option<u64>,
    features: vk::FormatFeatureFlags,
    plane_count: u32,
}

/// The most usages that the driver says an image can have.
fn candidate(maker: &Maker, info: &'static FormatInfo, number: vk::Format, way: Way) -> Result<Offered, String> {
    let Way { modifier, features, plane_count } = way;
    let transfers = vk::FormatFeatureFlags::TRANSFER_SRC | vk::FormatFeatureFlags::TRANSFER_DST;
    if !features.contains(transfers) {
        return Err("the driver does not copy it".to_owned());
    }
    let extent = formats::extent(info, WIDTH, HEIGHT).ok_or("its size overflows")?;
    let modifiers: Vec<u64> = modifier.into_iter().collect();
    let tiling = if modifiers.is_empty() { Tiling::Linear } else { Tiling::Modifiers(&modifiers) };
    let mut refused = "the driver neither draws to it nor samples it".to_owned();
    for usages in formats::usages_to_try(features) {
        let usage = formats::image_usage(usages);
        let spec = ImageSpec { usage, tiling, exported: maker.exported, ..plain(number, extent) };
        match maker.device.adapter().limits(&spec) {
            Ok(limits) if maker.exported && !limits.exportable => refused = "the driver does not export it".to_owned(),
            Ok(limits) => {
                let modifier = modifier.map_or(Modifier::LINEAR, Modifier::new);
                let (format, alignment) = (info.format, Alignment::PACKED);
                let support = Support { format, modifier, usages, plane_count, alignment, guest_layout: false };
                return Ok(Offered { support, info, limits, modifiers });
            }
            Err(failed) => refused = failed.to_string(),
        }
    }
    Err(refused)
}

/// The driver's order: it chooses from all, then from the others, until none is left.
fn preferred(device: &Arc<Device>, number: vk::Format, found: Vec<Offered>) -> Vec<Offered> {
    let (mut sorted, mut left) = (Vec::with_capacity(found.len()), found);
    let is_linear = |offered: &Offered| offered.support.modifier == Modifier::LINEAR;
    let linear = left.extract_if(.., |offered| is_linear(offered)).next();
    while left.len() > 1 {
        let list: Vec<_> = left.iter().map(|offered| offered.support.modifier.value()).collect();
        let extent = vk::Extent3D { width: 1024, height: 1024, depth: 1 };
        let spec = ImageSpec { tiling: Tiling::Modifiers(&list), usage: TRANSFERS, ..plain(number, extent) };
        let chosen = Raw::new(device, &spec).and_then(|image| image.modifier()).ok().flatten();
        let place = list.iter().position(|modifier| Some(*modifier) == chosen);
        sorted.push(left.remove(place.unwrap_or(0)));
    }
    sorted.extend(left);
    sorted.extend(linear);
    sorted
}

/// Makes an image with all its usages and looks whether CPU and GPU agree about its bytes; adds what its memory is good for.
fn prove(maker: &Maker, mut offered: Offered) -> Result<Offered, String> {
    let info = offered.info;
    let request = BufferRequest::new(info.format, WIDTH, HEIGHT, offered.support.usages);
    let layout = maker.layout(&request, &offered).map_err(|error| error.to_string())?;
    let made = maker.image(&request, &offered, &layout, layout.size_bytes).map_err(|error| error.to_string())?;
    let image = Proof::new(maker, info, &made)?;
    if made.is_mapped() {
        image.agree_about_mapped_rows(&layout)?;
    } else {
        image.agree_about_texels()?;
    }
    if offered.support.modifier == Modifier::LINEAR {
        // The guest maps dma-bufs, so without one the CPU's usages stay with plain memory.
        let mappable = made.is_mapped() && made.descriptor().is_some();
        offered.support.usages |= formats::linear_usages(info, mappable);
    }
    Ok(offered)
}

/// An image under proof, with a buffer that holds its planes packed.
struct Proof<'a> {
    device: &'a Arc<Device>,
    made: &'a VulkanImage,
    info: &'static FormatInfo,
    packed: Layout,
    regions: Vec<Region>,
}

impl<'a> Proof<'a> {
    fn new(maker: &'a Maker, info: &'static FormatInfo, made: &'a VulkanImage) -> Result<Self, String> {
        let overflow = || "its size overflows".to_owned();
        let extent = formats::extent(info, WIDTH, HEIGHT).ok_or_else(overflow)?;
        let whole = BufferRequest::new(info.format, extent.width, extent.height, Usage::TEXTURE);
        // A copy's offsets are whole texels.
        let packed =
            Layout::linear(&whole, Alignment { offset_bytes: 16, ..Alignment::PACKED }).map_err(|error| error.to_string())?;
        let regions = regions(info, extent, &packed).ok_or_else(overflow)?;
        Ok(Self { device: &maker.device, made, info, packed, regions })
    }

    /// What the GPU sees, packed.
    fn seen(&self, before: Use) -> Result<Vec<u8>, String> {
        let buffer = staging(self.device, self.packed.size_bytes).map_err(|failed| failed.to_string())?;
        let copied = self.device.submit(|recorder| {
            recorder.turn(&self.made.image, before, Use::Source);
            recorder.read(&self.made.image, &buffer, &self.regions);
            recorder.turn(&self.made.image, Use::Source, Use::Released);
        });
        copied.map_err(|failed| failed.to_string())?;
        let mut bytes = vec![0; self.packed.size_bytes as usize];
        buffer.memory.read(0, &mut bytes).ok_or("a buffer is shorter than asked")?;
        Ok(bytes)
    }

    /// Lets the GPU write what is packed.
    fn draw(&self, bytes: &[u8]) -> Result<(), String> {
        let buffer = staging(self.device, self.packed.size_bytes).map_err(|failed| failed.to_string())?;
        buffer.memory.write(0, bytes).ok_or("a buffer is shorter than asked")?;
        let copied = self.device.submit(|recorder| {
            recorder.turn(&self.made.image, Use::Released, Use::Destination);
            recorder.write(&self.made.image, &buffer, &self.regions);
            recorder.turn(&self.made.image, Use::Destination, Use::Released);
        });
        copied.map_err(|failed| failed.to_string())
    }

    /// The GPU alone: what it writes is what it reads, and before that there is nothing.
    fn agree_about_texels(&self) -> Result<(), String> {
        if self.seen(Use::Released)?.iter().any(|byte| *byte != 0) {
            return Err("a new image is not zeroed".to_owned());
        }
        let drawn = self.pattern(1);
        self.draw(&drawn)?;
        if self.seen(Use::Released)? == drawn { Ok(()) } else { Err("what the GPU reads is not what it wrote".to_owned()) }
    }

    /// The CPU writes rows through the dma-buf, or where there is none through the driver's map, and the GPU reads them; then the
    /// other way round.
    fn agree_about_mapped_rows(&self, layout: &Layout) -> Result<(), String> {
        let rows = self.rows(layout)?;
        let map = match self.made.descriptor() {
            Some(fd) => {
                Some(Mmap::shared(fd.as_fd(), 0, self.made.size_bytes(), None).map_err(|error| format!("mmap: {error}"))?)
            }
            None => None,
        };
        let outside = "a row is outside of the memory";
        let look = |at: u64, row: &mut [u8]| match &map {
            Some(map) => map.read(at as usize, row).ok_or(outside.to_owned()),
            None => self.made.read(at, row).map_err(|error| error.to_string()),
        };
        let put = |at: u64, row: &[u8]| match &map {
            Some(map) => map.write(at as usize, row).ok_or(outside.to_owned()),
            None => self.made.write(at, row).map_err(|error| error.to_string()),
        };
        for Row { at, bytes, .. } in &rows {
            let mut row = vec![1; *bytes];
            look(*at, &mut row)?;
            if row.iter().any(|byte| *byte != 0) {
                return Err("a new image is not zeroed".to_owned());
            }
        }
        // From here on the image has a layout, which a transition could bring about by writing.
        self.seen(Use::New)?;
        let (drawn, found) = (self.pattern(2), self.pattern(3));
        for Row { at, packed, bytes } in &rows {
            put(*at, drawn.get(*packed..packed + bytes).unwrap_or(&[]))?;
        }
        let seen = self.seen(Use::Released)?;
        if rows.iter().any(|Row { packed, bytes, .. }| seen.get(*packed..packed + bytes) != drawn.get(*packed..packed + bytes)) {
            return Err("the GPU does not see what the CPU wrote".to_owned());
        }
        self.draw(&found)?;
        for Row { at, packed, bytes } in &rows {
            let mut row = vec![0; *bytes];
            look(*at, &mut row)?;
            if Some(&row[..]) != found.get(*packed..packed + bytes) {
                return Err("the CPU does not see what the GPU wrote".to_owned());
            }
        }
        Ok(())
    }

    /// Every row of the picture: where it is in the memory, and where packed.
    fn rows(&self, layout: &Layout) -> Result<Vec<Row>, String> {
        let mut rows = Vec::new();
        for (plane, format) in self.info.planes.iter().enumerate() {
            let region = layout.plane_region(plane, layout.whole()).ok_or("a plane is missing")?;
            let packed = self.packed.planes.get(plane).ok_or("a plane is missing")?;
            for row in 0..format.rows(HEIGHT) {
                let at = region.offset_bytes + row * region.stride_bytes;
                let packed = packed.offset_bytes + row * u64::from(packed.stride_bytes);
                rows.push(Row { at, packed: packed as usize, bytes: region.row_bytes as usize });
            }
        }
        Ok(rows)
    }

    /// Bytes that differ from place to place; the padding inside texels, which a copy need not keep, is zero.
    fn pattern(&self, seed: u64) -> Vec<u8> {
        let mut bytes = vec![0; self.packed.size_bytes as usize];
        for (plane, format) in self.packed.planes.iter().zip(self.info.planes) {
            let from = plane.offset_bytes as usize;
            let mask = meaning(format);
            let rows = bytes.get_mut(from..from + plane.size_bytes as usize).unwrap_or_default();
            for ((at, byte), mask) in (0u64..).zip(rows).zip(mask.iter().cycle()) {
                *byte = ((at * 7 + at / 251 + seed * 61 + 13) as u8) & mask;
            }
        }
        bytes
    }
}

struct Row {
    at: u64,
    packed: usize,
    bytes: usize,
}

/// The bits of each byte of a block that are no padding.
fn meaning(plane: &crate::PlaneFormat) -> Vec<u8> {
    let mut masks = vec![0u8; plane.block_bytes.into()];
    for (offset, component) in plane.components_at().filter(|(_, component)| component.kind != ComponentKind::X) {
        for bit in offset..offset + u32::from(component.bits) {
            if let Some(mask) = masks.get_mut(bit as usize / 8) {
                *mask |= 1 << (bit % 8);
            }
        }
    }
    masks
}
