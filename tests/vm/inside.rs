//! The host module in the guest, where udmabuf is: what it exports are dma-bufs.

use crate::{Other, byte, fill, path, request};
use drm::control::Device as _;
use std::os::fd::{AsFd, AsRawFd};
use virgbm::guest::node::loopback::{Loopback, LoopbackOptions};
use virgbm::guest::{BufferObject, Device};
use virgbm::host::{
    Export, ExportKind, GbmResolver, GlOptions, GlResolver, MemoryResolver, Resolver, VulkanOptions, VulkanResolver,
};
use virgbm::sys::dmabuf::is_dma_buf;
use virgbm::sys::mmap::Mmap;
use virgbm::wire::alloc::Backing;
use virgbm::{BufferRequest, Format, Usage};

/// Who makes dma-bufs of memory's pages; software's Vulkan and GL take theirs from there too.
const UDMABUF: &str = "udmabuf";

/// Lets vgem import what was exported, and reads the buffer through what vgem gives back.
fn check_through_vgem(export: &Export, exporter: &str, buffer: &BufferObject) {
    assert_eq!(export.kind, ExportKind::DmaBuf);
    assert!(is_dma_buf(export.fd.as_fd()));
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", export.fd.as_raw_fd())).unwrap();
    assert!(info.contains(&format!("exp_name:\t{exporter}")), "{info}");
    let vgem = Other::vgem();
    let handle = vgem.prime_fd_to_buffer(export.fd.as_fd()).unwrap();
    let back = vgem.buffer_to_prime_fd(handle, drm::CLOEXEC | drm::RDWR).unwrap();
    let map = Mmap::shared(back.as_fd(), 0, buffer.size_bytes(), None).unwrap();
    for plane in 0..buffer.layout().planes.len() {
        let rows = buffer.layout().plane_region(plane, buffer.layout().whole()).unwrap();
        for row in 0..rows.rows {
            let mut bytes = vec![0; rows.row_bytes as usize];
            map.read((rows.offset_bytes + row * rows.stride_bytes) as usize, &mut bytes).unwrap();
            assert!((0..).zip(&bytes).all(|(at, found)| *found == byte(plane, row, at)), "plane {plane} row {row}");
        }
    }
    vgem.close_buffer(handle).unwrap();
}

/// Vulkan with dma-bufs, or word that it can't be tested here.
fn vulkan() -> Option<VulkanResolver> {
    match VulkanResolver::new(&VulkanOptions { validation: true, ..VulkanOptions::default() }) {
        Ok(vulkan) if vulkan.exports_dma_bufs() => return Some(vulkan),
        Ok(vulkan) => eprintln!("skipped: {} gives no dma-bufs", vulkan.device_name()),
        Err(error) => eprintln!("skipped: {error}"),
    }
    None
}

#[test]
fn memory_of_the_host_leaves_it_as_a_dma_buf() {
    let node = Loopback::new().unwrap();
    let host = node.host().clone();
    let device = Device::open(node).unwrap();
    for format in [Format::XRGB8888, Format::NV12] {
        let buffer = device.create(&request(format, 129, 67)).unwrap();
        fill(&buffer);
        check_through_vgem(&host.export(buffer.resource_id()).unwrap(), UDMABUF, &buffer);
    }
}

#[test]
fn memory_of_the_guest_is_a_dma_buf_of_its_own_pages() {
    let node = Loopback::with_options(LoopbackOptions { window_bytes: 0, ..LoopbackOptions::default() }).unwrap();
    let host = node.host().clone();
    let device = Device::open(node).unwrap();
    let buffer = device.create(&request(Format::NV12, 129, 67)).unwrap();
    let export = host.export(buffer.resource_id()).unwrap();
    // Written afterwards: no copy was made.
    fill(&buffer);
    check_through_vgem(&export, UDMABUF, &buffer);
}

#[test]
fn memory_of_the_guest_is_an_image_of_vulkan_in_place() {
    let Some(vulkan) = vulkan() else { return };
    let resolvers: Vec<Box<dyn Resolver>> = vec![Box::new(vulkan.clone()), Box::new(MemoryResolver::new())];
    let node = Loopback::with_options(LoopbackOptions { window_bytes: 0, resolvers, ..LoopbackOptions::default() }).unwrap();
    let host = node.host().clone();
    let device = Device::open(node).unwrap();
    let storage = |id| host.resources().into_iter().find(|resource| resource.id == id).unwrap().storage;
    for format in [Format::XRGB8888, Format::R8, Format::NV12] {
        let buffer = device.create(&request(format, 128, 64)).unwrap();
        fill(&buffer);
        assert_eq!(buffer.made_of(), Some(Backing::Guest));
        // Software tells wrong places for the chroma of NV12, so that stays as the host reads it.
        let (expected, objects) = if format == Format::NV12 { ("guest pages", 0) } else { ("guest pages, imported", 2) };
        assert_eq!((storage(buffer.resource_id()), vulkan.live_objects()), (expected, objects), "{format}");
        check_through_vgem(&host.export(buffer.resource_id()).unwrap(), UDMABUF, &buffer);
    }
    drop(device);
    host.reset();
    assert_eq!((vulkan.live_objects(), vulkan.complaints().unwrap_or_default()), (0, Vec::new()));
}

/// Every image of a driver that the CPU may touch is drawn by a guest, leaves, and is looked at through another driver of the kernel.
fn check_images(name: &str, exporter: &str, driver: Box<dyn Resolver>) {
    let backing = driver.backing();
    let offered: Vec<_> = driver.support().iter().filter(|support| support.usages.contains(Usage::CPU)).copied().collect();
    assert!(!offered.is_empty());
    let resolvers: Vec<Box<dyn Resolver>> = vec![driver, Box::new(MemoryResolver::new())];
    let node = Loopback::with_options(LoopbackOptions { resolvers, ..LoopbackOptions::default() }).unwrap();
    let host = node.host().clone();
    let device = Device::open(node).unwrap();
    for support in &offered {
        let buffer = device.create(&BufferRequest::new(support.format, 129, 67, Usage::CPU)).unwrap();
        assert_eq!(buffer.made_of(), Some(backing), "{buffer:?}");
        fill(&buffer);
        check_through_vgem(&host.export(buffer.resource_id()).unwrap(), exporter, &buffer);
    }
    println!("on {name}: {} formats through vgem", offered.len());
}

#[test]
fn images_of_vulkan_leave_the_host_as_dma_bufs() {
    let Some(vulkan) = vulkan() else { return };
    check_images(&vulkan.device_name(), UDMABUF, Box::new(vulkan.clone()));
    assert_eq!((vulkan.live_objects(), vulkan.complaints().unwrap_or_default()), (0, Vec::new()));
}

#[test]
fn buffers_of_libgbm_leave_the_host_as_dma_bufs() {
    match GbmResolver::new(path("VIRGBM_CARD").as_ref()) {
        Ok(gbm) => {
            check_images(&gbm.report().device, "virtio_gpu", Box::new(gbm.clone()));
            assert_eq!(gbm.live_objects(), 0);
        }
        Err(error) => eprintln!("skipped: {error}"),
    }
}

#[test]
fn textures_of_gl_leave_the_host_as_dma_bufs() {
    match GlResolver::new(&GlOptions::default()) {
        Ok(gl) if gl.exports_dma_bufs() => {
            check_images(&gl.report().device, UDMABUF, Box::new(gl.clone()));
            assert_eq!(gl.live_objects(), 0);
        }
        Ok(gl) => eprintln!("skipped: {} gives no dma-bufs", gl.report().device),
        Err(error) => eprintln!("skipped: {error}"),
    }
}
