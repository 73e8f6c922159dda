use super::*;
use crate::{FormatClass, Usage};
use proptest::prelude::*;

const PADDED: Alignment = Alignment { stride_bytes: 64, offset_bytes: 256, size_bytes: 4096 };

fn request(format: Format, width: u32, height: u32) -> BufferRequest {
    BufferRequest::new(format, width, height, Usage::TEXTURE)
}

fn linear(format: Format, width: u32, height: u32, alignment: Alignment) -> Layout {
    Layout::linear(&request(format, width, height), alignment).unwrap()
}

fn planes(layout: &Layout) -> Vec<(u32, u64)> {
    layout.planes.iter().map(|plane| (plane.stride_bytes, plane.offset_bytes)).collect()
}

#[test]
fn a_packed_picture_has_no_padding() {
    let layout = linear(Format::XRGB8888, 1366, 768, Alignment::PACKED);
    assert_eq!(planes(&layout), [(5464, 0)]);
    assert_eq!(layout.size_bytes, 5464 * 768);
}

#[test]
fn an_odd_nv12_keeps_its_last_chroma_column_and_row() {
    let layout = linear(Format::NV12, 65, 33, Alignment::PACKED);
    assert_eq!(planes(&layout), [(65, 0), (66, 65 * 33)]);
    assert_eq!(layout.size_bytes, 65 * 33 + 66 * 17);
}

#[test]
fn strides_offsets_and_sizes_are_aligned_as_asked() {
    let layout = linear(Format::NV12, 65, 33, PADDED);
    assert_eq!(planes(&layout), [(128, 0), (128, 4352)]);
    assert_eq!(layout.size_bytes, 8192);
}

#[test]
fn packings_round_up_to_whole_blocks() {
    assert_eq!(planes(&linear(Format::YUYV, 3, 1, Alignment::PACKED)), [(8, 0)]);
    assert_eq!(planes(&linear(Format::RAW10, 5, 1, Alignment::PACKED)), [(10, 0)]);
    assert_eq!(planes(&linear(Format::RAW12, 4, 1, Alignment::PACKED)), [(6, 0)]);
}

#[test]
fn androids_yv12_follows_its_own_rule_whatever_the_alignment() {
    let layout = linear(Format::YVU420_ANDROID, 100, 51, PADDED);
    assert_eq!(planes(&layout), [(128, 0), (64, 128 * 51), (64, 128 * 51 + 64 * 26)]);
    let narrow = linear(Format::YVU420_ANDROID, 16, 2, Alignment::PACKED);
    assert_eq!(planes(&narrow), [(32, 0), (16, 64), (16, 80)]);
}

#[test]
fn layers_repeat_the_first() {
    let layout = Layout::linear(&request(Format::R8, 10, 10).with_layers(3), PADDED).unwrap();
    assert_eq!((layout.layer_stride_bytes, layout.size_bytes), (768, 4096));
    layout.check().unwrap();
}

#[test]
fn the_largest_sizes_compute_or_overflow_and_never_wrap() {
    for &format in Format::all().iter().filter(|format| !format.planes().is_empty()) {
        let layout = linear(format, 65535, 65535, PADDED);
        assert!(layout.size_bytes > 65535 * 65535, "{format}");
        layout.check().unwrap();
        let huge = request(format, u32::MAX, u32::MAX).with_layers(u32::MAX);
        assert!(matches!(Layout::linear(&huge, PADDED), Err(LayoutError::Overflow { .. })), "{format}");
    }
}

#[test]
fn a_zero_alignment_is_an_error() {
    let zero = Alignment { offset_bytes: 0, ..PADDED };
    assert_eq!(Layout::linear(&request(Format::R8, 1, 1), zero), Err(LayoutError::Alignment(zero)));
}

/// A layout with one thing wrong, and how `check` names it.
fn broken(change: impl FnOnce(&mut Layout)) -> LayoutError {
    let mut layout = linear(Format::NV12, 64, 64, Alignment::PACKED);
    layout.check().unwrap();
    change(&mut layout);
    layout.check().unwrap_err()
}

#[test]
fn each_fault_of_a_reported_layout_is_named() {
    assert_eq!(
        broken(|l| l.planes.count = 1),
        LayoutError::PlaneCount { format: Format::NV12, modifier: Modifier::LINEAR, found: 1, expected: 2 }
    );
    assert_eq!(
        broken(|l| l.planes.items[1].stride_bytes = 63),
        LayoutError::Stride { plane: 1, stride_bytes: 63, row_bytes: 64 }
    );
    assert_eq!(broken(|l| l.planes.items[1].offset_bytes = 4095), LayoutError::Overlap(0, 1));
    assert_eq!(broken(|l| l.planes.items[1].offset_bytes = 0), LayoutError::Overlap(0, 1));
    assert_eq!(
        broken(|l| l.planes.items[0].size_bytes -= 1),
        LayoutError::PlaneSize { plane: 0, size_bytes: 4095, needed_bytes: 4096 }
    );
    assert_eq!(
        broken(|l| l.planes.items[1].offset_bytes += 1),
        LayoutError::PlaneOutside { plane: 1, end: 6145, layer_bytes: 6144 }
    );
    assert!(matches!(broken(|l| l.planes.items[1].offset_bytes = u64::MAX), LayoutError::Overflow { .. }));
    assert!(matches!(broken(|l| l.size_bytes -= 1), LayoutError::LayersOutside { .. }));
    assert!(matches!(broken(|l| l.layers = 0), LayoutError::LayersOutside { .. }));
    assert!(matches!(broken(|l| l.width = 0), LayoutError::Request(_)));
    assert!(matches!(broken(|l| l.format = Format::from_fourcc(1)), LayoutError::Request(_)));
}

#[test]
fn a_vendor_modifier_may_add_planes_but_not_overlap_them() {
    let mut layout = linear(Format::XRGB8888, 64, 64, Alignment::PACKED);
    layout.modifier = Modifier::new(0x0100_0000_0000_0004);
    let aux = Plane { stride_bytes: 2, offset_bytes: layout.size_bytes, size_bytes: 512 };
    layout.planes = Planes::new(&[layout.planes[0], aux]).unwrap();
    layout.size_bytes += 512;
    layout.layer_stride_bytes = layout.size_bytes;
    assert_eq!(layout.check(), Ok(()));
    layout.planes.items[1].offset_bytes -= 1;
    assert_eq!(layout.check(), Err(LayoutError::Overlap(0, 1)));
}

fn any_format() -> impl Strategy<Value = Format> {
    let formats: Vec<_> = Format::all()
        .iter()
        .copied()
        .filter(|format| format.info().is_some_and(|info| info.class != FormatClass::Flexible))
        .collect();
    proptest::sample::select(formats)
}

fn any_alignment() -> impl Strategy<Value = Alignment> {
    (1u32..=1024, 1u32..=4096, 1u32..=65536).prop_map(|(stride_bytes, offset_bytes, size_bytes)| Alignment {
        stride_bytes,
        offset_bytes,
        size_bytes,
    })
}

proptest! {
    #[test]
    fn any_linear_layout_passes_the_check_for_reported_ones(
        format in any_format(), width in 1u32..=16384, height in 1u32..=16384, layers in 1u32..=8, alignment in any_alignment(),
    ) {
        let request = request(format, width, height).with_layers(layers);
        let layout = Layout::linear(&request, alignment).unwrap();
        prop_assert_eq!(layout.check(), Ok(()));
        prop_assert_eq!(layout.size_bytes % u64::from(alignment.size_bytes), 0);
        if format != Format::YVU420_ANDROID {
            for plane in layout.planes.iter() {
                prop_assert_eq!(plane.stride_bytes % alignment.stride_bytes, 0);
                prop_assert_eq!(plane.offset_bytes % u64::from(alignment.offset_bytes), 0);
            }
        }
    }

    #[test]
    fn the_last_byte_of_each_plane_is_inside_and_no_plane_reaches_into_the_next(
        format in any_format(), width in 1u32..=16384, height in 1u32..=16384, alignment in any_alignment(),
    ) {
        let layout = linear(format, width, height, alignment);
        let mut end = 0;
        for (plane, info) in layout.planes.iter().zip(format.planes()) {
            prop_assert!(plane.offset_bytes >= end);
            let last_row = (info.rows(height) - 1) * u64::from(plane.stride_bytes);
            end = plane.offset_bytes + last_row + info.row_bytes(width);
            prop_assert!(end <= layout.size_bytes);
        }
    }

    #[test]
    fn sizes_grow_with_width_and_height(
        format in any_format(), width in 1u32..=16384, height in 1u32..=16384, more in 1u32..=64, alignment in any_alignment(),
    ) {
        let size = linear(format, width, height, alignment).size_bytes;
        prop_assert!(linear(format, width + more, height, alignment).size_bytes >= size);
        prop_assert!(linear(format, width, height + more, alignment).size_bytes >= size);
    }

    #[test]
    fn sizes_beyond_the_integers_are_errors_and_never_panics(
        format in any_format(), width in 1u32.., height in 1u32.., layers in 1u32.., alignment in any_alignment(),
    ) {
        match Layout::linear(&request(format, width, height).with_layers(layers), alignment) {
            Ok(layout) => prop_assert_eq!(layout.check(), Ok(())),
            Err(error) => prop_assert!(matches!(error, LayoutError::Overflow { .. }), "{error}"),
        }
    }

    #[test]
    fn no_reported_layout_panics_the_check(
        format in any_format(), width: u32, height: u32, layers: u32, modifier in prop_oneof![Just(0u64), any::<u64>()],
        planes in proptest::collection::vec((any::<u32>(), any::<u64>(), any::<u64>()), 0..=4), layer: u64, size: u64,
    ) {
        let planes: Vec<_> = planes
            .into_iter()
            .map(|(stride_bytes, offset_bytes, size_bytes)| Plane { stride_bytes, offset_bytes, size_bytes })
            .collect();
        let layout = Layout {
            format, width, height, layers, modifier: Modifier::new(modifier),
            planes: Planes::new(&planes).unwrap(), layer_stride_bytes: layer, size_bytes: size,
        };
        if layout.check().is_ok() {
            prop_assert!(planes.iter().all(|plane| plane.offset_bytes + plane.size_bytes <= size));
        }
    }
}

#[test]
fn planes_that_are_reported_reach_to_the_next_one_or_to_the_end() {
    let reported = |planes: &[(u32, u64)], size| Layout::reported(Format::NV12, (5, 3), Modifier::LINEAR, planes, size);
    let layout = reported(&[(8, 64), (8, 0)], 100).unwrap();
    assert_eq!((layout.planes[0].size_bytes, layout.planes[1].size_bytes), (36, 64));
    assert!(matches!(reported(&[(8, 0)], 100), Err(LayoutError::PlaneCount { found: 1, expected: 2, .. })));
    assert!(matches!(reported(&[(8, 0); 5], 100), Err(LayoutError::PlaneCount { .. })));
    assert!(matches!(reported(&[(8, 0), (8, 101)], 100), Err(LayoutError::PlaneSize { plane: 1, .. })));
    assert!(matches!(reported(&[(8, 0), (8, 0)], 100), Err(LayoutError::Overlap(0, 1))));
}
