//! Buffers of a host in this process, from the descriptor to the pixels, and handles that do not hold.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, unsafe_code)]

use proptest::prelude::*;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use std::cell::Cell;
use std::collections::HashSet;
use std::ffi::c_int;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use virgbm::guest::node::loopback::{Loopback, LoopbackOptions};
use virgbm::guest::node::{Counted, Ioctl};
use virgbm::guest::{BufferObject, Device};
use virgbm::host::{Amount, DeviceConfig, Features, Quota};
use virgbm::{Format, Modifier, Usage};
use virgbm_android_handle::SharedMetadata;
use virgbm_android_handle::allocate::AllocationError;
use virgbm_android_handle::device::Source;
use virgbm_android_handle::format::Rule;
use virgbm_android_handle::handle::{Claim, describe};
use virgbm_android_handle::metadata::{Constants, RESERVED_OFFSET};
use virgbm_android_handle::planes::{ChromaSiting, ComponentType, chroma_siting, plane_layouts};
use virgbm_android_handle::{
    Allocator, BadHandle, Descriptor, HalFormat, Handle, Imported, LockError, OptionValue, Rect, Refusal,
};

const CPU: u64 = 0x33;
const TEXTURE: u64 = 1 << 8;
const RENDER: u64 = 1 << 9;
const OVERLAY: u64 = 1 << 11;
const CLIENT_TARGET: u64 = 1 << 12;
const PROTECTED: u64 = 1 << 14;
const ENCODER: u64 = 1 << 16;
const CAMERA_OUTPUT: u64 = 1 << 17;
const DECODER: u64 = 1 << 22;
const FRONT_BUFFER: u64 = 1 << 32;

fn allocator() -> Allocator {
    Allocator::new(Device::open(Loopback::new().unwrap()).unwrap())
}

fn one(allocator: &Allocator, descriptor: &Descriptor) -> (Vec<OwnedFd>, Vec<c_int>) {
    let mut allocation = allocator.allocate(descriptor, 1).unwrap();
    allocation.handles.pop().unwrap().into_parts()
}

fn import((fds, ints): &(Vec<OwnedFd>, Vec<c_int>)) -> Result<(Imported, Handle), BadHandle> {
    let numbers: Vec<c_int> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    Imported::new(&Claim::from_parts(&numbers, ints)?, || Ok(Source::Files))
}

fn imported(handle: &(Vec<OwnedFd>, Vec<c_int>)) -> Imported {
    import(handle).unwrap().0
}

#[test]
fn every_format_that_can_be_made_is_written_here_and_read_there() {
    let allocator = allocator();
    for row in HalFormat::all() {
        let bytes = row.rule == Rule::Bytes;
        let descriptor = Descriptor::new(if bytes { 10_001 } else { 101 }, if bytes { 1 } else { 37 }, row.number, CPU);
        if let Rule::Nothing(why) = row.rule {
            let refusal = allocator.supports(&descriptor).unwrap_err();
            assert!(refusal.to_string().contains(why) && refusal.to_string().contains(row.name));
            continue;
        }
        let handle = one(&allocator, &descriptor);
        let (writer, reader) = (imported(&handle), imported(&handle));
        let description = writer.description();
        assert_eq!((description.width as i32, description.height as i32), (descriptor.width, descriptor.height), "{}", row.name);
        assert_eq!(description.layout.modifier, Modifier::LINEAR);
        let plane = &description.layout.planes[0];
        let (block, samples) = {
            let format = &description.layout.format.planes()[0];
            (u32::from(format.block_bytes), u32::from(format.block_width))
        };
        assert_eq!(description.pixel_stride * block, plane.stride_bytes * samples, "{}: whole pixels", row.name);
        let pattern: Vec<u8> = (0..description.layout.size_bytes).map(|at| (at * 7 / 3) as u8).collect();
        let to = writer.lock(0x30, Rect::default(), None).unwrap();
        // SAFETY: the lock gives the whole buffer.
        unsafe { to.copy_from(pattern.as_ptr(), pattern.len()) };
        assert!(writer.unlock().unwrap().is_none());
        let from = reader.lock(0x3, Rect::default(), None).unwrap();
        // SAFETY: the same.
        let seen = unsafe { std::slice::from_raw_parts(from, pattern.len()) };
        assert!(seen == pattern, "{}", row.name);
        reader.unlock().unwrap();
    }
}

fn format_of(allocator: &Allocator, hal: i32, usage: u64) -> Format {
    Descriptor::new(64, 64, hal, usage).resolve(allocator.device()).unwrap().request.format
}

#[test]
fn flexible_formats_are_resolved_by_usage() {
    let allocator = allocator();
    let by_usage = |usage| format_of(&allocator, HalFormat::IMPLEMENTATION_DEFINED, usage);
    assert_eq!(by_usage(CAMERA_OUTPUT | TEXTURE), Format::NV12);
    assert_eq!(by_usage(CAMERA_OUTPUT | ENCODER), Format::NV12);
    assert_eq!(by_usage(DECODER | TEXTURE | OVERLAY), Format::NV12);
    assert_eq!(by_usage(ENCODER), Format::NV12);
    assert_eq!(by_usage(ENCODER | RENDER), Format::XBGR8888, "GPUs draw RGB");
    assert_eq!(by_usage(TEXTURE | RENDER | OVERLAY), Format::XBGR8888);
    assert_eq!(format_of(&allocator, HalFormat::YCBCR_420_888, CPU), Format::NV12);
    assert_eq!(format_of(&allocator, HalFormat::YV12, CPU), Format::YVU420_ANDROID);
}

#[test]
fn what_the_screen_can_show_goes_first_where_there_is_a_choice() {
    // A device without contexts, as QEMU's virtio-gpu-pci is: it shows XRGB8888 alone.
    let config = DeviceConfig { features: Features::empty(), scanout: Some((640, 480)), ..DeviceConfig::default() };
    let options = LoopbackOptions { config, primary: true, ..LoopbackOptions::default() };
    let allocator = Allocator::new(Device::open(Loopback::with_options(options).unwrap()).unwrap());
    let by_usage = |usage| format_of(&allocator, HalFormat::IMPLEMENTATION_DEFINED, usage);
    assert_eq!(by_usage(TEXTURE | OVERLAY), Format::XRGB8888);
    assert_eq!(by_usage(RENDER | CLIENT_TARGET), Format::XRGB8888);
    assert_eq!(format_of(&allocator, HalFormat::RGBA_8888, RENDER | CLIENT_TARGET), Format::ABGR8888, "its composer converts it");
    assert_eq!(by_usage(TEXTURE), Format::XBGR8888);
}

#[test]
fn wishes_are_taken_where_the_host_has_them_and_the_rest_must_be() {
    let allocator = allocator();
    let usage =
        |hal, usage| Descriptor::new(64, 64, hal, usage).resolve(allocator.device()).map(|resolved| resolved.request.usage);
    assert!(usage(HalFormat::RGBA_8888, OVERLAY | TEXTURE).unwrap().contains(Usage::SCANOUT));
    assert_eq!(usage(HalFormat::YCBCR_420_888, OVERLAY | TEXTURE).unwrap(), Usage::TEXTURE, "no host shows YUV");
    assert_eq!(usage(HalFormat::YCBCR_420_888, ENCODER).unwrap(), Usage::VIDEO_ENCODER, "kept for encoders");
    assert!(usage(HalFormat::RGBA_8888, FRONT_BUFFER | RENDER).unwrap().contains(Usage::FRONT_RENDERING));
    assert!(usage(HalFormat::YCBCR_420_888, FRONT_BUFFER | TEXTURE).unwrap().contains(Usage::LINEAR));
    for (hal, bits, missing) in [
        (HalFormat::RGBA_8888, PROTECTED | OVERLAY, "PROTECTED"),
        (HalFormat::RAW10, CLIENT_TARGET, "SCANOUT"),
        (HalFormat::DEPTH_24, DECODER, "VIDEO_DECODER"),
        (HalFormat::RGBA_8888, CPU | 1 << 33, "0x200000000"),
    ] {
        let refusal = usage(hal, bits).unwrap_err();
        assert!(refusal.to_string().contains(missing), "{refusal}");
        assert_eq!(refusal.error(), AllocationError::Unsupported);
    }
}

#[test]
fn descriptors_that_contradict_themselves_are_refused() {
    let allocator = allocator();
    let good = Descriptor::new(64, 64, HalFormat::RGBA_8888, CPU);
    for bad in [
        Descriptor { width: 0, ..good.clone() },
        Descriptor { height: -1, ..good.clone() },
        Descriptor { layer_count: 0, ..good.clone() },
        Descriptor { reserved_bytes: -1, ..good.clone() },
        Descriptor { reserved_bytes: i64::MAX, ..good.clone() },
        Descriptor { format: HalFormat::BLOB, ..good.clone() },
    ] {
        assert_eq!(allocator.supports(&bad).unwrap_err().error(), AllocationError::BadDescriptor, "{bad:?}");
    }
    for count in [0, -1, 1025, i32::MAX] {
        assert!(matches!(allocator.allocate(&good, count), Err(Refusal::Count(_))));
    }
    let option = |name: &str, value| OptionValue { name: name.to_owned(), value };
    let with = |options| Descriptor { options, ..good.clone() };
    assert!(allocator.supports(&with(vec![option("android.hardware.graphics.common.Dataspace", 1 << 27)])).is_ok());
    let unknown =
        [option("android.hardware.graphics.common.Colour", 1), option("android.hardware.graphics.common.Dataspace", 1 << 40)];
    for unknown in unknown {
        let refusal = allocator.supports(&with(vec![unknown])).unwrap_err();
        assert_eq!(refusal.error(), AllocationError::Unsupported);
    }
}

#[test]
fn what_is_too_large_is_never_supported_and_what_is_used_up_is_not_there_now() {
    let outcomes = |allocator: &Allocator, width, height| {
        let descriptor = Descriptor::new(width, height, HalFormat::RGBA_8888, CPU);
        let said = allocator.supports(&descriptor).map_err(|refusal| refusal.error());
        (said, allocator.allocate(&descriptor, 1).map(drop).map_err(|refusal| refusal.error()))
    };
    let with_quota = |bytes| {
        let usual = Quota::default();
        let quota = Quota { context: Amount { bytes, ..usual.context }, device: Amount { bytes, ..usual.device }, ..usual };
        let config = DeviceConfig { quota, ..DeviceConfig::default() };
        Allocator::new(Device::open(Loopback::with_options(LoopbackOptions { config, ..Default::default() }).unwrap()).unwrap())
    };
    let never = (Err(AllocationError::Unsupported), Err(AllocationError::Unsupported));
    let small = with_quota(1 << 20);
    assert_eq!(outcomes(&small, 512, 520), never, "more than the quota");
    // With what the allocator itself needs.
    assert_eq!(outcomes(&small, 512, 512), (Ok(()), Err(AllocationError::NoResources)));
    assert_eq!(outcomes(&small, 256, 256), (Ok(()), Ok(())));
    assert_eq!(outcomes(&with_quota(1 << 40), 32_768, 32_768), never, "a plane of 4 GiB, for which a handle has no word");
}

#[test]
fn buffers_alike_cost_one_round_trip_and_have_ids_of_their_own() {
    let allocator = allocator();
    let before = allocator.device().round_trips();
    let descriptor = Descriptor::new(64, 64, HalFormat::RGBA_8888, CPU).with_name("swapchain");
    let allocation = allocator.allocate(&descriptor, 8).unwrap();
    assert_eq!(allocator.device().round_trips(), before + 1);
    let handles: Vec<_> = allocation.handles.into_iter().map(Handle::into_parts).collect();
    let buffers: Vec<_> = handles.iter().map(imported).collect();
    let ids: HashSet<u64> = buffers.iter().map(|buffer| buffer.description().id).collect();
    assert_eq!(ids.len(), 8);
    assert_eq!(buffers[0].description().name, "swapchain");
}

#[test]
fn layers_and_wide_blobs_lie_in_one_piece() {
    let allocator = allocator();
    let layered = Descriptor { layer_count: 6, ..Descriptor::new(33, 17, HalFormat::RGBA_8888, CPU) };
    let buffer = imported(&one(&allocator, &layered));
    assert_eq!(buffer.description().layout.layers, 6);
    assert!(buffer.description().allocation_bytes >= 6 * buffer.description().layout.layer_stride_bytes);

    let wide = Descriptor::new((1 << 24) + 5, 1, HalFormat::BLOB, CPU);
    let buffer = imported(&one(&allocator, &wide));
    let description = buffer.description();
    assert_eq!((description.width, description.height, description.pixel_stride), ((1 << 24) + 5, 1, (1 << 24) + 5));
    assert!(description.allocation_bytes >= u64::from(description.width));
    assert!(buffer.lock(CPU, Rect { left: 0, top: 0, right: (1 << 24) + 5, bottom: 1 }, None).is_ok());
}

#[test]
fn components_are_where_the_formats_say() {
    use ComponentType as C;
    let allocator = allocator();
    let of = |hal| {
        let layouts = plane_layouts(imported(&one(&allocator, &Descriptor::new(64, 64, hal, CPU))).description());
        let components = |plane: &virgbm_android_handle::planes::PlaneLayout| {
            plane.components.iter().map(|part| (part.kind, part.offset_bits, part.size_bits)).collect::<Vec<_>>()
        };
        layouts.iter().map(|plane| (plane.sample_increment_bits, components(plane))).collect::<Vec<_>>()
    };
    assert_eq!(of(HalFormat::RGBA_8888), [(32, vec![(C::R, 0, 8), (C::G, 8, 8), (C::B, 16, 8), (C::A, 24, 8)])]);
    assert_eq!(of(HalFormat::RGBX_8888), [(32, vec![(C::R, 0, 8), (C::G, 8, 8), (C::B, 16, 8)])]);
    assert_eq!(of(HalFormat::RGB_565), [(16, vec![(C::B, 0, 5), (C::G, 5, 6), (C::R, 11, 5)])]);
    assert_eq!(of(HalFormat::YCRCB_420_SP), [(8, vec![(C::Y, 0, 8)]), (16, vec![(C::Cr, 0, 8), (C::Cb, 8, 8)])]);
    assert_eq!(of(HalFormat::YCBCR_P010), [(16, vec![(C::Y, 6, 10)]), (32, vec![(C::Cb, 6, 10), (C::Cr, 22, 10)])]);
    assert_eq!(of(HalFormat::RAW10), [(0, vec![(C::Raw, 0, -1)])]);
    assert_eq!(of(HalFormat::RAW16), [(16, vec![(C::Raw, 0, 16)])]);
    assert_eq!(of(HalFormat::Y8), [(8, vec![(C::Y, 0, 8)])]);
}

#[test]
fn chroma_lies_where_cameras_and_decoders_put_it() {
    use ChromaSiting as S;
    let allocator = allocator();
    let siting = |hal, usage| chroma_siting(imported(&one(&allocator, &Descriptor::new(64, 64, hal, usage))).description());
    for hal in [HalFormat::YCBCR_420_888, HalFormat::YV12] {
        assert_eq!(siting(hal, CAMERA_OUTPUT | TEXTURE), S::Interstitial);
        assert_eq!(siting(hal, CAMERA_OUTPUT | ENCODER), S::Interstitial, "an encoder takes what the camera has made");
        assert_eq!(siting(hal, DECODER | TEXTURE), S::CositedHorizontal);
        assert_eq!(siting(hal, CPU), S::Unknown);
    }
    assert_eq!(siting(HalFormat::RGBA_8888, CAMERA_OUTPUT), S::None);
}

#[test]
fn locks_nest_and_refuse_what_is_not_theirs() {
    let allocator = allocator();
    let buffer = imported(&one(&allocator, &Descriptor::new(64, 64, HalFormat::RGBA_8888, CPU)));
    for usage in [0, TEXTURE, CPU | TEXTURE] {
        assert!(matches!(buffer.lock(usage, Rect::default(), None), Err(LockError::Usage(_))));
    }
    for (left, top, right, bottom) in
        [(0, 0, 128, 128), (-1, 0, 8, 8), (8, 8, 8, 8), (9, 0, 8, 8), (0, 0, i32::MAX, 1), (0, 0, 0, 8)]
    {
        assert!(matches!(buffer.lock(CPU, Rect { left, top, right, bottom }, None), Err(LockError::Region { .. })));
    }
    assert!(matches!(buffer.unlock(), Err(LockError::NotLocked)));
    assert!(matches!(buffer.flush(), Err(LockError::NotLocked)));
    let first = buffer.lock(CPU, Rect { left: 1, top: 1, right: 2, bottom: 2 }, None).unwrap();
    assert_eq!(buffer.lock(0x3, Rect::default(), None).unwrap(), first, "the buffer's first byte whatever the region");
    buffer.flush().unwrap();
    buffer.reread().unwrap();
    buffer.unlock().unwrap();
    buffer.unlock().unwrap();
    assert!(matches!(buffer.unlock(), Err(LockError::NotLocked)));
    let for_gpu = imported(&one(&allocator, &Descriptor::new(64, 64, HalFormat::RGBA_8888, TEXTURE)));
    assert!(matches!(for_gpu.lock(CPU, Rect::default(), None), Err(LockError::NotForCpu(_))));
}

/// A buffer of a device that this process imports too. Its maker keeps it, as the kernel would: a host in the process forgets what
/// nobody has.
fn on_device(device: &Device) -> (BufferObject, Imported) {
    let descriptor = Descriptor::new(64, 64, HalFormat::RGBA_8888, CPU);
    let buffer = device.create(&descriptor.resolve(device).unwrap().request).unwrap();
    let constants = Constants::new(7, (64, 64), 1, buffer.layout().layer_stride_bytes);
    let (_, metadata) = SharedMetadata::create(&constants).unwrap();
    let description = describe(&constants, *buffer.layout(), HalFormat::RGBA_8888, CPU, buffer.size_bytes());
    let handle = Handle::new(&description, vec![buffer.export().unwrap()], metadata, RESERVED_OFFSET).unwrap();
    let numbers = handle.numbers();
    let claim = Claim::from_parts(numbers.fds(), numbers.ints()).unwrap();
    let (imported, _) = Imported::new(&claim, || Ok(Source::Device(device.clone()))).unwrap();
    (buffer, imported)
}

#[test]
fn locks_of_an_imported_buffer_enter_the_kernel_once() {
    let node = Arc::new(Counted::new(Loopback::new().unwrap()));
    let device = Device::open(node.clone()).unwrap();
    let before = (device.round_trips(), node.calls());
    let (_buffer, imported) = on_device(&device);
    imported.lock(CPU, Rect::default(), None).unwrap();
    imported.unlock().unwrap();
    let first = node.calls();
    assert_eq!(device.round_trips(), before.0 + 1, "nobody asks the host but who has made it");
    assert!((first - before.1).of(Ioctl::PrimeFdToHandle) == 1 && (first - before.1).of(Ioctl::Execbuffer) == 0);
    for _ in 0..100 {
        imported.lock(CPU, Rect::default(), None).unwrap();
        imported.unlock().unwrap();
    }
    assert_eq!((node.calls() - first).to_string(), "none");
}

#[test]
fn what_is_sent_by_a_transfer_is_waited_for_whatever_the_backend() {
    // A device without contexts, whose render node makes classic resources.
    let config = DeviceConfig { features: Features::empty(), ..DeviceConfig::default() };
    let options = LoopbackOptions { config, ..LoopbackOptions::default() };
    let node = Arc::new(Counted::new(Loopback::with_options(options).unwrap()));
    let device = Device::open(node.clone()).unwrap();
    let (buffer, imported) = on_device(&device);
    assert!(buffer.is_copied());
    for (usage, waits) in [(0x30, 1), (0x3, 0)] {
        imported.lock(usage, Rect::default(), None).unwrap();
        let before = node.calls();
        let fence = imported.unlock().unwrap();
        let sent = (node.calls() - before).of(Ioctl::TransferToHost);
        let waited = u64::from(fence.is_some()) + (node.calls() - before).of(Ioctl::Wait);
        assert_eq!((sent, waited), (waits, waits), "{usage:#x}");
    }
}

/// Where each field of `cros_gralloc_handle` is, in bytes from its start.
const HEADER_BYTES: usize = 12;

#[test]
fn fields_that_do_not_hold_are_refused() {
    let allocator = allocator();
    let (fds, ints) = one(&allocator, &Descriptor::new(64, 64, HalFormat::YCBCR_420_888, CPU));
    let changed = |offset: usize, value: u32| {
        let mut ints = ints.clone();
        ints[(offset - HEADER_BYTES) / 4 - fds.len()] = value as i32;
        let numbers: Vec<c_int> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        Imported::new(&Claim::from_parts(&numbers, &ints)?, || Ok(Source::Files)).map(drop)
    };
    assert!(changed(120, 64).is_ok(), "nothing is changed");
    for (offset, value, what) in [
        (32, 0, "a stride of 0"),
        (36, 8, "a stride of chroma that is too short"),
        (48, 1 << 30, "a plane outside"),
        (52, 0, "planes on top of each other"),
        (68, u32::MAX, "a plane larger than all"),
        (80, 7, "another id"),
        (84, 0, "no width"),
        (84, 65, "another width"),
        (88, u32::MAX, "another height"),
        (92, 0x3432_5258, "a format with other planes"),
        (92, 7, "no format"),
        (116, 0, "no magic"),
        (120, 1, "another stride in pixels"),
        (124, 0x7fff, "no format of the HAL"),
        (124, 1, "another format of the HAL"),
        (132, 2, "an unknown usage"),
        (136, 0, "no planes"),
        (136, 1, "fewer planes than descriptors"),
        (136, 4, "more planes than descriptors"),
        (136, u32::MAX, "planes without end"),
        (140, 64, "metadata that is too small"),
        (140, u32::MAX, "metadata that is too large"),
        (148, 1, "a buffer smaller than its planes"),
        (148, 1 << 30, "a buffer larger than it is"),
        (152, 1, "a buffer of 4 GiB"),
    ] {
        assert!(changed(offset, value).is_err(), "{what}");
    }
}

#[test]
fn no_device_is_opened_before_all_else_of_a_handle_holds() {
    let (fds, ints) = one(&allocator(), &Descriptor::new(64, 64, HalFormat::YCBCR_420_888, CPU));
    let (numbers, opened): (Vec<c_int>, _) = (fds.iter().map(AsRawFd::as_raw_fd).collect(), Cell::new(0));
    let source = || {
        opened.set(opened.get() + 1);
        Ok(Source::Files)
    };
    let import = |ints: &[c_int]| Imported::new(&Claim::from_parts(&numbers, ints)?, source).map(drop);
    assert!(import(&ints).is_ok() && opened.take() == 1);
    for at in 0..ints.len() {
        let mut changed = ints.clone();
        changed[at] = !changed[at];
        let outcome = import(&changed);
        assert_eq!(opened.take(), u32::from(outcome.is_ok()), "{at}: {outcome:?}");
    }
}

#[test]
fn words_that_say_nothing_are_not_handed_on() {
    let allocator = allocator();
    let sent = one(&allocator, &Descriptor::new(64, 64, HalFormat::YCBCR_420_888, CPU));
    let (_, kept) = import(&sent).unwrap();
    let good = kept.into_parts().1;
    assert_eq!(good, sent.1);
    // Of two planes: descriptors, strides, offsets and sizes of others, the tiling, and the flags that follow from the usage.
    for offset in [24, 28, 40, 44, 56, 60, 72, 76, 96, 108, 112] {
        let mut changed = (sent.0.iter().map(|fd| fd.try_clone().unwrap()).collect(), sent.1.clone());
        changed.1[(offset - HEADER_BYTES) / 4 - sent.0.len()] = 0x5a5a_5a5a;
        assert_eq!(import(&changed).unwrap().1.into_parts().1, good, "{offset}");
    }
}

proptest! {
    #[test]
    fn whatever_a_handle_says_its_planes_are_inside_its_buffer(
        changes in prop::collection::vec((0usize..33, prop_oneof![0u32..64, any::<u32>(), (0u32..32).prop_map(|bit| 1 << bit)]), 1..4),
    ) {
        static HANDLE: OnceLock<(Vec<OwnedFd>, Vec<c_int>)> = OnceLock::new();
        let (fds, ints) = HANDLE.get_or_init(|| one(&allocator(), &Descriptor::new(64, 64, HalFormat::YCBCR_420_888, CPU)));
        let mut ints = ints.clone();
        for (index, value) in changes {
            ints[index] = value as c_int;
        }
        let numbers: Vec<c_int> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        if let Ok(checked) = Claim::from_parts(&numbers, &ints).and_then(|claim| claim.check()) {
            let layout = checked.description.layout;
            let size = rustix::fs::seek(&fds[0], rustix::fs::SeekFrom::End(0)).unwrap();
            prop_assert!(checked.description.allocation_bytes <= size);
            prop_assert!(layout.planes.iter().all(|plane| plane.offset_bytes + plane.size_bytes <= size), "{layout:?}");
        }
    }
}

#[test]
fn descriptors_that_do_not_hold_are_refused() {
    let allocator = allocator();
    let (fds, ints) = one(&allocator, &Descriptor::new(64, 64, HalFormat::RGBA_8888, CPU));
    let (other, _) = one(&allocator, &Descriptor::new(64, 64, HalFormat::YCBCR_420_888, CPU));
    let plain = memfd_create(c"plain", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&plain, 1 << 20).unwrap();
    let with = |buffer: c_int, metadata: c_int| {
        Imported::new(&Claim::from_parts(&[buffer, metadata], &ints)?, || Ok(Source::Files)).map(drop)
    };
    let (buffer, metadata) = (fds[0].as_raw_fd(), fds[1].as_raw_fd());
    assert!(with(buffer, metadata).is_ok());
    assert!(matches!(with(-1, metadata), Err(BadHandle::Closed(-1))));
    assert!(matches!(with(1 << 20, metadata), Err(BadHandle::Closed(_))));
    let strange = Claim::from_parts(&[plain.as_raw_fd(), metadata], &ints).unwrap();
    let on_device = Imported::new(&strange, || Ok(Source::Device(allocator.device().clone())));
    assert!(matches!(on_device, Err(BadHandle::NotOurs(_))), "a file that no device made");
    assert!(matches!(with(metadata, buffer), Err(BadHandle::Metadata(_))));
    assert!(matches!(with(buffer, plain.as_raw_fd()), Err(BadHandle::Metadata(_))), "metadata that can shrink");
    assert!(matches!(with(buffer, other[2].as_raw_fd()), Err(BadHandle::Id { .. })), "the metadata of another buffer");
    for count in [0, 1, 3, 5, 36] {
        let numbers = vec![buffer; count];
        let ints = vec![0; 36 - count];
        assert!(Claim::from_parts(&numbers, &ints).is_err(), "{count} descriptors");
    }
    assert!(Claim::from_parts(&[buffer; 1000], &[]).is_err());
    // Planes in two buffers.
    let (fds, ints) = one(&allocator, &Descriptor::new(64, 64, HalFormat::YCBCR_420_888, CPU));
    let numbers = [fds[0].as_raw_fd(), other[1].as_raw_fd(), fds[2].as_raw_fd()];
    let claim = Claim::from_parts(&numbers, &ints).unwrap();
    assert!(matches!(claim.check(), Err(BadHandle::OtherBuffer(1))));
    assert!(fds[0].as_fd().try_clone_to_owned().is_ok());
}
