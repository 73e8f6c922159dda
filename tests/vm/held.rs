//! Each alone in a run of its own, while the host does something.

use crate::{byte, check, fill, open, path, request};
use drm::control::Device as _;
use drm::control::{crtc, dumbbuffer::DumbBuffer};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::io::{IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
use virgbm::guest::node::drm::DrmNode;
use virgbm::guest::{Access, BufferObject, Device, Error};
use virgbm::sys::memfd;
use virgbm::sys::udmabuf::Udmabuf;
use virgbm::{BufferRequest, Format, Usage};

/// Where the cursor is shown.
const CURSOR: (usize, usize) = (100, 50);

const CURSOR_SIDE: usize = 64;

/// The host takes screenshots meanwhile, and compares them with the files.
#[test]
fn a_buffer_on_the_screen() {
    let node = Arc::new(DrmNode::open(path("VIRGBM_CARD")).unwrap());
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
    let handle = drm::control::from_u32(buffer.bo_handle()).unwrap();
    let framebuffer = node.add_framebuffer(&Linear { size: (width, height), handle }, 24, 32).unwrap();
    node.set_crtc(resources.crtcs()[0], Some(framebuffer), (0, 0), &[connector.handle()], Some(mode)).unwrap();
    std::fs::write("/tmp/screen", &expected).unwrap();
    let cursor = show_cursor(&node, resources.crtcs()[0]);
    draw_cursor(&mut expected, width);
    std::fs::write("/tmp/cursor", expected).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(4));
    node.destroy_framebuffer(framebuffer).unwrap();
    node.destroy_dumb_buffer(cursor).unwrap();
}

/// A cursor whose left half is opaque red, and whose right half is not there; shown by the ioctls that X servers use.
#[allow(deprecated)]
fn show_cursor(node: &DrmNode, crtc: crtc::Handle) -> DumbBuffer {
    let side = CURSOR_SIDE as u32;
    let mut cursor = node.create_dumb_buffer((side, side), drm::buffer::DrmFourcc::Argb8888, 32).unwrap();
    for (at, pixel) in node.map_dumb_buffer(&mut cursor).unwrap().chunks_exact_mut(4).enumerate() {
        pixel.copy_from_slice(if at % CURSOR_SIDE < CURSOR_SIDE / 2 { &[0, 0, 0xff, 0xff] } else { &[0; 4] });
    }
    node.move_cursor(crtc, (CURSOR.0 as i32, CURSOR.1 as i32)).unwrap();
    node.set_cursor(crtc, Some(&cursor)).unwrap();
    cursor
}

fn draw_cursor(rgba: &mut [u8], width: u32) {
    for y in CURSOR.1..CURSOR.1 + CURSOR_SIDE {
        let start = (y * width as usize + CURSOR.0) * 4;
        for pixel in rgba[start..start + CURSOR_SIDE / 2 * 4].chunks_exact_mut(4) {
            pixel.copy_from_slice(&[0xff, 0, 0, 0xff]);
        }
    }
}

/// The host looks at the buffer meanwhile, and compares it with the file.
#[test]
fn a_buffer_for_the_host() {
    let (_, device) = open();
    // For a device that knows it by a name of the host's, which it gets when it is exported.
    let asked = BufferRequest { usage: Usage::CPU | Usage::VIDEO_DECODER, ..request(Format::NV12, 129, 67) };
    let buffer = device.create(&asked.with_name("held")).unwrap();
    let _exported = buffer.export().unwrap();
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

/// On a device with blobs and without contexts, newer kernels import dma-bufs of other drivers.
#[test]
fn a_foreign_dma_buf_on_the_screen() {
    let node = DrmNode::open(path("VIRGBM_CARD")).unwrap();
    let resources = node.resource_handles().unwrap();
    let connector = node.get_connector(resources.connectors()[0], true).unwrap();
    let mode = connector.modes()[0];
    let (width, height) = (u32::from(mode.size().0), u32::from(mode.size().1));
    let size = u64::from(width) * u64::from(height) * 4;
    let pages = memfd::sealed(size).unwrap();
    let foreign = Udmabuf::open().unwrap().create(pages.as_fd(), 0, size).unwrap();
    let handle = node.prime_fd_to_buffer(foreign.as_fd()).unwrap();
    let shown = Linear { size: (width, height), handle };
    let framebuffer = node.add_framebuffer(&shown, 24, 32).unwrap();
    node.set_crtc(resources.crtcs()[0], Some(framebuffer), (0, 0), &[connector.handle()], Some(mode)).unwrap();
    // Written afterwards, by who made it: the host reads the same pages.
    let pixels: Vec<[u8; 3]> = (0..height).flat_map(|y| (0..width).map(move |x| [y as u8, x as u8, (x ^ y) as u8])).collect();
    let bytes: Vec<u8> = pixels.iter().flat_map(|[red, green, blue]| [*blue, *green, *red, 0]).collect();
    memfd::write_all(pages.as_fd(), &bytes, 0).unwrap();
    let seen: Vec<u8> = pixels.iter().flat_map(|[red, green, blue]| [*red, *green, *blue, 255]).collect();
    std::fs::write("/tmp/screen", seen).unwrap();
    std::thread::sleep(Duration::from_secs(5));
    node.destroy_framebuffer(framebuffer).unwrap();
    node.close_buffer(handle).unwrap();
}

/// A linear buffer that the drm crate knows by its handle only.
struct Linear {
    size: (u32, u32),
    handle: drm::buffer::Handle,
}

impl drm::buffer::Buffer for Linear {
    fn size(&self) -> (u32, u32) {
        self.size
    }
    fn format(&self) -> drm::buffer::DrmFourcc {
        drm::buffer::DrmFourcc::Xrgb8888
    }
    fn pitch(&self) -> u32 {
        self.size.0 * 4
    }
    fn handle(&self) -> drm::buffer::Handle {
        self.handle
    }
}

/// The process that `sharing` starts, with a socket as its standard input.
#[test]
fn a_process_that_is_sent_a_buffer() {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    recvmsg(std::io::stdin(), &mut [IoSliceMut::new(&mut [0])], &mut rights, RecvFlags::CMSG_CLOEXEC).unwrap();
    let received = rights.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    let (_, device) = open();
    let buffer = device.import(received.unwrap().as_fd()).unwrap();
    assert_eq!((buffer.layout().format, buffer.layout().width, buffer.layout().height), (Format::NV12, 129, 67));
    check(&buffer);
}

/// Prints a line that the rig waits for: the serial console has it at once.
fn tell(line: &str) {
    let mut console = std::fs::OpenOptions::new().write(true).open("/dev/console").unwrap();
    writeln!(console, "rig: {line}").unwrap();
}

/// The rig kills the VM: the host must free everything.
#[test]
fn a_hundred_buffers() {
    let (_, device) = open();
    let buffers: Vec<_> = (1..=100).map(|width| device.create(&request(Format::XRGB8888, width, 64)).unwrap()).collect();
    buffers.iter().for_each(fill);
    tell("a hundred buffers are held");
    std::thread::sleep(Duration::from_secs(60));
}

/// The rig kills the device: this process must be told, and not hang.
#[test]
fn allocations_while_the_host_is_killed() {
    let (_, device) = open();
    let asked = BufferRequest::new(Format::XRGB8888, 640, 480, Usage::RENDER);
    let mut made = 0;
    let mut last = Instant::now();
    let error = loop {
        match device.create(&asked) {
            Ok(_) => made += 1,
            Err(error) => break error,
        }
        if made == 100 {
            tell("allocations go on");
        }
        last = Instant::now();
    };
    assert!(matches!(error, Error::Silent { .. }), "{error}");
    assert!(last.elapsed() < Duration::from_secs(10));
    let again = Instant::now();
    assert!(matches!(device.create(&asked), Err(Error::Silent { .. })));
    assert!(again.elapsed() < Duration::from_secs(1), "what is known is told at once");
    tell(&format!("after {made} buffers: {error}"));
}

/// As many as the VMM has room for, when each is a map of its own; then an error on both sides, and all goes on.
#[test]
fn mappings_up_to_the_limit_of_the_vmm() {
    let (_, device) = open();
    let mut kept: Vec<BufferObject> = Vec::new();
    let error = loop {
        let buffer = device.create(&request(Format::R8, 64, 64)).unwrap();
        match buffer.map(buffer.layout().whole(), Access::WRITE) {
            Ok(_) => kept.push(buffer),
            Err(error) => break error,
        }
        assert!(kept.len() < 1000, "there is no limit");
    };
    assert!(kept.len() >= 400 && matches!(error, Error::Node(_)), "{} and then {error}", kept.len());
    kept.iter().for_each(fill);
    kept.iter().for_each(check);
    println!("{} buffers were mapped apart, the next one: {error}", kept.len());
    kept.truncate(200);
    let again = (0..200).find_map(|_| {
        std::thread::sleep(Duration::from_millis(10));
        let buffer = device.create(&request(Format::R8, 64, 64)).unwrap();
        buffer.map(buffer.layout().whole(), Access::WRITE).is_ok().then_some(buffer)
    });
    fill(&again.expect("there is room again"));
}
