//! [`Object`]: memory of a context that no blob has claimed yet.

use super::quota::Charge;
use super::resolver::Allocation;
use crate::wire::alloc::Backing;

/// Where a reply goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    pub sequence: u32,
    pub slot: u32,
}

/// Memory that its context named and that kernel and VMM do not know.
pub(super) struct Object {
    pub allocation: Allocation,
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
