//! [`ClassicCopy`]: a classic resource, or a blob that is kept likewise: the CPU maps guest pages, and the host has a texture.

use super::HostCopy;
use crate::Layout;
use crate::guest::error::Error;
use crate::guest::node::{Node, Transfer};
use crate::layout::{PlaneRegion, Region};
use std::sync::Arc;

/// The host's texture of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Texture {
    /// It has the bytes of the buffer.
    Texels(Texels),
    /// It has the planes of the buffer's format, which the host finds by the first one's stride.
    Planes,
    /// It has the rows of a blob of one plane, whose place and stride are told.
    Rows,
}

/// How a texture holds a buffer's bytes: row after row, without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Texels {
    /// In texels.
    pub width: u32,
    /// In texels.
    pub height: u32,
    /// Of a texel.
    pub texel_bytes: u32,
}

impl Texels {
    /// The texels, and the buffer's byte at the first of them, that hold a plane's bytes of a region: exactly, where its rows are
    /// the texture's; else whole rows of the texture, whose other bytes the CPU has as well.
    fn cover(&self, bytes: PlaneRegion) -> Option<(Region, u32)> {
        let texel = u64::from(self.texel_bytes);
        let row = u64::from(self.width) * texel;
        let last = bytes.offset_bytes + bytes.rows.checked_sub(1)? * bytes.stride_bytes;
        let (first_row, first_byte) = (bytes.offset_bytes / row, bytes.offset_bytes % row);
        let exact = (bytes.stride_bytes == row || bytes.rows == 1) && first_byte + bytes.row_bytes <= row;
        let (x, width, last_row) = if exact {
            let x = first_byte / texel;
            (x, (first_byte + bytes.row_bytes).div_ceil(texel) - x, last / row)
        } else {
            (0, u64::from(self.width), (last + bytes.row_bytes.checked_sub(1)?) / row)
        };
        let number = |value: u64| u32::try_from(value).ok();
        let height = number(last_row - first_row + 1)?;
        let region = Region { x: number(x)?, y: number(first_row)?, width: number(width)?, height };
        let inside = region.y.checked_add(height)? <= self.height;
        inside.then_some((region, number(first_row * row + x * texel)?))
    }
}

/// The host's copy of a classic resource.
pub(super) struct ClassicCopy {
    pub node: Arc<dyn Node>,
    pub bo_handle: u32,
    pub layout: Layout,
    pub texture: Texture,
    /// Whether the host draws into it: else the CPU's pages are what there is.
    pub host_writes: bool,
}

impl ClassicCopy {
    /// Calls `send` with one transfer a plane, or with one for all that the texture has.
    fn each_plane(&self, region: Region, send: impl Fn(&Transfer) -> Result<(), Error>) -> Result<(), Error> {
        let bo_handle = self.bo_handle;
        let outside = || Error::Range { offset: 0, length: 0 };
        let Region { x, y, width, height } = region;
        let texels = match self.texture {
            Texture::Texels(texels) => texels,
            Texture::Planes => {
                let level = self.layout.planes.first().map_or(0, |plane| plane.stride_bytes);
                return send(&Transfer { bo_handle, x, y, width, height, offset: 0, stride: 0, level });
            }
            Texture::Rows => {
                let rows = self.layout.plane_region(0, region).ok_or_else(outside)?;
                let number = |value: u64| u32::try_from(value).map_err(|_| outside());
                let (offset, stride) = (number(rows.offset_bytes)?, number(rows.stride_bytes)?);
                return send(&Transfer { bo_handle, x, y, width, height, offset, stride, level: 0 });
            }
        };
        for plane in 0..self.layout.planes.len() {
            let bytes = self.layout.plane_region(plane, region);
            let covered = bytes.and_then(|bytes| texels.cover(bytes));
            let (Region { x, y, width, height }, offset) = covered.ok_or_else(outside)?;
            // Rows without padding: stock kernels refuse a stride for classic resources.
            send(&Transfer { bo_handle, x, y, width, height, offset, stride: 0, level: 0 })?;
        }
        Ok(())
    }
}

impl HostCopy for ClassicCopy {
    fn fetch(&self, region: Region, unsent: &[Region]) -> Result<(), Error> {
        if !self.host_writes {
            return Ok(());
        }
        unsent.iter().try_for_each(|unsent| self.flush(*unsent))?;
        self.each_plane(region, |transfer| Ok(self.node.transfer_from_host(transfer)?))?;
        Ok(self.node.wait(self.bo_handle)?)
    }

    fn flush(&self, region: Region) -> Result<(), Error> {
        self.each_plane(region, |transfer| Ok(self.node.transfer_to_host(transfer)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Alignment, BufferRequest, Format, Usage};

    fn region(x: u32, y: u32, width: u32, height: u32) -> Region {
        Region { x, y, width, height }
    }

    #[test]
    fn a_rectangle_of_a_picture_is_that_rectangle() {
        let layout = Layout::linear(&BufferRequest::new(Format::XRGB8888, 100, 50, Usage::TEXTURE), Alignment::PACKED).unwrap();
        let texture = Texels { width: 100, height: 50, texel_bytes: 4 };
        let bytes = layout.plane_region(0, region(10, 20, 30, 5)).unwrap();
        assert_eq!(texture.cover(bytes), Some((region(10, 20, 30, 5), (20 * 100 + 10) * 4)));
    }

    #[test]
    fn chroma_with_the_lumas_stride_is_a_rectangle_below_it() {
        let layout = Layout::linear(&BufferRequest::new(Format::NV12, 64, 32, Usage::TEXTURE), Alignment::PACKED).unwrap();
        let texture = Texels { width: 64, height: 48, texel_bytes: 1 };
        let bytes = layout.plane_region(1, region(10, 5, 3, 3)).unwrap();
        assert_eq!(texture.cover(bytes), Some((region(10, 34, 4, 2), 34 * 64 + 10)));
    }

    #[test]
    fn rows_that_are_not_the_textures_are_covered_by_whole_ones() {
        let layout = Layout::linear(&BufferRequest::new(Format::YUV420, 64, 32, Usage::TEXTURE), Alignment::PACKED).unwrap();
        let texture = Texels { width: 64, height: 48, texel_bytes: 1 };
        let bytes = layout.plane_region(2, region(0, 0, 64, 32)).unwrap();
        assert_eq!(texture.cover(bytes), Some((region(0, 40, 64, 8), 40 * 64)));
        assert_eq!(texture.cover(PlaneRegion { offset_bytes: 47 * 64, row_bytes: 65, rows: 1, stride_bytes: 64 }), None);
    }
}
