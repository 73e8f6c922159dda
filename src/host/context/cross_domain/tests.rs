use super::*;
use crate::host::test_rig::Guest;
use crate::host::{DeviceConfig, MemoryResolver, Protocols, Quota, Resolver};
use crate::wire::cross_domain::{CAPSET_ID, CHANNEL_TYPE_WAYLAND};
use crate::wire::virtio_gpu::{BLOB_FLAG_USE_MAPPABLE, Command as Control, Reply};
use zerocopy::FromBytes;

/// The query ring's resource, and its page.
const RING: u32 = 1;
const RING_ADDRESS: u64 = 8192;

/// A guest whose context 1 has the capset, and a blob for the ring, which INIT has not named yet.
fn guest_with(quota: Quota) -> Guest {
    let config = DeviceConfig { protocols: Protocols::CROSS_DOMAIN, quota, ..DeviceConfig::default() };
    let resolvers: Vec<Box<dyn Resolver>> = vec![Box::new(MemoryResolver::without_udmabuf())];
    let guest = Guest::bare(config, resolvers);
    guest.create_context(1, CAPSET_ID);
    guest.guest_blob(RING, RING_ADDRESS, 4096);
    guest.attach(1, RING);
    guest
}

fn guest() -> Guest {
    let guest = guest_with(Quota::default());
    assert_eq!(guest.submit(1, init(RING, CHANNEL_TYPE_NONE).as_bytes()), Reply::OkNoData);
    guest
}

fn init(ring: u32, channel_type: u32) -> Init {
    let header = Header::of::<Init>(Command::Init);
    Init { header, query_ring_id: ring.into(), channel_type: channel_type.into(), ..Init::default() }
}

fn query(format: Format, width: u32, height: u32, usage: Usage) -> GetImageRequirements {
    GetImageRequirements {
        header: Header::of::<GetImageRequirements>(Command::GetImageRequirements),
        width: width.into(),
        height: height.into(),
        drm_format: format.fourcc().into(),
        flags: (usage.to_dialect(Dialect::Minigbm) as u32).into(),
    }
}

/// Asks, with the ring full of another answer before, and gives what is in it then.
fn ask(guest: &Guest, query: &GetImageRequirements) -> ImageRequirements {
    guest.pages.write_all(RING_ADDRESS, &[0xff; 64]);
    assert_eq!(guest.submit(1, query.as_bytes()), Reply::OkNoData);
    answer(guest)
}

fn answer(guest: &Guest) -> ImageRequirements {
    ImageRequirements::read_from_bytes(&guest.pages.read_all(RING_ADDRESS, 64)).unwrap()
}

#[test]
fn init_is_taken_in_all_three_forms() {
    let header = |size: u16| Header { cmd: 1, cmd_size: size.into(), ..Header::default() };
    let second = InitV1 { header: header(20), query_ring_id: RING.into(), ..InitV1::default() };
    let legacy = InitLegacy { header: header(16), query_ring_id: RING.into(), ..InitLegacy::default() };
    for form in [init(RING, CHANNEL_TYPE_NONE).as_bytes(), second.as_bytes(), legacy.as_bytes()] {
        let guest = guest_with(Quota::default());
        assert_eq!(guest.submit(1, form), Reply::OkNoData);
        assert_ne!(ask(&guest, &query(Format::R8, 16, 16, Usage::TEXTURE)).size.get(), 0);
    }
}

#[test]
fn a_client_of_wayland_can_allocate_and_unknown_channels_are_refused() {
    let guest = guest_with(Quota::default());
    assert_eq!(guest.submit(1, init(RING, 77).as_bytes()), Reply::ErrInvalidParameter);
    assert_eq!(guest.submit(1, query(Format::R8, 1, 1, Usage::TEXTURE).as_bytes()), Reply::ErrInvalidParameter, "no ring yet");
    assert_eq!(guest.submit(1, init(RING, CHANNEL_TYPE_WAYLAND).as_bytes()), Reply::OkNoData);
    assert_ne!(ask(&guest, &query(Format::R8, 1, 1, Usage::TEXTURE)).size.get(), 0);
}

#[test]
fn a_query_tells_the_layout_and_allocates_nothing() {
    let guest = guest();
    let before = guest.device.stats();
    let told = ask(&guest, &query(Format::NV12, 1279, 719, Usage::VIDEO_DECODER | Usage::TEXTURE));
    assert_eq!((told.strides[0].get(), told.strides[1].get(), told.strides[2].get()), (1280, 1280, 0));
    assert_eq!((told.offsets[1].get(), told.modifier.get(), told.size.get() % 4096), (1280 * 719, 0, 0));
    assert_eq!((told.map_info.get(), told.memory_idx.get(), told.physical_device_idx.get()), (1, -1, -1));
    let after = guest.device.stats();
    assert_eq!((after.objects, after.held.objects, after.held.fds), (0, before.held.objects, before.held.fds));
}

#[test]
fn a_blob_id_makes_a_new_blob_each_time_that_it_is_claimed() {
    let guest = guest();
    let told = ask(&guest, &query(Format::XRGB8888, 64, 64, Usage::RENDER));
    for id in [5, 6] {
        assert_eq!(guest.host_blob(id, told.blob_id.get().into(), told.size.get(), BLOB_FLAG_USE_MAPPABLE), Reply::OkNoData);
    }
    guest.map(5, 0);
    guest.window.write(0, b"five");
    let mut other = [1; 4];
    guest.device.read_resource(6, 0, &mut other).unwrap();
    assert_eq!(other, [0; 4]);
    assert_eq!(guest.device.picture(6).unwrap().width, 64, "its layout is known");
}

#[test]
fn claims_of_other_sizes_and_of_ids_that_were_not_told_are_refused() {
    let guest = guest();
    let told = ask(&guest, &query(Format::XRGB8888, 64, 64, Usage::RENDER));
    let (id, size) = (u64::from(told.blob_id.get()), told.size.get());
    for (id, size) in [(id, size - 1), (id, size + (1 << 17)), (id, 0), (id + 1, size), (id | 1 << 32, size)] {
        assert_eq!(guest.host_blob(5, id, size, 0), Reply::ErrInvalidParameter, "{id} {size}");
    }
    assert_eq!(guest.host_blob(5, id, size, 0), Reply::OkNoData);
}

#[test]
fn a_query_that_fails_is_answered_with_zeroes() {
    let guest = guest();
    let plain = query(Format::XRGB8888, 64, 64, Usage::RENDER);
    let bad = [
        GetImageRequirements { width: 0.into(), ..plain },
        GetImageRequirements { height: u32::MAX.into(), ..plain },
        GetImageRequirements { drm_format: 7.into(), ..plain },
        GetImageRequirements { flags: 0x100.into(), ..plain },
    ];
    for bad in bad {
        assert_eq!(ask(&guest, &bad), ImageRequirements::default(), "{bad:?}");
    }
    assert_eq!(guest.device.contexts()[0].refused, 4);
    assert_ne!(ask(&guest, &plain).size.get(), 0);
}

#[test]
fn usages_that_the_host_lacks_are_left_out() {
    let guest = guest();
    let scanout = query(Format::NV12, 64, 64, Usage::SCANOUT | Usage::TEXTURE);
    assert_ne!(ask(&guest, &scanout).size.get(), 0);
    assert_ne!(ask(&guest, &GetImageRequirements { flags: 0.into(), ..scanout }).size.get(), 0);
}

#[test]
fn ten_thousand_queries_without_a_claim_cost_a_bounded_list() {
    let guest = guest();
    let before = guest.device.stats().held;
    for width in 1..=10_000 {
        let told = ask(&guest, &query(Format::R8, width, 1, Usage::TEXTURE));
        assert_ne!(told.size.get(), 0);
    }
    let held = guest.device.stats().held.bytes - before.bytes;
    assert!(held <= CAPACITY as u64 * 1024, "{held} bytes");
    let first = ask(&guest, &query(Format::R8, 9_999, 1, Usage::TEXTURE));
    assert_eq!(ask(&guest, &query(Format::R8, 9_999, 1, Usage::TEXTURE)), first, "what is known is told again");
    assert_eq!(guest.host_blob(5, 1, 4096, 0), Reply::ErrInvalidParameter, "the oldest is forgotten");
    assert_eq!(guest.host_blob(5, first.blob_id.get().into(), first.size.get(), 0), Reply::OkNoData);
}

#[test]
fn a_list_beyond_the_quota_is_refused() {
    let mut quota = Quota::default();
    quota.context.bytes = 4096 + 1024;
    let guest = guest_with(quota);
    guest.submit(1, init(RING, CHANNEL_TYPE_NONE).as_bytes());
    let refused = (1..100).find(|width| ask(&guest, &query(Format::R8, *width, 1, Usage::TEXTURE)).size.get() == 0);
    assert!(refused.is_some());
}

#[test]
fn lengths_that_do_not_hold_end_the_submission() {
    let guest = guest();
    let good = query(Format::R8, 16, 16, Usage::TEXTURE);
    for size in [0u16, 7, 25, 65_535] {
        guest.pages.write_all(RING_ADDRESS, &[0; 64]);
        let bad = GetImageRequirements { header: Header { cmd_size: size.into(), ..good.header }, ..good };
        assert_eq!(guest.submit(1, bad.as_bytes()), Reply::ErrInvalidParameter, "{size}");
        assert_eq!(answer(&guest).size.get(), 0);
    }
    for length in 1..24 {
        assert_eq!(guest.submit(1, &good.as_bytes()[..length]), Reply::ErrInvalidParameter, "{length}");
    }
    let cut = GetImageRequirements { header: Header { cmd_size: 16.into(), ..good.header }, ..good };
    assert_eq!(guest.submit(1, &cut.as_bytes()[..16]), Reply::ErrInvalidParameter);
    assert_eq!(guest.submit(1, &[]), Reply::OkNoData, "the kernel fences so");
}

#[test]
fn commands_of_the_channel_do_no_harm() {
    let guest = guest();
    let command = |number| Header { cmd: number, cmd_size: 8.into(), ..Header::default() };
    assert_eq!(guest.submit(1, command(3).as_bytes()), Reply::OkNoData, "POLL");
    for number in [4, 5, 6, 7, 8, 0, 255] {
        assert_ne!(guest.submit(1, command(number).as_bytes()), Reply::OkNoData, "{number}");
    }
    let good = query(Format::R8, 16, 16, Usage::TEXTURE);
    guest.pages.write_all(RING_ADDRESS, &[0; 64]);
    guest.submit(1, &[command(9).as_bytes(), good.as_bytes()].concat());
    assert_ne!(answer(&guest).size.get(), 0, "what follows is executed");
}

#[test]
fn rings_of_others_and_rings_that_are_gone_are_not_written() {
    let guest = guest_with(Quota::default());
    guest.guest_blob(2, 16_384, 4096);
    guest.guest_blob(3, 20_480, 32);
    guest.attach(1, 3);
    for ring in [2, 3, 99] {
        assert_eq!(guest.submit(1, init(ring, CHANNEL_TYPE_NONE).as_bytes()), Reply::ErrInvalidParameter, "{ring}");
    }
    let good = query(Format::R8, 16, 16, Usage::TEXTURE);
    assert_eq!(guest.submit(1, init(RING, CHANNEL_TYPE_NONE).as_bytes()), Reply::OkNoData);
    guest.on_resource(Control::CtxDetachResource, 1, RING);
    guest.pages.write_all(RING_ADDRESS, &[0; 64]);
    assert_eq!(guest.submit(1, good.as_bytes()), Reply::ErrInvalidParameter);
    guest.attach(1, RING);
    assert_eq!(guest.submit(1, good.as_bytes()), Reply::ErrInvalidParameter, "INIT has to name it again");
    assert_eq!(answer(&guest), ImageRequirements::default());
}
