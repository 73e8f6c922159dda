//! Images of ours in contexts of venus, and venus's memory in ours.

use crate::held::settled_descriptors;
use crate::images::{COLOUR, COLOUR_BYTES, HEIGHT, WIDTH, assert_is_drawn, assert_is_drawn_for, image, is_all, vulkan};
use crate::venus::{CAPSET_ID_VENUS, CPU_RING, QUEUE_RING, Venus, import_memory};
use crate::virgl::{Virgl, number, texture};
use crate::{GUEST_BLOB, PATIENCE, fence, on_resource, send, stream, turn};
use std::os::fd::AsFd;
use virgbm::guest::node::loopback::Loopback;
use virgbm::guest::node::{BlobCreate, BlobFlags, BlobMem, Node};
use virgbm::guest::{Access, BufferObject, Device, Error};
use virgbm::host::{Amount, ContextInfo, ExportKind};
use virgbm::wire::alloc::Backing;
use virgbm::wire::virtio_gpu::{BLOB_MEM_HOST3D, Command, Reply, ResourceCreateBlob};
use virgbm::{Alignment, BufferRequest, Format, Layout, Usage};
use zerocopy::IntoBytes;

/// A square of four bytes a pixel.
const SIDE: u32 = 64;
const SIZE: u64 = (SIDE * SIDE * 4) as u64;

/// An image that is drawn, of memory or of whatever a resolver makes.
fn target(node: &Loopback) -> Option<(Device, BufferObject)> {
    image(node, Format::XRGB8888, Usage::RENDER | Usage::TEXTURE)
}

/// The context of venus that was made last.
fn newest_context(node: &Loopback) -> ContextInfo {
    let contexts = node.host().contexts().into_iter().filter(|context| context.capset_id == CAPSET_ID_VENUS);
    contexts.max_by_key(|context| context.id).unwrap()
}

/// What the host says when memory of a context shall be a blob. It is told when the library's other process is done with all before.
fn claim(node: &Loopback, ctx_id: u32, memory: u64) -> Reply {
    let body = ResourceCreateBlob {
        resource_id: 900.into(),
        blob_mem: BLOB_MEM_HOST3D.into(),
        blob_id: memory.into(),
        size: SIZE.into(),
        ..ResourceCreateBlob::default()
    };
    send(node, Command::ResourceCreateBlob, ctx_id, &[body.as_bytes()])
}

#[test]
fn what_venus_draws_into_our_memory_is_there_for_mappings_the_host_and_vulkan() {
    let Some(turn) = turn() else { return };
    let node = turn.node(None);
    let Some((_device, buffer)) = target(&node) else { return };
    let Some(mut venus) = Venus::open(&node) else { return };
    let imported = venus.import(&buffer);
    venus.clear(imported, COLOUR);
    assert_is_drawn(&node, &buffer);
    let Some(vulkan) = vulkan() else { return };
    assert_is_drawn_for(&vulkan, &buffer);
    println!("our memory, drawn by venus, read through {}", vulkan.device_name());
}

#[test]
fn what_venus_draws_into_our_vulkan_image_is_there_for_vulkan() {
    let Some(turn) = turn() else { return };
    let Some(vulkan) = vulkan() else { return };
    let node = turn.node(Some(Box::new(vulkan.clone())));
    let Some((_device, buffer)) = target(&node) else { return };
    assert_eq!(buffer.made_of(), Some(Backing::Vulkan));
    let Some(mut venus) = Venus::open(&node) else { return };
    let imported = venus.import(&buffer);
    venus.clear(imported, COLOUR);
    assert_is_drawn(&node, &buffer);
    assert_is_drawn_for(&vulkan, &buffer);
    println!("our Vulkan image, drawn by venus, read through {}", vulkan.device_name());
}

#[test]
fn what_venus_draws_into_our_memory_is_sampled_by_virgl() {
    let Some(turn) = turn() else { return };
    let node = turn.node(None);
    let Some((_device, buffer)) = target(&node) else { return };
    let Some(mut venus) = Venus::open(&node) else { return };
    let virgl = Virgl::open(&node);
    let (drawn, sampled) = (venus.import(&buffer), virgl.import(&buffer));
    venus.clear(drawn, COLOUR);
    venus.forget(drawn);
    let pixels = virgl.sample(sampled, Format::XRGB8888, WIDTH, HEIGHT);
    assert!(pixels.chunks_exact(4).all(|pixel| pixel[..3] == COLOUR_BYTES));
}

#[test]
fn fences_of_the_queue_and_of_the_cpu_are_reached() {
    let Some(turn) = turn() else { return };
    let node = turn.node(None);
    let Some(mut venus) = Venus::open(&node) else { return };
    let id = newest_context(&node).id;
    for ring_idx in [None, Some(CPU_RING as u8), Some(QUEUE_RING as u8)] {
        let fences = [(); 3].map(|()| fence(&node, id, ring_idx).expect("something is drawn for the context"));
        assert!(fences.iter().rev().all(|fence| fence.wait(PATIENCE)), "{ring_idx:?}");
    }
    let (memory, _) = venus.allocate(SIZE);
    assert_eq!(claim(&node, id, memory), Reply::OkNoData, "the context goes on");
}

#[test]
fn a_fence_of_a_ring_without_a_queue_is_reached_and_ends_its_context_only() {
    let Some(turn) = turn() else { return };
    let node = turn.node(None);
    let Some(mut venus) = Venus::open(&node) else { return };
    let Some(mut other) = Venus::open(&node) else { return };
    let id = newest_context(&node).id;
    assert!(fence(&node, id, Some(QUEUE_RING as u8 + 1)).is_none_or(|fence| fence.wait(PATIENCE)));
    let (memory, _) = other.allocate(SIZE);
    assert_eq!(claim(&node, id, memory), Reply::ErrInvalidParameter);
    drop(other);
    let (memory, _) = venus.allocate(SIZE);
    assert_eq!(claim(&node, newest_context(&node).id, memory), Reply::OkNoData);
}

#[test]
fn memory_of_venus_is_there_for_its_driver_and_for_our_device() {
    let layout = BufferRequest::new(Format::XRGB8888, SIDE, SIDE, Usage::CPU);
    let layout = Layout::linear(&layout, Alignment::PACKED).unwrap();
    let Some(turn) = turn() else { return };
    let node = turn.node(None);
    let Some(mut venus) = Venus::open(&node) else { return };
    let (memory, buffer) = venus.allocate(SIZE);
    let flags = BlobFlags::MAPPABLE | BlobFlags::SHAREABLE;
    let blob = BlobCreate { mem: BlobMem::Host3d, flags, size: SIZE, blob_id: memory, command: &[] };
    let blob = venus.node.resource_create_blob(&blob).unwrap();
    let theirs = venus.node.mmap(venus.node.map(blob.bo_handle).unwrap(), SIZE).unwrap();
    assert_eq!(node.host().export(blob.resource_id).unwrap().kind, ExportKind::DmaBuf);
    venus.fill(blob.bo_handle, buffer, SIZE, u32::from_le_bytes([1, 2, 3, 4]));
    let mut bytes = vec![0; SIZE as usize];
    theirs.read(0, &mut bytes).unwrap();
    assert!(bytes.chunks_exact(4).all(|pixel| pixel == [1, 2, 3, 4]));

    // Our device gets it by its descriptor. Only the guest knows where its pixels lie.
    let device = Device::open(node.open_again()).unwrap();
    let fd = venus.node.prime_handle_to_fd(blob.bo_handle).unwrap();
    let described = device.import(fd.as_fd());
    assert!(matches!(described, Err(Error::NoLayout { resource_id }) if resource_id == blob.resource_id));
    let ours = device.import_with_layout(fd.as_fd(), &layout).unwrap();
    let mapping = ours.map(layout.whole(), Access::READ | Access::WRITE).unwrap();
    let mut row = vec![0; SIDE as usize * 4];
    mapping.read_row(0, u64::from(SIDE) - 1, &mut row).unwrap();
    assert!(row.chunks_exact(4).all(|pixel| pixel == [1, 2, 3, 4]));
    mapping.write_row(0, 0, &[5; SIDE as usize * 4]).unwrap();
    mapping.finish().unwrap();
    theirs.read(0, &mut row).unwrap();
    assert_eq!(row, [5; SIDE as usize * 4]);
}

#[test]
fn an_import_of_what_a_context_does_not_have_ends_that_context_only() {
    let Some(turn) = turn() else { return };
    let node = turn.node(None);
    let Some((_device, buffer)) = target(&node) else { return };
    let Some(mut venus) = Venus::open(&node) else { return };
    for elsewhere in [buffer.resource_id(), 4711] {
        let Some(mut other) = Venus::open(&node) else { return };
        let (id, memory) = (newest_context(&node).id, other.new_id());
        other.run(&[import_memory(elsewhere, buffer.size_bytes(), 0, memory)]);
        assert_eq!(claim(&node, id, memory), Reply::ErrInvalidParameter);
        assert_eq!(stream(&node, id, &[0; 8]), Reply::ErrInvalidParameter);
        assert_eq!(newest_context(&node).refused, 2);
        assert!(fence(&node, id, Some(QUEUE_RING as u8)).is_none_or(|fence| fence.wait(PATIENCE)), "whoever waits is told");
    }
    let imported = venus.import(&buffer);
    venus.clear(imported, COLOUR);
    assert_is_drawn(&node, &buffer);
}

#[test]
fn what_can_not_come_to_venus_is_refused_and_told() {
    let Some(turn) = turn() else { return };
    let node = turn.node(None);
    let Some(mut venus) = Venus::open(&node) else { return };
    let id = newest_context(&node).id;
    let virgl = Virgl::open(&node);
    // Software's textures leave as nothing.
    let resource_id = texture(&virgl.node, number(Format::XRGB8888), SIDE, SIDE).resource_id;
    let attach = |resource_id| send(&node, Command::CtxAttachResource, id, &[on_resource(resource_id).as_bytes()]);
    assert_eq!(attach(resource_id), Reply::ErrInvalidResourceId);
    let told = &node.host().renderer().unwrap().refused[0];
    assert!(told.contains(&format!("resource {resource_id}")), "{told}");
    let pages = virgl.node.resource_create_blob(&GUEST_BLOB).unwrap();
    assert_eq!(attach(pages.resource_id), Reply::OkNoData, "where venus works, guest pages are dma-bufs");
    let (memory, _) = venus.allocate(SIZE);
    assert_eq!(claim(&node, id, memory), Reply::OkNoData, "the context goes on");
}

#[test]
fn a_hundred_images_are_drawn_and_nothing_grows() {
    let Some(turn) = turn() else { return };
    let node = turn.node(None);
    if target(&node).is_none() {
        return;
    }
    let Some(mut venus) = Venus::open(&node) else { return };
    let mut round = |number: u32| {
        let (_device, buffer) = target(&node).unwrap();
        let imported = venus.import(&buffer);
        let shade = (number % 256) as u8;
        venus.clear(imported, [f32::from(shade) / 255.0; 4]);
        assert!(is_all(&buffer, [shade; 3]));
        venus.forget(imported);
    };
    (0..10).for_each(&mut round);
    let (descriptors, held) = (settled_descriptors(), node.host().stats().held);
    (0..100).for_each(&mut round);
    let after = settled_descriptors();
    // A driver may open one for itself at any time, once.
    assert!(after <= descriptors + 1, "{descriptors} before, {after} now");
    assert_eq!(node.host().stats().held, held);
    println!("100 images of ours, drawn by venus: {after} descriptors, {descriptors} before");
    drop(venus);
    node.host().reset();
    assert_eq!(node.host().stats().held, Amount::default());
}
