//! Replies: the ring in guest memory, and the status that each failure becomes.

use super::Services;
use crate::host::CommandError;
use crate::host::object::Ticket;
use crate::host::quota::QuotaExceeded;
use crate::host::resolver::{Allocation, ImageRefused, ResolveError};
use crate::wire::alloc::{self as wire, Backing, LayoutBody, Reply, ReplySlot, Status};
use crate::{Layout, LayoutError, RequestError, Unsupported};
use std::fmt;
use zerocopy::IntoBytes;

const SLOT_BYTES: u64 = size_of::<ReplySlot>() as u64;

/// What a command that worked tells.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::host) struct Answer {
    pub layout: Option<Layout>,
    pub backing: Option<Backing>,
    pub map_info: u32,
}

impl Answer {
    /// What is told of a new object.
    pub fn of(allocation: &Allocation, backing: Backing) -> Self {
        Self { layout: allocation.layout, backing: Some(backing), map_info: allocation.image.map_info() }
    }
}

/// What a command that failed tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure {
    status: Status,
    /// The host's errno, 0 where there is none.
    detail: u32,
}

impl Failure {
    fn with_errno(status: Status, error: &std::io::Error) -> Self {
        Self { status, detail: error.raw_os_error().unwrap_or(0) as u32 }
    }
}

/// The answer of a command whose object was claimed.
pub(in crate::host) struct ClaimAnswer {
    pub ticket: Ticket,
    pub result: Result<Answer, Status>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (detail {})", self.status.explain(), self.detail)
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self { status, detail: 0 }
    }
}

impl From<QuotaExceeded> for Failure {
    fn from(error: QuotaExceeded) -> Self {
        log::debug!("{error}");
        Status::Quota.into()
    }
}

impl From<ResolveError> for Failure {
    fn from(error: ResolveError) -> Self {
        log::debug!("{error}");
        match error {
            ResolveError::NoResolver(_) => Status::NoResolver.into(),
            ResolveError::Unsupported(unsupported) => match unsupported {
                Unsupported::Format { .. } => Status::Format.into(),
                Unsupported::Usage { .. } => Status::Usage.into(),
                Unsupported::Modifier { .. } => Status::NoCommonModifier.into(),
                Unsupported::Extent { .. } => Status::Extent.into(),
            },
            ResolveError::Layout(LayoutError::Request(request)) => match request {
                RequestError::Empty { .. } => Status::Extent.into(),
                RequestError::UnknownFormat(_) | RequestError::FlexibleFormat(_) => Status::Format.into(),
                RequestError::NoUsage
                | RequestError::UnknownUsage(_)
                | RequestError::ProtectedCpu(_)
                | RequestError::UsageOfFormat { .. } => Status::Usage.into(),
                RequestError::LinearWithoutLinear => Status::NoCommonModifier.into(),
                RequestError::TooManyModifiers(_) => Status::Malformed.into(),
            },
            ResolveError::Layout(LayoutError::Overflow { .. }) => Status::Extent.into(),
            ResolveError::Layout(_) => Status::Malformed.into(),
            ResolveError::Image(refused) => match refused {
                ImageRefused::Format(_) => Status::Format.into(),
                ImageRefused::Usage { .. } => Status::Usage.into(),
                ImageRefused::Modifier(_) => Status::NoCommonModifier.into(),
                ImageRefused::Limit { .. } => Status::Extent.into(),
                ImageRefused::Parameter { .. } | ImageRefused::Plane { .. } | ImageRefused::Descriptor(_) => {
                    Status::Malformed.into()
                }
                ImageRefused::Size { .. } => Status::SizeMismatch.into(),
            },
            ResolveError::Memory(error) => Self::with_errno(Status::OutOfMemory, &error.source),
            ResolveError::Driver(error) => Self::with_errno(Status::Host, &error),
        }
    }
}

/// The reply ring: slots in a guest blob.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ring {
    pub resource_id: u32,
    pub slot_count: u32,
    offset: u64,
}

impl Ring {
    /// The ring that INIT names, in pages of a resource attached to the context.
    pub fn new(init: &wire::Init, services: &Services<'_>) -> Result<Self, CommandError> {
        let resource_id = init.resource_id.get();
        let (slot_count, offset) = (init.slot_count.get(), init.offset.get());
        let backing = services.backing_of(resource_id)?;
        if slot_count == 0 || slot_count > wire::MAX_SLOTS {
            return Err(CommandError::Parameter { what: "slot count", value: slot_count.into() });
        }
        let length = u64::from(slot_count) * SLOT_BYTES;
        let size_bytes = backing.size_bytes();
        if !offset.is_multiple_of(SLOT_BYTES) || offset.checked_add(length).is_none_or(|end| end > size_bytes) {
            return Err(CommandError::Range { offset, length, size_bytes });
        }
        if !backing.is_divided_by(SLOT_BYTES) {
            return Err(CommandError::State { resource_id, why: "its pages split a reply slot" });
        }
        Ok(Self { resource_id, slot_count, offset })
    }

    /// Writes a slot, its status last. The guest may have taken its pages away: then there is nobody to tell.
    pub fn reply(self, ticket: Ticket, result: Result<Answer, Failure>, services: &Services<'_>) {
        if ticket.slot >= self.slot_count {
            return;
        }
        let (status, reply) = match result {
            Ok(answer) => (Status::Ok, success(answer)),
            Err(failure) => (failure.status, Reply { detail: failure.detail.into(), ..Reply::default() }),
        };
        let reply = Reply { sequence: ticket.sequence.into(), ..reply };
        let at = self.offset + u64::from(ticket.slot) * SLOT_BYTES;
        let memory = services.host.memory;
        let address = services.backing_of(self.resource_id).ok().and_then(|backing| backing.address_of(at, SLOT_BYTES));
        let written = address.map(|address| {
            let (_, after_status) = reply.as_bytes().split_at(size_of::<u32>());
            memory.write(address + size_of::<u32>() as u64, after_status)?;
            memory.store_release(address, status.number())
        });
        match written {
            Some(Ok(())) => {}
            Some(Err(error)) => log::debug!("reply slot {}: {error}", ticket.slot),
            None => log::debug!("reply slot {}: the ring is gone", ticket.slot),
        }
    }
}

fn success(answer: Answer) -> Reply {
    Reply {
        backing: answer.backing.map_or(0, Backing::number).into(),
        map_info: answer.map_info.into(),
        layout: answer.layout.as_ref().map(LayoutBody::from).unwrap_or_default(),
        ..Reply::default()
    }
}
