//! Writes the committed corpus: commands as a real guest would send them, for the fuzzer to change.
//!
//! `cargo run --bin seeds`, in this folder.

use std::fs;
use virgbm::wire::alloc::{self as wire, FLAG_REPLY_AT_CLAIM, LayoutBody, NO_REPLY, Opcode, Stream};
use virgbm::wire::virtio_gpu::{self as virtio, Command, CtrlHdr};
use virgbm::wire::{cross_domain, virgl};
use virgbm::{Alignment, BufferRequest, Format, Layout, Usage};
use zerocopy::{Immutable, IntoBytes};

fn save(target: &str, name: &str, bytes: &[u8]) {
    let folder = format!("corpus/{target}");
    fs::create_dir_all(&folder).unwrap();
    fs::write(format!("{folder}/{name}"), bytes).unwrap();
}

fn layout() -> Layout {
    Layout::linear(&BufferRequest::new(Format::NV12, 16, 16, Usage::TEXTURE), Alignment::PACKED).unwrap()
}

/// Every command of the allocation protocol by itself.
fn submissions() -> Vec<(&'static str, Vec<u8>)> {
    let stream = |opcode, flags, parts: &[&[u8]]| {
        let mut stream = Stream::new();
        stream.push(opcode, flags, 1, 0, parts);
        stream.as_bytes().to_vec()
    };
    let claim = wire::Claim { blob_id: 1.into(), blob_size: 4096.into(), ..wire::Claim::default() };
    let request = wire::ImageRequest {
        fourcc: Format::NV12.fourcc().into(),
        width: 16.into(),
        height: 16.into(),
        layers: 1.into(),
        usage: Usage::TEXTURE.bits().into(),
        modifier_count: 1.into(),
        padding: 0.into(),
    };
    let modifier = [0u8; 8];
    let image = &[claim.as_bytes(), request.as_bytes(), &modifier];
    let name = wire::SetName { blob_id: 1.into(), resource_id: 0.into(), length: 5.into() };
    let import = wire::Import { resource_id: 2.into(), padding: 0.into(), layout: LayoutBody::from(&layout()) };
    let describe = wire::Resource { resource_id: 2.into(), padding: 0.into() };
    let init = wire::Init { resource_id: 1.into(), slot_count: 8.into(), offset: 0.into() };
    let free = wire::BlobId { blob_id: 1.into() };
    let vulkan = wire::VkImage { view_format_count: 1.into(), modifier_count: 1.into(), ..wire::VkImage::default() };
    let mut named = Stream::new();
    named.push(Opcode::AllocImage, FLAG_REPLY_AT_CLAIM, 1, 0, image);
    named.push(Opcode::SetName, 0, 2, NO_REPLY, &[name.as_bytes(), b"frame"]);
    vec![
        ("init", stream(Opcode::Init, 0, &[init.as_bytes()])),
        ("resolve", stream(Opcode::Resolve, 0, &[request.as_bytes(), &modifier])),
        ("memory", stream(Opcode::AllocMemory, 0, &[claim.as_bytes()])),
        ("image", stream(Opcode::AllocImage, 0, image)),
        ("image_named", named.as_bytes().to_vec()),
        ("gl", stream(Opcode::AllocGl, 0, &[claim.as_bytes(), wire::GlTexture::default().as_bytes()])),
        ("vulkan", stream(Opcode::AllocVk, 0, &[claim.as_bytes(), vulkan.as_bytes(), &[0; 4], &modifier])),
        ("free", stream(Opcode::Free, 0, &[free.as_bytes()])),
        ("import", stream(Opcode::Import, 0, &[import.as_bytes()])),
        ("describe", stream(Opcode::Describe, 0, &[describe.as_bytes()])),
    ]
}

/// Commands as the control-queue target takes them: each behind its length.
#[derive(Default)]
struct Queue(Vec<u8>);

impl Queue {
    fn push<T: IntoBytes + Immutable>(&mut self, command: Command, ctx_id: u32, body: T, rest: &[u8]) {
        let bytes = [CtrlHdr::command(command, ctx_id).as_bytes(), body.as_bytes(), rest].concat();
        self.0.extend((bytes.len() as u16).to_le_bytes());
        self.0.extend(bytes);
    }

    fn on_resource(&mut self, command: Command, ctx_id: u32, id: u32) {
        self.push(command, ctx_id, virtio::ResourceId { resource_id: id.into(), ..virtio::ResourceId::default() }, &[]);
    }
}

fn blob() -> Queue {
    let mut queue = Queue::default();
    let stream = submissions().into_iter().find(|(name, _)| *name == "image_named").unwrap().1;
    let submit = virtio::Submit3d { size: (stream.len() as u32).into(), ..virtio::Submit3d::default() };
    queue.push(Command::Submit3d, 1, submit, &stream);
    let create = virtio::ResourceCreateBlob {
        resource_id: 5.into(),
        blob_mem: virtio::BLOB_MEM_HOST3D.into(),
        blob_id: 1.into(),
        size: 4096.into(),
        ..virtio::ResourceCreateBlob::default()
    };
    queue.push(Command::ResourceCreateBlob, 1, create, &[]);
    queue.on_resource(Command::CtxAttachResource, 1, 5);
    let plain = virtio::ResourceCreateBlob { resource_id: 6.into(), blob_flags: 1.into(), blob_id: 0.into(), ..create };
    queue.push(Command::ResourceCreateBlob, 1, plain, &[]);
    let map = virtio::MapBlob { resource_id: 6.into(), offset: 4096.into(), ..virtio::MapBlob::default() };
    queue.push(Command::ResourceMapBlob, 0, map, &[]);
    queue.on_resource(Command::ResourceAssignUuid, 0, 6);
    queue.on_resource(Command::ResourceUnmapBlob, 0, 6);
    queue.on_resource(Command::CtxDetachResource, 1, 5);
    queue.on_resource(Command::ResourceUnref, 0, 5);
    queue
}

fn classic() -> Queue {
    let mut queue = Queue::default();
    let create = virtio::ResourceCreate3d {
        resource_id: 7.into(),
        target: 2.into(),
        format: 1.into(),
        width: 16.into(),
        height: 16.into(),
        depth: 1.into(),
        array_size: 1.into(),
        ..virtio::ResourceCreate3d::default()
    };
    queue.push(Command::ResourceCreate3d, 0, create, &[]);
    let flat = virtio::ResourceCreate2d { resource_id: 8.into(), format: 2.into(), width: 16.into(), height: 16.into() };
    queue.push(Command::ResourceCreate2d, 0, flat, &[]);
    let entry = virtio::MemEntry { addr: 8192.into(), length: 4096.into(), padding: 0.into() };
    for id in [7u32, 8] {
        let attach = virtio::AttachBacking { resource_id: id.into(), nr_entries: 1.into() };
        queue.push(Command::ResourceAttachBacking, 0, attach, entry.as_bytes());
    }
    queue.on_resource(Command::CtxAttachResource, 1, 7);
    let area = virtio::Box3d { w: 16.into(), h: 16.into(), d: 1.into(), ..virtio::Box3d::default() };
    let transfer = virtio::TransferHost3d { area, resource_id: 7.into(), ..virtio::TransferHost3d::default() };
    queue.push(Command::TransferToHost3d, 1, transfer, &[]);
    queue.push(Command::TransferFromHost3d, 1, transfer, &[]);
    let rect = virtio::Rect { width: 16.into(), height: 16.into(), ..virtio::Rect::default() };
    let transfer = virtio::TransferToHost2d { rect, resource_id: 8.into(), ..virtio::TransferToHost2d::default() };
    queue.push(Command::TransferToHost2d, 0, transfer, &[]);
    queue.on_resource(Command::ResourceDetachBacking, 0, 7);
    queue
}

fn display() -> Queue {
    let mut queue = classic();
    queue.push(Command::GetDisplayInfo, 0, [0u8; 0], &[]);
    queue.push(Command::GetEdid, 0, virtio::GetEdid::default(), &[]);
    let rect = virtio::Rect { width: 16.into(), height: 16.into(), ..virtio::Rect::default() };
    let show = virtio::SetScanout { rect, scanout_id: 0.into(), resource_id: 8.into() };
    queue.push(Command::SetScanout, 0, show, &[]);
    let flush = virtio::ResourceFlush { rect, resource_id: 8.into(), padding: 0.into() };
    queue.push(Command::ResourceFlush, 0, flush, &[]);
    let blob = virtio::SetScanoutBlob {
        rect,
        resource_id: 1.into(),
        width: 16.into(),
        height: 16.into(),
        format: 2.into(),
        strides: [64.into(), 0.into(), 0.into(), 0.into()],
        ..virtio::SetScanoutBlob::default()
    };
    queue.push(Command::SetScanoutBlob, 0, blob, &[]);
    let cursor = virtio::Cursor { resource_id: 8.into(), ..virtio::Cursor::default() };
    queue.push(Command::UpdateCursor, 0, cursor, &[]);
    queue.push(Command::MoveCursor, 0, cursor, &[]);
    queue
}

/// Every command of cross-domain and virgl by itself.
fn foreign_submissions() -> Vec<(&'static str, Vec<u8>)> {
    let header = cross_domain::Header::of::<cross_domain::Init>(cross_domain::Command::Init);
    let init = cross_domain::Init { header, query_ring_id: 1.into(), ..cross_domain::Init::default() };
    let header = cross_domain::Header::of::<cross_domain::GetImageRequirements>(cross_domain::Command::GetImageRequirements);
    let fourcc = Format::NV12.fourcc();
    let query = cross_domain::GetImageRequirements {
        header,
        width: 16.into(),
        height: 16.into(),
        drm_format: fourcc.into(),
        flags: 0x20.into(),
    };
    let poll = cross_domain::Header::of::<cross_domain::Header>(cross_domain::Command::Poll);
    let create = virgl::PipeResourceCreate {
        target: 2.into(),
        format: 166.into(),
        width: 16.into(),
        height: 16.into(),
        depth: 1.into(),
        array_size: 1.into(),
        flags: virgl::RESOURCE_FLAG_MAP_PERSISTENT.into(),
        blob_id: 1.into(),
        ..virgl::PipeResourceCreate::default()
    };
    let set_type = virgl::PipeResourceSetType {
        res_handle: 2.into(),
        format: 67.into(),
        width: 16.into(),
        height: 16.into(),
        ..virgl::PipeResourceSetType::default()
    };
    let plane = virgl::PlaneLayout { stride: 64.into(), offset: 0.into() };
    let virgl = |command, parts: &[&[u8]]| {
        let body = parts.concat();
        [virgl::CommandHeader::new(command, body.len()).as_bytes(), &body].concat()
    };
    vec![
        ("query", [init.as_bytes(), query.as_bytes()].concat()),
        ("poll", [init.as_bytes(), poll.as_bytes()].concat()),
        ("texture", virgl(virgl::Command::PipeResourceCreate, &[create.as_bytes()])),
        ("set_type", virgl(virgl::Command::PipeResourceSetType, &[set_type.as_bytes(), plane.as_bytes()])),
    ]
}

fn foreign_contexts() -> Queue {
    let mut queue = Queue::default();
    for (id, capset_id) in [(2, cross_domain::CAPSET_ID), (3, virgl::CAPSET_ID_VIRGL2)] {
        let create = virtio::CtxCreate { context_init: capset_id.into(), ..virtio::CtxCreate::default() };
        queue.push(Command::CtxCreate, id, create, &[]);
        queue.on_resource(Command::CtxAttachResource, id, 1);
        for (_, stream) in foreign_submissions() {
            let submit = virtio::Submit3d { size: (stream.len() as u32).into(), ..virtio::Submit3d::default() };
            queue.push(Command::Submit3d, id, submit, &stream);
        }
        let create = virtio::ResourceCreateBlob {
            resource_id: (id + 10).into(),
            blob_mem: virtio::BLOB_MEM_HOST3D.into(),
            blob_flags: 1.into(),
            blob_id: 1.into(),
            size: 4096.into(),
            ..virtio::ResourceCreateBlob::default()
        };
        queue.push(Command::ResourceCreateBlob, id, create, &[]);
    }
    queue
}

fn contexts() -> Queue {
    let mut queue = Queue::default();
    queue.push(Command::GetCapsetInfo, 0, virtio::GetCapsetInfo::default(), &[]);
    queue.push(Command::GetCapset, 0, virtio::GetCapset { capset_id: 20.into(), version: 1.into() }, &[]);
    let create = virtio::CtxCreate { context_init: 20.into(), nlen: 4.into(), ..virtio::CtxCreate::default() };
    queue.push(Command::CtxCreate, 2, create, &[]);
    let stream = submissions().into_iter().find(|(name, _)| *name == "memory").unwrap().1;
    let submit = virtio::Submit3d { size: (stream.len() as u32).into(), ..virtio::Submit3d::default() };
    queue.push(Command::Submit3d, 2, submit, &stream);
    queue.on_resource(Command::CtxDestroy, 2, 0);
    queue
}

fn main() {
    for (name, bytes) in submissions() {
        save("alloc_stream", name, &bytes);
    }
    save("control_queue", "blob", &blob().0);
    save("control_queue", "classic", &classic().0);
    save("control_queue", "display", &display().0);
    save("control_queue", "contexts", &contexts().0);
    save("control_queue", "foreign_contexts", &foreign_contexts().0);
    for (name, bytes) in foreign_submissions() {
        save("foreign_stream", name, &bytes);
    }
    // Answers of a host that counts: no call fails early, and every capset is named.
    save("host_answers", "counting", &(0..=255).collect::<Vec<u8>>());
    let sizes = [0u32, 1279, 719, 1, 64, 64, 4096].map(u32::to_le_bytes).concat();
    save("layout", "linear", &sizes);
    save("layout", "reported", &[&sizes[..], LayoutBody::from(&layout()).as_bytes()].concat());
}
