//! ALLOC_VK: the guest's numbers, checked one by one before the driver sees them, since a driver may believe them all.

use super::formats;
use super::sys::{Device, Handle, ImageSpec, Tiling};
use crate::host::resolver::ImageRefused;
use crate::wire::alloc::VkImage;
use crate::{ComponentKind, Format, FormatClass, FormatInfo};
use ash::vk;

/// `VkImageCreateFlagBits` and `VkImageUsageFlagBits` that such an image may have. Disjoint planes are what a driver allows
/// (`VK_FORMAT_FEATURE_DISJOINT_BIT`) and none demands: every image can have one memory, and a blob is one.
const FLAGS: vk::ImageCreateFlags = vk::ImageCreateFlags::from_raw(
    vk::ImageCreateFlags::MUTABLE_FORMAT.as_raw()
        | vk::ImageCreateFlags::CUBE_COMPATIBLE.as_raw()
        | vk::ImageCreateFlags::EXTENDED_USAGE.as_raw(),
);
const USAGES: vk::ImageUsageFlags = vk::ImageUsageFlags::from_raw(
    formats::TRANSFERS.as_raw()
        | vk::ImageUsageFlags::SAMPLED.as_raw()
        | vk::ImageUsageFlags::STORAGE.as_raw()
        | vk::ImageUsageFlags::COLOR_ATTACHMENT.as_raw()
        | vk::ImageUsageFlags::INPUT_ATTACHMENT.as_raw(),
);

/// `VkFormat`s of views that are no formats of memory: sRGB on R8G8B8A8 and B8G8R8A8.
const SRGB: [u32; 2] = [43, 50];

/// An image that the guest describes, as far as it can be checked without the driver.
pub struct Asked {
    pub info: &'static FormatInfo,
    view_formats: Vec<vk::Format>,
    spec: ImageSpec<'static>,
    /// Of an image with modifiers.
    modifiers: Option<Vec<u64>>,
}

fn parameter(what: &'static str, value: u32, why: &'static str) -> ImageRefused {
    ImageRefused::Parameter { what, value, why }
}

impl Asked {
    /// Checks what needs no driver.
    pub fn new(image: &VkImage, view_formats: &[u32], modifiers: &[u64]) -> Result<Self, ImageRefused> {
        let number = image.format.get();
        let info = Format::from_vulkan(number).and_then(Format::info).ok_or(ImageRefused::Format(number))?;
        let flags = vk::ImageCreateFlags::from_raw(image.flags.get());
        if flags.contains(vk::ImageCreateFlags::PROTECTED) {
            let why = "this host has no protected memory";
            return Err(ImageRefused::Usage { what: "flags", value: flags.as_raw(), why });
        }
        if !FLAGS.contains(flags) {
            return Err(parameter("flags", flags.as_raw(), "mutable, cube and extended usage are known"));
        }
        let usage = vk::ImageUsageFlags::from_raw(image.usage.get());
        if usage.is_empty() || !USAGES.contains(usage) {
            let why = "transfers, sampled, storage, colour and input attachments are known";
            return Err(ImageRefused::Usage { what: "usage", value: usage.as_raw(), why });
        }
        let spec = ImageSpec { flags, usage: usage | formats::TRANSFERS, ..shape(image, info)? };
        check_views(flags, number, info, view_formats)?;
        let modifiers = match image.tiling.get() {
            0 | 1 if !modifiers.is_empty() => {
                return Err(parameter("tiling", image.tiling.get(), "only with modifiers has it such"));
            }
            0 => None,
            1 => None,
            1_000_158_000 if modifiers.is_empty() => return Err(ImageRefused::Modifier(0)),
            // VUID-VkImageCreateInfo-tiling-02353.
            1_000_158_000 if flags.contains(vk::ImageCreateFlags::MUTABLE_FORMAT) && view_formats.is_empty() => {
                return Err(parameter("view formats", 0, "a mutable image with modifiers names its own"));
            }
            1_000_158_000 => Some(modifiers.to_vec()),
            other => return Err(parameter("tiling", other, "there are optimal, linear and by modifier")),
        };
        let view_formats = view_formats.iter().copied().map(formats::raw).collect();
        Ok(Self { info, view_formats, spec, modifiers })
    }

    /// Whose creation parameters these are, as a guest would describe it.
    pub fn describe(spec: &ImageSpec<'_>) -> VkImage {
        let vk::Extent3D { width, height, depth } = spec.extent;
        VkImage {
            flags: spec.flags.as_raw().into(),
            image_type: (spec.kind.as_raw() as u32).into(),
            format: (spec.format.as_raw() as u32).into(),
            width: width.into(),
            height: height.into(),
            depth: depth.into(),
            levels: spec.levels.into(),
            layers: spec.layers.into(),
            samples: spec.samples.as_raw().into(),
            tiling: (spec.tiling.raw().as_raw() as u32).into(),
            usage: spec.usage.as_raw().into(),
            view_format_count: (spec.view_formats.len() as u32).into(),
            ..VkImage::default()
        }
    }

    /// Lets the driver check it, and gives `work` the image that it makes: for those whom it is `shared` with, where that can be.
    pub fn with_limits<T, E: From<ImageRefused>>(
        &self,
        device: &Device,
        shared: Option<Handle>,
        work: impl FnOnce(&ImageSpec<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let asked = self.modifiers.as_deref().unwrap_or(&[]);
        if self.modifiers.is_some() && !device.facts().extensions.modifiers {
            return Err(ImageRefused::Modifier(asked.len()).into());
        }
        let base = ImageSpec { view_formats: &self.view_formats, ..self.spec };
        for shared in shared.map(Some).into_iter().chain([None]) {
            let base = ImageSpec { shared, ..base };
            let serves = |spec: &ImageSpec<'_>| check_limits(device, spec);
            if self.modifiers.is_none() {
                match serves(&base) {
                    Ok(()) => return work(&base),
                    Err(_) if shared.is_some() => continue,
                    Err(refused) => return Err(refused.into()),
                }
            }
            // Some drivers take any number for a modifier here, so it must also be one that they list.
            let listed = device.adapter().format(base.format, true).modifiers;
            let is_listed = |modifier: &u64| listed.iter().any(|entry| entry.drm_format_modifier == *modifier);
            let one =
                |modifier: &u64| serves(&ImageSpec { tiling: Tiling::Modifiers(std::slice::from_ref(modifier)), ..base }).is_ok();
            let served: Vec<u64> = asked.iter().copied().filter(|modifier| is_listed(modifier) && one(modifier)).collect();
            if !served.is_empty() {
                return work(&ImageSpec { tiling: Tiling::Modifiers(&served), ..base });
            }
        }
        Err(ImageRefused::Modifier(asked.len()).into())
    }
}

/// Dimensions, levels, layers and samples, as far as Vulkan's own rules bound them.
fn shape(image: &VkImage, info: &FormatInfo) -> Result<ImageSpec<'static>, ImageRefused> {
    let number = image.format.get();
    let (width, height, depth) = (image.width.get(), image.height.get(), image.depth.get());
    let (levels, layers, samples) = (image.levels.get(), image.layers.get(), image.samples.get());
    for (what, value) in [("width", width), ("height", height), ("depth", depth), ("levels", levels), ("layers", layers)] {
        if value == 0 {
            return Err(parameter(what, value, "it must be at least 1"));
        }
    }
    let kind = match (image.image_type.get(), height, depth, layers) {
        (0, 1, 1, _) => vk::ImageType::TYPE_1D,
        (1, _, 1, _) => vk::ImageType::TYPE_2D,
        (2, _, _, 1) => vk::ImageType::TYPE_3D,
        (other, ..) => return Err(parameter("image type", other, "the dimensions that it has not are 1, and 3D has one layer")),
    };
    if !samples.is_power_of_two() || samples > 64 {
        return Err(parameter("samples", samples, "they are a power of two up to 64"));
    }
    let most_levels = u32::BITS - width.max(height).max(depth).leading_zeros();
    if levels > most_levels {
        return Err(ImageRefused::Limit { what: "levels", asked: levels, limit: most_levels });
    }
    let flat = kind == vk::ImageType::TYPE_2D && levels == 1;
    let cube = image.flags.get() & vk::ImageCreateFlags::CUBE_COMPATIBLE.as_raw() != 0;
    if samples > 1 && (!flat || cube || image.tiling.get() != 0) {
        return Err(parameter("samples", samples, "several are for flat, optimal images of one level"));
    }
    if cube && (kind != vk::ImageType::TYPE_2D || width != height || layers < 6) {
        return Err(parameter("layers", layers, "a cube has six square ones"));
    }
    if formats::is_converted(number) {
        let whole = formats::extent(info, width, height).is_some_and(|extent| (extent.width, extent.height) == (width, height));
        if !flat || samples > 1 || layers > 1 || !whole {
            return Err(parameter("format", number, "it needs whole samples of chroma, and one level, layer and sample"));
        }
    }
    let tiling = if image.tiling.get() == 1 { Tiling::Linear } else { Tiling::Optimal };
    let extent = vk::Extent3D { width, height, depth };
    let samples = vk::SampleCountFlags::from_raw(samples);
    Ok(ImageSpec { kind, levels, layers, samples, tiling, ..super::maker::plain(formats::raw(number), extent) })
}

/// Views of another format need a mutable image, and texels of the same size.
fn check_views(flags: vk::ImageCreateFlags, number: u32, info: &FormatInfo, views: &[u32]) -> Result<(), ImageRefused> {
    let mutable = flags.contains(vk::ImageCreateFlags::MUTABLE_FORMAT);
    if mutable && formats::is_converted(number) {
        return Err(parameter("format", number, "its views have its own format"));
    }
    if !mutable && (views.len() > 1 || views.iter().any(|view| *view != number)) {
        return Err(parameter("view formats", views.len() as u32, "an image that is not mutable has its own"));
    }
    let bytes = |planes: &[crate::PlaneFormat]| planes.first().map(|plane| plane.block_bytes);
    for view in views.iter().filter(|view| **view != number) {
        let rgb = Format::from_vulkan(*view).and_then(Format::info).filter(|view| view.class != FormatClass::Yuv);
        let size = if SRGB.contains(view) { Some(4) } else { rgb.and_then(|view| bytes(view.planes)) };
        if size.is_none() || size != bytes(info.planes) || info.has(ComponentKind::Y) {
            return Err(ImageRefused::Format(*view));
        }
    }
    Ok(())
}

fn check_limits(device: &Device, spec: &ImageSpec<'_>) -> Result<(), ImageRefused> {
    let why = "the driver makes no such image";
    let unable = ImageRefused::Usage { what: "usage", value: spec.usage.as_raw(), why };
    let limits = device.limits(spec).map_err(|_| unable.clone())?;
    if spec.shared.is_some() && !limits.exportable {
        return Err(unable);
    }
    let vk::Extent3D { width, height, depth } = limits.extent;
    let bounds = [
        ("width", spec.extent.width, width),
        ("height", spec.extent.height, height),
        ("depth", spec.extent.depth, depth),
        ("levels", spec.levels, limits.levels),
        ("layers", spec.layers, limits.layers),
    ];
    for (what, asked, limit) in bounds {
        if asked > limit {
            return Err(ImageRefused::Limit { what, asked, limit });
        }
    }
    if !limits.samples.contains(spec.samples) {
        return Err(ImageRefused::Limit { what: "samples", asked: spec.samples.as_raw(), limit: limits.samples.as_raw() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture of 64x64 in B8G8R8A8, with optimal tiling, that is sampled.
    fn image() -> VkImage {
        VkImage {
            image_type: 1.into(),
            format: 44.into(),
            width: 64.into(),
            height: 64.into(),
            depth: 1.into(),
            levels: 1.into(),
            layers: 1.into(),
            samples: 1.into(),
            usage: 4.into(),
            ..VkImage::default()
        }
    }

    fn refused(image: VkImage) -> ImageRefused {
        Asked::new(&image, &[], &[]).err().unwrap()
    }

    #[test]
    fn an_image_is_taken_as_it_is_described_and_can_be_copied_besides() {
        let asked = Asked::new(&image(), &[44], &[]).unwrap();
        assert_eq!((asked.info.format, asked.spec.usage), (Format::ARGB8888, vk::ImageUsageFlags::SAMPLED | formats::TRANSFERS));
        let views = [44, 50, 37];
        assert!(Asked::new(&VkImage { flags: 8.into(), ..image() }, &views, &[]).is_ok());
        let listed = VkImage { tiling: 1_000_158_000.into(), ..image() };
        assert_eq!(Asked::new(&listed, &[], &[0, 7]).unwrap().modifiers, Some(vec![0, 7]));
    }

    #[test]
    fn each_number_that_can_not_be_is_refused_by_name() {
        use ImageRefused as R;
        let zero = [
            VkImage { width: 0.into(), ..image() },
            VkImage { levels: 0.into(), ..image() },
            VkImage { samples: 0.into(), ..image() },
        ];
        for case in zero {
            assert!(matches!(refused(case), R::Parameter { value: 0, .. }));
        }
        assert_eq!(refused(VkImage { format: 0.into(), ..image() }), R::Format(0));
        assert_eq!(refused(VkImage { levels: 8.into(), ..image() }), R::Limit { what: "levels", asked: 8, limit: 7 });
        let protected = refused(VkImage { flags: (1 << 11).into(), ..image() });
        assert!(matches!(protected, R::Usage { what: "flags", .. }), "{protected}");
        let parameter = |image| match refused(image) {
            R::Parameter { what, .. } => what,
            other => panic!("{other}"),
        };
        assert_eq!(parameter(VkImage { flags: 1.into(), ..image() }), "flags");
        assert_eq!(parameter(VkImage { image_type: 0.into(), ..image() }), "image type");
        assert_eq!(parameter(VkImage { image_type: 2.into(), layers: 2.into(), ..image() }), "image type");
        assert_eq!(parameter(VkImage { image_type: 9.into(), ..image() }), "image type");
        assert_eq!(parameter(VkImage { samples: 3.into(), ..image() }), "samples");
        assert_eq!(parameter(VkImage { samples: 4.into(), levels: 2.into(), ..image() }), "samples");
        assert_eq!(parameter(VkImage { flags: 16.into(), ..image() }), "layers");
        assert_eq!(parameter(VkImage { tiling: 2.into(), ..image() }), "tiling");
        assert_eq!(parameter(VkImage { format: 1_000_156_003.into(), width: 63.into(), ..image() }), "format");
        assert_eq!(parameter(VkImage { format: 1_000_156_003.into(), layers: 2.into(), ..image() }), "format");
        for usage in [0, 1 << 5, 1 << 31] {
            assert!(matches!(refused(VkImage { usage: usage.into(), ..image() }), R::Usage { what: "usage", .. }));
        }
    }

    #[test]
    fn lists_fit_the_image() {
        let lists = |image: VkImage, views: &[u32], modifiers: &[u64]| Asked::new(&image, views, modifiers).err().unwrap();
        let mutable = VkImage { flags: 8.into(), ..image() };
        assert_eq!(lists(mutable, &[44, 97], &[]), ImageRefused::Format(97), "eight bytes");
        assert_eq!(lists(mutable, &[44, 0], &[]), ImageRefused::Format(0));
        assert!(matches!(lists(image(), &[37], &[]), ImageRefused::Parameter { what: "view formats", .. }));
        assert!(matches!(lists(image(), &[], &[0]), ImageRefused::Parameter { what: "tiling", .. }));
        assert_eq!(lists(VkImage { tiling: 1_000_158_000.into(), ..image() }, &[], &[]), ImageRefused::Modifier(0));
        let listed = VkImage { tiling: 1_000_158_000.into(), ..mutable };
        assert!(matches!(lists(listed, &[], &[0]), ImageRefused::Parameter { what: "view formats", .. }));
    }
}
