//! The control queue's commands, but for those that touch the window: one function a command.

mod classic;

use super::backing::Backing;
use super::capsets::{Capsets, Spoken};
use super::config::DeviceConfig;
use super::context::alloc::{Answer, ClaimAnswer};
use super::context::{BlobClaim, Context, Host};
use super::dma_buf::GuestPages;
use super::object::Object;
use super::quota::{Account, Amount, Charge};
use super::ranges::Ranges;
use super::renderer::{Renderer, Timeline};
use super::resolver::Resolvers;
use super::resource::{Resource, ResourceKind, Resources, find, printable};
use super::scanout::Scanouts;
use super::transfer::Direction;
use super::{CommandError, GuestMemory};
use crate::wire::alloc::{self, Status, split_body, split_list};
use crate::wire::virgl::{self, CAPSET_ID_VIRGL, CAPSET_ID_VIRGL2, PipeResourceSetType, frames};
use crate::wire::virtio_gpu::{self as wire, Command, CtrlHdr, MemEntry, Reply};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use zerocopy::{FromBytes, IntoBytes};

/// How many refusals of its renderer a device remembers.
const REMEMBERED_REFUSALS: usize = 8;

/// A command taken apart: its header, which is whole, and the bytes behind it, which are not checked yet.
pub(super) struct Request<'a> {
    pub command: Command,
    header: CtrlHdr,
    rest: &'a [u8],
}

impl<'a> Request<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CommandError> {
        let (header, rest) = CtrlHdr::read_from_prefix(bytes).map_err(|_| CommandError::NoHeader(bytes.len()))?;
        let number = header.ctype.get();
        let command = Command::from_number(number).ok_or(CommandError::UnknownCommand(number))?;
        Ok(Self { command, header, rest })
    }

    /// The answer's header: the fence comes back where there was one.
    pub fn fence(&self) -> Result<CtrlHdr, CommandError> {
        let flags = self.header.flags.get() & (wire::FLAG_FENCE | wire::FLAG_INFO_RING_IDX);
        if flags & wire::FLAG_INFO_RING_IDX != 0 && self.header.ring_idx >= wire::MAX_RINGS {
            return Err(CommandError::Ring(self.header.ring_idx));
        }
        if flags & wire::FLAG_FENCE == 0 {
            return Ok(CtrlHdr::default());
        }
        Ok(CtrlHdr { ctype: 0.into(), flags: flags.into(), padding: [0; 3], ..self.header })
    }

    /// The command's body and what follows it.
    pub fn body<T: FromBytes + Copy>(&self) -> Result<(T, &'a [u8]), CommandError> {
        split_body(self.rest).ok_or(CommandError::Truncated(self.rest.len()))
    }

    /// The timeline that the command's fence is on, where it has one.
    pub fn timeline(&self) -> Option<Timeline> {
        let flags = self.header.flags.get();
        let ring = Timeline::Ring { ctx_id: self.ctx_id(), ring_idx: self.header.ring_idx };
        let timeline = if flags & wire::FLAG_INFO_RING_IDX == 0 { Timeline::Global } else { ring };
        (flags & wire::FLAG_FENCE != 0).then_some(timeline)
    }

    pub fn ctx_id(&self) -> u32 {
        self.header.ctx_id.get()
    }
}

/// Everything that commands change, behind the device's lock.
pub(super) struct State {
    pub config: DeviceConfig,
    pub capsets: Capsets,
    pub resolvers: Resolvers,
    /// What draws, where something does.
    pub renderer: Option<Arc<dyn Renderer>>,
    /// Why it could not take resources of others, and streams, the latest first.
    pub renderer_refused: VecDeque<String>,
    pub guest_pages: Arc<GuestPages>,
    pub contexts: BTreeMap<u32, Context>,
    pub resources: Resources,
    /// The window's taken ranges.
    pub ranges: Ranges,
    pub attachments: usize,
    pub account: Arc<Account>,
    pub scanouts: Scanouts,
}

impl State {
    /// Executes a command; the body of its answer goes behind what is in `reply`.
    pub fn execute(
        &mut self,
        request: &Request<'_>,
        memory: &dyn GuestMemory,
        reply: &mut Vec<u8>,
    ) -> Result<Reply, CommandError> {
        match request.command {
            Command::CtxCreate => self.ctx_create(request),
            Command::CtxDestroy => self.ctx_destroy(request),
            Command::CtxAttachResource => self.ctx_attach(request, memory),
            Command::CtxDetachResource => self.ctx_detach(request),
            Command::Submit3d => self.submit(request, memory),
            Command::GetCapsetInfo => {
                let (body, _) = request.body::<wire::GetCapsetInfo>()?;
                reply.extend_from_slice(self.capsets.info(body.capset_index.get())?.as_bytes());
                return Ok(Reply::OkCapsetInfo);
            }
            Command::GetCapset => {
                let (body, _) = request.body::<wire::GetCapset>()?;
                reply.extend_from_slice(self.capsets.bytes(body.capset_id.get(), body.version.get())?);
                return Ok(Reply::OkCapset);
            }
            Command::ResourceCreate2d => self.create_2d(request),
            Command::ResourceCreate3d => self.create_3d(request),
            Command::ResourceCreateBlob => self.create_blob(request, memory),
            Command::ResourceAttachBacking => self.attach_backing(request, memory),
            Command::ResourceDetachBacking => self.detach_backing(request),
            Command::ResourceAssignUuid => return self.assign_uuid(request, reply),
            Command::TransferToHost2d => self.transfer_2d(request, memory),
            Command::TransferToHost3d => self.transfer_3d(request, Direction::ToHost, memory),
            Command::TransferFromHost3d => self.transfer_3d(request, Direction::FromHost, memory),
            // These touch the window and are executed by the device.
            Command::ResourceUnref | Command::ResourceMapBlob | Command::ResourceUnmapBlob => {
                Err(CommandError::NotOffered(request.command))
            }
            Command::GetDisplayInfo => {
                reply.extend_from_slice(self.scanouts.display_info().as_bytes());
                return Ok(Reply::OkDisplayInfo);
            }
            Command::GetEdid => {
                let (body, _) = request.body::<wire::GetEdid>()?;
                reply.extend_from_slice(self.scanouts.edid(body.scanout.get())?.as_bytes());
                return Ok(Reply::OkEdid);
            }
            Command::SetScanout => self.scanouts.set(&request.body()?.0, &mut self.resources),
            Command::SetScanoutBlob => self.scanouts.set_blob(&request.body()?.0, &mut self.resources),
            Command::ResourceFlush => self.flush(request),
            Command::UpdateCursor => self.scanouts.set_cursor(&request.body()?.0, &mut self.resources),
            Command::MoveCursor => self.scanouts.move_cursor(&request.body()?.0),
        }?;
        Ok(Reply::OkNoData)
    }

    fn context(&mut self, id: u32) -> Result<&mut Context, CommandError> {
        self.contexts.get_mut(&id).ok_or(CommandError::UnknownContext(id))
    }

    /// A context beside what it may reach of the rest.
    fn context_and_host<'a>(
        &'a mut self,
        id: u32,
        memory: &'a dyn GuestMemory,
    ) -> Result<(&'a mut Context, Host<'a>), CommandError> {
        let context = self.contexts.get_mut(&id).ok_or(CommandError::UnknownContext(id))?;
        let blob_alignment = self.config.blob_alignment;
        let (resolvers, guest_pages, renderer) = (&self.resolvers, &*self.guest_pages, self.renderer.as_deref());
        Ok((context, Host { memory, resolvers, guest_pages, renderer, resources: &mut self.resources, blob_alignment }))
    }

    fn ctx_create(&mut self, request: &Request<'_>) -> Result<(), CommandError> {
        let (body, _) = request.body::<wire::CtxCreate>()?;
        let id = request.ctx_id();
        if id == 0 || self.contexts.contains_key(&id) {
            return Err(CommandError::ContextInUse(id));
        }
        let limit = self.config.quota.contexts;
        if self.contexts.len() >= limit {
            return Err(CommandError::TooMany { what: "contexts", limit });
        }
        let length = (body.nlen.get() as usize).min(body.debug_name.len());
        let capset_id = body.context_init.get() & wire::CONTEXT_INIT_CAPSET_ID_MASK;
        let name = printable(body.debug_name.get(..length).unwrap_or(&[]));
        let Spoken { protocol, draws } = self.capsets.open(capset_id, id, &name)?;
        let context = Context {
            name,
            capset_id,
            draws,
            refused: false,
            protocol,
            account: Account::context(self.config.quota.context, &self.account),
            attached: BTreeSet::new(),
        };
        log::debug!("context {id} ({}) with capset {capset_id}", context.name);
        self.contexts.insert(id, context);
        Ok(())
    }

    fn ctx_destroy(&mut self, request: &Request<'_>) -> Result<(), CommandError> {
        let id = request.ctx_id();
        let context = self.contexts.remove(&id).ok_or(CommandError::UnknownContext(id))?;
        self.attachments -= context.attached.len();
        Ok(())
    }

    fn ctx_attach(&mut self, request: &Request<'_>, memory: &dyn GuestMemory) -> Result<(), CommandError> {
        let (body, _) = request.body::<wire::ResourceId>()?;
        let resource_id = body.resource_id.get();
        find(&mut self.resources, resource_id)?;
        let (attachments, limit) = (self.attachments, self.config.quota.attachments);
        let ctx_id = request.ctx_id();
        let (context, host) = self.context_and_host(ctx_id, memory)?;
        if attachments >= limit && !context.attached.contains(&resource_id) {
            return Err(CommandError::TooMany { what: "attachments", limit });
        }
        let came = context.attach(resource_id, host);
        let came = came.map_err(|why| {
            let error = CommandError::Unusable { resource_id, ctx_id, why: why.to_string() };
            self.remember_refusal(error.to_string());
            error
        })?;
        self.attachments += usize::from(came);
        Ok(())
    }

    fn ctx_detach(&mut self, request: &Request<'_>) -> Result<(), CommandError> {
        let (body, _) = request.body::<wire::ResourceId>()?;
        let (resource_id, ctx_id) = (body.resource_id.get(), request.ctx_id());
        if !self.context(ctx_id)?.detach(resource_id) {
            return Err(CommandError::NotAttached { resource_id, ctx_id });
        }
        self.attachments -= 1;
        Ok(())
    }

    fn submit(&mut self, request: &Request<'_>, memory: &dyn GuestMemory) -> Result<(), CommandError> {
        let (body, rest) = request.body::<wire::Submit3d>()?;
        let commands = rest.get(..body.size.get() as usize).ok_or(CommandError::Truncated(rest.len()))?;
        let ctx_id = request.ctx_id();
        let (context, host) = self.context_and_host(ctx_id, memory)?;
        let submitted = context.submit(commands, host);
        let Err(why) = &submitted else { return submitted };
        // A guest's GL that shows nothing any more: the first stream tells why, and those behind it say the same.
        if context.draws && !std::mem::replace(&mut context.refused, true) {
            let is_virgl = matches!(context.capset_id, CAPSET_ID_VIRGL | CAPSET_ID_VIRGL2);
            let typed = is_virgl.then(|| typed_resource(commands)).flatten();
            let typed = typed.map(|id| format!(", which types resource {id}")).unwrap_or_default();
            self.remember_refusal(format!("a stream of context {ctx_id}{typed}: {why}"));
        }
        submitted
    }

    fn remember_refusal(&mut self, told: String) {
        self.renderer_refused.truncate(REMEMBERED_REFUSALS - 1);
        self.renderer_refused.push_front(told);
    }

    /// Refuses a number that is taken, and takes the resource's own cost from the device's quota.
    fn new_resource(&self, id: u32, bytes: u64, fds: u64) -> Result<Charge, CommandError> {
        if id == 0 || self.resources.contains_key(&id) {
            return Err(CommandError::ResourceInUse(id));
        }
        Ok(self.account.charge(Amount { bytes, objects: 1, fds })?)
    }

    fn create_blob(&mut self, request: &Request<'_>, memory: &dyn GuestMemory) -> Result<(), CommandError> {
        let (body, rest) = request.body::<wire::ResourceCreateBlob>()?;
        match body.blob_mem.get() {
            wire::BLOB_MEM_GUEST => self.create_guest_blob(&body, rest, memory),
            wire::BLOB_MEM_HOST3D | wire::BLOB_MEM_HOST3D_GUEST => self.create_host_blob(request.ctx_id(), &body, rest, memory),
            other => Err(CommandError::Parameter { what: "blob_mem", value: other.into() }),
        }
    }

    fn create_guest_blob(
        &mut self,
        body: &wire::ResourceCreateBlob,
        rest: &[u8],
        memory: &dyn GuestMemory,
    ) -> Result<(), CommandError> {
        let (id, size_bytes) = (body.resource_id.get(), body.size.get());
        if size_bytes == 0 || body.blob_id.get() != 0 {
            return Err(CommandError::Parameter { what: "size or blob id of guest blob", value: id.into() });
        }
        let charge = self.new_resource(id, 0, 0)?;
        let backing = self.read_backing(rest, body.nr_entries.get(), size_bytes, memory)?;
        let blob = Resource::new(ResourceKind::Guest, alloc::Backing::Guest, size_bytes, charge);
        let resource = Resource { backing: Some(backing), ..blob };
        self.resources.insert(id, resource);
        Ok(())
    }

    /// Claims first, so that the claimed object's command is answered whatever else is wrong, and freed if anything is.
    fn create_host_blob(
        &mut self,
        ctx_id: u32,
        body: &wire::ResourceCreateBlob,
        rest: &[u8],
        memory: &dyn GuestMemory,
    ) -> Result<(), CommandError> {
        let claim = BlobClaim {
            resource_id: body.resource_id.get(),
            blob_mem: body.blob_mem.get(),
            blob_id: body.blob_id.get(),
            size: body.size.get(),
            flags: body.blob_flags.get(),
        };
        let (context, host) = self.context_and_host(ctx_id, memory)?;
        let object = context.claim(claim, host)?;
        let at_claim = object.at_claim;
        let answer = Answer::of(&object.allocation, object.backing);
        let made = self.adopt(ctx_id, body, rest, object, memory);
        if let Some(ticket) = at_claim {
            let result = made.as_ref().map(|()| answer).map_err(refusal);
            let (context, host) = self.context_and_host(ctx_id, memory)?;
            context.answer_claim(ClaimAnswer { ticket, result }, host);
        }
        made
    }

    fn adopt(
        &mut self,
        ctx_id: u32,
        body: &wire::ResourceCreateBlob,
        rest: &[u8],
        object: Object,
        memory: &dyn GuestMemory,
    ) -> Result<(), CommandError> {
        let id = body.resource_id.get();
        if id == 0 || self.resources.contains_key(&id) {
            return Err(CommandError::ResourceInUse(id));
        }
        let backing = if body.blob_mem.get() == wire::BLOB_MEM_HOST3D_GUEST {
            Some(self.read_backing(rest, body.nr_entries.get(), body.size.get(), memory)?)
        } else if body.nr_entries.get() == 0 {
            None
        } else {
            return Err(CommandError::Parameter { what: "nr_entries of HOST3D blob", value: body.nr_entries.get().into() });
        };
        let kind = ResourceKind::Host { mappable: body.blob_flags.get() & wire::BLOB_FLAG_USE_MAPPABLE != 0 };
        let Object { allocation, rendered, name, .. } = object;
        let blob = Resource::new(kind, object.backing, object.blob_size, object.charge);
        let (layout, image) = (allocation.layout, Some(allocation.image));
        let resource = Resource { owner: ctx_id, name, layout, image, rendered, backing, ..blob };
        self.resources.insert(id, resource);
        Ok(())
    }

    /// The guest pages that a command lists, bounded by the bytes that are there.
    fn read_backing(
        &self,
        rest: &[u8],
        count: u32,
        needed_bytes: u64,
        memory: &dyn GuestMemory,
    ) -> Result<Backing, CommandError> {
        let listed = split_list::<MemEntry>(rest, count, u32::MAX);
        let (entries, _) = listed.ok_or(CommandError::Parameter { what: "nr_entries", value: count.into() })?;
        Backing::new(entries, needed_bytes, memory, &self.account)
    }

    /// The picture is read when somebody looks, so a flush only has to name a resource.
    fn flush(&mut self, request: &Request<'_>) -> Result<(), CommandError> {
        let (body, _) = request.body::<wire::ResourceFlush>()?;
        find(&mut self.resources, body.resource_id.get()).map(drop)
    }

    fn assign_uuid(&mut self, request: &Request<'_>, reply: &mut Vec<u8>) -> Result<Reply, CommandError> {
        let (body, _) = request.body::<wire::ResourceId>()?;
        let resource = find(&mut self.resources, body.resource_id.get())?;
        let uuid = match resource.uuid {
            Some(uuid) => uuid,
            None => *resource.uuid.insert(random_uuid()?),
        };
        reply.extend_from_slice(wire::ResourceUuid { uuid }.as_bytes());
        Ok(Reply::OkResourceUuid)
    }
}

/// The first resource that a stream of virgl says is a texture.
fn typed_resource(stream: &[u8]) -> Option<u32> {
    let set_type = virgl::Command::PipeResourceSetType.number();
    let mut typed = frames(stream).map_while(Result::ok).filter(|frame| u32::from(frame.header.opcode) == set_type);
    typed.find_map(|frame| Some(PipeResourceSetType::read_from_prefix(frame.body).ok()?.0.res_handle.get()))
}

/// RESOURCE_UNREF: takes the resource out of every list; the device frees it when it has left the window.
pub(super) fn unref(state: &mut State, request: &Request<'_>) -> Result<Resource, CommandError> {
    let (body, _) = request.body::<wire::ResourceId>()?;
    let id = body.resource_id.get();
    let resource = state.resources.remove(&id).ok_or(CommandError::UnknownResource(id))?;
    let detached = state.contexts.values_mut().map(|context| usize::from(context.detach(id))).sum::<usize>();
    state.attachments -= detached;
    state.scanouts.forget(id);
    Ok(resource)
}

/// What the slot of a claimed object tells when the blob could not be made.
fn refusal(error: &CommandError) -> Status {
    match error {
        CommandError::Quota(_) => Status::Quota,
        CommandError::ResourceInUse(_) => Status::IdInUse,
        CommandError::BackingTooSmall { .. } => Status::SizeMismatch,
        _ => Status::Malformed,
    }
}

/// A random UUID, version 4 of RFC 9562.
fn random_uuid() -> std::io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    if filled != bytes.len() {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let [.., version, _, variant, _, _, _, _, _, _, _] = &mut bytes;
    *version = *version & 0x0f | 0x40;
    *variant = *variant & 0x3f | 0x80;
    Ok(bytes)
}
