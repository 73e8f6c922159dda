//! The backend for this project's own protocol ([`wire::alloc`](crate::wire::alloc)).
//!
//! A linear buffer costs one RESOURCE_CREATE_BLOB, with the allocation in its `cmd`, and one look at the reply slot. A layout that
//! only the host knows is asked for once, however many threads want it.

mod replies;

use super::answers::Answers;
use super::classic::{ClassicCopy, Texture};
use super::{Backend, Blob, HostCopy, Imported};
use crate::guest::error::Error;
use crate::guest::handles::HandleTable;
use crate::guest::node::{BlobCreate, BlobFlags, BlobMem, ContextInit, Execbuffer, Handles, Node, Param};
use crate::guest::options::DeviceOptions;
use crate::wire::alloc::{self as wire, Capabilities, Opcode, Stream};
use crate::{BufferRequest, Layout, LayoutError, Offer, Usage};
use replies::{Answer, ReplyRing, Slots};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use zerocopy::IntoBytes;

/// The largest capset that is read: room for a thousand formats with their modifiers.
const LARGEST_CAPSET: usize = 64 * 1024;

/// What is done by another virtio device, which knows a buffer by the name that the host gives it.
const OTHER_DEVICES: Usage =
    Usage::VIDEO_DECODER.union(Usage::VIDEO_ENCODER).union(Usage::CAMERA_READ).union(Usage::CAMERA_WRITE);

/// What makes the host's image differ from what the CPU has sent.
const HOST_WRITES: Usage = Usage::RENDER
    .union(Usage::VIDEO_DECODER)
    .union(Usage::CAMERA_WRITE)
    .union(Usage::CPU_READ_RARELY)
    .union(Usage::CPU_READ_OFTEN);

/// What the CPU reaches of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// The host's memory in the window, if anything.
    Blob,
    /// Pages of the guest, which transfers bring to the host's image.
    Transfers,
    /// Pages of the guest, which the host uses in place.
    GuestMemory,
}

pub(super) struct AllocBackend {
    node: Arc<dyn Node>,
    handles: Arc<HandleTable>,
    offer: Offer,
    ring: ReplyRing,
    layouts: Answers<Layout>,
    next_blob_id: AtomicU64,
    blob_alignment: u64,
    /// Whether the host gives resources a name for other virtio devices.
    cross_device: bool,
}

/// What the host offers under a capset.
pub(super) fn offer(node: &dyn Node, capset_id: u32) -> Result<Offer, Error> {
    let mut capset = vec![0; LARGEST_CAPSET];
    node.get_caps(capset_id, wire::VERSION, &mut capset)?;
    Offer::decode(&capset).map_err(|source| Error::Offer { capset_id, source })
}

impl AllocBackend {
    /// Reads the offer, makes the context and names its reply ring: one round trip.
    pub fn open(node: &Arc<dyn Node>, handles: &Arc<HandleTable>, options: &DeviceOptions) -> Result<Self, Error> {
        let capset_id = options.capset_id;
        let offer = offer(&**node, capset_id)?;
        node.context_init(&ContextInit { capset_id, num_rings: 1, debug_name: &options.name })?;
        let blob_alignment = u64::from(offer.blob_alignment).max(kernel_alignment(&**node));
        let ring = ReplyRing::open(node, handles, blob_alignment, options.patience)?;
        Ok(Self {
            blob_alignment,
            cross_device: matches!(node.get_param(Param::CrossDevice), Ok(1)),
            node: node.clone(),
            handles: handles.clone(),
            offer,
            ring,
            layouts: Answers::default(),
            next_blob_id: AtomicU64::new(1),
        })
    }

    fn execute(&self, stream: &Stream) -> Result<(), Error> {
        self.node.execbuffer(&Execbuffer { command: stream.as_bytes(), ..Execbuffer::default() })?;
        Ok(())
    }

    /// One command that is submitted by itself, and its answer.
    fn ask(&self, opcode: Opcode, parts: &[&[u8]]) -> Result<Answer, Error> {
        let slots = self.ring.take(1, opcode)?;
        let mut stream = Stream::new();
        for ticket in slots.tickets() {
            stream.push(opcode, 0, ticket.sequence, ticket.slot, parts);
        }
        self.execute(&stream)?;
        let answers = self.ring.wait(slots, opcode)?;
        answers.into_iter().next().unwrap_or(Err(Error::Silent { opcode }))
    }

    fn ask_layout(&self, request: &BufferRequest) -> Result<Layout, Error> {
        let (body, modifiers) = request.to_wire();
        let answer = self.ask(Opcode::Resolve, &[body.as_bytes(), modifiers.as_bytes()])?;
        let reported = answer.layout()?;
        let BufferRequest { format, width, height, layers, .. } = *request;
        let kept = (reported.format, reported.width, reported.height, reported.layers) == (format, width, height, layers);
        if !kept || !request.accepts(reported.modifier) {
            let agreed = Layout { format, width, height, layers, ..reported };
            return Err(Error::OtherLayout { agreed: Box::new(agreed), reported: Box::new(reported) });
        }
        Ok(reported)
    }

    /// How the CPU gets at a buffer, where its request says that it does.
    fn reach(&self, request: &BufferRequest, layout: &Layout) -> Result<Reach, Error> {
        let capabilities = self.offer.capabilities;
        if !request.usage.intersects(Usage::CPU) {
            return Ok(Reach::Blob);
        }
        if self.offer.table.choose(request).is_ok_and(|support| support.transfers) {
            return if layout.planes.len() == 1 { Ok(Reach::Transfers) } else { Err(Error::NoCpuAccess) };
        }
        match (capabilities.contains(Capabilities::HOST_VISIBLE), capabilities.contains(Capabilities::GUEST_MEMORY_IMPORT)) {
            (true, _) => Ok(Reach::Blob),
            (false, true) => Ok(Reach::GuestMemory),
            (false, false) => Err(Error::NoCpuAccess),
        }
    }

    fn create_batch(&self, request: &BufferRequest, layout: &Layout, count: usize) -> Result<Vec<Blob>, Error> {
        let cpu = request.usage.intersects(Usage::CPU);
        let resolved = request.clone().with_modifiers([layout.modifier]);
        let reach = self.reach(&resolved, layout)?;
        if reach == Reach::GuestMemory {
            return self.create_from_guest_memory(request, layout, count);
        }
        let transfers = reach == Reach::Transfers;
        let mut flags = BlobFlags::SHAREABLE;
        // A mapping costs a window range at creation: only for buffers that the CPU will touch.
        flags.set(BlobFlags::MAPPABLE, cpu);
        flags.set(BlobFlags::CROSS_DEVICE, self.cross_device && request.usage.intersects(OTHER_DEVICES));
        let slots = self.ring.take(count, Opcode::AllocImage)?;
        let first_id = self.next_blob_id.fetch_add(count as u64, Ordering::Relaxed);
        let size = self.blob_size(layout)?;
        let mut stream = Stream::new();
        let mem = if transfers { BlobMem::Host3dGuest } else { BlobMem::Host3d };
        let (body, modifiers) = resolved.to_wire();
        for (ticket, id) in slots.tickets().zip(first_id..) {
            let blob_flags = flags.bits().into();
            let claim = wire::Claim { blob_id: id.into(), blob_size: size.into(), blob_flags, padding: 0.into() };
            let parts = [claim.as_bytes(), body.as_bytes(), modifiers.as_bytes()];
            stream.push(Opcode::AllocImage, wire::FLAG_REPLY_AT_CLAIM, ticket.sequence, ticket.slot, &parts);
            name(&mut stream, &request.name, id, 0);
        }
        let mut command = stream.as_bytes();
        let mut blobs = Vec::with_capacity(count);
        for blob_id in (first_id..).take(count) {
            let blob = BlobCreate { mem, flags, size, blob_id, command };
            match self.create_blob(&blob) {
                Ok(blob) => blobs.push(blob),
                Err(error) => {
                    drop(blobs);
                    self.take_back(first_id, count, slots);
                    return Err(error);
                }
            }
            // The whole swapchain's commands went with the first blob.
            command = &[];
        }
        let answers = self.ring.wait(slots, Opcode::AllocImage)?;
        for (blob, answer) in blobs.iter_mut().zip(answers) {
            let answer = answer?;
            let reported = answer.layout()?;
            if reported != *layout {
                return Err(Error::OtherLayout { agreed: Box::new(*layout), reported: Box::new(reported) });
            }
            blob.made_of = answer.made_of();
            if transfers {
                let host_writes = request.usage.intersects(HOST_WRITES);
                blob.copy = Some(Box::new(self.copy_of(blob.handle.bo_handle(), layout, host_writes)));
            }
        }
        Ok(blobs)
    }

    /// The image of a blob whose guest pages the CPU maps.
    fn copy_of(&self, bo_handle: u32, layout: &Layout, host_writes: bool) -> ClassicCopy {
        ClassicCopy { node: self.node.clone(), bo_handle, layout: *layout, texture: Texture::Rows, host_writes }
    }

    /// For hosts without a window: the guest's pages are the buffer, and the host reads them in place.
    fn create_from_guest_memory(&self, request: &BufferRequest, layout: &Layout, count: usize) -> Result<Vec<Blob>, Error> {
        let size = self.blob_size(layout)?;
        let flags = BlobFlags::SHAREABLE | BlobFlags::MAPPABLE;
        let blob = BlobCreate { mem: BlobMem::Guest, flags, size, blob_id: 0, command: &[] };
        let mut blobs = (0..count).map(|_| self.create_blob(&blob)).collect::<Result<Vec<_>, _>>()?;
        let slots = self.ring.take(count, Opcode::Import)?;
        let mut stream = Stream::new();
        for (ticket, blob) in slots.tickets().zip(&blobs) {
            let resource_id = blob.resource_id.into();
            let import = wire::Import { resource_id, padding: 0.into(), layout: layout.into() };
            stream.push(Opcode::Import, 0, ticket.sequence, ticket.slot, &[import.as_bytes()]);
            name(&mut stream, &request.name, 0, blob.resource_id);
        }
        self.execute(&stream)?;
        for (blob, answer) in blobs.iter_mut().zip(self.ring.wait(slots, Opcode::Import)?) {
            blob.made_of = answer?.made_of();
        }
        Ok(blobs)
    }

    fn create_blob(&self, blob: &BlobCreate<'_>) -> Result<Blob, Error> {
        let Handles { bo_handle, resource_id } = self.node.resource_create_blob(blob)?;
        let handle = self.handles.adopt(bo_handle);
        let mappable = blob.flags.contains(BlobFlags::MAPPABLE);
        Ok(Blob { handle, resource_id, size_bytes: blob.size, mappable, made_of: None, copy: None })
    }

    /// After a blob that the kernel refused: frees what the host allocated for it and the following, and waits until the host has
    /// done so, since it may still be writing their slots.
    fn take_back(&self, first_id: u64, count: usize, slots: Slots<'_>) {
        let mut stream = Stream::new();
        for id in (first_id..).take(count) {
            stream.push(Opcode::Free, 0, 0, wire::NO_REPLY, &[wire::BlobId { blob_id: id.into() }.as_bytes()]);
        }
        if let Err(error) = self.ring.settle(stream.as_bytes(), slots, Opcode::Free) {
            log::warn!("{error}; {count} reply slots stay unused");
        }
    }

    fn blob_size(&self, layout: &Layout) -> Result<u64, Error> {
        let Layout { format, width, height, layers, .. } = *layout;
        let overflow = LayoutError::Overflow { format, width, height, layers };
        Ok(layout.size_bytes.checked_next_multiple_of(self.blob_alignment).ok_or(overflow)?)
    }
}

/// What blob sizes must be multiples of for the kernel: its pages, and what the device asks of it (BLOB_ALIGNMENT). Old ChromeOS
/// kernels mean something else by that number, and answer what is no alignment.
fn kernel_alignment(node: &dyn Node) -> u64 {
    let page = rustix::param::page_size() as u64;
    let device = node.get_param(Param::BlobAlignment).unwrap_or(0);
    if device.is_power_of_two() { page.max(device) } else { page }
}

/// Names an object, or where its id is 0 a resource; a nameless buffer costs nothing.
fn name(stream: &mut Stream, name: &str, blob_id: u64, resource_id: u32) {
    let limit = wire::MAX_NAME_BYTES as usize;
    let end = (0..=name.len().min(limit)).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    let text = name.get(..end).unwrap_or("").as_bytes();
    if text.is_empty() {
        return;
    }
    let length = (text.len() as u32).into();
    let body = wire::SetName { blob_id: blob_id.into(), resource_id: resource_id.into(), length };
    stream.push(Opcode::SetName, 0, 0, wire::NO_REPLY, &[body.as_bytes(), text]);
}

impl Backend for AllocBackend {
    fn offer(&self) -> &Offer {
        &self.offer
    }

    fn resolve(&self, request: &BufferRequest) -> Result<Layout, Error> {
        request.check()?;
        let support = self.offer.table.choose(request)?;
        let mut asked = request.clone().with_modifiers([support.modifier]);
        asked.name.clear();
        let layout = if support.guest_layout {
            Layout::linear(request, support.alignment)?
        } else {
            self.layouts.get(asked.clone(), |request| self.ask_layout(request))?
        };
        self.reach(&asked, &layout)?;
        Ok(layout)
    }

    fn create(&self, request: &BufferRequest, layout: &Layout, count: usize) -> Result<Vec<Blob>, Error> {
        let mut blobs = Vec::with_capacity(count);
        while blobs.len() < count {
            // As many as have reply slots, and one that tells when there are none.
            let batch = (count - blobs.len()).min(self.ring.usable().max(1));
            blobs.append(&mut self.create_batch(request, layout, batch)?);
        }
        Ok(blobs)
    }

    fn describe(&self, resource_id: u32) -> Result<(Layout, Option<wire::Backing>), Error> {
        let body = wire::Resource { resource_id: resource_id.into(), padding: 0.into() };
        let answer = self.ask(Opcode::Describe, &[body.as_bytes()])?;
        if !answer.has_layout() {
            return Err(Error::NoLayout { resource_id });
        }
        Ok((answer.layout()?, answer.made_of()))
    }

    fn adopt(&self, imported: Imported, layout: &Layout, usage: Usage) -> Blob {
        let Imported { handle, resource_id, size_bytes, blob_mem } = imported;
        let copied = blob_mem == BlobMem::Host3dGuest as u32 && layout.planes.len() == 1;
        let copy_of = || self.copy_of(handle.bo_handle(), layout, usage.intersects(HOST_WRITES));
        let copy = copied.then(|| Box::new(copy_of()) as Box<dyn HostCopy>);
        // Whether the host lets it be mapped is known only when that is tried.
        Blob { handle, resource_id, size_bytes, mappable: true, made_of: None, copy }
    }

    fn round_trips(&self) -> u64 {
        self.ring.round_trips()
    }
}
