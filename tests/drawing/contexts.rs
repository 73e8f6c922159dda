//! What contexts of virgl do, and what is refused.

use crate::held::settled_descriptors;
use crate::virgl::{
    BIND_TARGET_AND_SAMPLED, CREATE_OBJECT, PIPE_RESOURCE_CREATE, PIPE_RESOURCE_SET_TYPE, SURFACE, blob, clear, clear_again,
    command, number, open_context, read_back, texture, texture_blob,
};
use crate::{GUEST_BLOB, PATIENCE, fence, on_resource, send, stream, submit, turn};
use std::path::Path;
use std::time::Duration;
use virgbm::guest::node::loopback::{Loopback, LoopbackOptions};
use virgbm::guest::node::{ContextInit, Handles, Node, ResourceCreate, Transfer};
use virgbm::guest::{Access, BackendKind, Device, DeviceOptions};
use virgbm::host::virglrenderer::{Kinds, OpenError, VirglRenderer};
use virgbm::host::{Amount, DeviceConfig, DeviceError, ExportKind, MemoryResolver, Protocols, Resolver, Stats};
use virgbm::wire::virgl::CAPSET_ID_VIRGL2;
use virgbm::wire::virtio_gpu::{self as wire, Command, Reply, TARGET_BUFFER};
use virgbm::{BufferRequest, Format, Usage};
use zerocopy::IntoBytes;

const SIDE: u32 = 64;
/// `VIRGL_BIND_VERTEX_BUFFER`.
const BIND_VERTEX_BUFFER: u32 = 16;
/// A colour, and its bytes in the texture: half is 128 of 255.
const ORANGE: [f32; 4] = [1.0, 128.0 / 255.0, 0.0, 1.0];
const ORANGE_BYTES: [u8; 4] = [0, 128, 255, 255];

fn bgra() -> u32 {
    number(Format::ARGB8888)
}

fn square(node: &Loopback) -> Handles {
    texture(node, bgra(), SIDE, SIDE)
}

/// Fills a texture, with a surface that goes with its context only, as a driver that never destroys one has it.
fn orange(resource_id: u32) -> Vec<u8> {
    clear(resource_id + 1000, resource_id, bgra(), ORANGE).as_bytes().to_vec()
}

/// The first and the last pixel.
fn ends(node: &Loopback, bo_handle: u32) -> [[u8; 4]; 2] {
    let bytes = read_back(node, bo_handle, SIDE, SIDE);
    [*bytes.first_chunk().unwrap(), *bytes.last_chunk().unwrap()]
}

/// The numbers that the first file of a node has.
const CONTEXT: u32 = 1;

#[test]
fn a_texture_that_a_stream_clears_is_read_back_and_shown() {
    let Some(turn) = turn() else { return };
    let config = DeviceConfig { scanout: Some((SIDE, SIDE)), ..DeviceConfig::default() };
    let node = Loopback::with_options(LoopbackOptions { config, thread: Some(Duration::ZERO), ..turn.options() }).unwrap();
    open_context(&node);
    let handles = square(&node);
    submit(&node, &orange(handles.resource_id), &[handles.bo_handle], None);
    assert_eq!(ends(&node, handles.bo_handle), [ORANGE_BYTES; 2]);
    let rect = wire::Rect { width: SIDE.into(), height: SIDE.into(), ..wire::Rect::default() };
    let shown = wire::SetScanout { rect, scanout_id: 0.into(), resource_id: handles.resource_id.into() };
    assert_eq!(send(&node, Command::SetScanout, 0, &[shown.as_bytes()]), Reply::OkNoData);
    let [picture, screen] = [node.host().picture(handles.resource_id).unwrap(), node.host().screenshot(0).unwrap()];
    assert_eq!((picture.width, picture.height, &picture.rgba[..4]), (SIDE, SIDE, &[255, 128, 0, 255][..]));
    assert_eq!(screen, picture);
}

#[test]
fn a_context_goes_on_where_it_was_after_another_is_made_or_gone() {
    let Some(turn) = turn() else { return };
    let node = turn.node(None);
    open_context(&node);
    let handles = square(&node);
    submit(&node, clear(1, handles.resource_id, bgra(), [0.0; 4]).as_bytes(), &[handles.bo_handle], None);
    let other = node.open_again();
    open_context(&other);
    submit(&node, clear_again(ORANGE).as_bytes(), &[handles.bo_handle], None);
    assert_eq!(ends(&node, handles.bo_handle), [ORANGE_BYTES; 2]);
    submit(&node, clear_again([1.0; 4]).as_bytes(), &[handles.bo_handle], None);
    drop(other);
    submit(&node, clear_again(ORANGE).as_bytes(), &[handles.bo_handle], None);
    assert_eq!(ends(&node, handles.bo_handle), [ORANGE_BYTES; 2]);
}

#[test]
fn what_the_guest_uploads_stays_where_a_stream_does_not_draw() {
    let Some(turn) = turn() else { return };
    let node = turn.node(None);
    open_context(&node);
    let Handles { bo_handle, .. } = square(&node);
    let map = node.mmap(node.map(bo_handle).unwrap(), (SIDE * SIDE * 4).into()).unwrap();
    let bytes: Vec<_> = (0..SIDE * SIDE * 4).map(|index| (index % 251) as u8).collect();
    map.write(0, &bytes).unwrap();
    let transfer = Transfer { bo_handle, x: 0, y: 0, width: SIDE, height: SIDE, offset: 0, stride: 0, level: 0 };
    node.transfer_to_host(&transfer).unwrap();
    node.wait(bo_handle).unwrap();
    map.write(0, &vec![0; bytes.len()]).unwrap();
    node.transfer_from_host(&transfer).unwrap();
    node.wait(bo_handle).unwrap();
    let mut back = vec![0; bytes.len()];
    map.read(0, &mut back).unwrap();
    assert!(back == bytes);
}

#[test]
fn fences_of_a_ring_and_of_the_device_are_reached_and_others_do_not_wait_for_them() {
    let Some(turn) = turn() else { return };
    let node = turn.node(None);
    open_context(&node);
    let handles = square(&node);
    for ring_idx in [None, Some(0)] {
        submit(&node, &orange(handles.resource_id), &[handles.bo_handle], ring_idx);
        node.wait(handles.bo_handle).unwrap();
    }
    assert!(fence(&node, CONTEXT, None).unwrap().wait(PATIENCE));
    let alloc = wire::CtxCreate { context_init: 20.into(), ..wire::CtxCreate::default() };
    assert_eq!(send(&node, Command::CtxCreate, 77, &[alloc.as_bytes()]), Reply::OkNoData);
    assert!(fence(&node, 77, None).is_none(), "nothing is drawn for it");
}

#[test]
fn contexts_that_go_with_a_fence_of_their_ring_take_nothing_along() {
    let Some(turn) = turn() else { return };
    let node = turn.node(None);
    open_context(&node);
    let kept = square(&node);
    for _ in 0..100 {
        let other = node.open_again();
        open_context(&other);
        let handles = square(&other);
        let fill = orange(handles.resource_id);
        (0..5).for_each(|_| submit(&other, &fill, &[handles.bo_handle], Some(0)));
    }
    submit(&node, &orange(kept.resource_id), &[kept.bo_handle], Some(0));
    assert_eq!(ends(&node, kept.bo_handle), [ORANGE_BYTES; 2]);
}

#[test]
fn a_stream_that_the_library_refuses_is_told_and_spoils_its_own_context_only() {
    let Some(turn) = turn() else { return };
    let node = turn.node(None);
    let other = node.open_again();
    open_context(&node);
    open_context(&other);
    let handles = square(&other);
    // A surface of a resource that there is not, and a command that there is not.
    for bad in [command(CREATE_OBJECT, SURFACE, &[1, 4711, bgra(), 0, 0]), command(250, 0, &[])] {
        assert_eq!(stream(&node, CONTEXT, bad.as_bytes()), Reply::ErrInvalidParameter, "{bad:x?}");
    }
    assert_eq!(stream(&node, CONTEXT, &[0; 3]), Reply::ErrInvalidParameter);
    let refused = node.host().contexts().iter().find(|context| context.id == CONTEXT).unwrap().refused;
    assert_eq!(refused, 3);
    submit(&other, &orange(handles.resource_id), &[handles.bo_handle], None);
    assert_eq!(ends(&other, handles.bo_handle), [ORANGE_BYTES; 2]);
}

#[test]
fn the_first_stream_of_a_context_that_is_refused_is_remembered_with_what_it_types() {
    let Some(turn) = turn() else { return };
    let node = turn.node(None);
    open_context(&node);
    let typed = command(PIPE_RESOURCE_SET_TYPE, 0, &[4711, bgra(), BIND_TARGET_AND_SAMPLED, 8, 8, 0, 0, 0, 32, 0]);
    for bad in [typed, command(250, 0, &[])] {
        assert_eq!(stream(&node, CONTEXT, bad.as_bytes()), Reply::ErrInvalidParameter);
    }
    let told = node.host().renderer().unwrap().refused;
    let [told] = &told[..] else { panic!("the context draws no more after the first: {told:?}") };
    assert!(told.contains(&format!("context {CONTEXT}")) && told.contains("resource 4711"), "{told}");
}

#[test]
fn a_context_can_be_made_of_whatever_is_offered() {
    let Some(turn) = turn() else { return };
    let node = turn.node(None);
    for (id, capset) in (CONTEXT..).zip(turn.renderer.capsets()) {
        let body = wire::CtxCreate { context_init: capset.id.into(), ..wire::CtxCreate::default() };
        assert_eq!(send(&node, Command::CtxCreate, id, &[body.as_bytes()]), Reply::OkNoData, "capset {}", capset.id);
    }
}

#[test]
fn numbers_of_contexts_collide_whoever_has_them() {
    let Some(turn) = turn() else { return };
    let node = turn.node(None);
    open_context(&node);
    let create = |id, capset_id: u32| {
        let body = wire::CtxCreate { context_init: capset_id.into(), ..wire::CtxCreate::default() };
        send(&node, Command::CtxCreate, id, &[body.as_bytes()])
    };
    assert_eq!(create(CONTEXT, 20), Reply::ErrInvalidContextId);
    assert_eq!((create(50, 20), create(50, CAPSET_ID_VIRGL2)), (Reply::OkNoData, Reply::ErrInvalidContextId));
    assert_eq!((create(0, CAPSET_ID_VIRGL2), create(51, 6)), (Reply::ErrInvalidContextId, Reply::ErrInvalidParameter));
    assert_eq!((send(&node, Command::CtxDestroy, 50, &[]), create(50, CAPSET_ID_VIRGL2)), (Reply::OkNoData, Reply::OkNoData));
}

#[test]
fn an_image_of_ours_comes_to_the_library_as_a_dma_buf_or_is_refused_by_name() {
    let Some(turn) = turn() else { return };
    let node = turn.node(None);
    let second = node.open_again();
    open_context(&second);
    let options = DeviceOptions { backend: Some(BackendKind::Alloc), ..DeviceOptions::default() };
    let device = Device::open_with(node, &options).unwrap();
    let buffer = device.create(&BufferRequest::new(Format::ARGB8888, SIDE, SIDE, Usage::RENDER)).unwrap();
    let host = second.host().clone();
    let leaves_as = host.export(buffer.resource_id()).unwrap().kind;
    let body = on_resource(buffer.resource_id());
    let expected = match leaves_as {
        ExportKind::DmaBuf => Reply::OkNoData,
        _ => Reply::ErrInvalidResourceId,
    };
    assert_eq!(send(&second, Command::CtxAttachResource, CONTEXT + 1, &[body.as_bytes()]), expected);
    assert_eq!(
        send(&second, Command::CtxAttachResource, CONTEXT + 1, &[on_resource(4711).as_bytes()]),
        Reply::ErrInvalidResourceId
    );
    let attached = host.contexts().iter().find(|context| context.id == CONTEXT + 1).unwrap().attached;
    assert_eq!(attached, usize::from(leaves_as == ExportKind::DmaBuf));
}

#[test]
fn guest_pages_come_to_virgl_as_a_dma_buf_or_are_refused_by_name() {
    let Some(turn) = turn() else { return };
    let node = turn.node(None);
    open_context(&node);
    let handles = node.resource_create_blob(&GUEST_BLOB).unwrap();
    let of_context = || node.host().contexts().into_iter().find(|context| context.id == CONTEXT).unwrap();
    assert_eq!(of_context().held, Amount { bytes: 0, objects: 1, fds: 1 }, "what the renderer has of it is the context's to pay");
    if of_context().attached == 0 {
        let told = &node.host().renderer().unwrap().refused[0];
        assert!(told.contains(&format!("resource {}", handles.resource_id)) && told.contains("dma-bufs only"), "{told}");
    }
    node.gem_close(handles.bo_handle).unwrap();
    assert_eq!((node.host().stats().resources, node.host().stats().held), (0, Amount::default()));
}

#[test]
fn a_resource_that_is_attached_twice_is_gone_when_it_goes() {
    let Some(turn) = turn() else { return };
    let node = turn.node(None);
    open_context(&node);
    let first = node.resource_create_blob(&GUEST_BLOB).unwrap();
    if node.host().stats().attachments == 0 {
        eprintln!("skipped: guest pages are no dma-bufs here");
        return;
    }
    let again = on_resource(first.resource_id);
    assert_eq!(send(&node, Command::CtxAttachResource, CONTEXT, &[again.as_bytes()]), Reply::OkNoData);
    let second = node.resource_create_blob(&GUEST_BLOB).unwrap();
    assert_eq!(node.host().stats().attachments, 2);
    node.gem_close(first.bo_handle).unwrap();
    // PIPE_RESOURCE_SET_TYPE looks for it among those that were attached.
    let typed = command(PIPE_RESOURCE_SET_TYPE, 0, &[first.resource_id, bgra(), BIND_TARGET_AND_SAMPLED, 8, 8, 0, 0, 0, 32, 0]);
    assert_eq!(stream(&node, CONTEXT, typed.as_bytes()), Reply::ErrInvalidParameter);
    node.gem_close(second.bo_handle).unwrap();
    assert_eq!((node.host().stats().attachments, node.host().stats().held), (0, Amount::default()));
}

#[test]
fn a_blob_is_claimed_where_its_object_is_only() {
    let Some(turn) = turn() else { return };
    let node = turn.node(None);
    let other = node.open_again();
    open_context(&node);
    other.context_init(&ContextInit { capset_id: 20, num_rings: 1, debug_name: "" }).unwrap();
    let claim = |ctx_id, resource_id: u32, blob_id: u64, blob_mem: u32| {
        let body = wire::ResourceCreateBlob {
            resource_id: resource_id.into(),
            blob_mem: blob_mem.into(),
            blob_id: blob_id.into(),
            size: 4096.into(),
            ..wire::ResourceCreateBlob::default()
        };
        send(&node, Command::ResourceCreateBlob, ctx_id, &[body.as_bytes()])
    };
    // Object 9, in the context of virgl.
    let pipe = command(PIPE_RESOURCE_CREATE, 0, &[2, bgra(), BIND_TARGET_AND_SAMPLED, SIDE, SIDE, 1, 1, 0, 0, 0, 9]);
    submit(&node, pipe.as_bytes(), &[], None);
    assert_eq!(claim(CONTEXT + 1, 900, 9, wire::BLOB_MEM_HOST3D), Reply::ErrInvalidParameter, "it is not the allocator's");
    assert_eq!(claim(CONTEXT, 900, 8, wire::BLOB_MEM_HOST3D), Reply::ErrInvalidParameter, "there is no such object");
    assert_eq!(claim(CONTEXT, 900, 9, wire::BLOB_MEM_HOST3D_GUEST), Reply::ErrInvalidParameter, "not of this kind");
    let taken = square(&node);
    assert_eq!(claim(CONTEXT, taken.resource_id, 9, wire::BLOB_MEM_HOST3D), Reply::ErrInvalidResourceId, "the number is taken");
    assert_eq!(claim(CONTEXT, 900, 9, wire::BLOB_MEM_HOST3D), Reply::OkNoData);
    assert_eq!(claim(CONTEXT, 901, 9, wire::BLOB_MEM_HOST3D), Reply::ErrInvalidParameter, "claimed already");
    assert_eq!(send(&node, Command::ResourceUnref, 0, &[on_resource(900).as_bytes()]), Reply::OkNoData);
}

#[test]
fn a_blob_that_is_a_texture_is_listed_with_its_layout_and_shown() {
    let Some(turn) = turn() else { return };
    let config = DeviceConfig { scanout: Some((SIDE, SIDE)), ..DeviceConfig::default() };
    let node = Loopback::with_options(LoopbackOptions { config, ..turn.options() }).unwrap();
    open_context(&node);
    let handles = texture_blob(&node, bgra(), SIDE, SIDE, (SIDE * SIDE * 4).into());
    submit(&node, &orange(handles.resource_id), &[handles.bo_handle], None);
    let listed = node.host().resources().into_iter().find(|resource| resource.id == handles.resource_id).unwrap();
    let layout = listed.layout.expect("it is a texture of a known format");
    // Where it leaves, as GL has it in memory.
    assert!([Format::ARGB8888, Format::ABGR8888].contains(&layout.format), "{layout:?}");
    assert_eq!((layout.width, layout.height), (SIDE, SIDE));
    let body = wire::SetScanoutBlob {
        rect: wire::Rect { width: SIDE.into(), height: SIDE.into(), ..wire::Rect::default() },
        resource_id: handles.resource_id.into(),
        width: SIDE.into(),
        height: SIDE.into(),
        // VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM.
        format: 1.into(),
        strides: [(SIDE * 4).into(), 0.into(), 0.into(), 0.into()],
        ..wire::SetScanoutBlob::default()
    };
    assert_eq!(send(&node, Command::SetScanoutBlob, 0, &[body.as_bytes()]), Reply::OkNoData);
    let [picture, screen] = [node.host().picture(handles.resource_id).unwrap(), node.host().screenshot(0).unwrap()];
    assert!(picture.rgba.chunks_exact(4).all(|pixel| pixel == [255, 128, 0, 255]));
    assert_eq!(screen, picture);
}

#[test]
fn a_buffer_of_a_format_of_colours_is_no_texture_and_does_not_leave() {
    let Some(turn) = turn() else { return };
    let node = turn.node(None);
    open_context(&node);
    // Some textures, whose names GL gives buffers too.
    let textures = [(); 8].map(|()| texture(&node, bgra(), SIDE, 1));
    let vertices = [TARGET_BUFFER, BIND_VERTEX_BUFFER];
    let handles = blob(&node, vertices, bgra(), SIDE * 4, 1, (SIDE * 4).into());
    let listed = node.host().resources().into_iter().find(|resource| resource.id == handles.resource_id).unwrap();
    assert_eq!(listed.layout, None);
    assert!(node.host().export(handles.resource_id).is_err());
    assert!(node.host().picture(handles.resource_id).is_err());
    let created = node.resource_create(&ResourceCreate {
        target: TARGET_BUFFER,
        format: bgra(),
        bind: BIND_VERTEX_BUFFER,
        width: SIDE * 4,
        height: 1,
        size: SIDE * 4,
    });
    assert!(node.host().export(created.unwrap().resource_id).is_err());
    textures.iter().for_each(|texture| node.gem_close(texture.bo_handle).unwrap());
}

#[test]
fn a_guest_that_dies_in_the_middle_of_a_frame_leaves_nothing_to_the_next() {
    let Some(turn) = turn() else { return };
    for _ in 0..3 {
        let node = turn.node(None);
        open_context(&node);
        let handles = square(&node);
        submit(&node, &orange(handles.resource_id), &[], None);
        // As a VMM that is gone: nothing is destroyed by the guest.
        node.host().reset();
        let Stats { contexts, resources, attachments, held, .. } = node.host().stats();
        assert_eq!((contexts, resources, attachments, held), (0, 0, 0, Amount::default()));
        assert!(node.wait(handles.bo_handle).is_ok(), "whoever waits is told");
    }
    let node = turn.node(None);
    open_context(&node);
    let handles = square(&node);
    submit(&node, &orange(handles.resource_id), &[handles.bo_handle], None);
    assert_eq!(ends(&node, handles.bo_handle), [ORANGE_BYTES; 2]);
}

#[test]
fn our_guest_library_allocates_through_the_library_where_that_takes_no_image_of_ours() {
    let Some(turn) = turn() else { return };
    let resolvers: Vec<Box<dyn Resolver>> = vec![Box::new(MemoryResolver::without_udmabuf())];
    let node = Loopback::with_options(LoopbackOptions { resolvers, ..turn.options() }).unwrap();
    let host = node.host().clone();
    let device = Device::open(node).unwrap();
    let chosen = device.verdicts().iter().find(|verdict| verdict.chosen).unwrap().kind;
    assert_eq!(chosen, BackendKind::Virgl);
    let buffer = device.create(&BufferRequest::new(Format::ARGB8888, SIDE, SIDE, Usage::RENDER | Usage::CPU)).unwrap();
    {
        let mapping = buffer.map(buffer.layout().whole(), Access::WRITE).unwrap();
        mapping.write_row(0, 0, &ORANGE_BYTES.repeat(SIDE as usize)).unwrap();
        mapping.finish().unwrap();
    }
    let picture = host.picture(buffer.resource_id()).unwrap();
    assert_eq!(&picture.rgba[..4], &[255, 128, 0, 255]);
}

#[test]
fn a_thousand_textures_leave_nothing_behind() {
    let Some(turn) = turn() else { return };
    let node = turn.node(None);
    open_context(&node);
    let round = |_| {
        let handles = square(&node);
        submit(&node, &orange(handles.resource_id), &[handles.bo_handle], None);
        assert_eq!(ends(&node, handles.bo_handle), [ORANGE_BYTES; 2]);
        node.gem_close(handles.bo_handle).unwrap();
    };
    (0..10).for_each(round);
    let (before, held) = (settled_descriptors(), node.host().stats().held);
    (0..1000).for_each(round);
    assert_eq!((node.host().stats().held, node.host().stats().resources), (held, 0));
    assert!(settled_descriptors() <= before + 2, "{before} before");
}

#[test]
fn a_second_library_and_a_second_virgl_are_refused() {
    let Some(turn) = turn() else { return };
    assert_eq!(VirglRenderer::open(Kinds::VIRGL, None).err(), Some(OpenError::Twice));
    let config = DeviceConfig { protocols: Protocols::all(), ..DeviceConfig::default() };
    let options = LoopbackOptions { config, ..turn.options() };
    assert_eq!(Loopback::with_options(options).err(), Some(DeviceError::TwoVirgls));
}

#[test]
fn one_device_has_the_renderer_at_a_time() {
    let Some(turn) = turn() else { return };
    let node = turn.node(None);
    assert_eq!(Loopback::with_options(turn.options()).err(), Some(DeviceError::RendererTaken));
    drop(node);
    assert!(Loopback::with_options(turn.options()).is_ok());
}

#[test]
fn a_node_that_there_is_not_is_named() {
    let missing = Path::new("/nonexistent/renderD128");
    let refused = VirglRenderer::open(Kinds::VIRGL, Some(missing.to_owned())).err().unwrap();
    assert!(matches!(&refused, OpenError::Node(path, _) if path == missing), "{refused}");
}
