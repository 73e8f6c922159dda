//! One pixel of a linear picture, read and written by the component table: for test patterns, and for people who look at buffers.
//!
//! Every format of the table works through the same code, so this is exact rather than fast.

use crate::{ComponentKind, FormatClass, FormatInfo, Layout, Plane, PlaneFormat};
use half::f16;

/// Red, green, blue and alpha, each from 0 to 1.
pub type Rgba = [f32; 4];

/// The chroma of grey.
const NO_CHROMA: f32 = 128.0 / 255.0;

/// One plane's block at a pixel: its bits and where they are.
struct Block {
    bits: u64,
    at: usize,
    bytes: usize,
    /// Which of the block's samples the pixel is.
    sample: usize,
}

/// The colour of a pixel of the first layer. One channel reads as grey, luma and chroma as BT.601 with limited range.
/// `None` outside the picture or its bytes.
pub fn load(layout: &Layout, bytes: &[u8], x: u32, y: u32) -> Option<Rgba> {
    let info = inside(layout, x, y)?;
    let mut found = Found::default();
    for (plane, format) in layout.planes.iter().zip(info.planes) {
        let block = block_at(plane, format, bytes, x, y)?;
        for (offset, bits, kind) in components(format, block.sample) {
            found.set(kind, normalise(info.class, kind, block.bits >> offset & mask(bits), bits));
        }
    }
    Some(found.colour())
}

/// Gives a pixel of the first layer a colour, as far as the format can hold it. `None` outside the picture or its bytes.
pub fn store(layout: &Layout, bytes: &mut [u8], x: u32, y: u32, colour: Rgba) -> Option<()> {
    let info = inside(layout, x, y)?;
    for (plane, format) in layout.planes.iter().zip(info.planes) {
        let mut block = block_at(plane, format, bytes, x, y)?;
        for (offset, bits, kind) in components(format, block.sample) {
            let value = quantise(info.class, kind, component_of(kind, colour), bits);
            block.bits = block.bits & !(mask(bits) << offset) | value << offset;
        }
        let stored = block.bits.to_le_bytes();
        bytes.get_mut(block.at..block.at + block.bytes)?.copy_from_slice(stored.get(..block.bytes)?);
    }
    Some(())
}

fn inside(layout: &Layout, x: u32, y: u32) -> Option<&'static FormatInfo> {
    (x < layout.width && y < layout.height).then(|| layout.format.info()).flatten()
}

fn block_at(plane: &Plane, format: &PlaneFormat, bytes: &[u8], x: u32, y: u32) -> Option<Block> {
    let sample = x / u32::from(format.horizontal_subsampling);
    let column = u64::from(sample / u32::from(format.block_width)) * u64::from(format.block_bytes);
    let row = u64::from(y / u32::from(format.vertical_subsampling)) * u64::from(plane.stride_bytes);
    let at = usize::try_from(plane.offset_bytes.checked_add(row)?.checked_add(column)?).ok()?;
    let length = usize::from(format.block_bytes);
    let mut word = [0; 8];
    word.get_mut(..length)?.copy_from_slice(bytes.get(at..at.checked_add(length)?)?);
    let sample = (sample % u32::from(format.block_width)) as usize;
    Some(Block { bits: u64::from_le_bytes(word), at, bytes: length, sample })
}

/// Offset, bits and kind of the components that belong to one sample of a block: all but the other samples' luma.
fn components(format: &PlaneFormat, sample: usize) -> impl Iterator<Item = (u32, u32, ComponentKind)> {
    let mut luma = 0;
    format.components_at().filter_map(move |(offset, component)| match component.kind {
        ComponentKind::X => None,
        // Packed sensor data starts with the high byte of each sample.
        ComponentKind::Raw => Some((8 * sample as u32, 8, ComponentKind::Raw)),
        ComponentKind::Y => {
            luma += 1;
            (format.block_width == 1 || luma == sample + 1).then_some((offset, component.bits.into(), component.kind))
        }
        kind => Some((offset, component.bits.into(), kind)),
    })
}

const fn mask(bits: u32) -> u64 {
    if bits >= 64 { u64::MAX } else { (1 << bits) - 1 }
}

fn normalise(class: FormatClass, kind: ComponentKind, value: u64, bits: u32) -> f32 {
    match (class, kind, bits) {
        (FormatClass::RgbFloat, _, 16) => f16::from_bits(value as u16).to_f32(),
        (FormatClass::Depth, ComponentKind::D, 32) => f32::from_bits(value as u32),
        _ => (value as f64 / mask(bits) as f64) as f32,
    }
}

fn quantise(class: FormatClass, kind: ComponentKind, value: f32, bits: u32) -> u64 {
    match (class, kind, bits) {
        (FormatClass::RgbFloat, _, 16) => f16::from_f32(value).to_bits().into(),
        (FormatClass::Depth, ComponentKind::D, 32) => value.to_bits().into(),
        _ => (f64::from(value.clamp(0.0, 1.0)) * mask(bits) as f64).round() as u64,
    }
}

/// The components that a pixel has.
#[derive(Default)]
struct Found {
    rgba: [Option<f32>; 4],
    ycbcr: [Option<f32>; 3],
    grey: Option<f32>,
}

impl Found {
    fn set(&mut self, kind: ComponentKind, value: f32) {
        let [r, g, b, a] = &mut self.rgba;
        let [y, cb, cr] = &mut self.ycbcr;
        let slot = match kind {
            ComponentKind::R => r,
            ComponentKind::G => g,
            ComponentKind::B => b,
            ComponentKind::A => a,
            ComponentKind::Y => y,
            ComponentKind::Cb => cb,
            ComponentKind::Cr => cr,
            ComponentKind::D | ComponentKind::Index | ComponentKind::Raw => &mut self.grey,
            ComponentKind::S | ComponentKind::X => return,
        };
        *slot = Some(value);
    }

    fn colour(&self) -> Rgba {
        let [r, g, b, a] = self.rgba;
        let alpha = a.unwrap_or(1.0);
        if let [Some(y), cb, cr] = self.ycbcr {
            let (y, cb, cr) =
                (1.164 * (y - 16.0 / 255.0), cb.unwrap_or(NO_CHROMA) - NO_CHROMA, cr.unwrap_or(NO_CHROMA) - NO_CHROMA);
            let colour = [y + 1.596 * cr, y - 0.392 * cb - 0.813 * cr, y + 2.017 * cb];
            let [r, g, b] = colour.map(|value| value.clamp(0.0, 1.0));
            return [r, g, b, alpha];
        }
        match (r, g, b, self.grey) {
            (_, _, _, Some(grey)) => [grey, grey, grey, 1.0],
            (Some(grey), None, None, None) => [grey, grey, grey, alpha],
            _ => [r.unwrap_or(0.0), g.unwrap_or(0.0), b.unwrap_or(0.0), alpha],
        }
    }
}

/// What a component of this colour is, from 0 to 1.
fn component_of(kind: ComponentKind, [r, g, b, a]: Rgba) -> f32 {
    match kind {
        ComponentKind::R => r,
        ComponentKind::G => g,
        ComponentKind::B => b,
        ComponentKind::A => a,
        ComponentKind::Y => 16.0 / 255.0 + 0.257 * r + 0.504 * g + 0.098 * b,
        ComponentKind::Cb => NO_CHROMA - 0.148 * r - 0.291 * g + 0.439 * b,
        ComponentKind::Cr => NO_CHROMA + 0.439 * r - 0.368 * g - 0.071 * b,
        ComponentKind::D | ComponentKind::Index | ComponentKind::Raw => 0.299 * r + 0.587 * g + 0.114 * b,
        ComponentKind::S | ComponentKind::X => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Alignment, BufferRequest, Format, Usage};

    fn layout(format: Format) -> Layout {
        let usage = Usage::CPU_READ_RARELY;
        Layout::linear(&BufferRequest::new(format, 8, 4, usage), Alignment::PACKED).unwrap()
    }

    #[test]
    fn a_colour_lies_in_memory_as_the_format_says() {
        let cases: [(Format, &[u8]); 5] = [
            (Format::XRGB8888, &[0, 0x80, 0xff, 0]),
            (Format::ABGR8888, &[0xff, 0x80, 0, 0xff]),
            (Format::RGB565, &[0, 0xfc]),
            (Format::ABGR16161616F, &[0, 0x3c, 4, 0x38, 0, 0, 0, 0x3c]),
            (Format::BGR888, &[0xff, 0x80, 0]),
        ];
        for (format, expected) in cases {
            let mut bytes = vec![0; 512];
            store(&layout(format), &mut bytes, 0, 0, [1.0, 128.0 / 255.0, 0.0, 1.0]).unwrap();
            assert_eq!(&bytes[..expected.len()], expected, "{format}");
        }
    }

    #[test]
    fn luma_and_chroma_of_white_are_at_their_limits() {
        let layout = layout(Format::NV12);
        let mut bytes = vec![0; layout.size_bytes as usize];
        store(&layout, &mut bytes, 3, 3, [1.0; 4]).unwrap();
        assert_eq!(bytes[3 * 8 + 3], 235);
        let chroma = layout.planes[1].offset_bytes as usize + 8 + 2;
        assert_eq!(bytes[chroma..chroma + 2], [128, 128]);
    }

    #[test]
    fn greys_come_back_from_every_format_within_its_precision() {
        for format in Format::all().iter().copied().filter(|format| !format.planes().is_empty()) {
            let layout = layout(format);
            let mut bytes = vec![0; layout.size_bytes as usize];
            for (x, grey) in [(0, 0.0), (1, 1.0), (6, 1.0), (7, 0.0)] {
                store(&layout, &mut bytes, x, 3, [grey, grey, grey, 1.0]).unwrap();
                let [r, ..] = load(&layout, &bytes, x, 3).unwrap();
                assert!((r - grey).abs() < 0.02, "{format} at {x}: {r} for {grey}");
            }
        }
    }

    #[test]
    fn pixels_outside_are_none() {
        let layout = layout(Format::R8);
        let mut bytes = vec![0; 32];
        assert_eq!(load(&layout, &bytes, 8, 0), None);
        assert_eq!(store(&layout, &mut bytes, 0, 4, [0.0; 4]), None);
        assert_eq!(load(&layout, &bytes[..31], 7, 3), None);
    }
}
