//! The virgl context: the part of [`wire::virgl`](crate::wire::virgl) that allocates, for guests with minigbm. It draws nothing.
//!
//! Rows have no padding: such guests compute strides themselves, and are told none.

use super::alloc::ClaimAnswer;
use super::{BlobClaim, Protocol, Services};
use crate::host::CommandError;
use crate::host::object::Object;
use crate::host::quota::{Amount, Charge};
use crate::layout::MAX_PLANES;
use crate::wire::alloc::split_body;
use crate::wire::virgl::{
    Command, Frame, PipeResourceCreate, PipeResourceSetType, PlaneLayout, RESOURCE_FLAG_MAP_PERSISTENT, frames,
};
use crate::wire::virtio_gpu::{BLOB_FLAG_USE_MAPPABLE, TARGET_BUFFER, TARGET_TEXTURE_2D};
use crate::{Alignment, BufferRequest, Format, Layout, Modifier, Usage};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use zerocopy::FromBytes;

/// A texture that a blob may claim; its memory is made then.
struct Texture {
    request: BufferRequest,
    layout: Layout,
    mappable: bool,
    _charge: Charge,
}

/// What one context of the virgl capsets has.
#[derive(Default)]
pub(in crate::host) struct VirglContext {
    /// By blob id.
    textures: BTreeMap<u32, Texture>,
    commands: u64,
    refused: u64,
}

impl Protocol for VirglContext {
    /// Executed command by command up to one that is cut short; the first refusal is told. What draws is left out.
    fn submit(&mut self, stream: &[u8], services: &mut Services<'_>) -> Result<(), CommandError> {
        let mut result = Ok(());
        for frame in frames(stream) {
            self.commands += 1;
            if let Err(error) = frame.map_err(CommandError::from).and_then(|frame| self.execute(&frame, services)) {
                log::debug!("virgl: {error}");
                self.refused += 1;
                result = result.and(Err(error));
            }
        }
        result
    }

    fn claim(&mut self, claim: BlobClaim, services: &Services<'_>) -> Result<Object, CommandError> {
        if claim.blob_id == 0 {
            return services.plain_memory(claim);
        }
        let texture = u32::try_from(claim.blob_id).ok().and_then(|id| self.textures.remove(&id));
        // Without its charge, since the object has one.
        let Texture { request, layout, mappable, .. } = texture.ok_or(CommandError::UnknownBlob(claim.blob_id))?;
        if claim.flags & BLOB_FLAG_USE_MAPPABLE != 0 && !mappable {
            self.refused += 1;
            let BlobClaim { blob_id, flags, .. } = claim;
            return Err(CommandError::Claim { blob_id, what: "flags", claimed: flags.into(), object: 0 });
        }
        services.claimed_image(claim, services.host.resolvers.memory()?, &request, &layout)
    }

    /// No command asks for that.
    fn answer_claim(&mut self, _: ClaimAnswer, _: &Services<'_>) {}

    /// No command needs that.
    fn resource_came(&mut self, _: u32, _: &mut Services<'_>) -> Result<(), CommandError> {
        Ok(())
    }

    /// No command keeps a resource.
    fn resource_left(&mut self, _: u32) {}

    fn counts(&self) -> (u64, u64) {
        (self.commands, self.refused)
    }

    fn object_count(&self) -> usize {
        self.textures.len()
    }
}

impl VirglContext {
    fn execute(&mut self, frame: &Frame<'_>, services: &mut Services<'_>) -> Result<(), CommandError> {
        match Command::from_number(frame.header.opcode.into()) {
            Some(Command::PipeResourceCreate) => self.create(frame.body, services),
            Some(Command::PipeResourceSetType) => set_type(frame.body, services),
            None => Ok(()),
        }
    }

    fn create(&mut self, body: &[u8], services: &Services<'_>) -> Result<(), CommandError> {
        let (create, _) = split_body::<PipeResourceCreate>(body).ok_or(CommandError::Truncated(body.len()))?;
        let (request, layout) = texture(&create)?;
        let blob_id = create.blob_id.get();
        let vacant = match self.textures.entry(blob_id) {
            Entry::Vacant(vacant) if blob_id != 0 => vacant,
            _ => return Err(CommandError::Parameter { what: "blob id of a texture", value: blob_id.into() }),
        };
        let mappable = create.flags.get() & RESOURCE_FLAG_MAP_PERSISTENT != 0;
        let charge = services.account.charge(Amount { objects: 1, ..Amount::default() })?;
        vacant.insert(Texture { request, layout, mappable, _charge: charge });
        Ok(())
    }
}

/// The picture of a flat texture or buffer, which is all that an allocator makes.
pub(in crate::host) fn texture(create: &PipeResourceCreate) -> Result<(BufferRequest, Layout), CommandError> {
    let refuse = |what, value: u32| Err(CommandError::Parameter { what, value: value.into() });
    if !matches!(create.target.get(), TARGET_BUFFER | TARGET_TEXTURE_2D) {
        return refuse("target", create.target.get());
    }
    for (what, count, limit) in [
        ("depth", create.depth, 1),
        ("array size", create.array_size, 1),
        ("last level", create.last_level, 0),
        ("samples", create.nr_samples, 1),
    ] {
        if count.get() > limit {
            return refuse(what, count.get());
        }
    }
    let Some(format) = Format::from_virgl(create.format.get()) else { return refuse("3D format", create.format.get()) };
    let request = BufferRequest::new(format, create.width.get(), create.height.get(), Usage::TEXTURE);
    let layout = Layout::linear(&request, Alignment::PACKED)?;
    Ok((request, layout))
}

/// Says what an attached blob holds, where nobody has said so yet.
fn set_type(body: &[u8], services: &mut Services<'_>) -> Result<(), CommandError> {
    let (set, rest) = split_body::<PipeResourceSetType>(body).ok_or(CommandError::Truncated(body.len()))?;
    let resource_id = set.res_handle.get();
    let resource = services.host.resources.get_mut(&resource_id).filter(|_| services.attached.contains(&resource_id));
    let resource = resource.ok_or(CommandError::UnknownResource(resource_id))?;
    if resource.layout.is_some() {
        return Ok(());
    }
    let format = set.format.get();
    let format = Format::from_virgl(format).ok_or(CommandError::Parameter { what: "3D format", value: format.into() })?;
    let places = rest.chunks_exact(size_of::<PlaneLayout>()).take(MAX_PLANES);
    let places = places.filter_map(|bytes| PlaneLayout::read_from_bytes(bytes).ok());
    let planes: Vec<_> = places.map(|place| (place.stride.get(), place.offset.get().into())).collect();
    let (size, modifier) = ((set.width.get(), set.height.get()), Modifier::new(set.modifier.get()));
    resource.layout = Some(Layout::reported(format, size, modifier, &planes, resource.size_bytes)?);
    Ok(())
}

#[cfg(test)]
mod tests;
