//! [`Picture`]: a buffer as a person sees it.

use crate::{Layout, Modifier, pixel};
use std::fmt::Display;

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
    /// The first layer of a linear buffer, whose bytes `read` gives by offset.
    ///
    /// # Errors
    /// A text that says why the buffer is no picture.
    pub(super) fn read<E: Display>(layout: &Layout, read: impl Fn(u64, &mut [u8]) -> Result<(), E>) -> Result<Self, String> {
        if layout.modifier != Modifier::LINEAR {
            return Err(format!("modifier {} is not linear", layout.modifier));
        }
        let pixels = u64::from(layout.width) * u64::from(layout.height) * 4;
        let length = layout.layer_stride_bytes.min(layout.size_bytes);
        if length.max(pixels) > LARGEST_BYTES {
            return Err(format!("{length} bytes are too many to read at once"));
        }
        let mut bytes = vec![0; length as usize];
        read(0, &mut bytes).map_err(|error| error.to_string())?;
        let mut rgba = Vec::with_capacity(pixels as usize);
        for y in 0..layout.height {
            for x in 0..layout.width {
                let colour = pixel::load(layout, &bytes, x, y).ok_or_else(|| format!("pixel {x}, {y} is outside"))?;
                rgba.extend(colour.map(|value| (value.clamp(0.0, 1.0) * 255.0).round() as u8));
            }
        }
        Ok(Self { width: layout.width, height: layout.height, rgba })
    }
}
