//! What a driver really does: for each format a texture is made, exported, filled from both sides and compared.

use super::formats;
use super::image::GlImage;
use super::maker::{Maker, Trust};
use crate::host::Picture;
use crate::host::resolver::Image;
use crate::host::resolver::proof::{Finding, HEIGHT, Proof, WIDTH, Witness};
use crate::host::resolver::report::linear_usages;
use crate::{Alignment, BufferRequest, Format, FormatClass, FormatInfo, Layout, Modifier, Support, Usage, pixel};
use std::os::fd::AsFd;

/// How far a sampled colour may be from the one that was meant: drivers round conversions in their own ways.
const TOLERANCE: u8 = 6;

/// Finds out how far imports can be believed.
pub fn trust(maker: &mut Maker, findings: &mut Vec<Finding>) {
    // The maker refuses what it does not trust, so each is trusted while it is tried.
    maker.trust.offsets = true;
    let offsets = offset_is_kept(maker);
    maker.trust = Trust { offsets: offsets.is_ok(), planes: true };
    let planes = planes_are_sampled(maker);
    maker.trust.planes = planes.is_ok();
    for (subject, tried) in [("imports behind the start of a dma-buf", offsets), ("imports of several planes", planes)] {
        findings.push(Finding { subject: subject.to_owned(), refused: tried.err() });
    }
}

/// Whether an image that begins in the second row of another shows that row.
fn offset_is_kept(maker: &Maker) -> Result<(), String> {
    let text = |error: &dyn ToString| error.to_string();
    let info = Format::ABGR8888.info().ok_or("no such format")?;
    let request = |height| BufferRequest::new(info.format, WIDTH, height, Usage::TEXTURE);
    let (image, layout) = maker.image(&request(2), info).map_err(|error| text(&error))?;
    let stride_bytes = layout.planes.first().ok_or("no plane")?.stride_bytes;
    image.write(stride_bytes.into(), &[1, 2, 3, 4]).map_err(|error| text(&error))?;
    let places = [(stride_bytes, u64::from(stride_bytes))];
    let part = Layout::reported(info.format, (WIDTH, 1), layout.modifier, &places, layout.size_bytes);
    let part = part.map_err(|error| text(&error))?;
    let fd = image.export().map_err(|error| text(&error))?.fd;
    let imported = maker.imported(fd.as_fd(), &request(1), &part).map_err(|error| text(&error))?;
    let packed = Layout::linear(&request(1), Alignment::PACKED).map_err(|error| text(&error))?;
    let seen = imported.texels(&packed).map_err(|error| text(&error))?;
    if seen.starts_with(&[1, 2, 3, 4]) { Ok(()) } else { Err("the driver ignores the offset".to_owned()) }
}

/// Whether a picture of luma and chroma is sampled in its colour.
fn planes_are_sampled(maker: &Maker) -> Result<(), String> {
    let info = Format::NV12.info().ok_or("no such format")?;
    let request = BufferRequest::new(info.format, WIDTH, HEIGHT, Usage::TEXTURE);
    let (image, layout) = maker.image(&request, info).map_err(|error| error.to_string())?;
    let picture = colours_are_sampled(&image, &layout)?;
    picture.map_err(|wrong| format!("what is sampled is {wrong:?}"))
}

/// Whether a new picture of luma and chroma, filled with one colour, is sampled so; else the colour that is.
fn colours_are_sampled(image: &GlImage, layout: &Layout) -> Result<Result<(), [u8; 4]>, String> {
    let mut bytes = vec![0; layout.size_bytes as usize];
    let colour = [0.75, 0.25, 0.125, 1.0];
    for (x, y) in (0..layout.height).flat_map(|y| (0..layout.width).map(move |x| (x, y))) {
        pixel::store(layout, &mut bytes, x, y, colour).ok_or("a pixel is outside")?;
    }
    image.write(0, &bytes).map_err(|error| error.to_string())?;
    let meant = Picture::decode(layout, &bytes).map_err(|error| error.to_string())?;
    let seen = image.picture(layout).map_err(|error| error.to_string())?.ok_or("there is no picture")?;
    let near = |(seen, meant): (&u8, &u8)| seen.abs_diff(*meant) <= TOLERANCE;
    let wrong = seen.rgba.chunks(4).zip(meant.rgba.chunks(4)).find(|(seen, meant)| !seen.iter().zip(*meant).all(near));
    Ok(wrong.map_or(Ok(()), |(seen, _)| Err(seen.try_into().unwrap_or_default())))
}

/// Tries every format that GL has, and gives those that work.
pub fn survey(maker: &Maker, findings: &mut Vec<Finding>) -> Vec<Support> {
    let mut offered = Vec::new();
    for info in Format::all().iter().filter_map(|format| format.info()) {
        if formats::texels(info.format).is_none() && formats::samples(info).is_none() {
            continue;
        }
        let proof = known(maker, info).and_then(|()| prove(maker, info));
        let modifier = proof.as_ref().map_or(String::new(), |support| format!(" {}", support.modifier));
        let subject = format!("{}{modifier}", info.format);
        findings.push(Finding { subject, refused: proof.as_ref().err().cloned() });
        offered.extend(proof);
    }
    offered
}

/// Whether the driver has the extensions that the format needs.
fn known(maker: &Maker, info: &FormatInfo) -> Result<(), String> {
    let facts = maker.gl.facts();
    let needs = |there: bool, extension: &str| if there { Ok(()) } else { Err(format!("the driver has no {extension}")) };
    match info.format {
        Format::XRGB8888 | Format::ARGB8888 => needs(facts.bgra, "GL_EXT_texture_format_BGRA8888"),
        Format::R16 | Format::GR1616 | Format::XBGR16161616 | Format::ABGR16161616 => {
            needs(facts.norm16, "GL_EXT_texture_norm16")
        }
        _ => Ok(()),
    }
}

/// Makes an image and looks whether the CPU and GL agree about its bytes.
fn prove(maker: &Maker, info: &'static FormatInfo) -> Result<Support, String> {
    let request = BufferRequest::new(info.format, WIDTH, HEIGHT, Usage::TEXTURE | Usage::RENDER);
    let (image, layout) = maker.image(&request, info).map_err(|error| error.to_string())?;
    let proof = Proof::new(info, (WIDTH, HEIGHT))?;
    let seen = Seen { image: &image, proof: &proof };
    if layout.modifier == Modifier::LINEAR {
        proof.agree_about_rows(&seen, &layout)?;
    } else {
        proof.agree_about_texels(&seen)?;
    }
    // Rows that can't be mapped are moved.
    let transfers = layout.modifier == Modifier::LINEAR && !image.is_mapped() && info.planes.len() == 1;
    let cpu = image.is_mapped() || transfers;
    let mut usages = if layout.modifier == Modifier::LINEAR { linear_usages(info, cpu) } else { Usage::empty() };
    if info.class == FormatClass::Yuv {
        // Whether a shader sees the picture, and not only its samples, is a matter of each format.
        let sampled = image.is_sampled() && colours_are_sampled(&image, &layout)?.is_ok();
        usages.set(Usage::TEXTURE, sampled);
    } else {
        // What was cleared as a framebuffer can be drawn to.
        usages |= Usage::TEXTURE | Usage::RENDER;
        image.picture(&layout).map_err(|error| error.to_string())?;
    }
    let plane_count = layout.planes.len() as u32;
    let (format, modifier, alignment) = (info.format, layout.modifier, Alignment::PACKED);
    Ok(Support { format, modifier, usages, plane_count, alignment, guest_layout: false, transfers })
}

struct Seen<'a> {
    image: &'a GlImage,
    proof: &'a Proof,
}

impl Witness for Seen<'_> {
    fn seen(&self) -> Result<Vec<u8>, String> {
        self.image.texels(&self.proof.packed).map_err(|error| error.to_string())
    }

    fn draw(&self, packed: &[u8]) -> Result<(), String> {
        self.image.set_texels(&self.proof.packed, packed).map_err(|error| error.to_string())
    }

    fn look(&self, offset: u64, bytes: &mut [u8]) -> Result<(), String> {
        self.image.read(offset, bytes).map_err(|error| error.to_string())
    }

    fn put(&self, offset: u64, bytes: &[u8]) -> Result<(), String> {
        self.image.write(offset, bytes).map_err(|error| error.to_string())
    }
}
