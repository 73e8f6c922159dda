//! [`Context`]: what one client of the guest has, and the protocol of its capset, one file each.

pub mod alloc;
pub mod cross_domain;
pub mod drawing;
pub mod virgl;
#[cfg(feature = "virglrenderer")]
pub mod virglrenderer;

use super::backing::Backing;
use super::dma_buf::GuestPages;
use super::object::{Object, blob_holds};
use super::quota::Account;
use super::renderer::Renderer;
use super::resolver::{Parameters, Resolver, Resolvers};
use super::resource::Resources;
use super::{CommandError, GuestMemory};
use crate::{BufferRequest, Layout};
use alloc::ClaimAnswer;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a context of one capset understands.
pub(super) trait Protocol: Send {
    /// Executes a submission.
    fn submit(&mut self, stream: &[u8], services: &mut Services<'_>) -> Result<(), CommandError>;

    /// Takes the object that a claim names out of the context, or makes what it names; 0 names none.
    fn claim(&mut self, claim: BlobClaim, services: &Services<'_>) -> Result<Object, CommandError>;

    /// Answers the command whose object was claimed and asked for that.
    fn answer_claim(&mut self, answer: ClaimAnswer, services: &Services<'_>);

    /// A resource comes to the context, attached by the guest; a refusal keeps it out.
    fn resource_came(&mut self, resource_id: u32, services: &mut Services<'_>) -> Result<(), CommandError>;

    /// A resource left the context.
    fn resource_left(&mut self, resource_id: u32);

    /// Commands taken, and refused.
    fn counts(&self) -> (u64, u64);

    /// How many objects no blob has claimed.
    fn object_count(&self) -> usize;
}

/// Nothing: contexts that a kernel makes for clients that never chose a capset. They can only have plain memory.
pub(super) struct NoProtocol;

impl Protocol for NoProtocol {
    fn submit(&mut self, stream: &[u8], _: &mut Services<'_>) -> Result<(), CommandError> {
        // A guest kernel fences with empty submissions, which every context takes.
        if stream.is_empty() { Ok(()) } else { Err(CommandError::NoCommands) }
    }

    fn claim(&mut self, claim: BlobClaim, services: &Services<'_>) -> Result<Object, CommandError> {
        if claim.blob_id == 0 { services.plain_memory(claim) } else { Err(CommandError::UnknownBlob(claim.blob_id)) }
    }

    fn answer_claim(&mut self, _: ClaimAnswer, _: &Services<'_>) {}

    fn resource_came(&mut self, _: u32, _: &mut Services<'_>) -> Result<(), CommandError> {
        Ok(())
    }

    fn resource_left(&mut self, _: u32) {}

    fn counts(&self) -> (u64, u64) {
        (0, 0)
    }

    fn object_count(&self) -> usize {
        0
    }
}

pub(super) struct Context {
    pub name: String,
    pub capset_id: u32,
    /// Whether the renderer draws for it.
    pub draws: bool,
    /// Whether a stream of it was refused, after which others often are too.
    pub refused: bool,
    pub protocol: Box<dyn Protocol>,
    pub account: Arc<Account>,
    pub attached: BTreeSet<u32>,
}

/// What the device lends a context while it works.
pub(super) struct Host<'a> {
    pub memory: &'a dyn GuestMemory,
    pub resolvers: &'a Resolvers,
    pub guest_pages: &'a GuestPages,
    pub renderer: Option<&'a dyn Renderer>,
    pub resources: &'a mut Resources,
    pub blob_alignment: u32,
}

/// What the commands of a context reach, apart from its own objects.
pub(super) struct Services<'a> {
    host: Host<'a>,
    attached: &'a BTreeSet<u32>,
    account: &'a Arc<Account>,
}

impl Services<'_> {
    /// The guest pages of a resource that is attached to the context.
    fn backing_of(&self, resource_id: u32) -> Result<&Backing, CommandError> {
        let why = "it is no guest blob attached to the context";
        let resource = self.host.resources.get(&resource_id).filter(|_| self.attached.contains(&resource_id));
        resource.and_then(|resource| resource.backing.as_ref()).ok_or(CommandError::State { resource_id, why })
    }

    /// The memory of a claim that names no object.
    fn plain_memory(&self, claim: BlobClaim) -> Result<Object, CommandError> {
        if claim.size == 0 {
            return Err(CommandError::Parameter { what: "blob size", value: 0 });
        }
        Object::make(self.host.resolvers.memory()?, &Parameters::Memory, claim.size, claim.flags, self.account)
    }

    /// The image that a claim allocates, whose layout was told before.
    fn claimed_image(
        &self,
        claim: BlobClaim,
        resolver: &dyn Resolver,
        request: &BufferRequest,
        layout: &Layout,
    ) -> Result<Object, CommandError> {
        let BlobClaim { blob_id, size, flags, .. } = claim;
        if !blob_holds(size, layout.size_bytes, self.host.blob_alignment) {
            return Err(CommandError::Claim { blob_id, what: "size", claimed: size, object: layout.size_bytes });
        }
        Object::make(resolver, &Parameters::Image { request, layout }, size, flags, self.account)
    }
}

/// A claim by RESOURCE_CREATE_BLOB.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlobClaim {
    /// The number that the blob gets.
    pub resource_id: u32,
    /// `BLOB_MEM_HOST3D*`.
    pub blob_mem: u32,
    pub blob_id: u64,
    pub size: u64,
    pub flags: u32,
}

impl Context {
    fn parts<'a>(&'a mut self, host: Host<'a>) -> (&'a mut dyn Protocol, Services<'a>) {
        (&mut *self.protocol, Services { host, attached: &self.attached, account: &self.account })
    }

    /// Executes a submission.
    pub fn submit(&mut self, commands: &[u8], host: Host<'_>) -> Result<(), CommandError> {
        let (protocol, mut services) = self.parts(host);
        protocol.submit(commands, &mut services)
    }

    /// The object that a claim names; mostly, id 0 is plain memory.
    pub fn claim(&mut self, claim: BlobClaim, host: Host<'_>) -> Result<Object, CommandError> {
        let (protocol, services) = self.parts(host);
        protocol.claim(claim, &services)
    }

    /// A resource comes to the context. Whether it was not there already: a renderer hears of it once, since virglrenderer 0.10 keeps a
    /// second attachment beyond the resource's end.
    pub fn attach(&mut self, resource_id: u32, host: Host<'_>) -> Result<bool, CommandError> {
        if self.attached.contains(&resource_id) {
            return Ok(false);
        }
        let (protocol, mut services) = self.parts(host);
        protocol.resource_came(resource_id, &mut services)?;
        Ok(self.attached.insert(resource_id))
    }

    /// Answers the command whose object was claimed, where it asked for that.
    pub fn answer_claim(&mut self, answer: ClaimAnswer, host: Host<'_>) {
        let (protocol, services) = self.parts(host);
        protocol.answer_claim(answer, &services);
    }

    /// A resource left the context: detached, or destroyed. Whether it was attached.
    pub fn detach(&mut self, resource_id: u32) -> bool {
        let was_there = self.attached.remove(&resource_id);
        if was_there {
            self.protocol.resource_left(resource_id);
        }
        was_there
    }
}
