//! Formats in GL's words: sized internal formats, and how their texels are transferred. The numbers of formats that DRM has too are a
//! column of the format table.

use super::sys::Texels;
use crate::{Format, FormatClass, FormatInfo};

/// An internal format of OpenGL ES 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Internal {
    pub number: u32,
    /// The bytes of a texel, as far as they are known.
    pub bytes: u8,
    /// Where it is attached, to be cleared.
    pub attachment: u32,
    /// `format` and `type` of transfers whose bytes are those of a DRM format.
    transfer: Option<(u32, u32)>,
}

const fn colour(number: u32, bytes: u8) -> Internal {
    Internal { number, bytes, attachment: glow::COLOR_ATTACHMENT0, transfer: None }
}

const fn moved(number: u32, bytes: u8, format: u32, kind: u32) -> Internal {
    Internal { transfer: Some((format, kind)), ..colour(number, bytes) }
}

const fn depth(number: u32, bytes: u8, attachment: u32) -> Internal {
    Internal { attachment, ..colour(number, bytes) }
}

/// Those that are offered: tables 3.2 and 8.10 to 8.13 of OpenGL ES 3.2, GL_EXT_texture_norm16 and
/// GL_EXT_texture_format_BGRA8888. Integer formats are left out, which no buffer of a compositor, camera or codec has.
const INTERNALS: [Internal; 25] = [
    moved(0x8229, 1, glow::RED, glow::UNSIGNED_BYTE),
    moved(0x822a, 2, glow::RED, glow::UNSIGNED_SHORT),
    moved(0x822b, 2, glow::RG, glow::UNSIGNED_BYTE),
    moved(0x822c, 4, glow::RG, glow::UNSIGNED_SHORT),
    moved(0x8051, 3, glow::RGB, glow::UNSIGNED_BYTE),
    moved(0x8056, 2, glow::RGBA, glow::UNSIGNED_SHORT_4_4_4_4),
    moved(0x8057, 2, glow::RGBA, glow::UNSIGNED_SHORT_5_5_5_1),
    moved(0x8d62, 2, glow::RGB, glow::UNSIGNED_SHORT_5_6_5),
    moved(0x8058, 4, glow::RGBA, glow::UNSIGNED_BYTE),
    moved(0x93a1, 4, glow::BGRA, glow::UNSIGNED_BYTE),
    moved(0x8059, 4, glow::RGBA, glow::UNSIGNED_INT_2_10_10_10_REV),
    moved(0x805b, 8, glow::RGBA, glow::UNSIGNED_SHORT),
    moved(0x881a, 8, glow::RGBA, glow::HALF_FLOAT),
    colour(glow::SRGB8_ALPHA8, 4),
    colour(glow::R11F_G11F_B10F, 4),
    colour(glow::R16F, 2),
    colour(glow::RG16F, 4),
    colour(glow::R32F, 4),
    colour(glow::RG32F, 8),
    colour(glow::RGBA32F, 16),
    depth(glow::DEPTH_COMPONENT16, 2, glow::DEPTH_ATTACHMENT),
    depth(glow::DEPTH_COMPONENT24, 4, glow::DEPTH_ATTACHMENT),
    depth(glow::DEPTH_COMPONENT32F, 4, glow::DEPTH_ATTACHMENT),
    depth(glow::DEPTH24_STENCIL8, 4, glow::DEPTH_STENCIL_ATTACHMENT),
    depth(glow::DEPTH32F_STENCIL8, 8, glow::DEPTH_STENCIL_ATTACHMENT),
];

/// The internal format with a number.
pub fn internal(number: u32) -> Option<&'static Internal> {
    INTERNALS.iter().find(|internal| internal.number == number)
}

impl Internal {
    /// How its texels are transferred.
    pub const fn texels(&self) -> Option<Texels> {
        match self.transfer {
            Some((format, kind)) => Some(Texels { internal_format: self.number, format, kind, bytes: self.bytes }),
            None => None,
        }
    }
}

/// The texels of a format of one plane that GL has.
pub fn texels(format: Format) -> Option<Texels> {
    internal(format.info()?.gl?)?.texels()
}

/// The format with these texels, alpha before padding.
pub fn with_internal(number: u32) -> Option<&'static FormatInfo> {
    let infos = Format::all().iter().filter_map(|format| format.info());
    infos.filter(|info| info.gl == Some(number)).min_by_key(|info| info.has(crate::ComponentKind::X))
}

/// The texels that the planes of a picture are read as, one by one: those of its luma.
pub fn samples(info: &FormatInfo) -> Option<Texels> {
    let luma = info.planes.first().filter(|_| info.class == FormatClass::Yuv && info.planes.len() > 1)?;
    match luma.block_bytes {
        1 => texels(Format::R8),
        2 => texels(Format::R16),
        _ => None,
    }
}

/// The texture whose rows hold the planes of a picture one after the other, for what is no texture of its own: Y'CbCr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stacked {
    pub texels: Texels,
    /// In texels.
    pub width: u32,
    pub height: u32,
}

/// How the planes of a picture stand on each other: each has the stride of the widest.
pub fn stacked(info: &FormatInfo, width: u32, height: u32) -> Option<Stacked> {
    let texels = samples(info)?;
    let row_bytes = info.planes.iter().map(|plane| plane.row_bytes(width)).max()?;
    let rows = info.planes.iter().map(|plane| plane.rows(height)).sum::<u64>();
    let across = row_bytes.div_ceil(texels.bytes.into());
    Some(Stacked { texels, width: u32::try_from(across).ok()?, height: u32::try_from(rows).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_the_format_table_has_texels_of_the_same_size() {
        let mut count = 0;
        for info in Format::all().iter().filter_map(|format| format.info()).filter(|info| info.gl.is_some()) {
            let texels = texels(info.format).unwrap();
            assert_eq!(texels.bytes, info.planes[0].block_bytes, "{}", info.format);
            count += 1;
        }
        assert_eq!(count, 20);
    }

    #[test]
    fn the_numbers_are_those_of_the_headers() {
        let numbers = [Format::R8, Format::GR88, Format::RGB565, Format::ABGR8888, Format::ABGR2101010, Format::ABGR16161616F];
        let numbers = numbers.map(|format| format.info().unwrap().gl.unwrap());
        assert_eq!(numbers, [glow::R8, glow::RG8, glow::RGB565, glow::RGBA8, glow::RGB10_A2, glow::RGBA16F]);
        assert_eq!(with_internal(glow::RGBA8).unwrap().format, Format::ABGR8888);
        assert_eq!(with_internal(glow::R32F), None);
    }

    #[test]
    fn stacked_planes_have_the_widest_row_and_all_rows() {
        let size =
            |format: Format| stacked(format.info().unwrap(), 67, 35).map(|stack| (stack.width, stack.height, stack.texels.bytes));
        assert_eq!(size(Format::NV12), Some((68, 35 + 18, 1)));
        assert_eq!(size(Format::P010), Some((68, 35 + 18, 2)));
        assert_eq!(size(Format::YUV420), Some((67, 35 + 36, 1)));
        assert_eq!((size(Format::XRGB8888), size(Format::YUYV)), (None, None));
    }
}
