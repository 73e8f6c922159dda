use super::*;
use crate::host::test_rig::{Guest, entry};
use crate::host::{DeviceConfig, MemoryResolver, Protocols, Resolver};
use crate::wire::virgl::{CAPSET_ID_VIRGL2, CommandHeader, RESOURCE_FLAG_MAP_COHERENT};
use crate::wire::virtio_gpu::{self as wire, Command as Control, Reply};
use zerocopy::IntoBytes;

/// `VIRGL_FORMAT_*`.
const R8G8B8A8: u32 = 67;
const NV12: u32 = 166;

/// A guest whose context 1 has the capset.
fn guest() -> Guest {
    let config = DeviceConfig { protocols: Protocols::VIRGL, ..DeviceConfig::default() };
    let resolvers: Vec<Box<dyn Resolver>> = vec![Box::new(MemoryResolver::without_udmabuf())];
    let guest = Guest::bare(config, resolvers);
    guest.create_context(1, CAPSET_ID_VIRGL2);
    guest
}

fn create(blob_id: u32, format: u32, width: u32, height: u32) -> PipeResourceCreate {
    PipeResourceCreate {
        target: TARGET_TEXTURE_2D.into(),
        format: format.into(),
        width: width.into(),
        height: height.into(),
        depth: 1.into(),
        array_size: 1.into(),
        flags: (RESOURCE_FLAG_MAP_PERSISTENT | RESOURCE_FLAG_MAP_COHERENT).into(),
        blob_id: blob_id.into(),
        ..PipeResourceCreate::default()
    }
}

fn command(command: Command, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [CommandHeader::new(command, body.len()).as_bytes(), &body].concat()
}

fn submit_create(guest: &Guest, create: PipeResourceCreate) -> Reply {
    guest.submit(1, &command(Command::PipeResourceCreate, &[create.as_bytes()]))
}

#[test]
fn a_texture_becomes_a_blob_once() {
    let guest = guest();
    assert_eq!(submit_create(&guest, create(3, R8G8B8A8, 10, 10)), Reply::OkNoData);
    assert_eq!((guest.device.stats().objects, guest.device.stats().held.bytes), (1, 0), "its memory is made with the blob");
    assert_eq!(guest.host_blob(5, 3, 4096, BLOB_FLAG_USE_MAPPABLE), Reply::OkNoData);
    assert_eq!(guest.map(5, 0), Reply::OkMapInfo);
    let picture = guest.device.picture(5).unwrap();
    assert_eq!((picture.width, picture.height), (10, 10));
    assert_eq!(guest.host_blob(6, 3, 4096, 0), Reply::ErrInvalidParameter);
    assert_eq!(guest.device.stats().objects, 0);
}

#[test]
fn sizes_and_flags_are_compared_with_the_texture() {
    let guest = guest();
    for (blob_id, size) in [(1, 399), (2, 1 << 17)] {
        submit_create(&guest, create(blob_id, R8G8B8A8, 10, 10));
        assert_eq!(guest.host_blob(5, blob_id.into(), size, 0), Reply::ErrInvalidParameter, "{size}");
    }
    let unmappable = PipeResourceCreate { flags: 0.into(), ..create(3, R8G8B8A8, 10, 10) };
    submit_create(&guest, unmappable);
    assert_eq!(guest.host_blob(5, 3, 4096, BLOB_FLAG_USE_MAPPABLE), Reply::ErrInvalidParameter);
    assert_eq!(guest.device.stats().objects, 0, "a refused claim frees the texture");
}

#[test]
fn textures_that_no_allocator_makes_are_refused() {
    let guest = guest();
    let good = create(1, R8G8B8A8, 10, 10);
    let bad = [
        PipeResourceCreate { target: 3.into(), ..good },
        PipeResourceCreate { depth: 2.into(), ..good },
        PipeResourceCreate { array_size: 2.into(), ..good },
        PipeResourceCreate { last_level: 1.into(), ..good },
        PipeResourceCreate { nr_samples: 2.into(), ..good },
        PipeResourceCreate { format: 511.into(), ..good },
        PipeResourceCreate { width: 0.into(), ..good },
        PipeResourceCreate { width: u32::MAX.into(), ..good },
        PipeResourceCreate { blob_id: 0.into(), ..good },
    ];
    for (index, bad) in bad.into_iter().enumerate() {
        assert_eq!(submit_create(&guest, bad), Reply::ErrInvalidParameter, "row {index}");
    }
    submit_create(&guest, good);
    assert_eq!(submit_create(&guest, good), Reply::ErrInvalidParameter, "its id is taken");
}

#[test]
fn pending_textures_have_a_quota() {
    let guest = guest();
    let refused = (1..100_000).find(|id| submit_create(&guest, create(*id, R8G8B8A8, 10, 10)) != Reply::OkNoData);
    assert_eq!(refused, Some(16_385));
    guest.on_resource(Control::CtxDestroy, 1, 0);
    assert_eq!(guest.device.stats().held.objects, 0);
}

#[test]
fn what_draws_is_left_out_and_what_is_cut_short_ends_the_submission() {
    let guest = guest();
    let texture = command(Command::PipeResourceCreate, &[create(1, R8G8B8A8, 10, 10).as_bytes()]);
    let draw = [8, 0, 1, 0, 9, 9, 9, 9];
    assert_eq!(guest.submit(1, &[&draw, &texture[..]].concat()), Reply::OkNoData);
    for length in 1..texture.len() {
        assert_eq!(guest.submit(1, &texture[..length]), Reply::ErrInvalidParameter, "{length}");
    }
    let short = command(Command::PipeResourceCreate, &[&[0; 40]]);
    assert_eq!(guest.submit(1, &short), Reply::ErrInvalidParameter);
    assert_eq!((guest.device.stats().objects, guest.submit(1, &[])), (1, Reply::OkNoData));
}

#[test]
fn set_type_says_what_a_blob_holds_once() {
    let guest = guest();
    assert_eq!(guest.host_blob(5, 0, 4096, 0), Reply::OkNoData);
    let set = |id: u32, stride: u32| {
        let set = PipeResourceSetType {
            res_handle: id.into(),
            format: R8G8B8A8.into(),
            width: 10.into(),
            height: 10.into(),
            ..PipeResourceSetType::default()
        };
        let plane = PlaneLayout { stride: stride.into(), offset: 0.into() };
        guest.submit(1, &command(Command::PipeResourceSetType, &[set.as_bytes(), plane.as_bytes()]))
    };
    assert_eq!(set(5, 64), Reply::ErrInvalidResourceId, "it is not attached");
    guest.attach(1, 5);
    assert_eq!((set(5, 39), set(5, 4096)), (Reply::ErrInvalidParameter, Reply::ErrInvalidParameter));
    assert_eq!((set(5, 64), set(5, 48)), (Reply::OkNoData, Reply::OkNoData));
    let stride = guest.device.resources()[0].layout.unwrap().planes[0].stride_bytes;
    assert_eq!(stride, 64, "it is not said anew");
}

/// A classic NV12 resource of 5x3 with a page behind it, whose bytes count up.
fn planar_guest() -> Guest {
    let guest = guest();
    let create = wire::ResourceCreate3d {
        resource_id: 7.into(),
        target: TARGET_TEXTURE_2D.into(),
        format: NV12.into(),
        width: 5.into(),
        height: 3.into(),
        depth: 1.into(),
        array_size: 1.into(),
        ..wire::ResourceCreate3d::default()
    };
    assert_eq!(guest.command(Control::ResourceCreate3d, 0, create, &[]), Reply::OkNoData);
    guest.attach_backing(7, 1, &[entry(4096, 4096)]);
    guest.attach(1, 7);
    guest.pages.write_all(4096, &(0..=255).collect::<Vec<u8>>());
    guest
}

fn transfer(guest: &Guest, command: Control, [x, y, w, h]: [u32; 4], level: u32) -> Reply {
    let area = wire::Box3d { x: x.into(), y: y.into(), w: w.into(), h: h.into(), d: 1.into(), ..wire::Box3d::default() };
    let body = wire::TransferHost3d { area, resource_id: 7.into(), level: level.into(), ..wire::TransferHost3d::default() };
    guest.command(command, 1, body, &[])
}

#[test]
fn one_transfer_carries_all_planes_with_the_stride_that_the_level_says() {
    let guest = planar_guest();
    assert_eq!(transfer(&guest, Control::TransferToHost3d, [0, 0, 5, 3], 8), Reply::OkNoData);
    let mut bytes = [0; 15 + 12];
    guest.device.read_resource(7, 0, &mut bytes).unwrap();
    let luma = [0, 1, 2, 3, 4, 8, 9, 10, 11, 12, 16, 17, 18, 19, 20];
    // The guest's chroma follows three rows of luma, and has its stride.
    let chroma = [24, 25, 26, 27, 28, 29, 32, 33, 34, 35, 36, 37];
    assert_eq!((&bytes[..15], &bytes[15..]), (&luma[..], &chroma[..]));
}

#[test]
fn without_a_stride_rows_are_whole_samples() {
    let guest = planar_guest();
    assert_eq!(transfer(&guest, Control::TransferToHost3d, [0, 0, 5, 3], 0), Reply::OkNoData);
    let mut bytes = [0; 16];
    guest.device.read_resource(7, 0, &mut bytes).unwrap();
    assert_eq!(bytes, [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 18]);
}

#[test]
fn a_rectangle_takes_the_chroma_that_it_touches_and_no_more() {
    let guest = planar_guest();
    assert_eq!(transfer(&guest, Control::TransferToHost3d, [3, 2, 1, 1], 8), Reply::OkNoData);
    let mut bytes = [0; 27];
    guest.device.read_resource(7, 0, &mut bytes).unwrap();
    let mut expected = [0; 27];
    expected[2 * 5 + 3] = 16 + 3;
    expected[15 + 6 + 2..15 + 6 + 4].copy_from_slice(&[24 + 8 + 2, 24 + 8 + 3]);
    assert_eq!(bytes, expected);
    guest.pages.write_all(4096, &[0; 256]);
    assert_eq!(transfer(&guest, Control::TransferFromHost3d, [0, 0, 5, 3], 8), Reply::OkNoData);
    assert_eq!(guest.pages.read_all(4096 + 24 + 8 + 2, 2), [34, 35]);
}

#[test]
fn strides_beyond_the_pages_are_refused() {
    let guest = planar_guest();
    for level in [4096, u32::MAX] {
        assert_eq!(transfer(&guest, Control::TransferToHost3d, [0, 0, 5, 3], level), Reply::ErrInvalidParameter);
    }
    assert_eq!(transfer(&guest, Control::TransferToHost3d, [0, 0, 6, 3], 8), Reply::ErrInvalidParameter);
}
