//! Formats in Vulkan's words: numbers, planes, extents and usages. The numbers themselves are a column of the format table.

use super::sys::Region;
use crate::{Alignment, BufferRequest, Format, FormatInfo, Layout, PlaneFormat, Usage};
use ash::vk;

/// What every image can do: it is zeroed by a copy or a clear, and looked at by a copy.
pub const TRANSFERS: vk::ImageUsageFlags =
    vk::ImageUsageFlags::from_raw(vk::ImageUsageFlags::TRANSFER_SRC.as_raw() | vk::ImageUsageFlags::TRANSFER_DST.as_raw());

/// What a usage of a buffer is as one of an image; CPUs, displays and other devices take the memory, not the image.
const USAGES: [(Usage, vk::ImageUsageFlags, vk::FormatFeatureFlags); 2] = [
    (Usage::TEXTURE, vk::ImageUsageFlags::SAMPLED, vk::FormatFeatureFlags::SAMPLED_IMAGE),
    (Usage::RENDER, vk::ImageUsageFlags::COLOR_ATTACHMENT, vk::FormatFeatureFlags::COLOR_ATTACHMENT),
];

/// The formats from here on are those of Y'CbCr conversion: no clears, one level, one sample.
const CONVERTED: std::ops::Range<u32> = 1_000_156_000..1_000_157_000;

/// A format in Vulkan's words.
pub fn number(format: Format) -> Option<vk::Format> {
    format.info()?.vulkan.map(raw)
}

/// The format with this `VkFormat`.
pub fn raw(number: u32) -> vk::Format {
    vk::Format::from_raw(number as i32)
}

/// Whether it is one of Y'CbCr conversion.
pub fn is_converted(number: u32) -> bool {
    CONVERTED.contains(&number)
}

/// A picture's size as an image's: chroma rounds up, so the image has whole samples of it.
pub fn extent(info: &FormatInfo, width: u32, height: u32) -> Option<vk::Extent3D> {
    let across = info.planes.iter().map(|plane| u32::from(plane.horizontal_subsampling) * u32::from(plane.block_width)).max()?;
    let down = info.planes.iter().map(|plane| u32::from(plane.vertical_subsampling)).max()?;
    let (width, height) = (width.checked_next_multiple_of(across)?, height.checked_next_multiple_of(down)?);
    Some(vk::Extent3D { width, height, depth: 1 })
}

/// What an image must do for these usages.
pub fn image_usage(usage: Usage) -> vk::ImageUsageFlags {
    let needed = USAGES.iter().filter(|(ours, ..)| usage.contains(*ours));
    needed.fold(TRANSFERS, |all, (_, theirs, _)| all | *theirs)
}

/// The most that an image with these features can do, and from there ever less: what the driver is asked for in turn.
pub fn usages_to_try(features: vk::FormatFeatureFlags) -> Vec<Usage> {
    let able = USAGES.iter().filter(|(_, _, feature)| features.contains(*feature));
    let most = able.fold(Usage::empty(), |all, (usage, ..)| all | *usage);
    let mut all = vec![most, Usage::TEXTURE, Usage::RENDER];
    all.retain(|usage| most.contains(*usage) && !usage.is_empty());
    all.dedup();
    all
}

/// The aspect of plane `index` of a format in a copy, or in a linear image without a modifier.
pub fn plane_aspect(info: &FormatInfo, index: usize) -> vk::ImageAspectFlags {
    match (info.planes.len(), vulkan_plane(info, index)) {
        (1, _) => vk::ImageAspectFlags::COLOR,
        (_, 0) => vk::ImageAspectFlags::PLANE_0,
        (_, 1) => vk::ImageAspectFlags::PLANE_1,
        _ => vk::ImageAspectFlags::PLANE_2,
    }
}

/// The aspect of plane `index` of an image with a modifier, the planes that the modifier adds among them.
pub fn memory_aspect(info: &FormatInfo, index: usize) -> vk::ImageAspectFlags {
    match vulkan_plane(info, index) {
        0 => vk::ImageAspectFlags::MEMORY_PLANE_0_EXT,
        1 => vk::ImageAspectFlags::MEMORY_PLANE_1_EXT,
        2 => vk::ImageAspectFlags::MEMORY_PLANE_2_EXT,
        _ => vk::ImageAspectFlags::MEMORY_PLANE_3_EXT,
    }
}

/// Vulkan has Cb before Cr wherever they have planes of their own.
fn vulkan_plane(info: &FormatInfo, index: usize) -> usize {
    match index {
        1 | 2 if info.has_swapped_chroma() => 3 - index,
        _ => index,
    }
}

/// The planes of an image's first layer as they lie in a buffer of this layout; `None` where a row is no whole number of texels.
pub fn regions(info: &FormatInfo, extent: vk::Extent3D, layout: &Layout) -> Option<Vec<Region>> {
    let planes = info.planes.iter().zip(layout.planes.iter()).enumerate();
    planes
        .map(|(index, (format, plane))| {
            let (block, texels) = (u32::from(format.block_bytes), u32::from(format.block_width));
            let row_texels = plane.stride_bytes.is_multiple_of(block).then(|| plane.stride_bytes / block * texels)?;
            let Texels { width, height } = texels_of(format, extent);
            let last_row = u64::from(height - 1) * u64::from(plane.stride_bytes);
            let end_bytes = plane.offset_bytes.checked_add(last_row)?.checked_add(format.row_bytes(extent.width))?;
            let aspect = plane_aspect(info, index);
            Some(Region { aspect, offset_bytes: plane.offset_bytes, row_texels, width, height, layers: 1, end_bytes })
        })
        .collect()
}

/// The planes of an image of one layer without padding, as a copy may lay them into a buffer: offsets are whole texels.
pub fn packed(info: &FormatInfo, extent: vk::Extent3D) -> Option<Layout> {
    let whole = BufferRequest::new(info.format, extent.width, extent.height, Usage::TEXTURE);
    Layout::linear(&whole, Alignment { offset_bytes: 16, ..Alignment::PACKED }).ok()
}

/// The planes of an image with `layers`, each filled from the start of a buffer, whose size is the largest `end_bytes`.
pub fn regions_of_zeroes(info: &FormatInfo, extent: vk::Extent3D, layers: u32) -> Option<Vec<Region>> {
    let planes = info.planes.iter().enumerate();
    planes
        .map(|(index, format)| {
            let Texels { width, height } = texels_of(format, extent);
            let layer_bytes = format.row_bytes(extent.width).checked_mul(height.into())?;
            let end_bytes = layer_bytes.checked_mul(layers.into())?;
            let aspect = plane_aspect(info, index);
            Some(Region { aspect, offset_bytes: 0, row_texels: 0, width, height, layers, end_bytes })
        })
        .collect()
}

struct Texels {
    width: u32,
    height: u32,
}

/// How large a plane is; an extent has whole samples of it.
fn texels_of(format: &PlaneFormat, extent: vk::Extent3D) -> Texels {
    let (across, down) = (u32::from(format.horizontal_subsampling), u32::from(format.vertical_subsampling));
    Texels { width: extent.width / across, height: (extent.height / down).max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(format: Format) -> &'static FormatInfo {
        format.info().unwrap()
    }

    #[test]
    fn odd_sizes_round_up_to_whole_chroma() {
        let size = |format| extent(info(format), 1279, 719).map(|extent| (extent.width, extent.height)).unwrap();
        assert_eq!((size(Format::NV12), size(Format::NV16), size(Format::YUYV)), ((1280, 720), (1280, 719), (1280, 719)));
        assert_eq!(size(Format::XRGB8888), (1279, 719));
        assert!(extent(info(Format::NV12), u32::MAX, 1).is_none());
    }

    #[test]
    fn yv12_has_vulkans_planes_in_the_other_order() {
        use vk::ImageAspectFlags as A;
        let planes = |format| [0, 1, 2].map(|index| plane_aspect(info(format), index));
        assert_eq!(planes(Format::YUV420), [A::PLANE_0, A::PLANE_1, A::PLANE_2]);
        assert_eq!(planes(Format::YVU420), [A::PLANE_0, A::PLANE_2, A::PLANE_1]);
        assert_eq!(memory_aspect(info(Format::YVU420), 1), A::MEMORY_PLANE_2_EXT);
        assert_eq!(plane_aspect(info(Format::XRGB8888), 0), A::COLOR);
    }

    #[test]
    fn regions_are_the_rows_of_a_layout_in_texels() {
        let request = BufferRequest::new(Format::NV12, 6, 4, Usage::TEXTURE);
        let aligned = Alignment { stride_bytes: 64, offset_bytes: 64, size_bytes: 4096 };
        let layout = Layout::linear(&request, aligned).unwrap();
        let regions = regions(info(Format::NV12), extent(info(Format::NV12), 6, 4).unwrap(), &layout).unwrap();
        let of = |index: usize| {
            let Region { offset_bytes, row_texels, width, height, end_bytes, .. } = regions[index];
            (offset_bytes, row_texels, width, height, end_bytes)
        };
        assert_eq!((of(0), of(1)), ((0, 64, 6, 4, 198), (256, 32, 3, 2, 256 + 64 + 6)));
        let rgb = Layout::linear(&BufferRequest { format: Format::RGB888, ..request }, aligned).unwrap();
        let rows = super::regions(info(Format::RGB888), vk::Extent3D { width: 6, height: 4, depth: 1 }, &rgb);
        assert_eq!(rows, None, "64 bytes are no whole number of 3-byte texels");
    }

    #[test]
    fn usages_are_tried_from_the_most_to_the_least() {
        use vk::FormatFeatureFlags as F;
        let all = usages_to_try(F::SAMPLED_IMAGE | F::COLOR_ATTACHMENT);
        assert_eq!(all, [Usage::TEXTURE | Usage::RENDER, Usage::TEXTURE, Usage::RENDER]);
        assert_eq!(usages_to_try(F::SAMPLED_IMAGE), [Usage::TEXTURE]);
        assert!(usages_to_try(F::TRANSFER_SRC).is_empty());
    }
}
