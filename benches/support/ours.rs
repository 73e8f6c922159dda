//! This project's host module, spoken to in the bytes that a guest kernel sends.

use super::{PAGE_BYTES, Picture, reply_page};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};
use virgbm::host::{Device, DeviceConfig, FilePiece, GuestMemory, MemoryResolver, OutsideGuestMemory, Window};
use virgbm::sys::host_pages::HostPages;
use virgbm::sys::mmap::Mmap;
use virgbm::wire::alloc::{self, Claim, ImageRequest, Init, Opcode, ReplySlot, Status, Stream};
use virgbm::wire::virtio_gpu::{self as wire, Command, CtrlHdr, Reply};
use virgbm::{Layout, Modifier, Offer};
use zerocopy::{FromBytes, Immutable, IntoBytes};

const CONTEXT: u32 = 1;
const RING: u32 = 1;
const SLOTS: u32 = (PAGE_BYTES / size_of::<ReplySlot>() as u64) as u32;
const BLOB_FLAGS: u32 = wire::BLOB_FLAG_USE_MAPPABLE | wire::BLOB_FLAG_USE_SHAREABLE;

/// The guest's memory: one page at address 0.
struct Page(Mmap);

impl GuestMemory for Page {
    fn file(&self, _: u64, _: u64) -> Option<FilePiece> {
        None
    }

    fn contains(&self, address: u64, length: u64) -> bool {
        address.checked_add(length).is_some_and(|end| end <= PAGE_BYTES)
    }

    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), OutsideGuestMemory> {
        let outside = OutsideGuestMemory { address, length: buffer.len() as u64 };
        self.0.read(address as usize, buffer).ok_or(outside)
    }

    fn write(&self, address: u64, data: &[u8]) -> Result<(), OutsideGuestMemory> {
        let outside = OutsideGuestMemory { address, length: data.len() as u64 };
        self.0.write(address as usize, data).ok_or(outside)
    }

    fn host_pages(&self, _: u64, _: u64) -> Option<HostPages> {
        None
    }

    fn store_release(&self, address: u64, value: u32) -> Result<(), OutsideGuestMemory> {
        let outside = OutsideGuestMemory { address, length: size_of::<u32>() as u64 };
        self.0.store_release(address as usize, value.to_le()).ok_or(outside)
    }
}

/// What the VMM does with the descriptor that the host lends it for the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vmm {
    /// Maps it at once: it needs no descriptor of its own.
    MapsAtOnce,
    /// Sends it elsewhere to be mapped: it takes a descriptor of its own.
    Keeps,
}

/// A window for one buffer.
struct Shelf {
    vmm: Vmm,
    kept: Mutex<Option<OwnedFd>>,
}

impl Window for Shelf {
    fn size_bytes(&self) -> u64 {
        1 << 40
    }

    fn pages(&self) -> io::Result<Option<Arc<OwnedFd>>> {
        Ok(None)
    }

    fn map(&self, _: u64, _: u64, source: BorrowedFd<'_>, _: u64) -> io::Result<()> {
        if self.vmm == Vmm::Keeps {
            *self.kept.lock().unwrap() = Some(source.try_clone_to_owned()?);
        }
        Ok(())
    }

    fn unmap(&self, _: u64, _: u64) -> io::Result<()> {
        drop(self.kept.lock().unwrap().take());
        Ok(())
    }

    fn rest(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A device with one context, which makes one buffer at a time.
pub struct Ours {
    device: Device,
    page: Arc<Page>,
    window: Arc<Shelf>,
    picture: Picture,
    offer: Offer,
    /// The last buffer's number, as a resource, as a blob and as a command.
    number: u32,
    request: Vec<u8>,
    reply: Vec<u8>,
}

impl Ours {
    /// Both hosts give memfds: udmabuf would compare another thing.
    pub fn new(picture: Picture, vmm: Vmm) -> Self {
        let (page, window) = (Arc::new(Page(reply_page())), Arc::new(Shelf { vmm, kept: Mutex::new(None) }));
        let resolvers: Vec<Box<dyn virgbm::host::Resolver>> = vec![Box::new(MemoryResolver::without_udmabuf())];
        let device = Device::new(DeviceConfig::default(), resolvers, page.clone(), window.clone()).unwrap();
        let mut reply = Vec::new();
        let body = wire::GetCapset { capset_id: alloc::CAPSET_ID.into(), version: alloc::VERSION.into() };
        let request = [CtrlHdr::command(Command::GetCapset, 0).as_bytes(), body.as_bytes()].concat();
        device.execute(&request, &mut reply);
        let offer = Offer::decode(&reply[size_of::<CtrlHdr>()..]).unwrap();
        let mut ours = Self { device, page, window, picture, offer, number: RING, request, reply };
        ours.open_context();
        ours
    }

    fn open_context(&mut self) {
        let body = wire::CtxCreate { context_init: alloc::CAPSET_ID.into(), ..wire::CtxCreate::default() };
        self.send(Command::CtxCreate, CONTEXT, body, &[], Reply::OkNoData);
        let body = wire::ResourceCreateBlob {
            resource_id: RING.into(),
            blob_mem: wire::BLOB_MEM_GUEST.into(),
            nr_entries: 1.into(),
            size: PAGE_BYTES.into(),
            ..wire::ResourceCreateBlob::default()
        };
        let entry = wire::MemEntry { length: (PAGE_BYTES as u32).into(), ..wire::MemEntry::default() };
        self.send(Command::ResourceCreateBlob, 0, body, entry.as_bytes(), Reply::OkNoData);
        self.send(Command::CtxAttachResource, CONTEXT, resource(RING), &[], Reply::OkNoData);
        let init = Init { resource_id: RING.into(), slot_count: SLOTS.into(), ..Init::default() };
        let mut stream = Stream::new();
        stream.push(Opcode::Init, 0, 0, 0, &[init.as_bytes()]);
        self.submit(&stream);
        assert_eq!(self.slot().reply.status.get(), Status::Ok.number());
    }

    fn send<T: IntoBytes + Immutable>(&mut self, command: Command, ctx_id: u32, body: T, rest: &[u8], expected: Reply) {
        self.request.clear();
        self.request.extend_from_slice(CtrlHdr::command(command, ctx_id).as_bytes());
        self.request.extend_from_slice(body.as_bytes());
        self.request.extend_from_slice(rest);
        self.device.execute(&self.request, &mut self.reply);
        let (header, _) = CtrlHdr::read_from_prefix(&self.reply).unwrap();
        assert_eq!(header.ctype.get(), expected.number(), "{command:?}");
    }

    fn submit(&mut self, stream: &Stream) {
        let body = wire::Submit3d { size: (stream.as_bytes().len() as u32).into(), ..wire::Submit3d::default() };
        self.send(Command::Submit3d, CONTEXT, body, stream.as_bytes(), Reply::OkNoData);
    }

    /// The first slot of the ring.
    fn slot(&self) -> ReplySlot {
        let mut bytes = [0; size_of::<ReplySlot>()];
        self.page.0.read(0, &mut bytes).unwrap();
        ReplySlot::read_from_bytes(&bytes).unwrap()
    }

    /// What the guest library and its kernel do for a buffer: the layout, ALLOC_IMAGE and its claim, the answer to both.
    pub fn create(&mut self, height: u32) -> Layout {
        let asked = self.picture.request(height);
        let support = self.offer.table.choose(&asked).unwrap();
        let layout = Layout::linear(&asked, support.alignment).unwrap();
        let size = layout.size_bytes.next_multiple_of(self.offer.blob_alignment.into());
        self.number += 1;
        let blob_id = u64::from(self.number).into();
        let claim = Claim { blob_id, blob_size: size.into(), blob_flags: BLOB_FLAGS.into(), padding: 0.into() };
        let image = ImageRequest {
            fourcc: asked.format.fourcc().into(),
            width: asked.width.into(),
            height: asked.height.into(),
            layers: asked.layers.into(),
            usage: asked.usage.bits().into(),
            modifier_count: 1.into(),
            padding: 0.into(),
        };
        let modifier = Modifier::LINEAR.value().to_le_bytes();
        let parts = [claim.as_bytes(), image.as_bytes(), &modifier];
        let mut stream = Stream::new();
        stream.push(Opcode::AllocImage, alloc::FLAG_REPLY_AT_CLAIM, self.number, 0, &parts);
        self.page.0.store_release(0, alloc::STATUS_PENDING).unwrap();
        self.submit(&stream);
        let body = wire::ResourceCreateBlob {
            resource_id: self.number.into(),
            blob_mem: wire::BLOB_MEM_HOST3D.into(),
            blob_flags: BLOB_FLAGS.into(),
            nr_entries: 0.into(),
            blob_id,
            size: size.into(),
        };
        self.send(Command::ResourceCreateBlob, CONTEXT, body, &[], Reply::OkNoData);
        let reply = self.slot().reply;
        assert_eq!((reply.status.get(), reply.sequence.get()), (Status::Ok.number(), self.number));
        assert_eq!(reply.layout.size.get(), layout.size_bytes);
        layout
    }

    /// The descriptor that the VMM gets for its window, until `unmap`.
    pub fn map(&mut self) {
        let body = wire::MapBlob { resource_id: self.number.into(), ..wire::MapBlob::default() };
        self.send(Command::ResourceMapBlob, 0, body, &[], Reply::OkMapInfo);
    }

    /// Lends what the window has.
    pub fn with_mapped(&self, look: impl FnOnce(BorrowedFd<'_>)) {
        look(self.window.kept.lock().unwrap().as_ref().unwrap().as_fd());
    }

    pub fn unmap(&mut self) {
        self.send(Command::ResourceUnmapBlob, 0, resource(self.number), &[], Reply::OkNoData);
    }

    /// A descriptor that may leave the host.
    pub fn export(&self) -> OwnedFd {
        self.device.export(self.number).unwrap().fd
    }

    pub fn destroy(&mut self) {
        self.send(Command::ResourceUnref, 0, resource(self.number), &[], Reply::OkNoData);
    }
}

fn resource(id: u32) -> wire::ResourceId {
    wire::ResourceId { resource_id: id.into(), ..wire::ResourceId::default() }
}
