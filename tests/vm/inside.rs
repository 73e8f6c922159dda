//! The host module in the guest, where udmabuf is: what it exports are dma-bufs.

use crate::{Other, byte, fill, request};
use drm::control::Device as _;
use std::os::fd::{AsFd, AsRawFd};
use virgbm::guest::node::loopback::{Loopback, LoopbackOptions};
use virgbm::guest::{BufferObject, Device};
use virgbm::host::{Export, ExportKind, MemoryResolver, Resolver, VulkanOptions, VulkanResolver};
use virgbm::sys::dmabuf::is_dma_buf;
use virgbm::sys::mmap::Mmap;
use virgbm::wire::alloc::Backing;
use virgbm::{Format, Usage};

/// Lets vgem import what was exported, and reads the buffer through what vgem gives back.
fn check_through_vgem(export: &Export, buffer: &BufferObject) {
    assert_eq!(export.kind, ExportKind::DmaBuf);
    assert!(is_dma_buf(export.fd.as_fd()));
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", export.fd.as_raw_fd())).unwrap();
    // Software's Vulkan takes its pages from there too.
    assert!(info.contains("exp_name:\tudmabuf"), "{info}");
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

#[test]
fn memory_of_the_host_leaves_it_as_a_dma_buf() {
    let node = Loopback::new().unwrap();
    let host = node.host().clone();
    let device = Device::open(node).unwrap();
    for format in [Format::XRGB8888, Format::NV12] {
        let buffer = device.create(&request(format, 129, 67)).unwrap();
        fill(&buffer);
        check_through_vgem(&host.export(buffer.resource_id()).unwrap(), &buffer);
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
    check_through_vgem(&export, &buffer);
}

#[test]
fn images_of_vulkan_leave_the_host_as_dma_bufs() {
    let vulkan = match VulkanResolver::new(&VulkanOptions { validation: true, ..VulkanOptions::default() }) {
        Ok(vulkan) if vulkan.exports_dma_bufs() => vulkan,
        Ok(vulkan) => {
            eprintln!("skipped: {} gives no dma-bufs", vulkan.device_name());
            return;
        }
        Err(error) => {
            eprintln!("skipped: {error}");
            return;
        }
    };
    let offered: Vec<_> = vulkan.support().iter().filter(|support| support.usages.contains(Usage::CPU)).copied().collect();
    assert!(!offered.is_empty());
    let resolvers: Vec<Box<dyn Resolver>> = vec![Box::new(vulkan.clone()), Box::new(MemoryResolver::new())];
    let node = Loopback::with_options(LoopbackOptions { resolvers, ..LoopbackOptions::default() }).unwrap();
    let host = node.host().clone();
    let device = Device::open(node).unwrap();
    for support in &offered {
        let buffer = device.create(&request(support.format, 129, 67)).unwrap();
        assert_eq!(buffer.made_of(), Some(Backing::Vulkan), "{buffer:?}");
        fill(&buffer);
        check_through_vgem(&host.export(buffer.resource_id()).unwrap(), &buffer);
    }
    println!("on {}: {} formats through vgem", vulkan.device_name(), offered.len());
}
