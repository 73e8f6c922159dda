//! A third process, which has a handle from a client of the service, and the mapper.

use crate::mapper::{Buffer, HEIGHT, STRIDE, WIDTH};
use drm::control::Device as _;
use rustix::io::{FdFlags, fcntl_setfd};
use std::os::fd::AsRawFd;
use std::process::{Child, Command};
use std::time::Duration;
use virgbm::guest::node::drm::DrmNode;
use virgbm_android_allocator::aidl::NativeHandle;

/// How the numbers of a handle reach the process, whose descriptors it inherits.
const FDS: &str = "VIRGBM_HANDLE_FDS";
const INTS: &str = "VIRGBM_HANDLE_INTS";

/// Starts a process that runs one of the tests below on a handle.
pub fn start(role: &str, handle: &NativeHandle) -> Child {
    for fd in &handle.fds {
        fcntl_setfd(fd, FdFlags::empty()).unwrap();
    }
    let words = |words: Vec<i32>| words.iter().map(i32::to_string).collect::<Vec<_>>().join(" ");
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", role, "--nocapture"])
        .env(FDS, words(handle.fds.iter().map(AsRawFd::as_raw_fd).collect()))
        .env(INTS, words(handle.ints.clone()))
        .spawn()
        .unwrap()
}

fn numbers(variable: &str) -> Vec<i32> {
    let told = std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: `alone` starts this"));
    told.split(' ').map(|word| word.parse().unwrap()).collect()
}

fn import() -> Buffer {
    Buffer::import(&numbers(FDS), &numbers(INTS))
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}

#[test]
fn fills() {
    let buffer = import();
    let bytes = pattern(buffer.size_bytes());
    buffer.write(&bytes);
    std::fs::write("/tmp/held", bytes).unwrap();
}

#[test]
fn finds_what_was_filled() {
    let found = import().read();
    assert!(found == pattern(found.len()));
}

fn card() -> DrmNode {
    DrmNode::open(std::env::var("VIRGBM_CARD").expect("VIRGBM_CARD is not set")).unwrap()
}

/// The size of the screen in pixels.
pub fn screen() -> (i32, i32) {
    let card = card();
    let connector = card.get_connector(card.resource_handles().unwrap().connectors()[0], true).unwrap();
    let (width, height) = connector.modes()[0].size();
    (width.into(), height.into())
}

#[test]
fn shows() {
    let buffer = import();
    let [width, height] = [WIDTH, HEIGHT].map(|id| u64::from_le_bytes(buffer.number(id)) as usize);
    let stride = u32::from_le_bytes(buffer.number(STRIDE)) as usize * 4;
    let mut bytes = vec![0; stride * height];
    let mut seen = Vec::new();
    for (y, row) in bytes.chunks_exact_mut(stride).enumerate() {
        for (x, pixel) in row[..width * 4].chunks_exact_mut(4).enumerate() {
            let (red, green, blue) = ((x ^ y) as u8, (x / 3) as u8, (y / 2) as u8);
            pixel.copy_from_slice(&[blue, green, red, 255]);
            seen.extend([red, green, blue, 255]);
        }
    }
    buffer.write(&bytes);
    let card = card();
    let resources = card.resource_handles().unwrap();
    let connector = card.get_connector(resources.connectors()[0], true).unwrap();
    // SAFETY: the client keeps the descriptors of the handle open while this process runs.
    #[allow(unsafe_code)]
    let plane = unsafe { std::os::fd::BorrowedFd::borrow_raw(numbers(FDS)[0]) };
    let handle = card.prime_fd_to_buffer(plane).unwrap();
    let shown = Shown { size: (width as u32, height as u32), pitch: stride as u32, handle };
    let framebuffer = card.add_framebuffer(&shown, 24, 32).unwrap();
    let mode = connector.modes()[0];
    card.set_crtc(resources.crtcs()[0], Some(framebuffer), (0, 0), &[connector.handle()], Some(mode)).unwrap();
    std::fs::write("/tmp/screen", seen).unwrap();
    std::thread::sleep(Duration::from_secs(5));
    card.destroy_framebuffer(framebuffer).unwrap();
    card.close_buffer(handle).unwrap();
}

/// The buffer as the drm crate wants it.
struct Shown {
    size: (u32, u32),
    pitch: u32,
    handle: drm::buffer::Handle,
}

impl drm::buffer::Buffer for Shown {
    fn size(&self) -> (u32, u32) {
        self.size
    }
    fn format(&self) -> drm::buffer::DrmFourcc {
        drm::buffer::DrmFourcc::Xrgb8888
    }
    fn pitch(&self) -> u32 {
        self.pitch
    }
    fn handle(&self) -> drm::buffer::Handle {
        self.handle
    }
}
