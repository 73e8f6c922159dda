//! [`Object`]: memory of a context that no blob has claimed yet.

use super::quota::{Account, Amount, Charge, QuotaExceeded};
use super::renderer::Rendered;
use super::resolver::{Allocation, Parameters, ResolveError, Resolver};
use crate::wire::alloc::Backing;
use std::sync::Arc;

/// The largest page of a guest kernel: how far it may round a blob's size up.
const LARGEST_GUEST_PAGE: u64 = 64 * 1024;

/// Where a reply goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    pub sequence: u32,
    pub slot: u32,
}

/// Memory that its context named and that kernel and VMM do not know.
pub(super) struct Object {
    pub allocation: Allocation,
    /// What the renderer has of it, where that made it.
    pub rendered: Option<Arc<dyn Rendered>>,
    /// What it is made of.
    pub backing: Backing,
    pub name: String,
    /// The size that the claim must have.
    pub blob_size: u64,
    /// The flags that the claim must have.
    pub blob_flags: u32,
    /// What the claim answers, where the command asked for that.
    pub at_claim: Option<Ticket>,
    pub charge: Charge,
}

impl Object {
    /// Makes an object: the quota first, then the memory, so that a refusal leaves nothing behind.
    pub fn make<E: From<QuotaExceeded> + From<ResolveError>>(
        resolver: &dyn Resolver,
        parameters: &Parameters<'_>,
        blob_size: u64,
        blob_flags: u32,
        account: &Arc<Account>,
    ) -> Result<Self, E> {
        let charge = account.charge(Amount { bytes: blob_size, objects: 1, fds: 1 })?;
        let allocation = resolver.allocate(parameters, blob_size)?;
        let backing = resolver.backing();
        Ok(Self { allocation, rendered: None, backing, name: String::new(), blob_size, blob_flags, at_claim: None, charge })
    }
}

/// Whether a blob is as large as its image, but for what the guest kernel rounds up.
pub(super) fn blob_holds(blob_size: u64, image_size: u64, blob_alignment: u32) -> bool {
    let aligned = image_size.checked_next_multiple_of(blob_alignment.into());
    aligned.and_then(|aligned| aligned.checked_add(LARGEST_GUEST_PAGE)).is_some_and(|end| (image_size..end).contains(&blob_size))
}
