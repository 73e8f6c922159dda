use super::*;
use crate::host::test_rig::*;
use crate::host::{MemoryResolver, Quota};
use crate::wire::{alloc, virtio_gpu as wire};
use zerocopy::FromBytes;

fn resource_id(id: u32) -> wire::ResourceId {
    wire::ResourceId { resource_id: id.into(), ..wire::ResourceId::default() }
}

fn create_3d(guest: &Guest, id: u32, format: u32, change: impl FnOnce(&mut wire::ResourceCreate3d)) -> Reply {
    let mut body = wire::ResourceCreate3d {
        resource_id: id.into(),
        target: wire::TARGET_TEXTURE_2D.into(),
        format: format.into(),
        width: 16.into(),
        height: 16.into(),
        depth: 1.into(),
        array_size: 1.into(),
        ..wire::ResourceCreate3d::default()
    };
    change(&mut body);
    guest.command(Command::ResourceCreate3d, 0, body, &[])
}

fn transfer_3d(guest: &Guest, command: Command, id: u32, area: [u32; 4], offset: u64, stride: u32) -> Reply {
    let [x, y, w, h] = area.map(Into::into);
    let body = wire::TransferHost3d {
        area: wire::Box3d { x, y, w, h, d: 1.into(), ..wire::Box3d::default() },
        offset: offset.into(),
        resource_id: id.into(),
        stride: stride.into(),
        ..wire::TransferHost3d::default()
    };
    guest.command(command, 1, body, &[])
}

#[test]
fn a_configuration_that_no_guest_could_use_is_refused() {
    let device = |config| {
        let memory = Arc::new(Pages::new(4096));
        Device::new(config, vec![], memory, Arc::new(Shelf::default())).err()
    };
    for capset_id in [0, 5, 32, 64] {
        let config = DeviceConfig { capset_id, ..DeviceConfig::default() };
        assert_eq!(device(config), Some(DeviceError::CapsetId(capset_id)));
    }
    let config = DeviceConfig { blob_alignment: 5000, ..DeviceConfig::default() };
    assert_eq!(device(config), Some(DeviceError::BlobAlignment(5000)));
}

#[test]
fn the_alignment_of_blobs_is_told_where_it_is_offered() {
    let config = DeviceConfig { blob_alignment: 65_536, ..DeviceConfig::default() };
    assert_eq!(Guest::with_config(config).device.config_space().blob_alignment.get(), 0);
    let offered = Guest::with_config(DeviceConfig { features: Features::all(), ..config }).device;
    assert_eq!((offered.config_space().blob_alignment.get(), offered.features() & 1 << 5), (65_536, 1 << 5));
}

#[test]
fn the_capset_is_listed_and_read_whole() {
    let guest = Guest::new();
    let (header, body) = guest.send(CtrlHdr::command(Command::GetCapsetInfo, 0), &[wire::GetCapsetInfo::default().as_bytes()]);
    let info = wire::CapsetInfo::read_from_bytes(&body).unwrap();
    assert_eq!((header.ctype.get(), info.capset_id.get(), info.max_version.get()), (0x1102, 20, 1));
    let body = wire::GetCapset { capset_id: 20.into(), version: 1.into() };
    let (header, capset) = guest.send(CtrlHdr::command(Command::GetCapset, 0), &[body.as_bytes()]);
    assert_eq!((header.ctype.get(), capset.len()), (0x1103, info.max_size.get() as usize));
    assert!(Offer::decode(&capset).unwrap().capabilities.contains(Capabilities::HOST_VISIBLE));
}

#[test]
fn other_capsets_indexes_and_versions_are_refused() {
    let guest = Guest::new();
    let index = wire::GetCapsetInfo { capset_index: 2.into(), ..wire::GetCapsetInfo::default() };
    assert_eq!(guest.command(Command::GetCapsetInfo, 0, index, &[]), Reply::ErrInvalidParameter);
    for (capset_id, version) in [(1, 1), (20, 2)] {
        let body = wire::GetCapset { capset_id: u32::into(capset_id), version: u32::into(version) };
        assert_eq!(guest.command(Command::GetCapset, 0, body, &[]), Reply::ErrInvalidParameter);
    }
}

#[test]
fn commands_that_are_cut_short_or_unknown_get_an_error_and_nothing_else() {
    let guest = Guest::new();
    let mut reply = Vec::new();
    for length in 0..24 {
        guest.device.execute(&vec![1; length], &mut reply);
        assert_eq!(CtrlHdr::read_from_bytes(&reply).unwrap().ctype.get(), Reply::ErrUnspec.number());
    }
    for number in [0, 0xff, 0x10e, 0x20a, u32::MAX] {
        let (header, body) = guest.send(CtrlHdr { ctype: number.into(), ..CtrlHdr::default() }, &[&[0; 100]]);
        assert_eq!((header.ctype.get(), body.len()), (Reply::ErrUnspec.number(), 0));
    }
    // GET_DISPLAY_INFO has no body to cut.
    for command in (0x101..0x302).filter_map(Command::from_number) {
        let (header, body) = guest.send(CtrlHdr::command(command, 9), &[&[0; 3]]);
        assert!(header.ctype.get() >= Reply::ErrUnspec.number(), "{command:?}");
        assert!(body.is_empty(), "{command:?}");
    }
}

#[test]
fn a_fence_comes_back_with_its_id_and_ring() {
    let guest = Guest::new();
    let fenced = |ring_idx, flags: u32| {
        let header = CtrlHdr { flags: flags.into(), fence_id: 77.into(), ring_idx, ..CtrlHdr::command(Command::Submit3d, 1) };
        guest.send(header, &[wire::Submit3d::default().as_bytes()]).0
    };
    let answer = fenced(3, wire::FLAG_FENCE | wire::FLAG_INFO_RING_IDX);
    assert_eq!((answer.ctype.get(), answer.flags.get(), answer.fence_id.get(), answer.ring_idx), (0x1100, 3, 77, 3));
    let unfenced = fenced(0, 0);
    assert_eq!((unfenced.flags.get(), unfenced.fence_id.get()), (0, 0));
    assert_eq!(fenced(64, wire::FLAG_FENCE | wire::FLAG_INFO_RING_IDX).ctype.get(), Reply::ErrInvalidParameter.number());
    let header = CtrlHdr { flags: 1.into(), fence_id: 5.into(), ..CtrlHdr::command(Command::Submit3d, 9) };
    let (refused, _) = guest.send(header, &[wire::Submit3d::default().as_bytes()]);
    assert_eq!((refused.ctype.get(), refused.fence_id.get()), (Reply::ErrInvalidContextId.number(), 5));
}

#[test]
fn contexts_have_unique_numbers_known_capsets_and_a_limit() {
    let quota = Quota { contexts: 2, ..Quota::default() };
    let guest = Guest::with_quota(quota);
    let create = |id, capset: u32| {
        let body = wire::CtxCreate { context_init: capset.into(), ..wire::CtxCreate::default() };
        guest.command(Command::CtxCreate, id, body, &[])
    };
    assert_eq!(create(0, 20), Reply::ErrInvalidContextId);
    assert_eq!(create(1, 20), Reply::ErrInvalidContextId);
    assert_eq!(create(2, 4), Reply::ErrInvalidParameter);
    assert_eq!(create(2, 0x100 | 20), Reply::OkNoData, "only the low eight bits are the capset");
    assert_eq!(create(3, 20), Reply::ErrOutOfMemory);
    assert_eq!(guest.on_resource(Command::CtxDestroy, 2, 0), Reply::OkNoData);
    assert_eq!(guest.on_resource(Command::CtxDestroy, 2, 0), Reply::ErrInvalidContextId);
}

#[test]
fn names_of_contexts_lose_their_control_characters() {
    let guest = Guest::new();
    let mut body = wire::CtxCreate { nlen: 100.into(), ..wire::CtxCreate::default() };
    body.debug_name[..7].copy_from_slice(b"a\x1b[2Jb\n");
    assert_eq!(guest.command(Command::CtxCreate, 5, body, &[]), Reply::OkNoData);
    assert_eq!(guest.device.lock().contexts[&5].name, "a[2Jb");
}

#[test]
fn attachments_are_counted_and_bounded() {
    let guest = Guest::with_quota(Quota { attachments: 2, ..Quota::default() });
    guest.guest_blob(2, 8192, 4096);
    guest.guest_blob(3, 16384, 4096);
    guest.attach(1, 2);
    guest.attach(1, 2);
    assert_eq!(guest.device.stats().attachments, 2);
    assert_eq!(guest.on_resource(Command::CtxAttachResource, 1, 3), Reply::ErrOutOfMemory);
    assert_eq!(guest.on_resource(Command::CtxDetachResource, 1, 2), Reply::OkNoData);
    assert_eq!(guest.on_resource(Command::CtxDetachResource, 1, 2), Reply::ErrInvalidResourceId);
    assert_eq!(guest.on_resource(Command::CtxAttachResource, 1, 99), Reply::ErrInvalidResourceId);
    assert_eq!(guest.on_resource(Command::CtxAttachResource, 9, 3), Reply::ErrInvalidContextId);
    assert_eq!(guest.device.stats().attachments, 1);
}

#[test]
fn a_2d_resource_takes_what_is_transferred_to_it() {
    let guest = Guest::new();
    assert_eq!(guest.create_2d(7, 2, 4, 2), Reply::OkNoData);
    assert_eq!(guest.attach_backing(7, 2, &[entry(8192, 20), entry(4096, 12)]), Reply::OkNoData);
    guest.pages.write(8192, &[1; 20]).unwrap();
    guest.pages.write(4096, &[2; 12]).unwrap();
    let transfer = |x: u32, y: u32, width: u32, height: u32, offset: u64| {
        let rect = wire::Rect { x: x.into(), y: y.into(), width: width.into(), height: height.into() };
        let body = wire::TransferToHost2d { rect, offset: offset.into(), resource_id: 7.into(), padding: 0.into() };
        guest.command(Command::TransferToHost2d, 0, body, &[])
    };
    assert_eq!(transfer(1, 0, 2, 2, 4), Reply::OkNoData);
    let mut seen = [9; 32];
    guest.device.read_resource(7, 0, &mut seen).unwrap();
    let mut expected = [0; 32];
    expected[4..12].fill(1);
    expected[20..28].fill(2);
    assert_eq!(seen, expected);
    for (x, y, width, height, offset) in
        [(3, 0, 2, 1, 0), (0, 1, 1, 2, 0), (0, 0, 0, 1, 0), (0, 0, 4, 2, 4), (1, 0, u32::MAX, 1, 0), (0, 0, 4, 2, u64::MAX)]
    {
        assert_eq!(transfer(x, y, width, height, offset), Reply::ErrInvalidParameter, "{x},{y} {width}x{height} + {offset}");
    }
}

#[test]
fn a_3d_resource_is_transferred_both_ways_with_the_guests_stride() {
    let guest = Guest::new();
    assert_eq!(create_3d(&guest, 7, 64, |_| {}), Reply::OkNoData, "R8");
    assert_eq!(guest.attach_backing(7, 1, &[entry(4096, 4096)]), Reply::OkNoData);
    guest.pages.write(4096, &[5, 6, 0, 0, 7, 8]).unwrap();
    let to_host = Command::TransferToHost3d;
    assert_eq!(transfer_3d(&guest, to_host, 7, [2, 3, 2, 2], 0, 4), Reply::ErrInvalidResourceId, "not attached");
    guest.attach(1, 7);
    assert_eq!(transfer_3d(&guest, to_host, 7, [2, 3, 2, 2], 0, 4), Reply::OkNoData);
    assert_eq!(transfer_3d(&guest, Command::TransferFromHost3d, 7, [2, 3, 2, 2], 100, 2), Reply::OkNoData);
    let mut back = [0; 4];
    guest.pages.read(4196, &mut back).unwrap();
    assert_eq!(back, [5, 6, 7, 8]);
    assert_eq!(transfer_3d(&guest, to_host, 7, [15, 0, 2, 1], 0, 0), Reply::ErrInvalidParameter);
    assert_eq!(transfer_3d(&guest, to_host, 7, [0, 0, 16, 16], u64::MAX, u32::MAX), Reply::ErrInvalidParameter);
}

#[test]
fn classic_resources_of_other_formats_and_shapes_are_refused() {
    let guest = Guest::new();
    assert_eq!(guest.create_2d(7, 166, 4, 4), Reply::ErrInvalidParameter, "NV12 is no 2D format");
    assert_eq!(guest.create_2d(7, 1, 0, 4), Reply::ErrInvalidParameter);
    assert_eq!(guest.create_2d(7, 1, 0x4000_0001, 1 << 16), Reply::ErrInvalidParameter, "4 * width wraps 32 bits");
    assert_eq!(guest.create_2d(7, 1, 65535, 65535), Reply::ErrOutOfMemory);
    assert_eq!(guest.create_2d(0, 1, 4, 4), Reply::ErrInvalidResourceId);
    assert_eq!(guest.create_2d(RING, 1, 4, 4), Reply::ErrInvalidResourceId);
    assert_eq!(create_3d(&guest, 7, 1, |body| body.target = 3.into()), Reply::ErrInvalidParameter);
    assert_eq!(create_3d(&guest, 7, 1, |body| body.array_size = 2.into()), Reply::ErrInvalidParameter);
    assert_eq!(create_3d(&guest, 7, 1, |body| body.last_level = 1.into()), Reply::ErrInvalidParameter);
    assert_eq!(guest.device.stats().resources, 1);
}

#[test]
fn backings_are_attached_once_and_checked() {
    let guest = Guest::new();
    guest.create_2d(7, 1, 4, 4);
    let before = guest.device.stats();
    assert_eq!(guest.attach_backing(7, u32::MAX, &[entry(0, 64)]), Reply::ErrInvalidParameter);
    assert_eq!(guest.attach_backing(7, 2, &[entry(0, 64)]), Reply::ErrInvalidParameter);
    assert_eq!(guest.attach_backing(7, 1, &[entry(MEMORY_BYTES as u64, 64)]), Reply::ErrInvalidParameter);
    assert_eq!(guest.attach_backing(7, 1, &[entry(u64::MAX, 64)]), Reply::ErrInvalidParameter);
    assert_eq!(guest.attach_backing(7, 0, &[]), Reply::ErrInvalidParameter);
    assert_eq!(guest.device.stats().held, before.held);
    assert_eq!(guest.attach_backing(7, 1, &[entry(0, 64)]), Reply::OkNoData);
    assert_eq!(guest.attach_backing(7, 1, &[entry(0, 64)]), Reply::ErrInvalidParameter, "twice");
    assert_eq!(guest.attach_backing(RING, 1, &[entry(0, 64)]), Reply::ErrInvalidParameter, "a blob");
    assert_eq!(guest.on_resource(Command::ResourceDetachBacking, 0, 7), Reply::OkNoData);
    assert_eq!(guest.on_resource(Command::ResourceDetachBacking, 0, 7), Reply::ErrInvalidParameter);
    assert_eq!(guest.device.stats().held, before.held);
}

#[test]
fn a_guest_blob_needs_pages_for_all_of_its_size() {
    let guest = Guest::new();
    let create = |size: u64, nr_entries: u32, entries: &[wire::MemEntry]| {
        let body = wire::ResourceCreateBlob {
            resource_id: 9.into(),
            blob_mem: wire::BLOB_MEM_GUEST.into(),
            nr_entries: nr_entries.into(),
            size: size.into(),
            ..wire::ResourceCreateBlob::default()
        };
        guest.command(Command::ResourceCreateBlob, 0, body, entries.as_bytes())
    };
    let before = guest.device.stats();
    assert_eq!(create(0, 1, &[entry(0, 4096)]), Reply::ErrInvalidParameter);
    assert_eq!(create(4097, 1, &[entry(0, 4096)]), Reply::ErrInvalidParameter);
    assert_eq!(create(4096, u32::MAX, &[entry(0, 4096)]), Reply::ErrInvalidParameter);
    assert_eq!(create(4096, 1, &[entry(MEMORY_BYTES as u64 - 1, 4096)]), Reply::ErrInvalidParameter);
    assert_eq!(guest.device.stats().held, before.held);
    assert_eq!(create(4096, 1, &[entry(8192, 4096)]), Reply::OkNoData);
    guest.pages.write(8192 + 5, b"seen in place").unwrap();
    let mut seen = [0; 13];
    guest.device.read_resource(9, 5, &mut seen).unwrap();
    assert_eq!(&seen, b"seen in place");
}

#[test]
fn only_mappable_host_memory_goes_into_the_window() {
    let guest = Guest::new();
    guest.create_2d(7, 1, 4, 4);
    assert_eq!(guest.map(7, 0), Reply::ErrInvalidParameter, "a classic resource");
    assert_eq!(guest.map(RING, 0), Reply::ErrInvalidParameter, "a guest blob");
    assert_eq!(guest.map(99, 0), Reply::ErrInvalidResourceId);
    assert_eq!(guest.host_blob(8, 0, 4096, 0), Reply::OkNoData);
    assert_eq!(guest.map(8, 0), Reply::ErrInvalidParameter, "not MAPPABLE");
    assert!(guest.window.mapped.lock().unwrap().is_empty());
}

#[test]
fn ranges_of_the_window_are_aligned_inside_and_taken_once() {
    let guest = Guest::new();
    for id in [8, 9] {
        assert_eq!(guest.host_blob(id, 0, 8192, wire::BLOB_FLAG_USE_MAPPABLE), Reply::OkNoData);
    }
    for offset in [1, 4095, (1 << 20) - 4096, 1 << 20, u64::MAX - 4095] {
        assert_eq!(guest.map(8, offset), Reply::ErrInvalidParameter, "{offset:#x}");
    }
    assert_eq!(guest.map(8, 4096), Reply::OkMapInfo);
    assert_eq!(guest.map(8, 65536), Reply::ErrInvalidParameter, "mapped already");
    for offset in [0, 4096, 8192] {
        assert_eq!(guest.map(9, offset), Reply::ErrInvalidParameter, "overlaps at {offset}");
    }
    assert_eq!(guest.map(9, 12288), Reply::OkMapInfo);
    assert_eq!(guest.on_resource(Command::ResourceUnmapBlob, 0, 8), Reply::OkNoData);
    assert_eq!(guest.on_resource(Command::ResourceUnmapBlob, 0, 8), Reply::ErrInvalidParameter);
    assert_eq!(guest.map(8, 4096), Reply::OkMapInfo);
    assert_eq!(guest.device.stats().mappings, 2);
}

#[test]
fn a_window_that_refuses_leaves_nothing_taken() {
    let guest = Guest::with_quota(Quota { mappings: 1, ..Quota::default() });
    for id in [8, 9] {
        guest.host_blob(id, 0, 4096, wire::BLOB_FLAG_USE_MAPPABLE);
    }
    guest.window.refuse.store(true, Ordering::Relaxed);
    assert_eq!(guest.map(8, 0), Reply::ErrUnspec);
    guest.window.refuse.store(false, Ordering::Relaxed);
    assert_eq!(guest.map(8, 0), Reply::OkMapInfo);
    assert_eq!(guest.map(9, 4096), Reply::ErrOutOfMemory, "the limit of mappings");
}

#[test]
fn a_resource_that_is_destroyed_or_reset_while_mapped_leaves_the_window() {
    let guest = Guest::new();
    for id in [8, 9] {
        guest.host_blob(id, 0, 4096, wire::BLOB_FLAG_USE_MAPPABLE);
        guest.map(id, u64::from(id) * 4096);
    }
    assert_eq!(guest.on_resource(Command::ResourceUnref, 0, 8), Reply::OkNoData);
    assert_eq!(guest.window.mapped.lock().unwrap().len(), 1);
    guest.device.reset();
    assert!(guest.window.mapped.lock().unwrap().is_empty());
    let Stats { commands, errors, .. } = guest.device.stats();
    assert_eq!(guest.device.stats(), Stats { commands, errors, ..Stats::default() });
}

#[test]
fn a_uuid_is_random_and_stays() {
    let guest = Guest::new();
    guest.guest_blob(9, 8192, 4096);
    let uuid = |id| {
        let (header, body) = guest.send(CtrlHdr::command(Command::ResourceAssignUuid, 0), &[resource_id(id).as_bytes()]);
        assert_eq!(header.ctype.get(), Reply::OkResourceUuid.number());
        body
    };
    assert_eq!(uuid(9), uuid(9));
    assert_ne!(uuid(9), uuid(RING));
    assert_eq!((uuid(9)[6] >> 4, uuid(9)[8] >> 6), (4, 2), "version and variant of RFC 9562");
}

#[test]
fn resources_survive_their_context_and_are_freed_with_the_last_name() {
    let guest = Guest::new();
    assert_eq!(guest.host_blob(8, 0, 4096, 0), Reply::OkNoData);
    let held = guest.device.stats().held;
    assert_eq!(guest.on_resource(Command::CtxDestroy, 1, 0), Reply::OkNoData);
    assert_eq!(guest.device.stats().held, held);
    assert_eq!(guest.device.stats().attachments, 0);
    for id in [8, RING] {
        assert_eq!(guest.on_resource(Command::ResourceUnref, 0, id), Reply::OkNoData);
    }
    assert_eq!(guest.device.stats().held, Amount::default());
}

#[test]
fn a_context_without_a_capset_has_plain_memory_and_no_commands() {
    let guest = Guest::bare(DeviceConfig::default(), vec![Box::new(MemoryResolver::without_udmabuf())]);
    guest.create_context(1, 0);
    assert_eq!(guest.submit(1, &[]), Reply::OkNoData, "an empty fence");
    assert_eq!(guest.submit(1, &[0; 16]), Reply::ErrInvalidParameter);
    assert_eq!(guest.host_blob(8, 0, 4096, 0), Reply::OkNoData);
    assert_eq!(guest.host_blob(9, 5, 4096, 0), Reply::ErrInvalidParameter);
    assert_eq!(guest.host_blob(9, 0, 0, 0), Reply::ErrInvalidParameter);
}

#[test]
fn a_submission_longer_than_its_bytes_is_refused() {
    let guest = Guest::new();
    let body = wire::Submit3d { size: 64.into(), ..wire::Submit3d::default() };
    assert_eq!(guest.command(Command::Submit3d, 1, body, &[0; 63]), Reply::ErrInvalidParameter);
}

#[test]
fn pictures_come_only_from_resources_with_a_layout() {
    let guest = Guest::new();
    guest.create_2d(7, 2, 3, 2);
    let picture = guest.device.picture(7).unwrap();
    assert_eq!((picture.width, picture.height, picture.rgba.len()), (3, 2, 24));
    assert!(matches!(guest.device.picture(RING), Err(DeviceError::Unreadable { .. })));
    assert!(matches!(guest.device.picture(99), Err(DeviceError::UnknownResource(99))));
    assert!(guest.device.export(7).is_ok());
    assert!(matches!(guest.device.export(RING), Err(DeviceError::Unreadable { .. })));
}

#[test]
fn host_memory_with_guest_pages_needs_all_of_them() {
    let guest = Guest::new();
    let body = wire::ResourceCreateBlob {
        resource_id: 8.into(),
        blob_mem: wire::BLOB_MEM_HOST3D_GUEST.into(),
        nr_entries: 1.into(),
        size: 4096.into(),
        ..wire::ResourceCreateBlob::default()
    };
    let before = guest.device.stats().held;
    let create = |entries: &[wire::MemEntry]| guest.command(Command::ResourceCreateBlob, 1, body, entries.as_bytes());
    assert_eq!(create(&[]), Reply::ErrInvalidParameter);
    assert_eq!(create(&[entry(8192, 4095)]), Reply::ErrInvalidParameter);
    assert_eq!(guest.device.stats().held, before);
    assert_eq!(create(&[entry(8192, 4096)]), Reply::OkNoData);
    guest.attach(1, 8);
    let to_host = Command::TransferToHost3d;
    assert_eq!(transfer_3d(&guest, to_host, 8, [0, 0, 1, 1], 0, 0), Reply::ErrInvalidParameter, "it has no layout");
    let entries = wire::ResourceCreateBlob { blob_mem: wire::BLOB_MEM_HOST3D.into(), resource_id: 9.into(), ..body };
    let refused = guest.command(Command::ResourceCreateBlob, 1, entries, entry(8192, 4096).as_bytes());
    assert_eq!(refused, Reply::ErrInvalidParameter, "HOST3D has no guest pages");
    let unknown = wire::ResourceCreateBlob { blob_mem: 4.into(), resource_id: 9.into(), ..body };
    assert_eq!(guest.command(Command::ResourceCreateBlob, 1, unknown, &[]), Reply::ErrInvalidParameter);
}

#[test]
fn an_image_with_guest_pages_is_filled_by_transfers() {
    let guest = Guest::new();
    let (request, _) = crate::BufferRequest::new(crate::Format::R8, 64, 64, crate::Usage::TEXTURE).to_wire();
    let claim = alloc::Claim { blob_id: 5.into(), blob_size: 4096.into(), ..alloc::Claim::default() };
    guest.run(alloc::Opcode::AllocImage, 0, &[claim.as_bytes(), request.as_bytes()]);
    let body = wire::ResourceCreateBlob {
        resource_id: 8.into(),
        blob_mem: wire::BLOB_MEM_HOST3D_GUEST.into(),
        nr_entries: 1.into(),
        blob_id: 5.into(),
        size: 4096.into(),
        ..wire::ResourceCreateBlob::default()
    };
    assert_eq!(guest.command(Command::ResourceCreateBlob, 1, body, entry(8192, 4096).as_bytes()), Reply::OkNoData);
    guest.attach(1, 8);
    guest.pages.write(8192, &[3; 64]).unwrap();
    assert_eq!(transfer_3d(&guest, Command::TransferToHost3d, 8, [0, 1, 64, 1], 0, 0), Reply::OkNoData);
    let mut seen = [0; 128];
    guest.device.read_resource(8, 0, &mut seen).unwrap();
    assert_eq!((seen[63], seen[64], seen[127]), (0, 3, 3));
}

#[test]
fn a_device_that_goes_leaves_nothing_in_the_window() {
    let guest = Guest::new();
    guest.host_blob(8, 0, 4096, wire::BLOB_FLAG_USE_MAPPABLE);
    guest.map(8, 0);
    let window = guest.window.clone();
    drop(guest);
    assert!(window.mapped.lock().unwrap().is_empty());
}

#[test]
fn commands_of_features_that_are_not_offered_are_refused() {
    let features = Features::all().difference(Features::RESOURCE_BLOB | Features::RESOURCE_UUID);
    let guest = Guest::bare(DeviceConfig { features, ..DeviceConfig::default() }, vec![]);
    guest.create_context(1, alloc::CAPSET_ID);
    assert_eq!(guest.host_blob(5, 0, 4096, 0), Reply::ErrUnspec);
    assert_eq!(guest.map(5, 0), Reply::ErrUnspec);
    assert_eq!(guest.on_resource(Command::ResourceAssignUuid, 0, 5), Reply::ErrUnspec);
    let features = Features::all().difference(Features::CONTEXT_INIT);
    let guest = Guest::bare(DeviceConfig { features, ..DeviceConfig::default() }, vec![]);
    let create = |capset: u32| {
        let body = wire::CtxCreate { context_init: capset.into(), ..wire::CtxCreate::default() };
        guest.command(Command::CtxCreate, 1, body, &[])
    };
    assert_eq!([create(alloc::CAPSET_ID), create(0)], [Reply::ErrInvalidParameter, Reply::OkNoData]);
    let plain = Guest::bare(DeviceConfig { features: Features::empty(), ..DeviceConfig::default() }, vec![]);
    assert_eq!((plain.device.features(), plain.device.config_space().num_capsets.get()), (0, 0));
    assert_eq!(plain.submit(1, &[]), Reply::ErrUnspec);
}
