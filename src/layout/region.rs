//! A rectangle of a picture, and where its bytes lie in each plane.

use super::Layout;

/// A rectangle in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// From the left edge.
    pub x: u32,
    /// From the upper edge.
    pub y: u32,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
}

impl Region {
    /// Whether both have a pixel.
    pub fn intersects(&self, other: &Self) -> bool {
        let overlap = |(at, size): (u32, u32), (other_at, other_size): (u32, u32)| {
            let ends_behind = |at: u32, size: u32, start: u32| u64::from(at) + u64::from(size) > u64::from(start);
            size > 0 && other_size > 0 && ends_behind(at, size, other_at) && ends_behind(other_at, other_size, at)
        };
        overlap((self.x, self.width), (other.x, other.width)) && overlap((self.y, self.height), (other.y, other.height))
    }
}

/// The bytes of a region in one plane: `rows` runs of `row_bytes`, `stride_bytes` apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaneRegion {
    /// From the start of the buffer to the first run.
    pub offset_bytes: u64,
    /// Of one run.
    pub row_bytes: u64,
    /// How many runs.
    pub rows: u64,
    /// From run to run.
    pub stride_bytes: u64,
}

impl PlaneRegion {
    /// From the first byte of the first run to the last of the last.
    pub fn span_bytes(&self) -> u64 {
        self.rows.checked_sub(1).map_or(0, |last| (last * self.stride_bytes).saturating_add(self.row_bytes))
    }
}

impl Layout {
    /// The whole picture.
    pub fn whole(&self) -> Region {
        Region { x: 0, y: 0, width: self.width, height: self.height }
    }

    /// The bytes of a region in a plane of the first layer, every sample and block that it touches. `None` when the region is
    /// empty or reaches outside the picture, or the format has no such plane.
    pub fn plane_region(&self, plane: usize, region: Region) -> Option<PlaneRegion> {
        let inside = |from: u32, length: u32, whole| length > 0 && from.checked_add(length).is_some_and(|end| end <= whole);
        if !inside(region.x, region.width, self.width) || !inside(region.y, region.height, self.height) {
            return None;
        }
        let format = self.format.planes().get(plane)?;
        let plane = self.planes.get(plane)?;
        let (horizontal, vertical) = (u32::from(format.horizontal_subsampling), u32::from(format.vertical_subsampling));
        let first_block = region.x / horizontal / u32::from(format.block_width);
        let first_byte = u64::from(first_block) * u64::from(format.block_bytes);
        let first_row = u64::from(region.y / vertical);
        Some(PlaneRegion {
            offset_bytes: plane.offset_bytes + first_row * u64::from(plane.stride_bytes) + first_byte,
            row_bytes: format.row_bytes(region.x + region.width) - first_byte,
            rows: format.rows(region.y + region.height) - first_row,
            stride_bytes: plane.stride_bytes.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Alignment, BufferRequest, Format, Usage};

    fn layout(format: Format, width: u32, height: u32) -> Layout {
        Layout::linear(&BufferRequest::new(format, width, height, Usage::TEXTURE), Alignment::PACKED).unwrap()
    }

    fn region(x: u32, y: u32, width: u32, height: u32) -> Region {
        Region { x, y, width, height }
    }

    #[test]
    fn regions_that_touch_have_no_pixel_in_common() {
        let middle = region(10, 10, 10, 10);
        let around = [region(0, 0, 100, 100), region(19, 19, 1, 1), region(0, 15, 11, 1), region(19, 0, u32::MAX, u32::MAX)];
        assert!(around.iter().all(|other| middle.intersects(other) && other.intersects(&middle)));
        let beside = [region(20, 10, 5, 5), region(0, 0, 10, 100), region(10, 0, 10, 10), region(15, 15, 0, 5)];
        assert!(!beside.iter().any(|other| middle.intersects(other) || other.intersects(&middle)));
    }

    #[test]
    fn chroma_of_a_region_covers_every_sample_that_it_touches() {
        let layout = layout(Format::NV12, 16, 16);
        let chroma = layout.plane_region(1, region(3, 5, 2, 2)).unwrap();
        assert_eq!(chroma, PlaneRegion { offset_bytes: 256 + 2 * 16 + 2, row_bytes: 4, rows: 2, stride_bytes: 16 });
    }

    #[test]
    fn packed_formats_cover_whole_blocks() {
        let packed = layout(Format::YUYV, 16, 4).plane_region(0, region(3, 1, 2, 1)).unwrap();
        assert_eq!((packed.offset_bytes, packed.row_bytes), (32 + 4, 8));
    }

    #[test]
    fn the_whole_picture_is_every_row() {
        let layout = layout(Format::XRGB8888, 7, 3);
        let whole = layout.plane_region(0, layout.whole()).unwrap();
        assert_eq!(whole, PlaneRegion { offset_bytes: 0, row_bytes: 28, rows: 3, stride_bytes: 28 });
    }

    #[test]
    fn empty_and_outside_regions_have_no_bytes() {
        let layout = layout(Format::R8, 8, 8);
        for bad in [region(0, 0, 0, 1), region(8, 0, 1, 1), region(0, 7, 1, 2), region(1, 0, u32::MAX, 1)] {
            assert_eq!(layout.plane_region(0, bad), None, "{bad:?}");
        }
        assert_eq!(layout.plane_region(1, layout.whole()), None);
    }
}
