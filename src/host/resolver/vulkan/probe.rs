//! What a driver really does: for each format and modifier an image is made, exported, filled from both sides and compared. What
//! fails is not offered.

use super::formats::{self, TRANSFERS};
use super::image::VulkanImage;
use super::maker::{Maker, Offered, plain};
use super::sys::{Device, FormatFacts, Image as Raw, ImageSpec, Tiling};
use crate::host::resolver::proof::{HEIGHT, Proof, WIDTH, Witness};
use crate::host::resolver::report::linear_usages;
use crate::host::resolver::{Export, ExportKind, Finding, Image};
use crate::sys::mmap::Mmap;
use crate::{Alignment, BufferRequest, Format, FormatClass, FormatInfo, Layout, Modifier, Support};
use ash::vk;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// Tries every format that the driver says it can, and gives those that work.
pub fn survey(maker: &Maker, findings: &mut Vec<Finding>) -> Vec<Offered> {
    let mut offered = Vec::new();
    for info in Format::all().iter().filter_map(|format| format.info()) {
        for candidate in candidates(maker, info, findings) {
            let subject = subject(info, candidate.modifiers.first());
            let proof = prove(maker, candidate);
            findings.push(Finding { subject: subject.clone(), refused: proof.as_ref().err().cloned() });
            let Ok((proven, import)) = proof else { continue };
            if let Err(why) = import {
                findings.push(Finding { subject: format!("{subject}, imported"), refused: Some(why) });
            }
            offered.push(proven);
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
        let spec = ImageSpec { usage, tiling, shared: maker.shared, ..plain(number, extent) };
        match maker.device.limits(&spec) {
            Ok(limits) if maker.shared.is_some() && !limits.exportable => refused = "the driver does not export it".to_owned(),
            Ok(limits) => {
                let modifier = modifier.map_or(Modifier::LINEAR, Modifier::new);
                let (format, alignment) = (info.format, Alignment::PACKED);
                let support = Support { format, modifier, usages, plane_count, alignment, guest_layout: false, transfers: false };
                return Ok(Offered { support, info, limits, importable: false, modifiers });
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

/// Makes an image with all its usages and looks whether CPU and GPU agree about its bytes; adds what its memory is good for. Where its
/// memory leaves, tells also whether an image in memory that comes back is the same.
fn prove(maker: &Maker, mut offered: Offered) -> Result<(Offered, Result<(), String>), String> {
    let info = offered.info;
    let request = BufferRequest::new(info.format, WIDTH, HEIGHT, offered.support.usages);
    let layout = maker.layout(&request, &offered).map_err(|error| error.to_string())?;
    let made = maker.image(&request, &offered, &layout, layout.size_bytes).map_err(|error| error.to_string())?;
    if made.is_dma_buf() {
        dma_buf(&made)?;
    }
    let extent = formats::extent(info, WIDTH, HEIGHT).ok_or("its size overflows")?;
    let proof = Proof::new(info, (extent.width, extent.height))?;
    let image = Seen::new(&made, &proof, info)?;
    if made.is_mapped() {
        proof.agree_about_rows(&image, &layout)?;
    } else {
        proof.agree_about_texels(&image)?;
    }
    if offered.support.modifier == Modifier::LINEAR {
        // The guest maps dma-bufs; what it can't map, the host moves where it sees the rows itself.
        let mappable = made.is_mapped() && made.is_dma_buf();
        offered.support.transfers = made.is_mapped() && !mappable && info.planes.len() == 1;
        offered.support.usages |= linear_usages(info, mappable || offered.support.transfers);
    }
    let import = match maker.shared {
        Some(_) => agree_with_import(maker, &request, &offered, &layout, &image),
        None => Ok(()),
    };
    offered.importable = maker.shared.is_some() && import.is_ok();
    Ok((offered, import))
}

/// A descriptor of an image that really is a dma-buf.
fn dma_buf(image: &VulkanImage) -> Result<OwnedFd, String> {
    image.dma_buf().map_err(|error| error.to_string())
}

/// What is drawn to the image is seen in one that its descriptor came back as, and the other way round.
fn agree_with_import(
    maker: &Maker,
    request: &BufferRequest,
    offered: &Offered,
    layout: &Layout,
    image: &Seen<'_>,
) -> Result<(), String> {
    if !offered.limits.importable {
        return Err("the driver does not import it".to_owned());
    }
    let Export { fd, kind } = image.made.export().map_err(|error| error.to_string())?;
    let imported = match &kind {
        ExportKind::Opaque(told) => maker.import_opaque(fd.as_fd(), told),
        _ => maker.import(fd.as_fd(), image.made.size_bytes(), request, offered, layout),
    };
    let imported = imported.map_err(|error| error.to_string())?;
    let twin = Seen::new(&imported, image.proof, offered.info)?;
    image.proof.agree_about_twins(image, &twin)
}

/// An image under proof, as the CPU sees it by its dma-buf or else by the driver's map, and as the GPU copies it.
struct Seen<'a> {
    made: &'a VulkanImage,
    proof: &'a Proof,
    info: &'static FormatInfo,
    map: Option<Mmap>,
}

impl<'a> Seen<'a> {
    fn new(made: &'a VulkanImage, proof: &'a Proof, info: &'static FormatInfo) -> Result<Self, String> {
        let fd = (made.is_mapped() && made.is_dma_buf()).then(|| dma_buf(made)).transpose()?;
        let map = fd.map(|fd| Mmap::shared(fd.as_fd(), 0, made.size_bytes(), None)).transpose();
        Ok(Self { made, proof, info, map: map.map_err(|error| format!("mmap: {error}"))? })
    }
}

impl Witness for Seen<'_> {
    fn seen(&self) -> Result<Vec<u8>, String> {
        self.made.texels(self.info, &self.proof.packed).map_err(|error| error.to_string())
    }

    fn draw(&self, packed: &[u8]) -> Result<(), String> {
        self.made.set_texels(self.info, &self.proof.packed, packed).map_err(|error| error.to_string())
    }

    fn look(&self, offset: u64, bytes: &mut [u8]) -> Result<(), String> {
        match &self.map {
            Some(map) => map.read(offset as usize, bytes).ok_or("a row is outside of the memory".to_owned()),
            None => self.made.read(offset, bytes).map_err(|error| error.to_string()),
        }
    }

    fn put(&self, offset: u64, bytes: &[u8]) -> Result<(), String> {
        match &self.map {
            Some(map) => map.write(offset as usize, bytes).ok_or("a row is outside of the memory".to_owned()),
            None => self.made.write(offset, bytes).map_err(|error| error.to_string()),
        }
    }
}
