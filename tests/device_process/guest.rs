//! What a guest's driver says on the control queue.

use virgbm::wire::alloc::CAPSET_ID;
use virgbm::wire::virtio_gpu::{self as wire, Command, CtrlHdr};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A command with its body.
pub fn command<T: IntoBytes + Immutable>(command: Command, context: u32, body: &T) -> Vec<u8> {
    [CtrlHdr::command(command, context).as_bytes(), body.as_bytes()].concat()
}

pub fn display_info() -> Vec<u8> {
    command(Command::GetDisplayInfo, 0, &())
}

pub fn create_context(id: u32) -> Vec<u8> {
    command(Command::CtxCreate, id, &wire::CtxCreate { context_init: CAPSET_ID.into(), ..Default::default() })
}

/// A blob of host memory, which is plain memory; 4096 bytes and more.
pub fn host_blob(context: u32, id: u32, size: u64, flags: u32) -> Vec<u8> {
    let body = wire::ResourceCreateBlob {
        resource_id: id.into(),
        blob_mem: wire::BLOB_MEM_HOST3D.into(),
        blob_flags: flags.into(),
        size: size.into(),
        ..Default::default()
    };
    command(Command::ResourceCreateBlob, context, &body)
}

pub fn mappable_blob(context: u32, id: u32, size: u64) -> Vec<u8> {
    host_blob(context, id, size, wire::BLOB_FLAG_USE_MAPPABLE)
}

/// A blob of one run of guest memory.
pub fn guest_blob(id: u32, address: u64, size: u32) -> Vec<u8> {
    let body = wire::ResourceCreateBlob {
        resource_id: id.into(),
        blob_mem: wire::BLOB_MEM_GUEST.into(),
        nr_entries: 1.into(),
        size: u64::from(size).into(),
        ..Default::default()
    };
    let entry = wire::MemEntry { addr: address.into(), length: size.into(), padding: 0.into() };
    [command(Command::ResourceCreateBlob, 0, &body).as_slice(), entry.as_bytes()].concat()
}

pub fn map(id: u32, offset: u64) -> Vec<u8> {
    let body = wire::MapBlob { resource_id: id.into(), padding: 0.into(), offset: offset.into() };
    command(Command::ResourceMapBlob, 0, &body)
}

fn of_resource(name: Command, id: u32) -> Vec<u8> {
    command(name, 0, &wire::ResourceId { resource_id: id.into(), padding: 0.into() })
}

pub fn unmap(id: u32) -> Vec<u8> {
    of_resource(Command::ResourceUnmapBlob, id)
}

pub fn unref(id: u32) -> Vec<u8> {
    of_resource(Command::ResourceUnref, id)
}

/// What kind of answer it is; 0 for none.
pub fn kind(answer: &Option<Vec<u8>>) -> u32 {
    answer.as_ref().map_or(0, |bytes| CtrlHdr::read_from_prefix(bytes).unwrap().0.ctype.get())
}

/// Whether it is an answer and says no.
pub fn is_refusal(answer: &Option<Vec<u8>>) -> bool {
    (0x1200..0x1300).contains(&kind(answer))
}
