//! [`Picture`]: a buffer as a person sees it.

use crate::{Layout, Modifier, pixel};

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

impl Picture {
    /// How many bytes of a linear buffer must be read for its first layer.
    ///
    /// # Errors
    /// A text that says why the buffer is no picture.
    pub(super) fn bytes_needed(layout: &Layout) -> Result<usize, String> {
        if layout.modifier != Modifier::LINEAR {
            return Err(format!("modifier {} is not linear", layout.modifier));
        }
        let length = layout.layer_stride_bytes.min(layout.size_bytes);
        let pixels = u64::from(layout.width) * u64::from(layout.height) * 4;
        match usize::try_from(length) {
            Ok(bytes) if length.max(pixels) <= LARGEST_BYTES => Ok(bytes),
            _ => Err(format!("{length} bytes are too many to read at once")),
        }
    }

    /// The picture in those bytes.
    ///
    /// # Errors
    /// A text that says which pixel is not in them.
    pub(super) fn decode(layout: &Layout, bytes: &[u8]) -> Result<Self, String> {
        let mut rgba = Vec::with_capacity(layout.width as usize * layout.height as usize * 4);
        for y in 0..layout.height {
            for x in 0..layout.width {
                let colour = pixel::load(layout, bytes, x, y).ok_or_else(|| format!("pixel {x}, {y} is outside"))?;
                rgba.extend(colour.map(|value| (value.clamp(0.0, 1.0) * 255.0).round() as u8));
            }
        }
        Ok(Self { width: layout.width, height: layout.height, rgba })
    }
}
