//! [`Layout`]: where the bytes of a picture lie. The one place where sizes are computed, and where a layout that somebody else
//! reports is checked.

mod bytes;
mod region;

use crate::{BufferRequest, Format, Modifier, PlaneFormat, RequestError};
use std::ops::Deref;
use thiserror::Error;

pub use region::{PlaneRegion, Region};

/// The most planes that a buffer can have, as in KMS, GBM and the virtio protocol.
pub const MAX_PLANES: usize = 4;

/// One plane of a buffer, in bytes from the start of the buffer's first layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Plane {
    /// From the start of a row to the start of the next.
    pub stride_bytes: u32,
    /// From the start of the layer to the first row.
    pub offset_bytes: u64,
    /// From the first row to the end of the last.
    pub size_bytes: u64,
}

/// Up to [`MAX_PLANES`] planes, in place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Planes {
    items: [Plane; MAX_PLANES],
    count: usize,
}

impl Planes {
    /// The planes of this slice, or `None` when there are more than [`MAX_PLANES`].
    pub fn new(planes: &[Plane]) -> Option<Self> {
        let mut items = [Plane::default(); MAX_PLANES];
        items.get_mut(..planes.len())?.copy_from_slice(planes);
        Some(Self { items, count: planes.len() })
    }
}

impl Deref for Planes {
    type Target = [Plane];

    fn deref(&self) -> &[Plane] {
        self.items.get(..self.count).unwrap_or(&[])
    }
}

/// What strides, plane offsets and sizes must be multiples of, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Alignment {
    /// Of every stride.
    pub stride_bytes: u32,
    /// Of every plane's offset, and of a layer's.
    pub offset_bytes: u32,
    /// Of the whole buffer.
    pub size_bytes: u32,
}

impl Alignment {
    /// No padding anywhere.
    pub const PACKED: Self = Self { stride_bytes: 1, offset_bytes: 1, size_bytes: 1 };
}

/// Where the bytes of a picture lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    /// The format.
    pub format: Format,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Array layers.
    pub layers: u32,
    /// How the planes are tiled: the real one, or INVALID where nobody says.
    pub modifier: Modifier,
    /// The planes of the first layer.
    pub planes: Planes,
    /// From one layer to the next; the layer's size where there is only one.
    pub layer_stride_bytes: u64,
    /// All of it.
    pub size_bytes: u64,
}

/// A layout that can't be, or that somebody else reports and that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum LayoutError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("{format} at {width}x{height} with {layers} layers is larger than 32-bit strides and 64-bit sizes can say")]
    Overflow { format: Format, width: u32, height: u32, layers: u32 },
    #[error("alignment {0:?} has a zero")]
    Alignment(Alignment),
    #[error("{format} with modifier {modifier} has {found} planes where {expected} are right")]
    PlaneCount { format: Format, modifier: Modifier, found: usize, expected: usize },
    #[error("plane {plane}: stride {stride_bytes} is shorter than a row of {row_bytes} bytes")]
    Stride { plane: usize, stride_bytes: u32, row_bytes: u64 },
    #[error("plane {plane}: {size_bytes} bytes hold fewer than its rows, which need {needed_bytes}")]
    PlaneSize { plane: usize, size_bytes: u64, needed_bytes: u64 },
    #[error("plane {plane}: it ends at byte {end} of a layer of {layer_bytes}")]
    PlaneOutside { plane: usize, end: u64, layer_bytes: u64 },
    #[error("planes {0} and {1} overlap")]
    Overlap(usize, usize),
    #[error("{layers} layers of {layer_bytes} bytes do not fit in {size_bytes}")]
    LayersOutside { layers: u32, layer_bytes: u64, size_bytes: u64 },
}

impl Layout {
    /// The linear layout of a request: planes in the order of the format table, each aligned, chroma rounded up.
    ///
    /// [`Format::YVU420_ANDROID`] follows its own rule whatever the alignment: luma stride a multiple of 32, chroma stride half
    /// of it rounded up to 16, no padding between planes (minigbm's `drv_bo_from_format`).
    ///
    /// ```
    /// use virgbm::{Alignment, BufferRequest, Format, Layout, Usage};
    ///
    /// let request = BufferRequest::new(Format::NV12, 1279, 719, Usage::TEXTURE);
    /// let layout = Layout::linear(&request, Alignment::PACKED)?;
    /// assert_eq!((layout.planes[0].stride_bytes, layout.planes[1].stride_bytes), (1279, 1280));
    /// assert_eq!(layout.size_bytes, 1279 * 719 + 1280 * 360);
    /// # Ok::<(), virgbm::LayoutError>(())
    /// ```
    ///
    /// # Errors
    /// What [`BufferRequest::check`] refuses, a zero in the alignment, and sizes that 32-bit strides or 64-bit sizes can't hold.
    pub fn linear(request: &BufferRequest, alignment: Alignment) -> Result<Self, LayoutError> {
        request.check()?;
        if alignment.stride_bytes == 0 || alignment.offset_bytes == 0 || alignment.size_bytes == 0 {
            return Err(LayoutError::Alignment(alignment));
        }
        let BufferRequest { format, width, height, layers, .. } = *request;
        linear(request, alignment).ok_or(LayoutError::Overflow { format, width, height, layers })
    }

    /// The layout that somebody reports by the stride and the offset of each plane, in bytes, and the size of all: each plane reaches
    /// to the next one, or to the end. It holds, as [`check`](Self::check) says.
    ///
    /// # Errors
    /// As [`check`](Self::check); [`LayoutError::PlaneCount`] for more than [`MAX_PLANES`] planes too.
    pub fn reported(
        format: Format,
        (width, height): (u32, u32),
        modifier: Modifier,
        planes: &[(u32, u64)],
        size_bytes: u64,
    ) -> Result<Self, LayoutError> {
        let reaching = planes.iter().map(|(stride_bytes, offset)| {
            let behind = planes.iter().map(|(_, other)| *other).filter(|other| other > offset);
            let end = behind.min().unwrap_or(size_bytes);
            Plane { stride_bytes: *stride_bytes, offset_bytes: *offset, size_bytes: end.saturating_sub(*offset) }
        });
        let expected = format.planes().len();
        let planes = Planes::new(&reaching.collect::<Vec<_>>());
        let planes = planes.ok_or(LayoutError::PlaneCount { format, modifier, found: MAX_PLANES + 1, expected })?;
        let layout = Self { format, width, height, layers: 1, modifier, planes, layer_stride_bytes: size_bytes, size_bytes };
        layout.check()?;
        Ok(layout)
    }

    /// Checks a layout that somebody else reports: the right number of planes, each with room for its rows, inside the buffer and
    /// apart from the others.
    ///
    /// Rows are checked for LINEAR; other modifiers say themselves what a stride means and may add planes of their own.
    ///
    /// # Errors
    /// The first [`LayoutError`] that applies.
    pub fn check(&self) -> Result<(), LayoutError> {
        self.check_plane_count()?;
        if self.modifier == Modifier::LINEAR {
            for (index, (plane, format)) in self.planes.iter().zip(self.format.planes()).enumerate() {
                self.check_rows(index, plane, format)?;
            }
        }
        let mut ends = [(0, 0, 0); MAX_PLANES];
        for (index, plane) in self.planes.iter().enumerate() {
            let end = plane.offset_bytes.checked_add(plane.size_bytes).ok_or_else(|| self.overflow())?;
            if plane.size_bytes == 0 {
                return Err(LayoutError::PlaneSize { plane: index, size_bytes: 0, needed_bytes: 1 });
            }
            if end > self.layer_stride_bytes {
                return Err(LayoutError::PlaneOutside { plane: index, end, layer_bytes: self.layer_stride_bytes });
            }
            if let Some((_, _, other)) = ends.iter().take(index).find(|(from, to, _)| plane.offset_bytes < *to && end > *from) {
                return Err(LayoutError::Overlap(*other, index));
            }
            if let Some(slot) = ends.get_mut(index) {
                *slot = (plane.offset_bytes, end, index);
            }
        }
        let layers = u64::from(self.layers).checked_mul(self.layer_stride_bytes).ok_or_else(|| self.overflow())?;
        if self.layers == 0 || layers > self.size_bytes {
            let Self { layers, layer_stride_bytes: layer_bytes, size_bytes, .. } = *self;
            return Err(LayoutError::LayersOutside { layers, layer_bytes, size_bytes });
        }
        Ok(())
    }

    fn check_plane_count(&self) -> Result<(), LayoutError> {
        let Self { format, modifier, width, height, layers, .. } = *self;
        if width == 0 || height == 0 {
            return Err(RequestError::Empty { width, height, layers }.into());
        }
        let expected = format.info().ok_or(RequestError::UnknownFormat(format))?.planes.len();
        let found = self.planes.len();
        let right = if modifier == Modifier::LINEAR { found == expected } else { found >= 1 };
        if right && expected != 0 { Ok(()) } else { Err(LayoutError::PlaneCount { format, modifier, found, expected }) }
    }

    fn check_rows(&self, index: usize, plane: &Plane, format: &PlaneFormat) -> Result<(), LayoutError> {
        let row_bytes = format.row_bytes(self.width);
        if u64::from(plane.stride_bytes) < row_bytes {
            return Err(LayoutError::Stride { plane: index, stride_bytes: plane.stride_bytes, row_bytes });
        }
        // The padding of the last row may be missing: some drivers end the buffer with the last pixel.
        let needed_bytes = format.rows(self.height).saturating_sub(1) * u64::from(plane.stride_bytes) + row_bytes;
        if plane.size_bytes < needed_bytes {
            return Err(LayoutError::PlaneSize { plane: index, size_bytes: plane.size_bytes, needed_bytes });
        }
        Ok(())
    }

    fn overflow(&self) -> LayoutError {
        let Self { format, width, height, layers, .. } = *self;
        LayoutError::Overflow { format, width, height, layers }
    }
}

/// `None` is overflow.
fn linear(request: &BufferRequest, alignment: Alignment) -> Option<Layout> {
    let android = request.format == Format::YVU420_ANDROID;
    let offset_alignment = if android { 1 } else { u64::from(alignment.offset_bytes) };
    let mut planes = Planes::default();
    let mut end = 0u64;
    for (index, (slot, format)) in planes.items.iter_mut().zip(request.format.planes()).enumerate() {
        let stride = match (android, index) {
            (false, _) => format.row_bytes(request.width).checked_next_multiple_of(alignment.stride_bytes.into())?,
            (true, 0) => u64::from(request.width).next_multiple_of(32),
            (true, _) => (u64::from(request.width).next_multiple_of(32) / 2).next_multiple_of(16),
        };
        let stride_bytes = u32::try_from(stride).ok()?;
        let offset_bytes = end.checked_next_multiple_of(offset_alignment)?;
        let size_bytes = stride.checked_mul(format.rows(request.height))?;
        end = offset_bytes.checked_add(size_bytes)?;
        *slot = Plane { stride_bytes, offset_bytes, size_bytes };
        planes.count += 1;
    }
    let layer_stride_bytes = if request.layers > 1 { end.checked_next_multiple_of(offset_alignment)? } else { end };
    let size_bytes =
        layer_stride_bytes.checked_mul(request.layers.into())?.checked_next_multiple_of(alignment.size_bytes.into())?;
    Some(Layout {
        format: request.format,
        width: request.width,
        height: request.height,
        layers: request.layers,
        modifier: Modifier::LINEAR,
        planes,
        layer_stride_bytes,
        size_bytes,
    })
}

#[cfg(test)]
mod tests;
