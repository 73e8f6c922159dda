//! A guest on a host whose Vulkan goes before plain memory; skipped where there is no Vulkan.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use virgbm::guest::node::loopback::{Loopback, LoopbackOptions};
use virgbm::guest::{Access, Device};
use virgbm::host::test_rig::gpu_demanded;
use virgbm::host::{Amount, MemoryResolver, VulkanOptions, VulkanResolver};
use virgbm::layout::Region;
use virgbm::wire::alloc::Backing;
use virgbm::{BufferRequest, Format, Modifier, Usage};

/// A device whose host has both resolvers, and that of Vulkan; or word that it can't be tested here.
fn open() -> Option<(Device, Loopback, VulkanResolver)> {
    let vulkan =
        match VulkanResolver::new(&VulkanOptions { validation: true, software: !gpu_demanded(), ..VulkanOptions::default() }) {
            Ok(vulkan) => vulkan,
            Err(error) => {
                eprintln!("skipped: {error}");
                return None;
            }
        };
    let resolvers: Vec<Box<dyn virgbm::host::Resolver>> = vec![Box::new(vulkan.clone()), Box::new(MemoryResolver::new())];
    let node = Loopback::with_options(LoopbackOptions { resolvers, ..LoopbackOptions::default() }).unwrap();
    Some((Device::open(node.open_again()).unwrap(), node, vulkan))
}

#[test]
fn what_the_gpu_draws_and_what_the_cpu_writes_is_one_image() {
    let Some((device, node, vulkan)) = open() else { return };
    let drawn = BufferRequest::new(Format::XRGB8888, 129, 67, Usage::RENDER | Usage::TEXTURE | Usage::LINEAR);
    let buffer = device.create(&drawn).unwrap();
    assert_eq!((buffer.made_of(), buffer.layout().modifier), (Some(Backing::Vulkan), Modifier::LINEAR));
    let mut bytes = vec![1; buffer.layout().size_bytes as usize];
    node.host().read_resource(buffer.resource_id(), 0, &mut bytes).unwrap();
    assert!(bytes.iter().all(|byte| *byte == 0));
    let picture = node.host().picture(buffer.resource_id()).unwrap();
    assert_eq!((picture.width, picture.height), (129, 67));

    let mapped = BufferRequest { usage: drawn.usage | Usage::CPU_WRITE_RARELY | Usage::CPU_READ_RARELY, ..drawn.clone() };
    let buffer = device.create(&mapped).unwrap();
    assert_eq!((buffer.made_of(), buffer.is_copied()), (Some(Backing::Vulkan), !vulkan.exports_dma_bufs()));
    let mapping = buffer.map(buffer.layout().whole(), Access::WRITE).unwrap();
    mapping.write_row(0, 66, &[0x5a; 129 * 4]).unwrap();
    drop(mapping);
    buffer.wait().unwrap();
    let at = 66 * u64::from(buffer.layout().planes[0].stride_bytes);
    let mut row = [0; 129 * 4];
    node.host().read_resource(buffer.resource_id(), at, &mut row).unwrap();
    assert_eq!(row, [0x5a; 129 * 4]);
    let calls_for = |height| {
        let before = vulkan.driver_calls();
        let mapping = buffer.map(Region { x: 1, y: 2, width: 100, height }, Access::WRITE).unwrap();
        mapping.write_row(0, 0, &[0x77; 400]).unwrap();
        drop(mapping);
        buffer.wait().unwrap();
        vulkan.driver_calls() - before
    };
    assert_eq!(calls_for(60), calls_for(1), "a rectangle costs the driver what a row does");
    node.host().read_resource(buffer.resource_id(), at, &mut row).unwrap();
    assert_eq!(row, [0x5a; 129 * 4], "and leaves what is beside it");
    let how = if vulkan.exports_dma_bufs() { "mapped" } else { "moved by transfers" };
    println!("on {}: what the CPU writes is {how}", vulkan.device_name());
}

#[test]
fn nothing_of_the_driver_outlives_its_buffers_and_the_guest_learns_why_one_is_refused() {
    let Some((device, node, vulkan)) = open() else { return };
    let drawn = BufferRequest::new(Format::ARGB8888, 64, 64, Usage::RENDER);
    let buffers = device.create_many(&drawn, 50).unwrap();
    assert_eq!(vulkan.live_objects(), 100, "an image and its memory each");
    let protected = device.create(&BufferRequest { usage: Usage::RENDER | Usage::PROTECTED, ..drawn.clone() }).unwrap_err();
    assert!(protected.to_string().contains("PROTECTED"), "{protected}");
    drop(buffers);
    drop(device);
    node.host().reset();
    assert_eq!(node.host().stats().held, Amount::default());
    assert_eq!((vulkan.live_objects(), vulkan.complaints().unwrap_or_default()), (0, Vec::new()));
}
