//! [`Picture`]: a buffer as a person sees it.

use crate::layout::Region;
use crate::{Layout, Modifier, pixel};
use thiserror::Error;

/// Pictures beyond this many bytes are not read whole.
const LARGEST_BYTES: u64 = 256 << 20;

/// Eight bits each of red, green, blue and alpha, rows from the top without padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// `width * height * 4` bytes.
    pub rgba: Vec<u8>,
}

/// A buffer that can't be turned into a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum PictureError {
    #[error("modifier {0} is not linear")]
    NotLinear(Modifier),
    #[error("{0} bytes are too many to read at once")]
    TooLarge(u64),
    #[error("pixel {x}, {y} is outside of the bytes")]
    Outside { x: u32, y: u32 },
}

impl Picture {
    /// How many bytes of a linear buffer must be read for its first layer.
    ///
    /// # Errors
    /// [`PictureError`] for a buffer that is tiled or too large.
    pub fn bytes_needed(layout: &Layout) -> Result<usize, PictureError> {
        if layout.modifier != Modifier::LINEAR {
            return Err(PictureError::NotLinear(layout.modifier));
        }
        let length = layout.layer_stride_bytes.min(layout.size_bytes);
        let pixels = u64::from(layout.width) * u64::from(layout.height) * 4;
        match usize::try_from(length) {
            Ok(bytes) if length.max(pixels) <= LARGEST_BYTES => Ok(bytes),
            _ => Err(PictureError::TooLarge(length.max(pixels))),
        }
    }

    /// The picture in the bytes of a buffer's first layer.
    ///
    /// # Errors
    /// [`PictureError`] for a buffer that is tiled or too large, and when bytes are missing.
    pub fn decode(layout: &Layout, bytes: &[u8]) -> Result<Self, PictureError> {
        Self::bytes_needed(layout)?;
        let mut rgba = Vec::with_capacity(layout.width as usize * layout.height as usize * 4);
        for y in 0..layout.height {
            for x in 0..layout.width {
                let colour = pixel::load(layout, bytes, x, y).ok_or(PictureError::Outside { x, y })?;
                rgba.extend(colour.map(|value| (value.clamp(0.0, 1.0) * 255.0).round() as u8));
            }
        }
        Ok(Self { width: layout.width, height: layout.height, rgba })
    }

    /// Lays an image over the picture, its upper left corner at a pixel that may be outside; what does not fit is cut off.
    /// The image's colours are multiplied by its alpha already, as the kernel has it for planes.
    pub(super) fn draw_over(&mut self, image: &Self, x: i32, y: i32) {
        let across = overlap(x, image.width, self.width);
        let (Some(across), Some(down)) = (across, overlap(y, image.height, self.height)) else { return };
        let below = self.rgba.chunks_exact_mut(self.width as usize * 4).skip(down.below);
        let above = image.rgba.chunks_exact(image.width as usize * 4).skip(down.above);
        for (below, above) in below.zip(above).take(down.length) {
            let below = below.as_chunks_mut::<4>().0.iter_mut().skip(across.below);
            let above = above.as_chunks::<4>().0.iter().skip(across.above);
            for (below, above) in below.zip(above).take(across.length) {
                *below = blend(*below, *above);
            }
        }
    }

    /// The part of the picture that a region covers.
    pub(super) fn crop(self, region: Region) -> Self {
        if (region.width, region.height) == (self.width, self.height) {
            return self;
        }
        let row_bytes = self.width as usize * 4;
        let rows = self.rgba.chunks_exact(row_bytes).skip(region.y as usize).take(region.height as usize);
        let cut = rows.flat_map(|row| row.iter().skip(region.x as usize * 4).take(region.width as usize * 4));
        Self { width: region.width, height: region.height, rgba: cut.copied().collect() }
    }
}

/// Where two spans share pixels: from where in each, and how many.
struct Overlap {
    below: usize,
    above: usize,
    length: usize,
}

/// What a span of `length` that starts at `at` covers of a span of `whole`; `None` when that is nothing.
fn overlap(at: i32, length: u32, whole: u32) -> Option<Overlap> {
    let at = i64::from(at);
    let (start, end) = (at.max(0), (at + i64::from(length)).min(whole.into()));
    let part = |pixels: i64| usize::try_from(pixels).ok();
    let length = part(end - start).filter(|length| *length > 0)?;
    Some(Overlap { below: part(start)?, above: part(start - at)?, length })
}

/// A pixel over another. The sum is cut off: a guest may have more colour than alpha.
fn blend(below: [u8; 4], above: [u8; 4]) -> [u8; 4] {
    let [.., alpha] = above.map(u32::from);
    let mut mixed = below;
    for (value, above) in mixed.iter_mut().zip(above) {
        let shining_through = (u32::from(*value) * (255 - alpha) + 127) / 255;
        *value = u8::try_from(u32::from(above) + shining_through).unwrap_or(u8::MAX);
    }
    mixed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Alignment, BufferRequest, Format, Usage};

    fn layout(width: u32, height: u32) -> Layout {
        Layout::linear(&BufferRequest::new(Format::XRGB8888, width, height, Usage::TEXTURE), Alignment::PACKED).unwrap()
    }

    #[test]
    fn a_picture_has_red_first_whatever_the_buffer_has() {
        let picture = Picture::decode(&layout(1, 2), &[1, 2, 3, 0, 4, 5, 6, 0]).unwrap();
        assert_eq!(picture, Picture { width: 1, height: 2, rgba: vec![3, 2, 1, 255, 6, 5, 4, 255] });
    }

    /// A picture of one colour.
    fn plain(width: u32, height: u32, colour: [u8; 4]) -> Picture {
        Picture { width, height, rgba: colour.repeat((width * height) as usize) }
    }

    #[test]
    fn an_image_covers_what_is_below_as_far_as_its_alpha_says() {
        let over = |above| {
            let mut picture = plain(1, 1, [200, 100, 0, 255]);
            picture.draw_over(&plain(1, 1, above), 0, 0);
            picture.rgba
        };
        assert_eq!(over([1, 2, 3, 255]), [1, 2, 3, 255]);
        assert_eq!(over([0, 0, 0, 0]), [200, 100, 0, 255]);
        assert_eq!(over([0, 64, 128, 128]), [100, 114, 128, 255]);
        assert_eq!(over([255, 255, 255, 0]), [255, 255, 255, 255], "more colour than alpha is cut off");
    }

    #[test]
    fn an_image_is_cut_at_every_edge() {
        let image = Picture { width: 2, height: 2, rgba: [1, 2, 3, 4].map(|n| [n, n, n, 255]).concat() };
        let drawn = |x, y| {
            let mut picture = plain(3, 2, [0; 4]);
            picture.draw_over(&image, x, y);
            picture.rgba.iter().step_by(4).copied().collect::<Vec<_>>()
        };
        assert_eq!(drawn(0, 0), [1, 2, 0, 3, 4, 0]);
        assert_eq!(drawn(1, 0), [0, 1, 2, 0, 3, 4]);
        assert_eq!(drawn(-1, -1), [4, 0, 0, 0, 0, 0]);
        assert_eq!(drawn(2, 1), [0, 0, 0, 0, 0, 1]);
        assert_eq!(drawn(-1, 1), [0, 0, 0, 2, 0, 0]);
        for (x, y) in [(-2, 0), (0, -2), (3, 0), (0, 2), (i32::MAX, i32::MAX), (i32::MIN, i32::MIN), (0, i32::MIN)] {
            assert_eq!(drawn(x, y), [0; 6], "{x} {y}");
        }
    }

    #[test]
    fn pictures_of_no_pixels_are_drawn_and_drawn_over() {
        let (mut empty, mut picture) = (plain(0, 0, [0; 4]), plain(1, 1, [7; 4]));
        picture.draw_over(&empty, 0, 0);
        empty.draw_over(&picture, 0, 0);
        assert_eq!((empty.rgba, picture.rgba), (vec![], vec![7; 4]));
    }

    #[test]
    fn what_is_no_picture_says_why() {
        let tiled = Layout { modifier: Modifier::new(7), ..layout(1, 1) };
        assert_eq!(Picture::decode(&tiled, &[0; 4]), Err(PictureError::NotLinear(Modifier::new(7))));
        assert_eq!(Picture::decode(&layout(1, 2), &[0; 4]), Err(PictureError::Outside { x: 0, y: 1 }));
        assert_eq!(Picture::bytes_needed(&layout(65535, 65535)), Err(PictureError::TooLarge(4 * 65535 * 65535)));
    }
}
