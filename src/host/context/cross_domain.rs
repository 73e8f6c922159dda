//! The cross-domain context: the part of [`wire::cross_domain`](crate::wire::cross_domain) that allocates, for guests with minigbm.
//!
//! A query allocates nothing: it tells a layout and an id, and every claim of that id allocates. There is no channel behind it.

use super::alloc::ClaimAnswer;
use super::{BlobClaim, Protocol, Services};
use crate::host::CommandError;
use crate::host::object::Object;
use crate::host::quota::{Amount, Charge};
use crate::usage::Dialect;
use crate::wire::alloc::split_body;
use crate::wire::cross_domain::{
    CHANNEL_TYPE_CAMERA, CHANNEL_TYPE_NONE, Command, GetImageRequirements, Header, INDEX_NONE, ImageRequirements, Init,
    InitLegacy, InitV1,
};
use crate::wire::virtio_gpu::MAP_CACHE_CACHED;
use crate::{BufferRequest, Format, Layout, Usage};
use std::collections::BTreeMap;
use zerocopy::IntoBytes;

/// How many layouts a context is told before the oldest is forgotten: more than a desktop has sizes.
const CAPACITY: usize = 1024;

/// Width, height, format and usage as the guest asks for them.
type Query = (u32, u32, u32, u32);

/// What was told about an image.
struct Requirement {
    query: Query,
    request: BufferRequest,
    layout: Layout,
    _charge: Charge,
}

/// What one context of the cross-domain capset has.
#[derive(Default)]
pub(in crate::host) struct CrossDomainContext {
    /// The resource in which it is answered.
    query_ring: Option<u32>,
    /// By blob id.
    told: BTreeMap<u32, Requirement>,
    blob_ids: BTreeMap<Query, u32>,
    last_blob_id: u32,
    commands: u64,
    refused: u64,
}

impl Protocol for CrossDomainContext {
    /// Executed command by command up to the first whose length does not hold; the first refusal is told.
    fn submit(&mut self, stream: &[u8], services: &mut Services<'_>) -> Result<(), CommandError> {
        let (mut rest, mut result) = (stream, Ok(()));
        while !rest.is_empty() {
            self.commands += 1;
            let (command, next) = split_command(rest, stream.len() - rest.len()).inspect_err(|_| self.refused += 1)?;
            if let Err(error) = self.execute(command, services) {
                log::debug!("cross-domain: {error}");
                self.refused += 1;
                result = result.and(Err(error));
            }
            rest = next;
        }
        result
    }

    fn claim(&mut self, claim: BlobClaim, services: &Services<'_>) -> Result<Object, CommandError> {
        if claim.blob_id == 0 {
            return services.plain_memory(claim);
        }
        let id = u32::try_from(claim.blob_id).ok().and_then(|id| self.told.get(&id));
        let Requirement { request, layout, .. } = id.ok_or(CommandError::UnknownBlob(claim.blob_id))?;
        let (resolver, _) = services.host.resolvers.resolve(request)?;
        services.claimed_image(claim, resolver, request, layout)
    }

    /// No command asks for that.
    fn answer_claim(&mut self, _: ClaimAnswer, _: &Services<'_>) {}

    /// No command needs that.
    fn resource_came(&mut self, _: u32, _: &mut Services<'_>) -> Result<(), CommandError> {
        Ok(())
    }

    fn resource_left(&mut self, resource_id: u32) {
        self.query_ring = self.query_ring.filter(|ring| *ring != resource_id);
    }

    fn counts(&self) -> (u64, u64) {
        (self.commands, self.refused)
    }

    /// None: nothing is made before it is claimed.
    fn object_count(&self) -> usize {
        0
    }
}

/// The first command of a stream with its header, and what follows it.
fn split_command(rest: &[u8], at: usize) -> Result<(&[u8], &[u8]), CommandError> {
    let (header, _) = split_body::<Header>(rest).ok_or(CommandError::Truncated(rest.len()))?;
    let size = header.cmd_size.get();
    let whole = rest.split_at_checked(size.into()).filter(|(command, _)| command.len() >= size_of::<Header>());
    whole.ok_or(CommandError::CrossDomain { command: header.cmd, at, size, left: rest.len() })
}

fn body<T: zerocopy::FromBytes + Copy>(command: &[u8]) -> Result<T, CommandError> {
    split_body(command).map(|(body, _)| body).ok_or(CommandError::Truncated(command.len()))
}

impl CrossDomainContext {
    fn execute(&mut self, command: &[u8], services: &Services<'_>) -> Result<(), CommandError> {
        let number = body::<Header>(command)?.cmd.into();
        match Command::from_number(number).ok_or(CommandError::UnknownCommand(number))? {
            Command::Init => self.init(command, services),
            Command::GetImageRequirements => self.answer(&body(command)?, services),
            // There is nothing to wait for.
            Command::Poll => Ok(()),
            channel @ (Command::Send | Command::Receive | Command::Read | Command::Write) => {
                Err(CommandError::NoChannel(channel))
            }
        }
    }

    /// INIT in the form that its length says.
    fn init(&mut self, command: &[u8], services: &Services<'_>) -> Result<(), CommandError> {
        let (ring, channel_type) = if command.len() >= size_of::<Init>() {
            let init = body::<Init>(command)?;
            (init.query_ring_id, init.channel_type)
        } else if command.len() >= size_of::<InitV1>() {
            let init = body::<InitV1>(command)?;
            (init.query_ring_id, init.channel_type)
        } else {
            let init = body::<InitLegacy>(command)?;
            (init.query_ring_id, init.channel_type)
        };
        let (ring, channel_type) = (ring.get(), channel_type.get());
        if channel_type > CHANNEL_TYPE_CAMERA {
            return Err(CommandError::Parameter { what: "channel type", value: channel_type.into() });
        }
        let (size_bytes, length) = (services.backing_of(ring)?.size_bytes(), size_of::<ImageRequirements>() as u64);
        if size_bytes < length {
            return Err(CommandError::Range { offset: 0, length, size_bytes });
        }
        if channel_type != CHANNEL_TYPE_NONE {
            log::info!("cross-domain: a guest asks for channel {channel_type}; it can allocate, and no more");
        }
        self.query_ring = Some(ring);
        Ok(())
    }

    /// Answers a query in the ring; a refusal is an answer of zeroes, since there is no status.
    fn answer(&mut self, query: &GetImageRequirements, services: &Services<'_>) -> Result<(), CommandError> {
        let why = "INIT has named no query ring";
        let ring = services.backing_of(self.query_ring.ok_or(CommandError::State { resource_id: 0, why })?)?;
        let answer = self.requirements(query, services).unwrap_or_else(|error| {
            log::debug!("cross-domain: {error}");
            self.refused += 1;
            ImageRequirements::default()
        });
        ring.write(services.host.memory, 0, answer.as_bytes())
    }

    fn requirements(&mut self, query: &GetImageRequirements, services: &Services<'_>) -> Result<ImageRequirements, CommandError> {
        let key = (query.width.get(), query.height.get(), query.drm_format.get(), query.flags.get());
        if let Some((id, known)) = self.blob_ids.get(&key).and_then(|id| Some((*id, self.told.get(id)?))) {
            return told(id, &known.layout, services);
        }
        let request = request(key, services)?;
        let (_, layout) = services.host.resolvers.resolve(&request)?;
        let id = self.next_blob_id();
        let answer = told(id, &layout, services)?;
        let bytes = size_of::<Requirement>() as u64;
        let charge = services.account.charge(Amount { bytes, ..Amount::default() })?;
        if self.told.len() >= CAPACITY
            && let Some((_, oldest)) = self.told.pop_first()
        {
            self.blob_ids.remove(&oldest.query);
        }
        self.blob_ids.insert(key, id);
        self.told.insert(id, Requirement { query: key, request, layout, _charge: charge });
        Ok(answer)
    }

    /// An id that no image has: 0 is plain memory.
    fn next_blob_id(&mut self) -> u32 {
        loop {
            self.last_blob_id = self.last_blob_id.checked_add(1).unwrap_or(1);
            if !self.told.contains_key(&self.last_blob_id) {
                return self.last_blob_id;
            }
        }
    }
}

/// What is asked for, without the usages that the host lacks: such guests ask for all that might come. Protection is never left out.
fn request((width, height, fourcc, flags): Query, services: &Services<'_>) -> Result<BufferRequest, CommandError> {
    let format = Format::from_fourcc(fourcc);
    let asked = Usage::from_dialect(Dialect::Minigbm, flags.into());
    let asked = asked.map_err(|error| CommandError::Parameter { what: "usage", value: error.unknown })?;
    let offered = services.host.resolvers.table().of_format(format).iter();
    let offered = offered.fold(Usage::LINEAR | Usage::PROTECTED, |usages, support| usages | support.usages);
    let mut usage = asked & offered;
    if usage.difference(Usage::LINEAR).is_empty() {
        usage |= Usage::CPU_READ_RARELY;
    }
    Ok(BufferRequest::new(format, width, height, usage))
}

fn told(blob_id: u32, layout: &Layout, services: &Services<'_>) -> Result<ImageRequirements, CommandError> {
    let beyond = |value| CommandError::Parameter { what: "size of image", value };
    let size = layout.size_bytes.checked_next_multiple_of(services.host.blob_alignment.into());
    let mut answer = ImageRequirements {
        modifier: layout.modifier.value().into(),
        size: size.ok_or(beyond(layout.size_bytes))?.into(),
        blob_id: blob_id.into(),
        map_info: MAP_CACHE_CACHED.into(),
        memory_idx: INDEX_NONE.into(),
        physical_device_idx: INDEX_NONE.into(),
        ..ImageRequirements::default()
    };
    for ((stride, offset), plane) in answer.strides.iter_mut().zip(&mut answer.offsets).zip(&*layout.planes) {
        *stride = plane.stride_bytes.into();
        *offset = u32::try_from(plane.offset_bytes).map_err(|_| beyond(plane.offset_bytes))?.into();
    }
    Ok(answer)
}

#[cfg(test)]
mod tests;
