//! The whole way of a buffer, guest library to host module, with the host inline and behind a thread.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;
use virgbm::guest::node::loopback::{Loopback, LoopbackOptions};
use virgbm::guest::node::{Counted, Ioctl};
use virgbm::guest::{Access, BufferObject, Device, Error};
use virgbm::layout::Region;
use virgbm::wire::alloc::{Backing, Status};
use virgbm::{BufferRequest, Format, Layout, Modifier, RequestError, Unsupported, Usage, host};

type Node = Arc<Counted<Loopback>>;

struct Machine {
    node: Node,
    device: Device,
}

impl Machine {
    fn new(options: LoopbackOptions) -> Self {
        let node = Arc::new(Counted::new(Loopback::with_options(options).unwrap()));
        let device = Device::open(node.clone()).unwrap();
        Self { node, device }
    }

    fn host(&self) -> &host::Device {
        self.node.node().host()
    }
}

/// The same machine with the host inline, and with it behind a thread that takes its time.
fn machines() -> [Machine; 2] {
    let thread = Some(Duration::from_micros(200));
    [Machine::new(LoopbackOptions::default()), Machine::new(LoopbackOptions { thread, ..LoopbackOptions::default() })]
}

fn request(format: Format, width: u32, height: u32) -> BufferRequest {
    BufferRequest::new(format, width, height, Usage::TEXTURE | Usage::CPU_READ_RARELY | Usage::CPU_WRITE_RARELY)
}

/// Fills every row of every plane with bytes that tell where they are, and gives the whole buffer as it must be.
fn fill(buffer: &BufferObject) -> Vec<u8> {
    let layout = *buffer.layout();
    let mapping = buffer.map(layout.whole(), Access::READ | Access::WRITE).unwrap();
    let mut expected = vec![0; layout.size_bytes as usize];
    for plane in 0..layout.planes.len() {
        let rows = mapping.plane(plane).unwrap();
        for row in 0..rows.rows {
            let bytes: Vec<u8> = (0..rows.row_bytes).map(|at| (at * 7 + row * 13 + plane as u64 * 101 + 1) as u8).collect();
            mapping.write_row(plane, row, &bytes).unwrap();
            let at = (rows.offset_bytes + row * rows.stride_bytes) as usize;
            expected[at..at + bytes.len()].copy_from_slice(&bytes);
        }
    }
    expected
}

fn seen_by_host(machine: &Machine, buffer: &BufferObject) -> Vec<u8> {
    let mut seen = vec![0xaa; buffer.layout().size_bytes as usize];
    machine.host().read_resource(buffer.resource_id(), 0, &mut seen).unwrap();
    seen
}

#[test]
fn every_format_is_seen_by_the_host_byte_for_byte() {
    for machine in machines() {
        for &format in Format::all().iter().filter(|format| !format.planes().is_empty()) {
            let usage = if machine.device.supports(format, Usage::TEXTURE).is_ok() { Usage::TEXTURE } else { Usage::CAMERA_READ };
            let request = BufferRequest { usage: usage | Usage::CPU, ..request(format, 129, 67) };
            let buffer = machine.device.create(&request).unwrap();
            let expected = fill(&buffer);
            assert_eq!(seen_by_host(&machine, &buffer), expected, "{format}");
        }
    }
}

#[test]
fn an_allocation_is_one_ioctl_and_one_wait() {
    let machine = Machine::new(LoopbackOptions::default());
    for usage in [Usage::RENDER | Usage::SCANOUT, Usage::RENDER | Usage::CPU_WRITE_OFTEN] {
        let (calls, round_trips) = (machine.node.calls(), machine.device.round_trips());
        let buffer = machine.device.create(&BufferRequest::new(Format::XRGB8888, 1920, 1080, usage)).unwrap();
        let calls = machine.node.calls() - calls;
        assert_eq!((calls.total(), calls.of(Ioctl::ResourceCreateBlob)), (1, 1), "{calls}");
        assert_eq!(machine.device.round_trips() - round_trips, 1);
        let calls = machine.node.calls();
        drop(buffer);
        assert_eq!((machine.node.calls() - calls).to_string(), "1 GEM_CLOSE");
    }
}

#[test]
fn a_swapchain_is_one_submission_and_one_wait() {
    let machine = Machine::new(LoopbackOptions::default());
    let (calls, round_trips, commands) = (machine.node.calls(), machine.device.round_trips(), machine.host().stats().commands);
    let buffers = machine.device.create_many(&BufferRequest::new(Format::XRGB8888, 640, 480, Usage::RENDER), 3).unwrap();
    let calls = machine.node.calls() - calls;
    assert_eq!((calls.total(), calls.of(Ioctl::ResourceCreateBlob)), (3, 3), "{calls}");
    assert_eq!(machine.device.round_trips() - round_trips, 1);
    // One SUBMIT_3D, and for each buffer RESOURCE_CREATE_BLOB and CTX_ATTACH_RESOURCE.
    assert_eq!(machine.host().stats().commands - commands, 1 + 3 * 2);
    let ids: std::collections::HashSet<_> = buffers.iter().map(BufferObject::resource_id).collect();
    assert_eq!(ids.len(), 3);
}

#[test]
fn more_buffers_than_reply_slots_are_made_in_batches() {
    let machine = Machine::new(LoopbackOptions::default());
    let buffers = machine.device.create_many(&BufferRequest::new(Format::R8, 64, 64, Usage::TEXTURE), 100).unwrap();
    assert_eq!((buffers.len(), machine.host().stats().objects), (100, 0));
    for count in [0, 1025] {
        let refused = machine.device.create_many(&request(Format::R8, 1, 1), count);
        assert!(matches!(refused, Err(Error::Count(found)) if found == count));
    }
}

#[test]
fn mapping_a_mapped_buffer_costs_no_call() {
    let machine = Machine::new(LoopbackOptions::default());
    let buffer = machine.device.create(&request(Format::XRGB8888, 64, 64)).unwrap();
    let calls = machine.node.calls();
    drop(buffer.map(buffer.layout().whole(), Access::WRITE).unwrap());
    assert_eq!((machine.node.calls() - calls).to_string(), "1 MAP, 1 mmap");
    let calls = machine.node.calls();
    let nested = [Access::READ, Access::WRITE].map(|access| buffer.map(buffer.layout().whole(), access).unwrap());
    drop(nested);
    assert_eq!((machine.node.calls() - calls).total(), 0);
}

#[test]
fn waiting_for_a_buffer_costs_one_call() {
    let machine = Machine::new(LoopbackOptions::default());
    let buffer = machine.device.create(&request(Format::R8, 64, 64)).unwrap();
    let calls = machine.node.calls();
    buffer.wait().unwrap();
    assert_eq!((machine.node.calls() - calls).to_string(), "1 WAIT");
}

#[test]
fn what_is_supported_is_known_without_asking() {
    let machine = Machine::new(LoopbackOptions::default());
    let (calls, round_trips) = (machine.node.calls(), machine.device.round_trips());
    assert!(machine.device.supports(Format::NV12, Usage::VIDEO_DECODER).is_ok());
    let refused = machine.device.supports(Format::NV12, Usage::SCANOUT).unwrap_err();
    assert!(matches!(refused, Unsupported::Usage { missing: Usage::SCANOUT, .. }));
    assert_eq!(machine.device.modifiers(Format::NV12, Usage::TEXTURE), [Modifier::LINEAR]);
    assert_eq!(machine.device.plane_count(Format::NV12, Modifier::LINEAR), Some(2));
    assert_eq!(machine.device.plane_count(Format::NV12, Modifier::new(7)), None);
    let layout = machine.device.layout(&request(Format::P010, 33, 33)).unwrap();
    assert_eq!(machine.device.round_trips(), round_trips);
    assert_eq!((machine.node.calls() - calls).total(), 0);
    assert_eq!(machine.device.create(&request(Format::P010, 33, 33)).unwrap().layout(), &layout);
}

#[test]
fn a_buffer_goes_to_another_device_of_the_host_with_its_layout() {
    for machine in machines() {
        let other = Device::open(machine.node.node().open_again()).unwrap();
        let buffer = machine.device.create(&request(Format::NV12, 65, 33).with_name("shared")).unwrap();
        let expected = fill(&buffer);
        let fd = buffer.export().unwrap();
        let imported = other.import(fd.as_fd()).unwrap();
        assert_eq!((imported.layout(), imported.made_of()), (buffer.layout(), Some(Backing::Memory)));
        assert_eq!(imported.resource_id(), buffer.resource_id());
        drop(buffer);
        let mapping = imported.map(imported.layout().whole(), Access::READ).unwrap();
        let mut row = [0; 66];
        mapping.read_row(1, 16, &mut row).unwrap();
        let at = mapping.plane(1).unwrap();
        let at = (at.offset_bytes + 16 * at.stride_bytes) as usize;
        assert_eq!(row[..], expected[at..at + 66]);
        let with_layout = other.import_with_layout(fd.as_fd(), imported.layout()).unwrap();
        assert_eq!(with_layout.bo_handle(), imported.bo_handle());
    }
}

#[test]
fn an_import_twice_does_not_close_the_handle_under_its_twin() {
    let machine = Machine::new(LoopbackOptions::default());
    let buffer = machine.device.create(&request(Format::R8, 64, 64)).unwrap();
    let fd = buffer.export().unwrap();
    let twin = machine.device.import(fd.as_fd()).unwrap();
    assert_eq!(twin.bo_handle(), buffer.bo_handle());
    drop(twin);
    fill(&buffer);
    assert_eq!(machine.host().stats().resources, 2, "the buffer and the reply ring");
}

#[test]
fn imports_of_strangers_and_of_wrong_layouts_are_refused() {
    let machine = Machine::new(LoopbackOptions::default());
    let file = tempfile::tempfile().unwrap();
    assert!(matches!(machine.device.import(file.as_fd()), Err(Error::Node(_))));
    let buffer = machine.device.create(&request(Format::R8, 64, 64)).unwrap();
    let large = machine.device.layout(&request(Format::R8, 4096, 4096)).unwrap();
    let fd = buffer.export().unwrap();
    assert!(matches!(machine.device.import_with_layout(fd.as_fd(), &large), Err(Error::TooSmall { .. })));
    let broken = Layout { size_bytes: 1, ..*buffer.layout() };
    assert!(matches!(machine.device.import_with_layout(fd.as_fd(), &broken), Err(Error::Layout(_))));
    assert_eq!(machine.host().stats().resources, 2);
}

#[test]
fn a_region_maps_only_its_own_rows() {
    let machine = Machine::new(LoopbackOptions::default());
    let buffer = machine.device.create(&request(Format::XRGB8888, 64, 64)).unwrap();
    let region = Region { x: 3, y: 5, width: 4, height: 2 };
    let mapping = buffer.map(region, Access::WRITE).unwrap();
    mapping.write_row(0, 1, &[7; 16]).unwrap();
    assert!(matches!(mapping.write_row(0, 2, &[7; 16]), Err(Error::Range { .. })));
    assert!(matches!(mapping.write_row(0, 0, &[7; 17]), Err(Error::Range { .. })));
    assert!(matches!(mapping.write_row(1, 0, &[7; 1]), Err(Error::Range { .. })));
    assert!(matches!(mapping.read_row(0, 0, &mut [0; 16]), Err(Error::Access("reading"))));
    let seen = seen_by_host(&machine, &buffer);
    let written: Vec<_> = (0..seen.len()).filter(|at| seen[*at] != 0).collect();
    assert_eq!(written, (6 * 256 + 12..6 * 256 + 28).collect::<Vec<_>>());
    let outside = Region { x: 61, ..region };
    assert!(matches!(buffer.map(outside, Access::WRITE), Err(Error::Region { .. })));
}

#[test]
fn a_buffer_that_the_cpu_was_not_to_touch_is_not_mapped() {
    let machine = Machine::new(LoopbackOptions::default());
    let buffer = machine.device.create(&BufferRequest::new(Format::R8, 64, 64, Usage::TEXTURE)).unwrap();
    assert!(matches!(buffer.map(buffer.layout().whole(), Access::READ), Err(Error::NotMappable)));
    assert_eq!(machine.host().stats().mappings, 0);
}

#[test]
fn names_reach_the_hosts_list() {
    let machine = Machine::new(LoopbackOptions::default());
    let long = "ü".repeat(40);
    let buffers = ["front", "", &long].map(|name| machine.device.create(&request(Format::R8, 4, 4).with_name(name)).unwrap());
    let names = buffers
        .each_ref()
        .map(|buffer| machine.host().resources().into_iter().find(|resource| resource.id == buffer.resource_id()).unwrap().name);
    assert_eq!(names, ["front".to_owned(), String::new(), "ü".repeat(32)]);
}

#[test]
fn threads_share_a_device_and_fill_buffers_of_their_own() {
    for machine in machines() {
        std::thread::scope(|scope| {
            for thread in 0..4u32 {
                let machine = &machine;
                scope.spawn(move || {
                    for round in 0..25 {
                        let buffers = machine.device.create_many(&request(Format::NV12, 33 + thread, 17 + round), 3).unwrap();
                        for buffer in &buffers {
                            let expected = fill(buffer);
                            assert_eq!(seen_by_host(machine, buffer), expected);
                        }
                    }
                });
            }
        });
        let stats = machine.host().stats();
        assert_eq!(stats.objects, 0);
    }
}

#[test]
fn bad_requests_are_refused_before_anybody_is_asked() {
    let machine = Machine::new(LoopbackOptions::default());
    let calls = machine.node.calls();
    let refused = |request: &BufferRequest| machine.device.create(request).unwrap_err();
    assert!(matches!(refused(&request(Format::R8, 0, 1)), Error::Request(RequestError::Empty { .. })));
    assert!(matches!(refused(&request(Format::from_fourcc(1), 1, 1)), Error::Request(RequestError::UnknownFormat(_))));
    assert!(matches!(refused(&request(Format::R8, u32::MAX, 1)), Error::Unsupported(Unsupported::Extent { .. })));
    let many = request(Format::R8, 1, 1).with_modifiers((0..1_000_000).map(Modifier::new));
    assert!(matches!(refused(&many), Error::Request(RequestError::TooManyModifiers(1_000_000))));
    let tiled = request(Format::R8, 1, 1).with_modifiers([Modifier::new(7)]);
    assert!(matches!(refused(&tiled), Error::Unsupported(Unsupported::Modifier { .. })));
    assert_eq!((machine.node.calls() - calls).total(), 0);
}

#[test]
fn a_swapchain_that_meets_the_quota_is_undone_whole() {
    for thread in [None, Some(Duration::from_micros(100))] {
        let mut options = LoopbackOptions { thread, ..LoopbackOptions::default() };
        options.config.quota.context.bytes = 10 << 20;
        let machine = Machine::new(options);
        let before = machine.host().stats();
        let asked = BufferRequest::new(Format::XRGB8888, 1024, 1024, Usage::RENDER);
        let refused = machine.device.create_many(&asked, 3).unwrap_err();
        assert!(matches!(refused, Error::Refused { status: Status::Quota, .. }), "{refused}");
        machine.device.layout(&asked).unwrap();
        // The third buffer's refusal was the last answer; the close of the first two follows in order.
        machine.device.create(&asked).unwrap();
        let after = machine.host().stats();
        assert_eq!((after.objects, after.held.bytes <= before.held.bytes + (4 << 20)), (0, true));
        machine.device.create_many(&asked, 2).unwrap();
    }
}

#[test]
fn the_largest_pictures_of_every_format_are_refused_with_a_reason() {
    let machine = Machine::new(LoopbackOptions::default());
    let before = machine.host().stats().held;
    for &format in Format::all().iter().filter(|format| !format.planes().is_empty()) {
        let request = BufferRequest::new(format, 65535, 65535, Usage::CPU_READ_RARELY);
        let error = machine.device.create(&request).unwrap_err();
        assert!(matches!(error, Error::Refused { status: Status::Quota, .. }), "{format}: {error}");
    }
    assert_eq!(machine.host().stats().held, before);
}

#[test]
fn without_a_window_the_guests_pages_are_the_buffer() {
    for thread in [None, Some(Duration::from_micros(100))] {
        let machine = Machine::new(LoopbackOptions { window_bytes: 0, thread, ..LoopbackOptions::default() });
        let buffers = machine.device.create_many(&request(Format::NV12, 65, 33).with_name("pages"), 2).unwrap();
        for buffer in &buffers {
            let expected = fill(buffer);
            assert_eq!(seen_by_host(&machine, buffer), expected);
            assert_eq!(buffer.made_of(), Some(Backing::Guest));
        }
        let listed = machine.host().resources();
        let listed = listed.iter().find(|resource| resource.id == buffers[0].resource_id()).unwrap();
        assert_eq!(
            (listed.kind, listed.name.as_str(), listed.layout.as_ref()),
            ("guest blob", "pages", Some(buffers[0].layout()))
        );
        let render = machine.device.create(&BufferRequest::new(Format::R8, 64, 64, Usage::RENDER)).unwrap();
        assert_eq!(render.made_of(), Some(Backing::Memory), "what the CPU does not touch is the host's");
    }
}

#[test]
fn a_window_that_is_full_gives_an_error_and_leaves_nothing_behind() {
    let machine = Machine::new(LoopbackOptions { window_bytes: 1 << 20, ..LoopbackOptions::default() });
    let asked = request(Format::XRGB8888, 256, 512);
    let kept = machine.device.create(&asked).unwrap();
    let before = machine.host().stats();
    for count in [2, 3] {
        assert!(matches!(machine.device.create_many(&asked, count), Err(Error::Node(_))));
        let after = machine.host().stats();
        assert_eq!((after.held, after.objects, after.resources), (before.held, 0, before.resources));
    }
    drop(kept);
    machine.device.create_many(&asked, 2).unwrap();
}
