//! What tests, benchmarks and fuzz targets of the host stand on: pages as guest memory, a window that remembers, and a guest that
//! speaks in bytes. It panics where a test should fail.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::{Amount, Device, DeviceConfig, FilePiece, GuestMemory, MemoryResolver, OutsideGuestMemory, Quota, Resolver, Window};
use crate::sys::host_pages::HostPages;
use crate::sys::memfd;
use crate::wire::alloc::{self, Opcode, Reply as SlotReply, Stream};
use crate::wire::virtio_gpu::{self as wire, Command, CtrlHdr, Reply};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Whether only a GPU will do: tests/gpu/run sets this, elsewhere drivers may draw in software.
pub fn gpu_demanded() -> bool {
    std::env::var("VIRGBM_GPU").is_ok_and(|value| value == "1")
}

/// Guest memory that starts at address 0.
pub struct Pages(Mutex<Vec<u8>>);

impl Pages {
    /// Zeroes.
    pub fn new(bytes: usize) -> Self {
        Self(Mutex::new(vec![0; bytes]))
    }

    /// Writes bytes, which must be inside.
    pub fn write_all(&self, address: u64, data: &[u8]) {
        self.write(address, data).unwrap();
    }

    /// Reads bytes, which must be inside.
    pub fn read_all(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.read(address, &mut bytes).unwrap();
        bytes
    }

    fn range(&self, address: u64, length: usize) -> Result<std::ops::Range<usize>, OutsideGuestMemory> {
        let outside = OutsideGuestMemory { address, length: length as u64 };
        if !self.contains(address, length as u64) {
            return Err(outside);
        }
        Ok(address as usize..address as usize + length)
    }
}

impl GuestMemory for Pages {
    fn contains(&self, address: u64, length: u64) -> bool {
        address.checked_add(length).is_some_and(|end| end <= self.0.lock().unwrap().len() as u64)
    }

    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), OutsideGuestMemory> {
        let range = self.range(address, buffer.len())?;
        buffer.copy_from_slice(&self.0.lock().unwrap()[range]);
        Ok(())
    }

    fn write(&self, address: u64, data: &[u8]) -> Result<(), OutsideGuestMemory> {
        let range = self.range(address, data.len())?;
        self.0.lock().unwrap()[range].copy_from_slice(data);
        Ok(())
    }

    fn file(&self, _: u64, _: u64) -> Option<FilePiece> {
        None
    }

    fn host_pages(&self, _: u64, _: u64) -> Option<HostPages> {
        None
    }

    fn store_release(&self, address: u64, value: u32) -> Result<(), OutsideGuestMemory> {
        self.write(address, &value.to_le_bytes())
    }
}

/// One run of guest pages.
pub fn entry(address: u64, length: u32) -> wire::MemEntry {
    wire::MemEntry { addr: address.into(), length: length.into(), ..wire::MemEntry::default() }
}

/// What a [`Shelf`] shows at an offset.
pub struct ShelfMap {
    fd: OwnedFd,
    source_offset: u64,
    length: u64,
}

/// A window that remembers what is mapped, and refuses when told to.
#[derive(Default)]
pub struct Shelf {
    /// By offset.
    pub mapped: Mutex<BTreeMap<u64, ShelfMap>>,
    /// Whether the next map fails, of a blob or of the pages.
    pub refuse: AtomicBool,
    /// Pages under all of it, where it has such.
    pub pages: Option<Arc<OwnedFd>>,
    /// How often it was told that nobody needs the pages.
    pub rests: AtomicUsize,
}

impl Shelf {
    /// A window with pages of its own.
    pub fn with_pages() -> Self {
        Self { pages: Some(Arc::new(memfd::sealed(SHELF_BYTES).unwrap())), ..Self::default() }
    }

    /// Where the byte at an offset comes from.
    fn source(&self, offset: u64) -> (OwnedFd, u64) {
        let mapped = self.mapped.lock().unwrap();
        match mapped.range(..=offset).next_back().filter(|(start, map)| offset - **start < map.length) {
            Some((start, map)) => (map.fd.try_clone().unwrap(), map.source_offset + offset - start),
            None => (self.pages.as_ref().unwrap().try_clone().unwrap(), offset),
        }
    }

    /// Writes as a guest does.
    pub fn write(&self, offset: u64, data: &[u8]) {
        let (fd, at) = self.source(offset);
        memfd::write_all(fd.as_fd(), data, at).unwrap();
    }

    /// Reads as a guest does.
    pub fn read(&self, offset: u64, length: usize) -> Vec<u8> {
        let (fd, at) = self.source(offset);
        let mut bytes = vec![1; length];
        memfd::read_exact(fd.as_fd(), &mut bytes, at).unwrap();
        bytes
    }

    fn refuse(&self) -> std::io::Result<()> {
        if self.refuse.load(Ordering::Relaxed) { Err(std::io::ErrorKind::OutOfMemory.into()) } else { Ok(()) }
    }
}

impl Window for Shelf {
    fn size_bytes(&self) -> u64 {
        SHELF_BYTES
    }

    fn pages(&self) -> std::io::Result<Option<Arc<OwnedFd>>> {
        self.refuse()?;
        Ok(self.pages.clone())
    }

    fn map(&self, offset: u64, length: u64, source: BorrowedFd<'_>, source_offset: u64) -> std::io::Result<()> {
        self.refuse()?;
        let map = ShelfMap { fd: source.try_clone_to_owned()?, source_offset, length };
        assert!(self.mapped.lock().unwrap().insert(offset, map).is_none());
        Ok(())
    }

    fn unmap(&self, offset: u64, length: u64) -> std::io::Result<()> {
        assert_eq!(self.mapped.lock().unwrap().remove(&offset).map(|map| map.length), Some(length));
        Ok(())
    }

    fn rest(&self) -> std::io::Result<()> {
        self.rests.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

const SHELF_BYTES: u64 = 1 << 20;

/// Small enough that a fuzzer meets the limits, and that its machine does not.
pub const SMALL_QUOTA: Quota = Quota {
    context: Amount { bytes: 8 << 20, objects: 16, fds: 16 },
    device: Amount { bytes: 16 << 20, objects: 32, fds: 32 },
    contexts: 4,
    attachments: 16,
    mappings: 4,
};

/// How much memory a [`Guest`] has.
pub const MEMORY_BYTES: usize = 1 << 20;
/// The resource of its reply ring.
pub const RING: u32 = 1;
/// The slots of the ring.
pub const SLOTS: u32 = 8;

/// A guest with one context of the allocation capset, number 1, and its reply ring in resource 1 at address 0.
#[allow(missing_docs)]
pub struct Guest {
    pub device: Device,
    pub window: Arc<Shelf>,
    pub pages: Arc<Pages>,
}

impl Default for Guest {
    fn default() -> Self {
        Self::new()
    }
}

impl Guest {
    /// A device without any context.
    pub fn bare(config: DeviceConfig, resolvers: Vec<Box<dyn Resolver>>) -> Self {
        Self::with_window(config, resolvers, Shelf::default())
    }

    /// A device with this window and without any context.
    pub fn with_window(config: DeviceConfig, resolvers: Vec<Box<dyn Resolver>>, window: Shelf) -> Self {
        let (pages, window) = (Arc::new(Pages::new(MEMORY_BYTES)), Arc::new(window));
        let device = Device::new(config, resolvers, pages.clone(), window.clone()).unwrap();
        Self { device, window, pages }
    }

    /// A device with plain memory, the context and the ring.
    pub fn with_config(config: DeviceConfig) -> Self {
        Self::with_resolvers(config, vec![Box::new(MemoryResolver::without_udmabuf())])
    }

    /// A device with these resolvers, the context and the ring.
    pub fn with_resolvers(config: DeviceConfig, resolvers: Vec<Box<dyn Resolver>>) -> Self {
        let guest = Self::bare(config, resolvers);
        guest.create_context(1, alloc::CAPSET_ID);
        guest.guest_blob(RING, 0, 4096);
        guest.attach(1, RING);
        let init = alloc::Init { resource_id: RING.into(), slot_count: SLOTS.into(), ..alloc::Init::default() };
        let mut stream = Stream::new();
        stream.push(Opcode::Init, 0, 0, 0, &[init.as_bytes()]);
        assert_eq!(guest.submit(1, stream.as_bytes()), Reply::OkNoData);
        guest
    }

    /// A device with these limits, the context and the ring.
    pub fn with_quota(quota: Quota) -> Self {
        Self::with_config(DeviceConfig { quota, ..DeviceConfig::default() })
    }

    /// A device with default limits, the context and the ring.
    pub fn new() -> Self {
        Self::with_quota(Quota::default())
    }

    /// Sends a command and gives the answer: its kind and its body.
    pub fn send(&self, header: CtrlHdr, parts: &[&[u8]]) -> (CtrlHdr, Vec<u8>) {
        let mut reply = vec![0xaa; 10];
        self.device.execute(&[&[header.as_bytes()], parts].concat().concat(), &mut reply);
        let (header, body) = CtrlHdr::read_from_prefix(&reply).unwrap();
        (header, body.to_vec())
    }

    /// Sends a command and gives the kind of its answer.
    pub fn command<T: IntoBytes + Immutable>(&self, command: Command, ctx_id: u32, body: T, rest: &[u8]) -> Reply {
        let (header, _) = self.send(CtrlHdr::command(command, ctx_id), &[body.as_bytes(), rest]);
        Reply::from_number(header.ctype.get()).unwrap()
    }

    /// CTX_CREATE, which must work.
    pub fn create_context(&self, id: u32, capset_id: u32) {
        let body = wire::CtxCreate { context_init: capset_id.into(), ..wire::CtxCreate::default() };
        assert_eq!(self.command(Command::CtxCreate, id, body, &[]), Reply::OkNoData);
    }

    /// CTX_DESTROY, which must work.
    pub fn destroy_context(&self, id: u32) {
        assert_eq!(self.command(Command::CtxDestroy, id, (), &[]), Reply::OkNoData);
    }

    /// A command whose body is a resource's number.
    pub fn on_resource(&self, command: Command, ctx_id: u32, id: u32) -> Reply {
        self.command(command, ctx_id, wire::ResourceId { resource_id: id.into(), ..wire::ResourceId::default() }, &[])
    }

    /// CTX_ATTACH_RESOURCE, which must work.
    pub fn attach(&self, ctx_id: u32, id: u32) {
        assert_eq!(self.on_resource(Command::CtxAttachResource, ctx_id, id), Reply::OkNoData);
    }

    /// A guest blob of one run of pages, which must work.
    pub fn guest_blob(&self, id: u32, address: u64, bytes: u32) {
        let body = wire::ResourceCreateBlob {
            resource_id: id.into(),
            blob_mem: wire::BLOB_MEM_GUEST.into(),
            nr_entries: 1.into(),
            size: u64::from(bytes).into(),
            ..wire::ResourceCreateBlob::default()
        };
        let entry = wire::MemEntry { addr: address.into(), length: bytes.into(), ..wire::MemEntry::default() };
        assert_eq!(self.command(Command::ResourceCreateBlob, 0, body, entry.as_bytes()), Reply::OkNoData);
    }

    /// SUBMIT_3D.
    pub fn submit(&self, ctx_id: u32, stream: &[u8]) -> Reply {
        let body = wire::Submit3d { size: (stream.len() as u32).into(), ..wire::Submit3d::default() };
        self.command(Command::Submit3d, ctx_id, body, stream)
    }

    /// Submits one command to context 1 with slot 0, and gives the status in it, 0 when there is none yet.
    pub fn run(&self, opcode: Opcode, flags: u16, parts: &[&[u8]]) -> u32 {
        self.pages.write(0, &[0; 256]).unwrap();
        let mut stream = Stream::new();
        stream.push(opcode, flags, 7, 0, parts);
        assert_eq!(self.submit(1, stream.as_bytes()), Reply::OkNoData);
        self.slot(0).status.get()
    }

    /// What is in a reply slot.
    pub fn slot(&self, index: u32) -> SlotReply {
        let mut bytes = [0; size_of::<SlotReply>()];
        self.pages.read(u64::from(index) * 256, &mut bytes).unwrap();
        SlotReply::read_from_bytes(&bytes).unwrap()
    }

    /// RESOURCE_CREATE_2D.
    pub fn create_2d(&self, id: u32, format: u32, width: u32, height: u32) -> Reply {
        let body =
            wire::ResourceCreate2d { resource_id: id.into(), format: format.into(), width: width.into(), height: height.into() };
        self.command(Command::ResourceCreate2d, 0, body, &[])
    }

    /// RESOURCE_ATTACH_BACKING that says it has `nr_entries`.
    pub fn attach_backing(&self, id: u32, nr_entries: u32, entries: &[wire::MemEntry]) -> Reply {
        let body = wire::AttachBacking { resource_id: id.into(), nr_entries: nr_entries.into() };
        self.command(Command::ResourceAttachBacking, 0, body, entries.as_bytes())
    }

    /// A blob of host memory that context 1 claims.
    pub fn host_blob(&self, id: u32, blob_id: u64, size: u64, blob_flags: u32) -> Reply {
        let body = wire::ResourceCreateBlob {
            resource_id: id.into(),
            blob_mem: wire::BLOB_MEM_HOST3D.into(),
            blob_flags: blob_flags.into(),
            blob_id: blob_id.into(),
            size: size.into(),
            ..wire::ResourceCreateBlob::default()
        };
        self.command(Command::ResourceCreateBlob, 1, body, &[])
    }

    /// RESOURCE_MAP_BLOB.
    pub fn map(&self, id: u32, offset: u64) -> Reply {
        let body = wire::MapBlob { resource_id: id.into(), offset: offset.into(), ..wire::MapBlob::default() };
        self.command(Command::ResourceMapBlob, 0, body, &[])
    }
}
