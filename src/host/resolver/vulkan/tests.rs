//! On the Vulkan that is here, checked by the validation layer where that is installed; skipped where there is none.

mod import;
mod lies;

use super::*;
use crate::host::DeviceConfig;
use crate::host::resolver::memory::MemoryResolver;
use crate::host::resolver::{Image, ImageRefused, Resolvers};
use crate::host::test_rig::{Guest, Shelf, gpu_demanded};
use crate::wire::alloc::{self as wire, Opcode, Status};
use crate::{Format, Modifier, Usage};
use ash::vk;
use sys::Extensions;
use zerocopy::IntoBytes;

fn options() -> VulkanOptions {
    VulkanOptions { validation: true, software: !gpu_demanded(), ..VulkanOptions::default() }
}

/// The resolver, or word that it can't be tested here.
fn resolver() -> Option<VulkanResolver> {
    match VulkanResolver::new(&options()) {
        Ok(resolver) => Some(resolver),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

/// A device that says less of itself than is true, or word that there is none.
fn device_with(less: impl FnOnce(&mut Extensions)) -> Option<Arc<Device>> {
    let found =
        Instance::load(true).ok().and_then(|instance| device::choose(&instance, &options().device, options().software).ok());
    let Some((adapter, mut facts)) = found else {
        eprintln!("skipped: no Vulkan here");
        return None;
    };
    less(&mut facts.extensions);
    Some(Device::open(&adapter, &facts).unwrap())
}

/// Nothing is left, and the layer has kept silent.
fn check_end(resolver: &VulkanResolver) {
    assert_eq!((resolver.live_objects(), resolver.complaints().unwrap_or_default()), (0, Vec::new()));
}

fn allocate(resolver: &VulkanResolver, request: &BufferRequest) -> Result<Allocation, ResolveError> {
    let table = crate::SupportTable::new(resolver.support().to_vec(), resolver.largest());
    let layout = resolver.layout(request, table.choose(request)?)?;
    resolver.allocate(&Parameters::Image { request, layout: &layout }, layout.size_bytes)
}

fn linear(format: Format, width: u32, height: u32) -> BufferRequest {
    BufferRequest::new(format, width, height, Usage::TEXTURE | Usage::LINEAR)
}

fn check_bytes(image: &dyn Image) {
    let size = image.size_bytes() as usize;
    let mut bytes = vec![1; size];
    image.read(0, &mut bytes).unwrap();
    assert!(bytes.iter().all(|byte| *byte == 0), "a new image is zeroed");
    image.write(5, b"virgbm").unwrap();
    image.read(4, &mut bytes[..8]).unwrap();
    assert_eq!(&bytes[..8], b"\0virgbm\0");
    assert!(image.read(size as u64 - 1, &mut [0; 2]).is_err() && image.write(u64::MAX, &[0]).is_err());
}

/// Lets each call of the driver fail in turn, of which there are `calls` at least: the guest is told, and nothing is left.
fn check_each_failure(resolver: &VulkanResolver, calls: usize, make: impl Fn() -> Result<Allocation, ResolveError>) {
    let device = &resolver.0.maker.device;
    let (live, mut step) = (device.live(), 0);
    loop {
        device.faults.fail_after(step, vk::Result::ERROR_OUT_OF_DEVICE_MEMORY);
        let made = make();
        if device.faults.forgive() {
            made.unwrap();
            break;
        }
        assert!(matches!(made, Err(ResolveError::Memory(_))), "step {step}");
        assert_eq!(device.live(), live, "step {step}");
        step += 1;
    }
    assert!(step >= calls, "{step} calls");
    device.faults.fail_after(step / 2, vk::Result::ERROR_INITIALIZATION_FAILED);
    assert!(matches!(make(), Err(ResolveError::Driver(_))));
    check_end(resolver);
}

#[test]
fn the_validation_layer_is_heard() {
    let Some(resolver) = resolver() else { return };
    let Some(before) = resolver.complaints() else {
        eprintln!("skipped: the validation layer is not installed");
        return;
    };
    // Two formats of views for an image that is not mutable: wrong, and no driver minds.
    let extent = vk::Extent3D { width: 4, height: 4, depth: 1 };
    let views = [formats::raw(44), formats::raw(37)];
    let spec = sys::ImageSpec { view_formats: &views, ..maker::plain(formats::raw(44), extent) };
    drop(sys::Image::new(&resolver.0.maker.device, &spec));
    assert_ne!(resolver.complaints(), Some(before));
}

#[test]
fn what_works_here_is_told() {
    let Some(resolver) = resolver() else { return };
    println!(
        "{}: dma-bufs: {}, validated: {}",
        resolver.device_name(),
        resolver.exports_dma_bufs(),
        resolver.complaints().is_some()
    );
    for support in resolver.support() {
        println!("  {} {} in {} planes: {}", support.format, support.modifier, support.plane_count, support.usages);
    }
    for Finding { subject, refused } in resolver.report().findings {
        if let Some(why) = refused {
            println!("  not {subject}: {why}");
        }
    }
    assert!(resolver.support().iter().any(|support| support.format == Format::ARGB8888));
    assert!(resolver.support().iter().all(|support| !support.usages.contains(Usage::PROTECTED)));
    assert_eq!(resolver.capabilities().contains(Capabilities::DMA_BUF_EXPORT), resolver.exports_dma_bufs());
    check_end(&resolver);
}

#[test]
fn every_linear_format_is_made_in_odd_sizes_and_read_and_written() {
    let Some(resolver) = resolver() else { return };
    for support in resolver.support().iter().filter(|support| support.modifier == Modifier::LINEAR) {
        if !support.usages.contains(Usage::TEXTURE) {
            continue;
        }
        for (width, height) in [(1, 1), (129, 67)] {
            let made = allocate(&resolver, &linear(support.format, width, height)).unwrap();
            let layout = made.layout.unwrap();
            layout.check().unwrap();
            assert_eq!((layout.width, layout.height, layout.planes.len()), (width, height, support.format.planes().len()));
            assert!(made.image.size_bytes().is_multiple_of(4096) && made.image.size_bytes() >= layout.size_bytes);
            check_bytes(&*made.image);
        }
    }
    check_end(&resolver);
}

#[test]
fn a_known_picture_is_resolved_without_the_driver() {
    let Some(resolver) = resolver() else { return };
    let resolvers = Resolvers::new(vec![Box::new(resolver.clone()), Box::new(MemoryResolver::without_udmabuf())]);
    let request = linear(Format::ARGB8888, 640, 480);
    let (_, first) = resolvers.resolve(&request).unwrap();
    let calls = resolver.driver_calls();
    for _ in 0..10 {
        assert_eq!(resolvers.resolve(&request).unwrap().1, first);
        let refused = BufferRequest { usage: request.usage | Usage::PROTECTED, ..request.clone() };
        assert!(resolvers.resolve(&refused).is_err());
    }
    assert_eq!(resolver.driver_calls(), calls);
    check_end(&resolver);
}

#[test]
fn layers_lie_one_behind_the_other() {
    let Some(resolver) = resolver() else { return };
    let made = allocate(&resolver, &linear(Format::ARGB8888, 65, 33).with_layers(3)).unwrap();
    let layout = made.layout.unwrap();
    layout.check().unwrap();
    assert_eq!(layout.layers, 3);
    assert!(layout.layer_stride_bytes >= 65 * 33 * 4 && layout.size_bytes >= 3 * layout.layer_stride_bytes);
    check_bytes(&*made.image);
    made.image.write(0, &[0x5a; 4]).unwrap();
    let picture = made.image.picture(&layout).unwrap().unwrap();
    assert_eq!(
        (picture.width, picture.height, picture.rgba.len(), picture.rgba[0]),
        (65, 33, 65 * 33 * 4, 0x5a),
        "the first one of them"
    );
    drop(made);
    check_end(&resolver);
}

#[test]
fn memory_that_the_cpu_does_not_see_is_read_and_written_by_copies() {
    let Some(seen) = resolver() else { return };
    let resolver = VulkanResolver::probe(seen.0.maker.device.clone(), false).unwrap();
    assert!(resolver.support().iter().all(|support| !support.usages.intersects(Usage::CPU)));
    let made = allocate(&resolver, &linear(Format::ARGB8888, 129, 67)).unwrap();
    let stride = u64::from(made.layout.unwrap().planes[0].stride_bytes);
    made.image.write(3 * stride + 8, b"virgbm").unwrap();
    let mut bytes = [1; 8];
    made.image.read(3 * stride + 7, &mut bytes).unwrap();
    assert_eq!(&bytes, b"\0virgbm\0");
    assert!(made.image.show(&Shelf::default(), 0).is_err());
    drop(made);
    check_end(&resolver);
}

#[test]
fn a_dma_buf_is_one_or_there_is_none() {
    let Some(resolver) = resolver() else { return };
    let asked = BufferRequest { usage: Usage::TEXTURE | Usage::CPU_WRITE_RARELY, ..linear(Format::ARGB8888, 64, 64) };
    if !resolver.exports_dma_bufs() {
        let table = crate::SupportTable::new(resolver.support().to_vec(), resolver.largest());
        assert!(table.choose(&asked).unwrap().transfers, "what the CPU does is moved");
        let made = allocate(&resolver, &asked).unwrap();
        assert!(made.image.export().map_or(true, |export| export.kind.name() == "opaque"));
        assert_eq!(made.image.show(&Shelf::default(), 0).unwrap_err().kind(), std::io::ErrorKind::Unsupported);
        drop(made);
    } else {
        let made = allocate(&resolver, &asked).unwrap();
        let export = made.image.export().unwrap();
        let map = crate::sys::mmap::Mmap::shared(std::os::fd::AsFd::as_fd(&export.fd), 0, 4096, None).unwrap();
        made.image.write(0, b"virgbm").unwrap();
        let mut bytes = [0; 6];
        map.read(0, &mut bytes).unwrap();
        assert_eq!(&bytes, b"virgbm");
    }
    check_end(&resolver);
}

#[test]
fn whatever_call_fails_nothing_is_left_and_the_guest_is_told() {
    let Some(resolver) = resolver() else { return };
    let device = &resolver.0.maker.device;
    for (format, mapped) in [(Format::ARGB8888, true), (Format::ARGB8888, false), (Format::NV12, false)] {
        let maker = Maker { mapped, device: device.clone(), ..resolver.0.maker };
        let Some(offered) = resolver.0.offered.iter().find(|offered| offered.support.format == format) else { continue };
        let request = linear(format, 64, 64);
        let layout = maker.layout(&request, offered).unwrap();
        check_each_failure(&resolver, 3, || {
            let image = maker.image(&request, offered, &layout, layout.size_bytes)?;
            Ok(Allocation { image: Arc::new(image), layout: None })
        });
    }
    check_each_failure(&resolver, 3, || described(&resolver, vk_image(44, 1), 1 << 16));
    check_each_failure(&resolver, 6, || described(&resolver, vk_image(44, 0), 1 << 16));
}

#[test]
fn a_lost_device_makes_nothing_more_and_frees_what_it_made() {
    let Some(resolver) = resolver() else { return };
    let request = linear(Format::ARGB8888, 64, 64);
    let made = allocate(&resolver, &request).unwrap();
    resolver.0.maker.device.faults.fail_after(1, vk::Result::ERROR_DEVICE_LOST);
    for _ in 0..2 {
        let refused = allocate(&resolver, &request).err().unwrap();
        assert!(matches!(&refused, ResolveError::Driver(error) if error.to_string().contains("DEVICE_LOST")), "{refused}");
    }
    drop(made);
    check_end(&resolver);
}

fn vk_image(format: u32, tiling: u32) -> VkImage {
    VkImage {
        image_type: 1.into(),
        format: format.into(),
        width: 64.into(),
        height: 64.into(),
        depth: 1.into(),
        levels: 1.into(),
        layers: 1.into(),
        samples: 1.into(),
        usage: 4.into(),
        tiling: tiling.into(),
        ..VkImage::default()
    }
}

fn described(resolver: &VulkanResolver, image: VkImage, blob_bytes: u64) -> Result<Allocation, ResolveError> {
    resolver.allocate(&Parameters::Vulkan { image: &image, view_formats: &[], modifiers: &[] }, blob_bytes)
}

#[test]
fn images_are_made_as_the_guest_describes_them() {
    let Some(resolver) = resolver() else { return };
    let flat = described(&resolver, vk_image(44, 1), 1 << 16).unwrap();
    assert_eq!(flat.layout.map(|layout| (layout.format, layout.modifier)), Some((Format::ARGB8888, Modifier::LINEAR)));
    check_bytes(&*flat.image);
    let levels = VkImage { levels: 7.into(), layers: 6.into(), flags: 16.into(), ..vk_image(37, 0) };
    let cube = described(&resolver, levels, 1 << 20).unwrap();
    assert_eq!((cube.layout, cube.image.size_bytes()), (None, 1 << 20));
    assert_eq!(cube.image.read(0, &mut [0]).unwrap_err().kind(), std::io::ErrorKind::Unsupported);
    let sampled = VkImage { samples: 4.into(), usage: 16.into(), ..vk_image(44, 0) };
    described(&resolver, sampled, 1 << 20).unwrap();
    let solid = VkImage { image_type: 2.into(), depth: 8.into(), ..vk_image(37, 0) };
    described(&resolver, solid, 1 << 20).unwrap();
    // Where the driver has it; its chroma is zeroed by copies.
    match described(&resolver, vk_image(1_000_156_003, 0), 1 << 20) {
        Ok(video) => {
            println!("NV12 by ALLOC_VK: {} bytes", video.image.size_bytes());
            assert_eq!(video.layout, None);
        }
        Err(error) => {
            println!("NV12 by ALLOC_VK: {error}");
            assert!(matches!(error, ResolveError::Image(ImageRefused::Usage { .. })));
        }
    }
    drop((flat, cube));
    check_end(&resolver);
}

#[test]
fn of_a_list_of_modifiers_the_driver_takes_one_and_says_which() {
    let Some(resolver) = resolver() else { return };
    let (image, modifiers) = (vk_image(44, 1_000_158_000), [1 << 60, Modifier::LINEAR.value()]);
    let made = resolver.allocate(&Parameters::Vulkan { image: &image, view_formats: &[44], modifiers: &modifiers }, 1 << 16);
    if resolver.0.maker.device.facts().extensions.modifiers {
        let made = made.unwrap();
        let layout = made.layout.unwrap();
        assert_eq!((layout.modifier, layout.planes.len()), (Modifier::LINEAR, 1));
        assert_eq!(made.image.storage() == "vulkan dma-buf", resolver.exports_dma_bufs());
        check_bytes(&*made.image);
    } else {
        eprintln!("skipped: {} knows no modifiers", resolver.device_name());
        assert!(matches!(made, Err(ResolveError::Image(ImageRefused::Modifier(2)))));
    }
    check_end(&resolver);
}

#[test]
fn an_image_beyond_the_drivers_limits_or_its_blob_is_refused() {
    let Some(resolver) = resolver() else { return };
    let refused = |image, bytes| match described(&resolver, image, bytes) {
        Err(ResolveError::Image(refused)) => refused,
        other => panic!("{:?}", other.map(|_| ())),
    };
    assert!(matches!(refused(vk_image(44, 1), 4096), ImageRefused::Size { blob_bytes: 4096, .. }));
    let wide = VkImage { width: (1 << 20).into(), ..vk_image(44, 1) };
    assert!(matches!(refused(wide, 1 << 30), ImageRefused::Limit { what: "width", .. }));
    let levels = VkImage { levels: 8.into(), ..vk_image(44, 0) };
    assert!(matches!(refused(levels, 1 << 20), ImageRefused::Limit { what: "levels", asked: 8, limit: 7 }));
    let layers = VkImage { layers: 100_000.into(), ..vk_image(44, 0) };
    assert!(matches!(refused(layers, 1 << 20), ImageRefused::Limit { what: "layers", asked: 100_000, .. }));
    let listed = vk_image(44, 1_000_158_000);
    assert!(matches!(refused(listed, 1 << 16), ImageRefused::Modifier(0)));
    let unknown = resolver.allocate(&Parameters::Vulkan { image: &listed, view_formats: &[], modifiers: &[1 << 60] }, 1 << 16);
    assert!(matches!(unknown, Err(ResolveError::Image(ImageRefused::Modifier(1)))));
    check_end(&resolver);
}

#[test]
fn what_is_too_large_for_the_driver_goes_to_plain_memory() {
    let Some(vulkan) = resolver() else { return };
    let resolvers = Resolvers::new(vec![Box::new(vulkan.clone()), Box::new(MemoryResolver::without_udmabuf())]);
    let name = |request| resolvers.resolve(&request).map(|(resolver, _)| resolver.name()).unwrap();
    assert_eq!(name(linear(Format::ARGB8888, 64, 64)), "vulkan");
    assert_eq!(name(linear(Format::ARGB8888, 1 << 20, 1)), "memory");
    assert_eq!(name(linear(Format::NV21, 64, 64)), "memory");
    check_end(&vulkan);
}

#[test]
fn a_device_is_chosen_by_what_it_says_of_itself() {
    let Some(first) = resolver() else { return };
    let facts = first.0.maker.device.facts();
    let open = |device| VulkanResolver::new(&VulkanOptions { device, ..options() });
    assert_eq!(open(DeviceChoice::Uuid(facts.uuid)).unwrap().device_name(), first.device_name());
    assert_eq!(open(DeviceChoice::Name(facts.name.to_uppercase())).unwrap().device_name(), first.device_name());
    let nobody = open(DeviceChoice::Name("no such device".to_owned())).err().unwrap();
    assert!(nobody.to_string().contains(&facts.name), "{nobody}");
    let hardware = VulkanResolver::new(&VulkanOptions { software: false, ..options() });
    assert!(hardware.is_err() || !first.is_software());
}

#[test]
fn the_guest_is_told_each_refusal_by_its_status() {
    let Some(resolver) = resolver() else { return };
    let device = resolver.0.maker.device.clone();
    let resolvers: Vec<Box<dyn Resolver>> = vec![Box::new(resolver.clone()), Box::new(MemoryResolver::without_udmabuf())];
    let guest = Guest::with_resolvers(DeviceConfig::default(), resolvers);
    let run = |id: u64, bytes: u64, image: VkImage, modifiers: &[u64]| {
        let claim = wire::Claim { blob_id: id.into(), blob_size: bytes.into(), ..wire::Claim::default() };
        let image = VkImage { modifier_count: (modifiers.len() as u32).into(), ..image };
        let status = guest.run(Opcode::AllocVk, 0, &[claim.as_bytes(), image.as_bytes(), modifiers.as_bytes()]);
        Status::from_number(status).unwrap()
    };
    let (flat, bytes) = (vk_image(44, 1), 1 << 16);
    assert_eq!(run(1, bytes, flat, &[]), Status::Ok);
    let told = guest.slot(0);
    assert_eq!((told.backing.get(), told.layout.fourcc.get()), (Backing::Vulkan.number(), Format::ARGB8888.fourcc()));
    assert_eq!(run(1, bytes, flat, &[]), Status::IdInUse);
    assert_eq!(run(2, 4096, flat, &[]), Status::SizeMismatch);
    assert_eq!(run(2, bytes, VkImage { format: 1.into(), ..flat }, &[]), Status::Format);
    assert_eq!(run(2, bytes, VkImage { flags: (1 << 11).into(), ..flat }, &[]), Status::Usage);
    assert_eq!(run(2, bytes, VkImage { width: (1 << 20).into(), ..flat }, &[]), Status::Extent);
    assert_eq!(run(2, bytes, VkImage { layers: 100_000.into(), ..flat }, &[]), Status::Extent);
    assert_eq!(run(2, bytes, VkImage { levels: 8.into(), ..vk_image(44, 0) }, &[]), Status::Extent);
    assert_eq!(run(2, bytes, VkImage { samples: 3.into(), ..vk_image(44, 0) }, &[]), Status::Malformed);
    assert_eq!(run(2, bytes, VkImage { depth: 0.into(), ..flat }, &[]), Status::Malformed);
    assert_eq!(run(2, bytes, vk_image(44, 1_000_158_000), &[1 << 60]), Status::NoCommonModifier);
    device.faults.fail_after(1, vk::Result::ERROR_OUT_OF_DEVICE_MEMORY);
    assert_eq!(run(2, bytes, flat, &[]), Status::OutOfMemory);
    assert_eq!(guest.slot(0).detail.get(), rustix::io::Errno::NOMEM.raw_os_error() as u32);
    device.faults.fail_after(0, vk::Result::ERROR_DEVICE_LOST);
    assert_eq!((run(2, bytes, flat, &[]), run(2, bytes, flat, &[])), (Status::Host, Status::Host));
    assert_eq!((guest.device.stats().objects, device.live()), (1, 2), "the one that was made, and its memory");
    guest.destroy_context(1);
    check_end(&resolver);
}
