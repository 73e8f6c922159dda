//! [`Refusal`]: why a descriptor gets no buffer.

use crate::device::NoDevice;
use crate::handle::BadHandle;
use crate::metadata::{MAX_RESERVED_BYTES, MetadataError};
use std::io;
use thiserror::Error;
use virgbm::guest;
use virgbm::usage::UnknownUsage;
use virgbm::wire::alloc::Status;
use virgbm::{RequestError, Unsupported};

/// A descriptor that gets no buffer: what was asked for, and what is missing.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum Refusal {
    #[error("{width}x{height} with {layers} layers: each must be at least 1")]
    Empty { width: i32, height: i32, layers: i32 },
    #[error("BLOB with a height of {0}: its width is its size in bytes, and its height 1")]
    BlobHeight(u32),
    #[error("a reserved region of {0} bytes: at least 0, and at most {MAX_RESERVED_BYTES}")]
    Reserved(i64),
    #[error("option {0} with value {1} is not known")]
    Option(String, i64),
    #[error("format {0:#x} is not one of the HAL's")]
    UnknownFormat(i32),
    #[error("{name} can't be made: {why}")]
    NoSuchFormat { name: &'static str, why: &'static str },
    #[error(transparent)]
    UnknownUsage(#[from] UnknownUsage),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    #[error("{name}: {source}")]
    Format { name: &'static str, source: Box<Refusal> },
    #[error(transparent)]
    Guest(#[from] guest::Error),
    #[error(transparent)]
    Handle(#[from] BadHandle),
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error("{bytes} bytes are more than the host lets this process have at all, which is {limit}")]
    BeyondQuota { bytes: u64, limit: u64 },
    #[error("an id: {0}")]
    Id(#[source] io::Error),
    #[error("no device: {0}")]
    NoDevice(#[from] NoDevice),
    #[error("{0} buffers at once: at least 1 and at most 1024")]
    Count(i32),
}

/// `AllocationError` of `IAllocator`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum AllocationError {
    /// The descriptor contradicts itself.
    BadDescriptor = 0,
    /// Not now.
    NoResources = 1,
    /// Never, on this host.
    Unsupported = 2,
}

impl Refusal {
    /// What `IAllocator` says for it.
    pub fn error(&self) -> AllocationError {
        match self {
            Self::Empty { .. } | Self::BlobHeight(_) | Self::Reserved(_) | Self::Count(_) => AllocationError::BadDescriptor,
            Self::Format { source, .. } => source.error(),
            Self::Handle(BadHandle::Layout(_)) => AllocationError::Unsupported,
            Self::Handle(_) | Self::Metadata(_) | Self::Id(_) | Self::NoDevice(_) => AllocationError::NoResources,
            Self::Guest(error) => of_guest(error),
            Self::Option(..) | Self::UnknownFormat(_) | Self::NoSuchFormat { .. } | Self::UnknownUsage(_) => {
                AllocationError::Unsupported
            }
            Self::Request(_) | Self::Unsupported(_) | Self::BeyondQuota { .. } => AllocationError::Unsupported,
        }
    }
}

fn of_guest(error: &guest::Error) -> AllocationError {
    use guest::Error as E;
    match error {
        E::Request(_) | E::Unsupported(_) | E::Layout(_) | E::BeyondHost { .. } | E::NoCpuAccess => AllocationError::Unsupported,
        E::Refused { status: Status::OutOfMemory | Status::Quota, .. } => AllocationError::NoResources,
        E::Refused { .. } | E::RefusedQuery { .. } => AllocationError::Unsupported,
        _ => AllocationError::NoResources,
    }
}
