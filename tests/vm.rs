//! In a guest, on the Linux driver: what `tests/rig/boot` runs. `VIRGBM_NODE` names the node, `VIRGBM_CARD` the same as a card,
//! `VIRGBM_VGEM` a node of vgem.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use drm::control::Device as _;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Instant;
use virgbm::guest::node::{Counted, Ioctl, drm::DrmNode, drm::OpenError};
use virgbm::guest::{Access, BufferObject, Device, Error};
use virgbm::wire::alloc::Status;
use virgbm::{BufferRequest, Format, Usage};

fn node_path() -> String {
    std::env::var("VIRGBM_NODE").expect("VIRGBM_NODE names the node: run this by tests/rig/boot")
}

fn open() -> (Arc<Counted<DrmNode>>, Device) {
    let node = Arc::new(Counted::new(DrmNode::open(node_path()).unwrap()));
    (node.clone(), Device::open(node).unwrap())
}

fn request(format: Format, width: u32, height: u32) -> BufferRequest {
    BufferRequest::new(format, width, height, Usage::CPU_READ_RARELY | Usage::CPU_WRITE_RARELY)
}

/// What a byte of a buffer is filled with.
fn byte(plane: usize, row: u64, at: u64) -> u8 {
    (at * 7 + row * 13 + plane as u64 * 101 + 1) as u8
}

fn fill(buffer: &BufferObject) {
    let mapping = buffer.map(buffer.layout().whole(), Access::WRITE).unwrap();
    for plane in 0..buffer.layout().planes.len() {
        let rows = mapping.plane(plane).unwrap();
        for row in 0..rows.rows {
            let bytes: Vec<u8> = (0..rows.row_bytes).map(|at| byte(plane, row, at)).collect();
            mapping.write_row(plane, row, &bytes).unwrap();
        }
    }
}

fn check(buffer: &BufferObject) {
    let mapping = buffer.map(buffer.layout().whole(), Access::READ).unwrap();
    for plane in 0..buffer.layout().planes.len() {
        let rows = mapping.plane(plane).unwrap();
        for row in 0..rows.rows {
            let mut bytes = vec![0; rows.row_bytes as usize];
            mapping.read_row(plane, row, &mut bytes).unwrap();
            let right = (0..).zip(&bytes).all(|(at, found)| *found == byte(plane, row, at));
            assert!(right, "{buffer:?} plane {plane} row {row}");
        }
    }
}

#[test]
fn every_format_is_filled_and_found_again_through_another_file() {
    let ((_, device), (_, other)) = (open(), open());
    for &format in Format::all().iter().filter(|format| !format.planes().is_empty()) {
        let buffer = device.create(&request(format, 129, 67)).unwrap();
        fill(&buffer);
        let imported = other.import(buffer.export().unwrap().as_fd()).unwrap();
        assert_eq!(imported.layout(), buffer.layout(), "the host describes it");
        check(&imported);
    }
}

/// A buffer of ours as the drm crate wants it for a framebuffer.
struct Shown<'a>(&'a BufferObject);

impl drm::buffer::Buffer for Shown<'_> {
    fn size(&self) -> (u32, u32) {
        (self.0.layout().width, self.0.layout().height)
    }
    fn format(&self) -> drm::buffer::DrmFourcc {
        drm::buffer::DrmFourcc::Xrgb8888
    }
    fn pitch(&self) -> u32 {
        self.0.layout().planes[0].stride_bytes
    }
    fn handle(&self) -> drm::buffer::Handle {
        drm::control::from_u32(self.0.bo_handle()).unwrap()
    }
}

/// Alone in a run of its own: the host takes a screenshot meanwhile, and compares it with the file.
#[test]
fn a_buffer_is_held_on_the_screen() {
    let node = Arc::new(DrmNode::open(std::env::var("VIRGBM_CARD").unwrap()).unwrap());
    let device = Device::open(node.clone()).unwrap();
    let resources = node.resource_handles().unwrap();
    let connector = node.get_connector(resources.connectors()[0], true).unwrap();
    let mode = connector.modes()[0];
    let (width, height) = (u32::from(mode.size().0), u32::from(mode.size().1));
    let asked = BufferRequest::new(Format::XRGB8888, width, height, Usage::SCANOUT | Usage::CPU_WRITE_RARELY);
    let buffer = device.create(&asked.with_name("screen")).unwrap();
    let mapping = buffer.map(buffer.layout().whole(), Access::WRITE).unwrap();
    let mut expected = Vec::new();
    for y in 0..height {
        let pixels: Vec<[u8; 3]> = (0..width).map(|x| [x as u8, y as u8, (x / 7 + y / 5) as u8]).collect();
        let row: Vec<u8> = pixels.iter().flat_map(|[red, green, blue]| [*blue, *green, *red, 0]).collect();
        mapping.write_row(0, y.into(), &row).unwrap();
        expected.extend(pixels.iter().flat_map(|[red, green, blue]| [*red, *green, *blue, 255]));
    }
    let framebuffer = node.add_framebuffer(&Shown(&buffer), 24, 32).unwrap();
    node.set_crtc(resources.crtcs()[0], Some(framebuffer), (0, 0), &[connector.handle()], Some(mode)).unwrap();
    std::fs::write("/tmp/screen", expected).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(4));
    node.destroy_framebuffer(framebuffer).unwrap();
}

/// Alone in a run of its own: the host looks at the buffer meanwhile, and compares it with the file.
#[test]
fn a_buffer_is_held_for_the_host() {
    let (_, device) = open();
    let buffer = device.create(&request(Format::NV12, 129, 67).with_name("held")).unwrap();
    fill(&buffer);
    check(&buffer);
    let mut bytes = vec![0; buffer.size_bytes() as usize];
    let mapping = buffer.map(buffer.layout().whole(), Access::READ).unwrap();
    for plane in 0..2 {
        let rows = mapping.plane(plane).unwrap();
        for row in 0..rows.rows {
            let at = (rows.offset_bytes + row * rows.stride_bytes) as usize;
            let expected = (0..rows.row_bytes).map(|at| byte(plane, row, at));
            bytes.splice(at..at + rows.row_bytes as usize, expected);
        }
    }
    std::fs::write("/tmp/held", bytes).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(4));
}

#[test]
fn a_linear_allocation_is_one_ioctl_and_one_wait() {
    let (node, device) = open();
    let asked = BufferRequest::new(Format::XRGB8888, 1920, 1080, Usage::RENDER | Usage::SCANOUT);
    drop(device.create(&asked).unwrap());
    let mut lone = 0;
    for _ in 0..100 {
        let (calls, round_trips) = (node.calls(), device.round_trips());
        drop(device.create(&asked).unwrap());
        let calls = node.calls() - calls;
        assert_eq!((calls.of(Ioctl::ResourceCreateBlob), device.round_trips() - round_trips), (1, 1), "{calls}");
        lone += u32::from(calls.total() == 2);
    }
    println!("of 100 allocations {lone} were told by the slot alone, with RESOURCE_CREATE_BLOB and GEM_CLOSE as their calls");
    assert!(lone > 0, "the slot is to be seen before the kernel is asked to wait");
}

#[test]
fn a_swapchain_is_one_submission() {
    let (node, device) = open();
    let calls = node.calls();
    let buffers = device.create_many(&BufferRequest::new(Format::XRGB8888, 1920, 1080, Usage::RENDER), 3).unwrap();
    let calls = node.calls() - calls;
    assert_eq!((buffers.len(), calls.of(Ioctl::ResourceCreateBlob)), (3, 3));
    println!("a swapchain of three: {calls}");
}

#[test]
fn mapping_again_costs_no_call() {
    let (node, device) = open();
    let buffer = device.create(&request(Format::XRGB8888, 640, 480)).unwrap();
    fill(&buffer);
    let calls = node.calls();
    check(&buffer);
    assert_eq!((node.calls() - calls).total(), 0);
}

#[test]
fn fresh_memory_is_zero_every_time() {
    let (_, device) = open();
    for round in 0..20_000 {
        let buffer = device.create(&request(Format::R8, 4096, 1)).unwrap();
        let mapping = buffer.map(buffer.layout().whole(), Access::READ | Access::WRITE).unwrap();
        let mut row = [1; 4096];
        mapping.read_row(0, 0, &mut row).unwrap();
        assert_eq!(row, [0; 4096], "round {round}");
        mapping.write_row(0, 0, &[0xee; 4096]).unwrap();
    }
}

#[test]
fn hundreds_of_mapped_buffers_are_alive_at_once() {
    let (_, device) = open();
    let buffers: Vec<_> = (1..=600).map(|width| device.create(&request(Format::R8, width, 3)).unwrap()).collect();
    buffers.iter().for_each(fill);
    buffers.iter().for_each(check);
}

#[test]
fn a_mapping_does_not_make_an_allocation_dearer() {
    let (node, device) = open();
    let create = |usage| {
        let asked = BufferRequest::new(Format::XRGB8888, 1920, 1080, usage);
        let mut times: Vec<_> = (0..200)
            .map(|_| {
                let (start, calls) = (Instant::now(), node.calls());
                let buffer = device.create(&asked).unwrap();
                assert_eq!((node.calls() - calls).of(Ioctl::ResourceCreateBlob), 1);
                drop(buffer);
                start.elapsed()
            })
            .collect();
        times.sort();
        times[times.len() / 2]
    };
    let (unmapped, mapped) = (create(Usage::RENDER), create(Usage::RENDER | Usage::CPU_WRITE_RARELY));
    println!("1920x1080, created and destroyed, medians of 200: {unmapped:?} without and {mapped:?} with MAPPABLE");
}

#[test]
fn a_self_import_has_the_same_handle_and_does_not_close_it() {
    let (_, device) = open();
    let buffer = device.create(&request(Format::R8, 64, 64)).unwrap();
    let twin = device.import(buffer.export().unwrap().as_fd()).unwrap();
    assert_eq!(twin.bo_handle(), buffer.bo_handle());
    drop(twin);
    fill(&buffer);
    check(&buffer);
}

/// A node of another driver, for what the drm crate can do with it.
struct Other(File);

impl AsFd for Other {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
impl drm::Device for Other {}
impl drm::control::Device for Other {}

#[test]
fn a_buffer_is_exported_into_vgem() {
    let path = std::env::var("VIRGBM_VGEM").unwrap();
    let vgem = Other(OpenOptions::new().read(true).write(true).open(path).unwrap());
    let (_, device) = open();
    let buffer = device.create(&request(Format::XRGB8888, 64, 64)).unwrap();
    let handle = vgem.prime_fd_to_buffer(buffer.export().unwrap().as_fd()).unwrap();
    vgem.close_buffer(handle).unwrap();
}

#[test]
fn threads_share_a_device() {
    let (_, device) = open();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let device = &device;
            scope.spawn(move || {
                for round in 0..20 {
                    let buffer = device.create(&request(Format::NV12, 33 + thread, 17 + round)).unwrap();
                    fill(&buffer);
                    check(&buffer);
                }
            });
        }
    });
}

#[test]
fn thousands_of_buffers_leave_no_descriptor() {
    let (_, device) = open();
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let asked = BufferRequest::new(Format::XRGB8888, 1920, 1080, Usage::RENDER);
    drop(device.create(&asked).unwrap());
    let before = descriptors();
    for _ in 0..10_000 {
        device.create(&asked).unwrap();
    }
    assert_eq!(descriptors(), before);
}

#[test]
fn refusals_of_the_host_come_back_typed() {
    let (_, device) = open();
    let error = device.create(&request(Format::XRGB8888, 65_535, 65_535)).unwrap_err();
    assert!(matches!(error, Error::Node(_) | Error::Refused { status: Status::Quota, .. }), "{error}");
    let render = BufferRequest::new(Format::XRGB8888, 65_535, 65_535, Usage::RENDER);
    let error = device.create(&render).unwrap_err();
    assert!(matches!(error, Error::Refused { status: Status::Quota, .. }), "{error}");
    device.create(&request(Format::R8, 64, 64)).unwrap();
}

#[test]
fn a_window_that_is_full_gives_an_error_and_the_device_goes_on() {
    let (_, device) = open();
    let large = request(Format::XRGB8888, 4096, 2048);
    let mut kept = Vec::new();
    let error = loop {
        match device.create(&large) {
            Ok(buffer) => kept.push(buffer),
            Err(error) => break error,
        }
        assert!(kept.len() < 100, "the window has no end");
    };
    assert!(matches!(error, Error::Node(_)), "{error}");
    // The kernel gives a range of the window back when the host has answered: wait for that.
    kept.clear();
    let again = (0..200).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        device.create(&large).ok()
    });
    fill(&again.expect("the window has room again"));
}

#[test]
fn nodes_of_other_drivers_and_other_files_are_refused() {
    let vgem = DrmNode::open(std::env::var("VIRGBM_VGEM").unwrap()).unwrap_err();
    assert!(matches!(vgem, OpenError::OtherDriver { .. }), "{vgem}");
    assert!(matches!(DrmNode::open("/dev/null"), Err(OpenError::NotDrm { .. })));
    let (_, device) = open();
    assert!(matches!(device.import(File::open("/dev/null").unwrap().as_fd()), Err(Error::Node(_))));
}
