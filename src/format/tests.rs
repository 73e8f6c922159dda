use super::*;

/// `XRGB8888` -> `[(X, 8), (R, 8), (G, 8), (B, 8)]`; `None` for a name that does not spell its components.
fn spelled(name: &str) -> Option<Vec<(ComponentKind, u8)>> {
    let split = name.find(|c: char| c.is_ascii_digit())?;
    let (letters, digits) = name.split_at(split);
    let digits = digits.trim_end_matches('F');
    let kinds: Option<Vec<_>> = letters
        .chars()
        .map(|letter| match letter {
            'R' => Some(ComponentKind::R),
            'G' => Some(ComponentKind::G),
            'B' => Some(ComponentKind::B),
            'A' => Some(ComponentKind::A),
            'X' => Some(ComponentKind::X),
            _ => None,
        })
        .collect();
    let kinds = kinds?;
    let sizes = split_sizes(digits, kinds.len())?;
    Some(kinds.into_iter().zip(sizes).collect())
}

/// `"1010102"` in four -> `[10, 10, 10, 2]`: the only split whose parts are sizes that formats have.
fn split_sizes(digits: &str, parts: usize) -> Option<Vec<u8>> {
    if parts == 0 {
        return digits.is_empty().then(Vec::new);
    }
    (1..=2.min(digits.len())).find_map(|length| {
        let (head, rest) = digits.split_at(length);
        let size = head.parse().ok().filter(|size| (1..=16).contains(size) && !head.starts_with('0'))?;
        let mut sizes = split_sizes(rest, parts - 1)?;
        sizes.insert(0, size);
        Some(sizes)
    })
}

#[test]
fn every_fourcc_agrees_with_the_drm_fourcc_crate() {
    macro_rules! pairs {
        ($($ours:ident $theirs:ident),+ $(,)?) => {
            &[$((Format::$ours, stringify!($ours), drm_fourcc::DrmFourcc::$theirs)),+]
        };
    }
    let pairs: &[(Format, &str, drm_fourcc::DrmFourcc)] = pairs![
        C8 C8, R8 R8, R16 R16, RG88 Rg88, GR88 Gr88, RG1616 Rg1616, GR1616 Gr1616, RGB332 Rgb332, BGR233 Bgr233,
        XRGB4444 Xrgb4444, XBGR4444 Xbgr4444, RGBX4444 Rgbx4444, BGRX4444 Bgrx4444, ARGB4444 Argb4444, ABGR4444 Abgr4444,
        RGBA4444 Rgba4444, BGRA4444 Bgra4444, XRGB1555 Xrgb1555, XBGR1555 Xbgr1555, RGBX5551 Rgbx5551, BGRX5551 Bgrx5551,
        ARGB1555 Argb1555, ABGR1555 Abgr1555, RGBA5551 Rgba5551, BGRA5551 Bgra5551, RGB565 Rgb565, BGR565 Bgr565,
        RGB888 Rgb888, BGR888 Bgr888, XRGB8888 Xrgb8888, XBGR8888 Xbgr8888, RGBX8888 Rgbx8888, BGRX8888 Bgrx8888,
        ARGB8888 Argb8888, ABGR8888 Abgr8888, RGBA8888 Rgba8888, BGRA8888 Bgra8888, XRGB2101010 Xrgb2101010,
        XBGR2101010 Xbgr2101010, RGBX1010102 Rgbx1010102, BGRX1010102 Bgrx1010102, ARGB2101010 Argb2101010,
        ABGR2101010 Abgr2101010, RGBA1010102 Rgba1010102, BGRA1010102 Bgra1010102, XRGB16161616F Xrgb16161616f,
        XBGR16161616F Xbgr16161616f, ARGB16161616F Argb16161616f, ABGR16161616F Abgr16161616f,
        AXBXGXRX106106106106 Axbxgxrx106106106106, YUYV Yuyv, YVYU Yvyu, UYVY Uyvy, VYUY Vyuy, AYUV Ayuv, NV12 Nv12,
        NV21 Nv21, NV16 Nv16, NV61 Nv61, NV24 Nv24, NV42 Nv42, P010 P010, P012 P012, P016 P016, P210 P210, YUV420 Yuv420,
        YVU420 Yvu420, YUV422 Yuv422, YVU422 Yvu422, YUV444 Yuv444, YVU444 Yvu444,
    ];
    for (format, name, peer) in pairs {
        assert_eq!(format.fourcc(), *peer as u32, "{name}");
        assert_eq!(format.to_string(), *name);
    }
}

#[test]
fn a_name_that_spells_its_components_agrees_with_them() {
    let mut compared = 0;
    for info in Format::all().iter().filter_map(|format| format.info()) {
        let Some(mut expected) = spelled(info.name) else { continue };
        expected.reverse();
        let listed: Vec<_> = info.planes[0].components.iter().map(|c| (c.kind, c.bits)).collect();
        assert_eq!(listed, expected, "{}", info.name);
        compared += 1;
    }
    assert!(compared > 50, "only {compared} names spell their components");
}

#[test]
fn components_fill_their_blocks() {
    for info in Format::all().iter().filter_map(|format| format.info()) {
        for plane in info.planes {
            let bits: u32 = plane.components.iter().map(|component| u32::from(component.bits)).sum();
            assert_eq!(bits, u32::from(plane.block_bytes) * 8, "{}", info.name);
        }
    }
}

#[test]
fn each_fourcc_name_and_virgl_number_stands_once() {
    let mut codes = std::collections::HashSet::new();
    let mut names = std::collections::HashSet::new();
    let mut numbers = std::collections::HashSet::new();
    for info in Format::all().iter().filter_map(|format| format.info()) {
        assert!(codes.insert(info.format), "{}", info.name);
        assert!(names.insert(info.name), "{}", info.name);
        assert!(info.virgl.is_none_or(|number| numbers.insert(number)), "{}", info.name);
    }
}

#[test]
fn every_virtio_2d_number_is_a_four_byte_format() {
    for number in VIRTIO_2D {
        let format = Format::from_virtio_2d(number).unwrap();
        assert_eq!(format.planes()[0].block_bytes, 4);
        assert_eq!(format.virtio_2d(), Some(number));
    }
    assert_eq!(Format::from_virtio_2d(166), None, "NV12 has a virgl number and no 2D one");
}

#[test]
fn chroma_of_an_odd_picture_rounds_up() {
    let chroma = &Format::NV12.planes()[1];
    assert_eq!((chroma.row_bytes(1279), chroma.rows(719)), (1280, 360));
}

#[test]
fn an_unknown_fourcc_survives_and_names_itself() {
    let format = Format::from_fourcc(u32::from_le_bytes(*b"ZZ\x019"));
    assert_eq!(format.info(), None);
    assert_eq!(format.to_string(), "ZZ?9 (0x39015a5a)");
}

#[test]
fn formats_parse_by_name_and_by_fourcc() {
    assert_eq!(Format::parse("nv12"), Some(Format::NV12));
    assert_eq!(Format::parse("R8"), Some(Format::R8));
    assert_eq!(Format::parse("AB4H"), Some(Format::ABGR16161616F));
    assert_eq!(Format::parse("nonsense"), None);
}

#[test]
fn a_vulkan_number_names_one_format_and_its_own() {
    assert_eq!(Format::from_vulkan(44), Some(Format::ARGB8888));
    assert_eq!(Format::from_vulkan(1_000_156_002), Some(Format::YUV420));
    assert_eq!(Format::from_vulkan(1_000_156_009), Some(Format::AXBXGXRX106106106106));
    assert_eq!((Format::from_vulkan(0), Format::XRGB8888.info().unwrap().vulkan), (None, Some(44)));
    for info in Format::all().iter().filter_map(|format| format.info()) {
        let Some(back) = info.vulkan.and_then(Format::from_vulkan) else { continue };
        let bytes = |format: Format| format.planes().iter().map(|plane| plane.block_bytes).collect::<Vec<_>>();
        assert_eq!(bytes(back), bytes(info.format), "{} and {back} share a number", info.name);
    }
}

/// The names of Vulkan spell the bits from the highest down in a packed word, and byte by byte elsewhere.
#[cfg(feature = "vulkan")]
#[test]
fn vulkan_numbers_are_those_of_the_header() {
    use ash::vk::Format as Vk;
    let cases = [
        (Format::R8, Vk::R8_UNORM),
        (Format::R16, Vk::R16_UNORM),
        (Format::GR88, Vk::R8G8_UNORM),
        (Format::GR1616, Vk::R16G16_UNORM),
        (Format::RGBA4444, Vk::R4G4B4A4_UNORM_PACK16),
        (Format::BGRA4444, Vk::B4G4R4A4_UNORM_PACK16),
        (Format::ARGB1555, Vk::A1R5G5B5_UNORM_PACK16),
        (Format::RGBA5551, Vk::R5G5B5A1_UNORM_PACK16),
        (Format::BGRA5551, Vk::B5G5R5A1_UNORM_PACK16),
        (Format::RGB565, Vk::R5G6B5_UNORM_PACK16),
        (Format::BGR565, Vk::B5G6R5_UNORM_PACK16),
        (Format::RGB888, Vk::B8G8R8_UNORM),
        (Format::BGR888, Vk::R8G8B8_UNORM),
        (Format::ARGB8888, Vk::B8G8R8A8_UNORM),
        (Format::ABGR8888, Vk::R8G8B8A8_UNORM),
        (Format::ARGB2101010, Vk::A2R10G10B10_UNORM_PACK32),
        (Format::ABGR2101010, Vk::A2B10G10R10_UNORM_PACK32),
        (Format::ABGR16161616, Vk::R16G16B16A16_UNORM),
        (Format::ABGR16161616F, Vk::R16G16B16A16_SFLOAT),
        (Format::AXBXGXRX106106106106, Vk::R10X6G10X6B10X6A10X6_UNORM_4PACK16),
        (Format::YUYV, Vk::G8B8G8R8_422_UNORM),
        (Format::UYVY, Vk::B8G8R8G8_422_UNORM),
        (Format::NV12, Vk::G8_B8R8_2PLANE_420_UNORM),
        (Format::NV16, Vk::G8_B8R8_2PLANE_422_UNORM),
        (Format::P010, Vk::G10X6_B10X6R10X6_2PLANE_420_UNORM_3PACK16),
        (Format::P012, Vk::G12X4_B12X4R12X4_2PLANE_420_UNORM_3PACK16),
        (Format::P016, Vk::G16_B16R16_2PLANE_420_UNORM),
        (Format::P210, Vk::G10X6_B10X6R10X6_2PLANE_422_UNORM_3PACK16),
        (Format::YUV420, Vk::G8_B8_R8_3PLANE_420_UNORM),
        (Format::YUV422, Vk::G8_B8_R8_3PLANE_422_UNORM),
        (Format::YUV444, Vk::G8_B8_R8_3PLANE_444_UNORM),
    ];
    for (format, vk) in cases {
        assert_eq!(format.info().unwrap().vulkan, Some(vk.as_raw() as u32), "{format}");
        assert_eq!(Format::from_vulkan(vk.as_raw() as u32), Some(format));
    }
}
