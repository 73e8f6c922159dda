//! Images of ours, and what is in them for all that look.

use std::os::fd::{AsFd, AsRawFd};
use virgbm::guest::node::Node;
use virgbm::guest::node::loopback::Loopback;
use virgbm::guest::{Access, BufferObject, Device};
use virgbm::host::test_rig::gpu_demanded;
use virgbm::host::{Parameters, Picture, Resolver, VulkanOptions, VulkanResolver};
use virgbm::{BufferRequest, Format, Usage};

/// Odd ones, so that no row is as long as its stride.
pub const WIDTH: u32 = 123;
pub const HEIGHT: u32 = 45;

/// Red, green, blue and alpha, each a whole number of 255ths.
pub const COLOUR: [f32; 4] = [0.2, 0.4, 0.8, 1.0];
/// The same as XRGB8888 has it in memory, blue first.
pub const COLOUR_BYTES: [u8; 3] = [204, 102, 51];

pub fn vulkan() -> Option<VulkanResolver> {
    VulkanResolver::new(&VulkanOptions { software: !gpu_demanded(), ..VulkanOptions::default() })
        .inspect_err(|error| eprintln!("skipped: {error}"))
        .ok()
}

/// An image of ours that the CPU reaches too, if it leaves the host as a dma-buf.
pub fn image(node: &Loopback, format: Format, usage: Usage) -> Option<(Device, BufferObject)> {
    image_of_height(node, format, usage, HEIGHT)
}

pub fn image_of_height(node: &Loopback, format: Format, usage: Usage, height: u32) -> Option<(Device, BufferObject)> {
    let device = Device::open(node.open_again()).unwrap();
    let usage = usage | Usage::LINEAR | Usage::CPU_READ_OFTEN | Usage::CPU_WRITE_OFTEN;
    let buffer = device.create(&BufferRequest::new(format, WIDTH, height, usage)).unwrap();
    if !is_dma_buf(&buffer) {
        eprintln!("skipped: what this host makes leaves as no dma-buf");
        return None;
    }
    Some((device, buffer))
}

/// What is no file in a file system.
fn is_dma_buf(buffer: &BufferObject) -> bool {
    let fd = buffer.export().unwrap();
    std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap().starts_with("/dmabuf:")
}

/// Takes a buffer of another file by its descriptor: the handle, and the resource.
pub fn import(node: &Loopback, buffer: &BufferObject) -> (u32, u32) {
    let handle = node.prime_fd_to_handle(buffer.export().unwrap().as_fd()).unwrap();
    (handle, node.resource_info(handle).unwrap().resource_id)
}

/// The pixels of the first rows as a mapping has them.
fn mapped(buffer: &BufferObject) -> Vec<u8> {
    let mapping = buffer.map(buffer.layout().whole(), Access::READ).unwrap();
    let mut bytes = vec![0; (WIDTH * HEIGHT * 4) as usize];
    for (row, bytes) in bytes.chunks_exact_mut(WIDTH as usize * 4).enumerate() {
        mapping.read_row(0, row as u64, bytes).unwrap();
    }
    bytes
}

/// Whether a mapping shows one colour in the first rows, blue first.
pub fn is_all(buffer: &BufferObject, colour: [u8; 3]) -> bool {
    mapped(buffer).chunks_exact(4).all(|pixel| pixel[..3] == colour)
}

/// [`COLOUR`] is all that a mapping and the host see.
pub fn assert_is_drawn(node: &Loopback, buffer: &BufferObject) {
    assert!(is_all(buffer, COLOUR_BYTES));
    assert_picture(&node.host().picture(buffer.resource_id()).unwrap());
}

/// And all that Vulkan sees in the dma-buf.
pub fn assert_is_drawn_for(vulkan: &VulkanResolver, buffer: &BufferObject) {
    let request = BufferRequest::new(Format::XRGB8888, WIDTH, HEIGHT, Usage::TEXTURE | Usage::LINEAR);
    let fd = buffer.export().unwrap();
    let seen = Parameters::DmaBuf { fd: fd.as_fd(), request: &request, layout: buffer.layout() };
    let seen = vulkan.allocate(&seen, buffer.layout().size_bytes).unwrap();
    assert_picture(&seen.image.picture(buffer.layout()).unwrap().expect("Vulkan makes a picture of its images"));
}

/// [`COLOUR`] is all that a picture has.
pub fn assert_picture(picture: &Picture) {
    let [blue, green, red] = COLOUR_BYTES;
    assert_eq!((picture.width, picture.height), (WIDTH, HEIGHT));
    assert!(picture.rgba.chunks_exact(4).all(|pixel| pixel == [red, green, blue, 255]));
}
