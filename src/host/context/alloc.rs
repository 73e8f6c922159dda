//! The allocation context: executes the commands of [`wire::alloc`](crate::wire::alloc).

mod reply;

use super::{BlobClaim, Host, Protocol, Services};
use crate::host::CommandError;
use crate::host::object::{Object, Ticket, blob_holds};
use crate::host::quota::{Account, Amount};
use crate::host::resolver::{Parameters, ResolveError, Resolver, Resolvers};
use crate::host::resource::{Imported, ResourceKind, printable};
use crate::wire::alloc::{self as wire, Capabilities, Frame, Opcode, Status, split_body, split_list};
use crate::{BufferRequest, Layout, Usage};
use reply::{Failure, Ring};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use zerocopy::little_endian::{U32, U64};

pub(in crate::host) use reply::{Answer, ClaimAnswer};

/// What one context of the allocation capset has.
#[derive(Default)]
pub(in crate::host) struct AllocContext {
    objects: BTreeMap<u64, Object>,
    ring: Option<Ring>,
    commands: u64,
    refused: u64,
}

/// What a command led to, when it did not fail.
enum Outcome {
    Answer(Answer),
    /// The object's claim answers.
    AtClaim,
}

impl Protocol for AllocContext {
    /// Refused whole when its framing is wrong, else executed command by command, each told in its own slot.
    fn submit(&mut self, stream: &[u8], services: &mut Services<'_>) -> Result<(), CommandError> {
        if let Some(init) = lone_init(stream) {
            return self.init(stream, init, services);
        }
        let slots = self.ring.map_or(0, |ring| ring.slot_count);
        for frame in wire::frames(stream, slots)? {
            let ticket = Ticket { sequence: frame.header.sequence.get(), slot: frame.header.reply_slot.get() };
            self.commands += 1;
            match self.execute(&frame, ticket, services) {
                Ok(Outcome::Answer(answer)) => self.reply(ticket, Ok(answer), services),
                Ok(Outcome::AtClaim) => {}
                Err(failure) => {
                    self.refused += 1;
                    log::debug!("opcode {}: {}", frame.header.opcode, failure);
                    self.reply(ticket, Err(failure), services);
                }
            }
        }
        Ok(())
    }

    /// Takes the object out of the context: it becomes the blob, or it is freed and the refusal told.
    fn claim(&mut self, claim: BlobClaim, services: &Services<'_>) -> Result<Object, CommandError> {
        if claim.blob_id == 0 {
            return services.plain_memory(claim);
        }
        let BlobClaim { blob_id, size, flags, .. } = claim;
        let object = self.objects.remove(&blob_id).ok_or(CommandError::UnknownBlob(blob_id))?;
        let mismatch = if object.blob_size != size {
            Some((Status::SizeMismatch, "size", size, object.blob_size))
        } else if object.blob_flags != flags {
            Some((Status::FlagsMismatch, "flags", flags.into(), object.blob_flags.into()))
        } else {
            None
        };
        let Some((status, what, claimed, wanted)) = mismatch else { return Ok(object) };
        self.refused += 1;
        if let Some(ticket) = object.at_claim {
            self.reply(ticket, Err(status.into()), services);
        }
        Err(CommandError::Claim { blob_id, what, claimed, object: wanted })
    }

    fn answer_claim(&mut self, claimed: ClaimAnswer, services: &Services<'_>) {
        self.reply(claimed.ticket, claimed.result.map_err(Failure::from), services);
    }

    /// No command needs that.
    fn resource_came(&mut self, _: u32, _: &mut Services<'_>) -> Result<(), CommandError> {
        Ok(())
    }

    fn resource_left(&mut self, resource_id: u32) {
        self.ring = self.ring.filter(|ring| ring.resource_id != resource_id);
    }

    fn counts(&self) -> (u64, u64) {
        (self.commands, self.refused)
    }

    fn object_count(&self) -> usize {
        self.objects.len()
    }
}

impl AllocContext {
    fn reply(&self, ticket: Ticket, result: Result<Answer, Failure>, services: &Services<'_>) {
        if let Some(ring) = self.ring {
            ring.reply(ticket, result, services);
        }
    }

    fn init(&mut self, stream: &[u8], frame: Frame<'_>, services: &Services<'_>) -> Result<(), CommandError> {
        let (init, _) = split_body::<wire::Init>(frame.body).ok_or(CommandError::Truncated(frame.body.len()))?;
        let ring = Ring::new(&init, services)?;
        let _slots_are_inside = wire::frames(stream, ring.slot_count)?;
        let ticket = Ticket { sequence: frame.header.sequence.get(), slot: frame.header.reply_slot.get() };
        self.ring = Some(ring);
        ring.reply(ticket, Ok(Answer::default()), services);
        Ok(())
    }

    fn execute(&mut self, frame: &Frame<'_>, ticket: Ticket, services: &mut Services<'_>) -> Result<Outcome, Failure> {
        let opcode = Opcode::from_number(frame.header.opcode.get().into()).ok_or(Status::UnknownOpcode)?;
        let at_claim = frame.header.flags.get() & wire::FLAG_REPLY_AT_CLAIM != 0;
        let ticket = at_claim.then_some(ticket);
        match opcode {
            // It stands alone in its submission, so one that comes here does not.
            Opcode::Init => Err(Status::Malformed.into()),
            Opcode::Resolve => resolve(frame.body, services),
            Opcode::AllocMemory => {
                let (claim, _) = body::<wire::Claim>(frame.body)?;
                let resolver = services.host.resolvers.memory()?;
                self.allocate(&claim, resolver, &Parameters::Memory, ticket, services)
            }
            Opcode::AllocImage => self.allocate_image(frame.body, ticket, services),
            Opcode::AllocGl => {
                let (claim, rest) = body::<wire::Claim>(frame.body)?;
                let (texture, _) = body::<wire::GlTexture>(rest)?;
                let resolver = services.host.resolvers.capable(Capabilities::GL, "GL textures")?;
                self.allocate(&claim, resolver, &Parameters::Gl(&texture), ticket, services)
            }
            Opcode::AllocVk => self.allocate_vulkan(frame.body, ticket, services),
            Opcode::Free => {
                let (id, _) = body::<wire::BlobId>(frame.body)?;
                self.objects.remove(&id.blob_id.get()).ok_or(Status::UnknownId)?;
                Ok(Outcome::Answer(Answer::default()))
            }
            Opcode::SetName => self.set_name(frame.body, services),
            Opcode::Import => import(frame.body, services),
            Opcode::Describe => describe(frame.body, services),
        }
    }

    fn allocate_image(&mut self, bytes: &[u8], ticket: Option<Ticket>, services: &Services<'_>) -> Result<Outcome, Failure> {
        let (claim, rest) = body::<wire::Claim>(bytes)?;
        let request = image_request(rest)?;
        let (resolver, layout) = services.host.resolvers.resolve(&request)?;
        if !blob_holds(claim.blob_size.get(), layout.size_bytes, services.host.blob_alignment) {
            return Err(Status::SizeMismatch.into());
        }
        let parameters = Parameters::Image { request: &request, layout: &layout };
        self.allocate(&claim, resolver, &parameters, ticket, services)
    }

    fn allocate_vulkan(&mut self, bytes: &[u8], ticket: Option<Ticket>, services: &Services<'_>) -> Result<Outcome, Failure> {
        let (claim, rest) = body::<wire::Claim>(bytes)?;
        let (image, rest) = body::<wire::VkImage>(rest)?;
        let malformed = Status::Malformed;
        let (formats, rest) = split_list::<U32>(rest, image.view_format_count.get(), wire::MAX_VIEW_FORMATS).ok_or(malformed)?;
        let (modifiers, _) = split_list::<U64>(rest, image.modifier_count.get(), wire::MAX_MODIFIERS).ok_or(malformed)?;
        let resolver = services.host.resolvers.capable(Capabilities::VULKAN, "Vulkan images")?;
        let view_formats: Vec<_> = formats.iter().map(|format| format.get()).collect();
        let modifiers: Vec<_> = modifiers.iter().map(|modifier| modifier.get()).collect();
        let parameters = Parameters::Vulkan { image: &image, view_formats: &view_formats, modifiers: &modifiers };
        self.allocate(&claim, resolver, &parameters, ticket, services)
    }

    /// Makes an object, the id first.
    fn allocate(
        &mut self,
        claim: &wire::Claim,
        resolver: &dyn Resolver,
        parameters: &Parameters<'_>,
        at_claim: Option<Ticket>,
        services: &Services<'_>,
    ) -> Result<Outcome, Failure> {
        let blob_size = claim.blob_size.get();
        if claim.blob_id.get() == 0 || blob_size == 0 {
            return Err(Status::Malformed.into());
        }
        let Entry::Vacant(place) = self.objects.entry(claim.blob_id.get()) else {
            return Err(Status::IdInUse.into());
        };
        let object: Result<_, Failure> = Object::make(resolver, parameters, blob_size, claim.blob_flags.get(), services.account);
        let object = Object { at_claim, ..object? };
        let answer = Answer::of(&object.allocation, object.backing);
        place.insert(object);
        Ok(if at_claim.is_some() { Outcome::AtClaim } else { Outcome::Answer(answer) })
    }

    fn set_name(&mut self, bytes: &[u8], services: &mut Services<'_>) -> Result<Outcome, Failure> {
        let (names, rest) = body::<wire::SetName>(bytes)?;
        let (name, _) = split_list::<u8>(rest, names.length.get(), wire::MAX_NAME_BYTES).ok_or(Status::Malformed)?;
        let resource_id = names.resource_id.get();
        let target = match names.blob_id.get() {
            0 if !services.attached.contains(&resource_id) => return Err(Status::NotPermitted.into()),
            0 => services.host.resources.get_mut(&resource_id).map(|resource| &mut resource.name),
            id => self.objects.get_mut(&id).map(|object| &mut object.name),
        };
        *target.ok_or(Status::UnknownId)? = printable(name);
        Ok(Outcome::Answer(Answer::default()))
    }
}

/// The only frame of a submission, when it is INIT; any other framing is the business of [`wire::frames`].
fn lone_init(stream: &[u8]) -> Option<Frame<'_>> {
    let (header, body) = split_body::<wire::Header>(stream)?;
    let alone = header.size.get() as usize == stream.len() && stream.len().is_multiple_of(8);
    (alone && u32::from(header.opcode.get()) == Opcode::Init.number()).then_some(Frame { header, body })
}

fn body<T: zerocopy::FromBytes + Copy>(bytes: &[u8]) -> Result<(T, &[u8]), Failure> {
    split_body(bytes).ok_or(Failure::from(Status::Malformed))
}

fn image_request(bytes: &[u8]) -> Result<BufferRequest, Failure> {
    let (request, rest) = body::<wire::ImageRequest>(bytes)?;
    let (modifiers, _) = split_list::<U64>(rest, request.modifier_count.get(), wire::MAX_MODIFIERS).ok_or(Status::Malformed)?;
    Ok(BufferRequest::from_wire(&request, modifiers))
}

fn resolve(bytes: &[u8], services: &Services<'_>) -> Result<Outcome, Failure> {
    let (resolver, layout) = services.host.resolvers.resolve(&image_request(bytes)?)?;
    Ok(Outcome::Answer(Answer { layout: Some(layout), backing: Some(resolver.backing()), map_info: 0 }))
}

fn import(bytes: &[u8], services: &mut Services<'_>) -> Result<Outcome, Failure> {
    let (import, _) = body::<wire::Import>(bytes)?;
    let layout = Layout::try_from(&import.layout).map_err(|error| Failure::from(ResolveError::from(error)))?;
    let resource_id = import.resource_id.get();
    if !services.attached.contains(&resource_id) {
        return Err(Status::NotPermitted.into());
    }
    let Host { memory, resolvers, guest_pages, ref mut resources, .. } = services.host;
    let resource = resources.get_mut(&resource_id).ok_or(Status::UnknownId)?;
    if resource.kind != ResourceKind::Guest {
        return Err(Status::NotPermitted.into());
    }
    if layout.size_bytes > resource.size_bytes {
        return Err(Status::SizeMismatch.into());
    }
    resource.layout = Some(layout);
    // The host reads the pages in place; a driver sees them too where it can.
    resource.imported = None;
    if resolvers.import_dma_bufs() {
        let pages = resource.backing.as_ref().map_or(Ok(Vec::new()), |backing| backing.files(memory));
        let fd = pages.and_then(|pages| Ok(guest_pages.export(&pages)?));
        match fd.and_then(|fd| imported(fd.as_fd(), &layout, resource.size_bytes, resolvers, services.account)) {
            Ok(imported) => resource.imported = Some(imported),
            Err(why) => log::debug!("resource {resource_id} is not imported: {why}"),
        }
    }
    Ok(Outcome::Answer(Answer { layout: Some(layout), backing: Some(wire::Backing::Guest), map_info: 0 }))
}

/// The image that a driver makes in the pages of a guest blob.
fn imported(
    fd: BorrowedFd<'_>,
    layout: &Layout,
    size_bytes: u64,
    resolvers: &Resolvers,
    account: &Arc<Account>,
) -> Result<Imported, CommandError> {
    let Layout { format, width, height, layers, .. } = *layout;
    let request = BufferRequest::new(format, width, height, Usage::TEXTURE).with_layers(layers);
    // Its descriptor is the image's and the driver's.
    let charge = account.charge(Amount { bytes: 0, objects: 1, fds: 2 })?;
    let allocation = resolvers.import(&Parameters::DmaBuf { fd, request: &request, layout }, size_bytes)?;
    Ok(Imported { image: allocation.image, _charge: charge })
}

fn describe(bytes: &[u8], services: &Services<'_>) -> Result<Outcome, Failure> {
    let (named, _) = body::<wire::Resource>(bytes)?;
    let resource_id = named.resource_id.get();
    if !services.attached.contains(&resource_id) {
        return Err(Status::NotPermitted.into());
    }
    let resource = services.host.resources.get(&resource_id).ok_or(Status::UnknownId)?;
    let map_info = resource.image.as_ref().map_or(0, |image| image.map_info());
    Ok(Outcome::Answer(Answer { layout: resource.layout, backing: Some(resource.made_of), map_info }))
}

#[cfg(test)]
mod tests;
