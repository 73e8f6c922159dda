//! [`Context`]: what one client of the guest has, and the protocol of its capset, one file each.

pub mod alloc;

use super::backing::Backing;
use super::object::Object;
use super::quota::Account;
use super::resolver::Resolvers;
use super::resource::Resources;
use super::{CommandError, GuestMemory};
use alloc::{AllocContext, ClaimAnswer};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The protocol that a context speaks.
pub(super) enum Protocol {
    /// None: contexts that a kernel makes for clients that never chose a capset. They can only have plain memory.
    None,
    Alloc(AllocContext),
}

pub(super) struct Context {
    pub name: String,
    pub capset_id: u32,
    pub protocol: Protocol,
    pub account: Arc<Account>,
    pub attached: BTreeSet<u32>,
}

/// What the device lends a context while it works.
pub(super) struct Host<'a> {
    pub memory: &'a dyn GuestMemory,
    pub resolvers: &'a Resolvers,
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
    fn backing_of(&self, resource_id: u32) -> Option<&Backing> {
        if !self.attached.contains(&resource_id) {
            return None;
        }
        self.host.resources.get(&resource_id)?.backing.as_ref()
    }
}

/// A claim by RESOURCE_CREATE_BLOB.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlobClaim {
    pub blob_id: u64,
    pub size: u64,
    pub flags: u32,
}

impl Context {
    fn parts<'a>(&'a mut self, host: Host<'a>) -> (&'a mut Protocol, Services<'a>) {
        (&mut self.protocol, Services { host, attached: &self.attached, account: &self.account })
    }

    /// Executes a submission.
    pub fn submit(&mut self, ctx_id: u32, commands: &[u8], host: Host<'_>) -> Result<(), CommandError> {
        let capset_id = self.capset_id;
        match self.parts(host) {
            (Protocol::Alloc(context), mut services) => context.submit(commands, &mut services),
            // A guest kernel fences with empty submissions, which every context takes.
            (Protocol::None, _) if commands.is_empty() => Ok(()),
            (Protocol::None, _) => Err(CommandError::NoCommands { ctx_id, capset_id }),
        }
    }

    /// Takes the object that a claim names out of the context; id 0 is plain memory.
    pub fn claim(&mut self, claim: BlobClaim, host: Host<'_>) -> Result<Object, CommandError> {
        match self.parts(host) {
            (_, services) if claim.blob_id == 0 => alloc::plain_memory(claim, &services),
            (Protocol::Alloc(context), services) => context.claim(claim, &services),
            (Protocol::None, _) => Err(CommandError::UnknownBlob(claim.blob_id)),
        }
    }

    /// Answers the command whose object was claimed, where it asked for that.
    pub fn answer_claim(&mut self, answer: ClaimAnswer, host: Host<'_>) {
        if let (Protocol::Alloc(context), services) = self.parts(host) {
            context.answer_claim(answer, &services);
        }
    }

    /// A resource left the context: detached, or destroyed. Whether it was attached.
    pub fn detach(&mut self, resource_id: u32) -> bool {
        if let Protocol::Alloc(context) = &mut self.protocol {
            context.resource_left(resource_id);
        }
        self.attached.remove(&resource_id)
    }

    /// The commands of its protocol, and how many of them were refused.
    pub fn counts(&self) -> (u64, u64) {
        match &self.protocol {
            Protocol::Alloc(context) => context.counts(),
            Protocol::None => (0, 0),
        }
    }

    /// How many objects no blob has claimed.
    pub fn object_count(&self) -> usize {
        match &self.protocol {
            Protocol::Alloc(context) => context.object_count(),
            Protocol::None => 0,
        }
    }
}
