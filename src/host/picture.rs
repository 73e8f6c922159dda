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

    #[test]
    fn what_is_no_picture_says_why() {
        let tiled = Layout { modifier: Modifier::new(7), ..layout(1, 1) };
        assert_eq!(Picture::decode(&tiled, &[0; 4]), Err(PictureError::NotLinear(Modifier::new(7))));
        assert_eq!(Picture::decode(&layout(1, 2), &[0; 4]), Err(PictureError::Outside { x: 0, y: 1 }));
        assert_eq!(Picture::bytes_needed(&layout(65535, 65535)), Err(PictureError::TooLarge(4 * 65535 * 65535)));
    }
}
