//! The protocol's commands, good and bad, as bytes.

use crate::host::quota::{Amount, Quota};
use crate::host::resolver::memory::MemoryResolver;
use crate::host::test_rig::*;
use crate::host::{DeviceConfig, GuestMemory};
use crate::wire::alloc::{self as wire, FLAG_REPLY_AT_CLAIM, NO_REPLY, Opcode, STATUS_PENDING, Status, Stream};
use crate::wire::virtio_gpu::{self as virtio, BLOB_FLAG_USE_MAPPABLE, Command, Reply};
use crate::{Alignment, BufferRequest, Format, Layout, Modifier, Usage};
use zerocopy::IntoBytes;
use zerocopy::little_endian::U64;

fn claim(blob_id: u64, blob_size: u64) -> wire::Claim {
    wire::Claim { blob_id: blob_id.into(), blob_size: blob_size.into(), ..wire::Claim::default() }
}

fn request() -> BufferRequest {
    BufferRequest::new(Format::XRGB8888, 16, 16, Usage::TEXTURE)
}

/// The status of an ALLOC_IMAGE with id 5, answered at once.
fn alloc_image(guest: &Guest, request: &BufferRequest, blob_size: u64) -> u32 {
    let (body, modifiers) = request.to_wire();
    guest.run(Opcode::AllocImage, 0, &[claim(5, blob_size).as_bytes(), body.as_bytes(), modifiers.as_bytes()])
}

fn status(guest: &Guest, request: &BufferRequest) -> Option<Status> {
    Status::from_number(alloc_image(guest, request, 4096))
}

fn number(status: Status) -> u32 {
    status.number()
}

/// Runs `bad`, and checks that the device holds what it held before.
fn unchanged(guest: &Guest, bad: impl FnOnce(&Guest)) {
    let before = guest.device.stats();
    bad(guest);
    let after = guest.device.stats();
    assert_eq!((after.held, after.objects, after.resources), (before.held, before.objects, before.resources));
}

#[test]
fn an_image_is_allocated_claimed_and_freed() {
    let guest = Guest::new();
    let before = guest.device.stats().held;
    assert_eq!(alloc_image(&guest, &request(), 4096), number(Status::Ok));
    let reply = guest.slot(0);
    assert_eq!((reply.sequence.get(), reply.backing.get(), reply.layout.size.get()), (7, 1, 4096));
    assert_eq!(guest.device.stats().objects, 1);
    assert_eq!(guest.host_blob(9, 5, 4096, 0), Reply::OkNoData);
    assert_eq!(guest.device.stats().objects, 0);
    assert_eq!(guest.on_resource(Command::ResourceUnref, 0, 9), Reply::OkNoData);
    assert_eq!(guest.device.stats().held, before);
}

#[test]
fn one_look_at_the_slot_covers_allocation_and_claim() {
    let guest = Guest::new();
    let (body, _) = request().to_wire();
    let pending = guest.run(Opcode::AllocImage, FLAG_REPLY_AT_CLAIM, &[claim(5, 4096).as_bytes(), body.as_bytes()]);
    assert_eq!(pending, STATUS_PENDING);
    assert_eq!(guest.host_blob(9, 5, 4096, 0), Reply::OkNoData);
    assert_eq!(guest.slot(0).status.get(), number(Status::Ok));
    assert_eq!(guest.slot(0).layout.plane_count.get(), 1);
}

#[test]
fn a_failed_allocation_is_answered_at_once_even_when_the_claim_was_to_answer() {
    let guest = Guest::new();
    let (body, _) = BufferRequest { format: Format::from_fourcc(3), ..request() }.to_wire();
    let status = guest.run(Opcode::AllocImage, FLAG_REPLY_AT_CLAIM, &[claim(5, 4096).as_bytes(), body.as_bytes()]);
    assert_eq!(status, number(Status::Format));
}

#[test]
fn requests_that_the_host_does_not_serve_get_their_status() {
    let guest = Guest::new();
    let with = |format, width, height, usage| BufferRequest::new(format, width, height, usage);
    let texture = Usage::TEXTURE;
    let tiled = Modifier::new(0x0100_0000_0000_0001);
    let cases = [
        (with(Format::XRGB8888, 0, 16, texture), Status::Extent),
        (with(Format::XRGB8888, u32::MAX, 1, texture), Status::Extent),
        (with(Format::XRGB8888, 1, u32::MAX, texture), Status::Extent),
        (request().with_layers(0), Status::Extent),
        (request().with_layers(u32::MAX), Status::Extent),
        (with(Format::from_fourcc(1), 16, 16, texture), Status::Format),
        (with(Format::FLEX_YCBCR_420_888, 16, 16, texture), Status::Format),
        (with(Format::XRGB8888, 16, 16, Usage::empty()), Status::Usage),
        (with(Format::XRGB8888, 16, 16, Usage::PROTECTED | Usage::CPU_READ_RARELY), Status::Usage),
        (with(Format::XRGB8888, 16, 16, Usage::PROTECTED), Status::Usage),
        (with(Format::XRGB8888, 16, 16, Usage::from_bits_retain(1 << 50)), Status::Usage),
        (with(Format::NV12, 16, 16, Usage::SCANOUT), Status::Usage),
        (request().with_modifiers([tiled]), Status::NoCommonModifier),
        (BufferRequest { usage: texture | Usage::LINEAR, ..request() }.with_modifiers([tiled]), Status::NoCommonModifier),
    ];
    for (request, expected) in cases {
        unchanged(&guest, |guest| assert_eq!(status(guest, &request), Some(expected), "{request:?}"));
    }
}

#[test]
fn the_largest_pictures_of_every_format_meet_the_quota() {
    let guest = Guest::new();
    for &format in Format::all().iter().filter(|format| !format.planes().is_empty()) {
        let request = BufferRequest::new(format, 65535, 65535, Usage::CPU_READ_RARELY);
        let size = Layout::linear(&request, Alignment { stride_bytes: 64, offset_bytes: 64, size_bytes: 4096 });
        let size = size.unwrap().size_bytes;
        unchanged(&guest, |guest| assert_eq!(alloc_image(guest, &request, size), number(Status::Quota), "{format}"));
    }
}

#[test]
fn lists_of_no_modifier_and_of_too_many() {
    let guest = Guest::new();
    assert_eq!(status(&guest, &request().with_modifiers([])), Some(Status::Ok));
    let (mut body, _) = request().to_wire();
    for count in [1, 257, 1_000_000, u32::MAX] {
        body.modifier_count = count.into();
        let claim = claim(6, 4096);
        assert_eq!(
            guest.run(Opcode::AllocImage, 0, &[claim.as_bytes(), body.as_bytes()]),
            number(Status::Malformed),
            "{count} said, none there"
        );
    }
    let all_there = vec![U64::from(0); 1_000_000];
    let mut stream = Stream::new();
    stream.push(Opcode::AllocImage, 0, 1, 0, &[claim(6, 4096).as_bytes(), body.as_bytes(), all_there.as_bytes()]);
    assert_eq!(guest.submit(1, stream.as_bytes()), Reply::ErrInvalidParameter);
}

#[test]
fn a_submission_whose_framing_is_wrong_executes_nothing() {
    let guest = Guest::new();
    let mut stream = Stream::new();
    stream.push(Opcode::AllocMemory, 0, 1, 0, &[claim(5, 4096).as_bytes()]);
    stream.push(Opcode::AllocMemory, 0, 2, 1, &[claim(6, 4096).as_bytes()]);
    for cut in [1, 39, 41, stream.as_bytes().len() - 1] {
        unchanged(&guest, |guest| {
            assert_eq!(guest.submit(1, &stream.as_bytes()[..cut]), Reply::ErrInvalidParameter, "cut at {cut}");
        });
    }
    stream.push(Opcode::AllocMemory, 0, 3, SLOTS, &[claim(7, 4096).as_bytes()]);
    unchanged(&guest, |guest| assert_eq!(guest.submit(1, stream.as_bytes()), Reply::ErrInvalidParameter, "slot outside"));
}

#[test]
fn unknown_opcodes_and_short_bodies_get_a_status_and_the_next_command_goes_on() {
    let guest = Guest::new();
    let mut stream = Stream::new();
    stream.push(Opcode::Free, 0, 1, 0, &[&[0; 8]]);
    stream.push(Opcode::AllocMemory, 0, 2, 1, &[&[0; 16]]);
    stream.push(Opcode::AllocMemory, 0, 3, 2, &[claim(5, 4096).as_bytes()]);
    let mut bytes = stream.as_bytes().to_vec();
    bytes[0] = 99;
    guest.pages.write(0, &[0; 1024]).unwrap();
    assert_eq!(guest.submit(1, &bytes), Reply::OkNoData);
    let statuses = [0, 1, 2].map(|slot| guest.slot(slot).status.get());
    assert_eq!(statuses, [Status::UnknownOpcode, Status::Malformed, Status::Ok].map(number));
}

#[test]
fn blob_ids_are_never_zero_and_unique_while_unclaimed() {
    let guest = Guest::new();
    let alloc = |id| guest.run(Opcode::AllocMemory, 0, &[claim(id, 4096).as_bytes()]);
    unchanged(&guest, |_| assert_eq!(alloc(0), number(Status::Malformed)));
    assert_eq!(alloc(5), number(Status::Ok));
    unchanged(&guest, |_| assert_eq!(alloc(5), number(Status::IdInUse)));
    assert_eq!(guest.host_blob(9, 5, 4096, 0), Reply::OkNoData);
    unchanged(&guest, |guest| assert_eq!(guest.host_blob(10, 5, 4096, 0), Reply::ErrInvalidParameter, "claimed twice"));
    assert_eq!(alloc(5), number(Status::Ok), "its id is free again");
}

#[test]
fn an_object_of_another_context_can_not_be_claimed() {
    let guest = Guest::new();
    assert_eq!(guest.run(Opcode::AllocMemory, 0, &[claim(5, 4096).as_bytes()]), number(Status::Ok));
    guest.create_context(2, wire::CAPSET_ID);
    let body = virtio::ResourceCreateBlob {
        resource_id: 9.into(),
        blob_mem: virtio::BLOB_MEM_HOST3D.into(),
        blob_id: 5.into(),
        size: 4096.into(),
        ..virtio::ResourceCreateBlob::default()
    };
    let reply = guest.command(Command::ResourceCreateBlob, 2, body, &[]);
    assert_eq!(reply, Reply::ErrInvalidParameter);
    assert_eq!(guest.device.stats().objects, 1);
}

#[test]
fn a_claim_of_another_size_or_flags_frees_the_object_and_is_told() {
    let guest = Guest::new();
    for (size, flags, expected) in
        [(4095, 0, Status::SizeMismatch), (4097, 0, Status::SizeMismatch), (4096, BLOB_FLAG_USE_MAPPABLE, Status::FlagsMismatch)]
    {
        unchanged(&guest, |guest| {
            guest.run(Opcode::AllocMemory, FLAG_REPLY_AT_CLAIM, &[claim(5, 4096).as_bytes()]);
            assert_eq!(guest.host_blob(9, 5, size, flags), Reply::ErrInvalidParameter);
            assert_eq!(guest.slot(0).status.get(), number(expected));
        });
    }
}

#[test]
fn a_claim_for_a_resource_number_that_is_taken_frees_the_object_and_is_told() {
    let guest = Guest::new();
    unchanged(&guest, |guest| {
        guest.run(Opcode::AllocMemory, FLAG_REPLY_AT_CLAIM, &[claim(5, 4096).as_bytes()]);
        assert_eq!(guest.host_blob(RING, 5, 4096, 0), Reply::ErrInvalidResourceId);
        assert_eq!(guest.slot(0).status.get(), number(Status::IdInUse));
    });
}

#[test]
fn an_image_in_a_blob_of_another_size_is_refused() {
    let guest = Guest::new();
    for size in [0, 4095, 4096 + 65536, u64::MAX] {
        unchanged(&guest, |guest| {
            let status = alloc_image(guest, &request(), size);
            assert!([Status::SizeMismatch, Status::Malformed].map(number).contains(&status), "{size}: {status}");
        });
    }
    assert_eq!(alloc_image(&guest, &request(), 65536), number(Status::Ok), "a guest with pages of 64 KiB");
}

#[test]
fn a_batch_that_meets_the_quota_is_told_item_by_item() {
    let mut quota = Quota::default();
    quota.context = Amount { bytes: 10_000, ..quota.context };
    let guest = Guest::with_quota(quota);
    let mut stream = Stream::new();
    for (slot, id) in (0..4).zip(5..) {
        stream.push(Opcode::AllocMemory, 0, 1, slot, &[claim(id, 4096).as_bytes()]);
    }
    guest.pages.write(0, &[0; 1024]).unwrap();
    assert_eq!(guest.submit(1, stream.as_bytes()), Reply::OkNoData);
    let statuses = [0, 1, 2, 3].map(|slot| guest.slot(slot).status.get());
    assert_eq!(statuses, [Status::Ok, Status::Ok, Status::Quota, Status::Quota].map(number));
    assert_eq!(guest.device.stats().objects, 2);
    let free = |id: u64| guest.run(Opcode::Free, 0, &[wire::BlobId { blob_id: id.into() }.as_bytes()]);
    assert_eq!([free(5), free(6), free(7)], [Status::Ok, Status::Ok, Status::UnknownId].map(number));
    assert_eq!(guest.device.stats().held.bytes, 24, "the ring's list of pages");
}

#[test]
fn classes_that_no_resolver_has_are_refused_by_name() {
    let guest = Guest::new();
    let texture = wire::GlTexture { width: 16.into(), height: 16.into(), ..wire::GlTexture::default() };
    let image = wire::VkImage { width: 16.into(), height: 16.into(), ..wire::VkImage::default() };
    unchanged(&guest, |guest| {
        let gl = guest.run(Opcode::AllocGl, 0, &[claim(5, 4096).as_bytes(), texture.as_bytes()]);
        let vulkan = guest.run(Opcode::AllocVk, 0, &[claim(5, 4096).as_bytes(), image.as_bytes()]);
        assert_eq!([gl, vulkan], [Status::NoResolver; 2].map(number));
        let lying = wire::VkImage { view_format_count: 65.into(), ..image };
        let short = guest.run(Opcode::AllocVk, 0, &[claim(5, 4096).as_bytes(), lying.as_bytes()]);
        assert_eq!(short, number(Status::Malformed));
    });
}

#[test]
fn a_host_without_plain_memory_says_so() {
    let guest = Guest::bare(DeviceConfig::default(), vec![]);
    guest.create_context(1, wire::CAPSET_ID);
    assert_eq!(guest.host_blob(9, 0, 4096, 0), Reply::ErrInvalidParameter);
    assert_eq!(guest.device.stats().held, Amount::default());
}

#[test]
fn resolve_gives_the_layout_and_allocates_nothing() {
    let guest = Guest::new();
    let (body, _) = BufferRequest::new(Format::NV12, 65, 33, Usage::TEXTURE).to_wire();
    unchanged(&guest, |guest| {
        assert_eq!(guest.run(Opcode::Resolve, 0, &[body.as_bytes()]), number(Status::Ok));
        let layout = Layout::try_from(&guest.slot(0).layout).unwrap();
        assert_eq!((layout.planes[0].stride_bytes, layout.planes[1].offset_bytes), (128, 4224));
    });
}

#[test]
fn names_go_to_objects_and_resources() {
    let guest = Guest::new();
    let name = |blob_id: u64, resource_id: u32, text: &[u8]| {
        let length = (text.len() as u32).into();
        let body = wire::SetName { blob_id: blob_id.into(), resource_id: resource_id.into(), length };
        guest.run(Opcode::SetName, 0, &[body.as_bytes(), text])
    };
    guest.run(Opcode::AllocMemory, 0, &[claim(5, 4096).as_bytes()]);
    assert_eq!(name(5, 0, b"frame\x07 0"), number(Status::Ok));
    guest.host_blob(9, 5, 4096, 0);
    let listed = |id| guest.device.resources().into_iter().find(|resource| resource.id == id).unwrap().name;
    assert_eq!(listed(9), "frame 0");
    assert_eq!(name(0, 9, b"other"), number(Status::NotPermitted), "not attached");
    guest.attach(1, 9);
    assert_eq!(name(0, 9, b"other"), number(Status::Ok));
    assert_eq!(listed(9), "other");
    assert_eq!(name(77, 0, b"x"), number(Status::UnknownId));
    assert_eq!(name(0, 9, &[b'x'; 65]), number(Status::Malformed));
}

#[test]
fn guest_memory_gets_a_layout_by_import_and_is_described() {
    let guest = Guest::new();
    guest.guest_blob(9, 8192, 4096);
    let layout = Layout::linear(&request(), Alignment::PACKED).unwrap();
    let import = |id: u32, layout: wire::LayoutBody| {
        let body = wire::Import { resource_id: id.into(), padding: 0.into(), layout };
        guest.run(Opcode::Import, 0, &[body.as_bytes()])
    };
    let describe = |id: u32| {
        let body = wire::Resource { resource_id: id.into(), padding: 0.into() };
        guest.run(Opcode::Describe, 0, &[body.as_bytes()])
    };
    let body = wire::LayoutBody::from(&layout);
    assert_eq!((import(9, body), describe(9)), (number(Status::NotPermitted), number(Status::NotPermitted)));
    guest.attach(1, 9);
    let outside = wire::LayoutBody { size: 100.into(), ..body };
    assert_eq!(import(9, outside), number(Status::Malformed));
    let large = Layout::linear(&BufferRequest { width: 4096, ..request() }, Alignment::PACKED).unwrap();
    assert_eq!(import(9, wire::LayoutBody::from(&large)), number(Status::SizeMismatch));
    assert_eq!(import(9, body), number(Status::Ok));
    assert_eq!(describe(9), number(Status::Ok));
    assert_eq!(guest.slot(0).layout, body);
    assert_eq!(guest.slot(0).backing.get(), wire::Backing::Guest.number());
    guest.host_blob(10, 0, 4096, 0);
    guest.attach(1, 10);
    assert_eq!(import(10, body), number(Status::NotPermitted), "memory of the host");
    assert_eq!((describe(10), guest.slot(0).layout.plane_count.get()), (number(Status::Ok), 0), "plain memory");
}

/// The answer to an INIT by itself, in a context without a ring.
fn init(guest: &Guest, resource_id: u32, slot_count: u32, offset: u64, reply_slot: u32) -> Reply {
    let init = wire::Init { resource_id: resource_id.into(), slot_count: slot_count.into(), offset: offset.into() };
    let mut stream = Stream::new();
    stream.push(Opcode::Init, 0, 1, reply_slot, &[init.as_bytes()]);
    guest.submit(1, stream.as_bytes())
}

#[test]
fn a_ring_must_be_attached_whole_slots_inside_its_pages() {
    let guest = Guest::bare(DeviceConfig::default(), vec![Box::new(MemoryResolver::without_udmabuf())]);
    guest.create_context(1, wire::CAPSET_ID);
    guest.guest_blob(RING, 0, 4096);
    guest.guest_blob(2, 8192 + 128, 4096);
    assert_eq!(init(&guest, RING, 8, 0, 0), Reply::ErrInvalidParameter, "not attached");
    guest.attach(1, RING);
    guest.attach(1, 2);
    for (slot_count, offset) in [(0, 0), (17, 0), (u32::MAX, 0), (8, 128), (8, 4096), (8, u64::MAX - 255)] {
        assert_eq!(init(&guest, RING, slot_count, offset, 0), Reply::ErrInvalidParameter, "{slot_count} at {offset}");
    }
    assert_eq!(init(&guest, 2, 8, 0, 0), Reply::ErrInvalidParameter, "its pages split slots");
    assert_eq!(init(&guest, RING, 8, 0, 8), Reply::ErrInvalidParameter, "its own reply is outside");
    assert_eq!(init(&guest, RING, 8, 2048, 7), Reply::OkNoData);
    assert_eq!(guest.slot(15).status.get(), number(Status::Ok));
}

#[test]
fn without_a_ring_only_commands_without_a_reply_are_taken() {
    let guest = Guest::new();
    assert_eq!(guest.on_resource(Command::CtxDetachResource, 1, RING), Reply::OkNoData);
    let mut stream = Stream::new();
    stream.push(Opcode::AllocMemory, 0, 1, NO_REPLY, &[claim(5, 4096).as_bytes()]);
    assert_eq!(guest.submit(1, stream.as_bytes()), Reply::OkNoData);
    assert_eq!(guest.device.stats().objects, 1);
    stream.push(Opcode::AllocMemory, 0, 1, 0, &[claim(6, 4096).as_bytes()]);
    assert_eq!(guest.submit(1, stream.as_bytes()), Reply::ErrInvalidParameter);
    assert_eq!(guest.device.stats().objects, 1);
}

#[test]
fn init_among_other_commands_is_malformed() {
    let guest = Guest::new();
    let init = wire::Init { resource_id: RING.into(), slot_count: 8.into(), offset: 0.into() };
    let mut stream = Stream::new();
    stream.push(Opcode::Init, 0, 1, 0, &[init.as_bytes()]);
    stream.push(Opcode::AllocMemory, 0, 2, 1, &[claim(5, 4096).as_bytes()]);
    assert_eq!(guest.submit(1, stream.as_bytes()), Reply::OkNoData);
    assert_eq!([0, 1].map(|slot| guest.slot(slot).status.get()), [Status::Malformed, Status::Ok].map(number));
}

#[test]
fn a_context_that_ends_frees_its_objects() {
    let guest = Guest::new();
    let before = guest.device.stats().held;
    for id in 5..10 {
        guest.run(Opcode::AllocMemory, 0, &[claim(id, 4096).as_bytes()]);
    }
    assert_eq!(guest.on_resource(Command::CtxDestroy, 1, 0), Reply::OkNoData);
    assert_eq!(guest.device.stats().held, before);
}

#[test]
fn ring_pages_that_the_guest_took_away_lose_replies_and_nothing_else() {
    let guest = Guest::new();
    assert_eq!(guest.on_resource(Command::ResourceUnref, 0, RING), Reply::OkNoData);
    let mut stream = Stream::new();
    stream.push(Opcode::AllocMemory, 0, 1, NO_REPLY, &[claim(5, 4096).as_bytes()]);
    assert_eq!(guest.submit(1, stream.as_bytes()), Reply::OkNoData);
    assert_eq!(guest.device.stats().objects, 1);
}
