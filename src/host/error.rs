//! [`CommandError`]: why a control-queue command was refused.

use super::quota::QuotaExceeded;
use super::renderer::RenderError;
use super::{OutsideGuestMemory, ResolveError};
use crate::LayoutError;
use crate::wire::alloc::StreamError;
use crate::wire::cross_domain;
use crate::wire::virgl::CutShort;
use crate::wire::virtio_gpu::{Command, Reply};
use thiserror::Error;

/// Why a command was refused. The guest gets the number of [`CommandError::reply`]; the text is for the host's log.
#[derive(Debug, Error)]
#[allow(missing_docs, private_interfaces)]
pub enum CommandError {
    #[error("{0} bytes are no command")]
    NoHeader(usize),
    #[error("command {0:#x} is unknown")]
    UnknownCommand(u32),
    #[error("{0:?} is not offered by this device")]
    NotOffered(Command),
    #[error("{0} bytes are too short for the command's body")]
    Truncated(usize),
    #[error("ring {0} is out of range")]
    Ring(u8),
    #[error("context {0} does not exist")]
    UnknownContext(u32),
    #[error("context {0} exists already")]
    ContextInUse(u32),
    #[error("resource {0} does not exist")]
    UnknownResource(u32),
    #[error("resource {0} exists already, or is 0")]
    ResourceInUse(u32),
    #[error("scanout {0} does not exist")]
    UnknownScanout(u32),
    #[error("no EDID holds a screen of {width}x{height}")]
    NoEdid { width: u32, height: u32 },
    #[error("resource {resource_id} is not attached to context {ctx_id}")]
    NotAttached { resource_id: u32, ctx_id: u32 },
    #[error("{what} {value} is out of range")]
    Parameter { what: &'static str, value: u64 },
    #[error("resource {resource_id}: {why}")]
    State { resource_id: u32, why: &'static str },
    #[error("{length} bytes at {offset} are outside of {size_bytes}")]
    Range { offset: u64, length: u64, size_bytes: u64 },
    #[error("backing of {size_bytes} bytes where {needed_bytes} are needed")]
    BackingTooSmall { size_bytes: u64, needed_bytes: u64 },
    #[error("a context without a capset takes no commands")]
    NoCommands,
    #[error("blob id {0:#x} names no object of the context")]
    UnknownBlob(u64),
    #[error("the claim of blob {blob_id:#x} has {what} {claimed:#x}, the object has {object:#x}")]
    Claim { blob_id: u64, what: &'static str, claimed: u64, object: u64 },
    #[error("at most {limit} {what}")]
    TooMany { what: &'static str, limit: usize },
    #[error("the guest's memory at {address:#x} is no file")]
    NoFile { address: u64 },
    #[error(transparent)]
    GuestMemory(#[from] OutsideGuestMemory),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Quota(#[from] QuotaExceeded),
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error("the submission was refused whole: {0}")]
    Stream(#[from] StreamError),
    #[error(transparent)]
    CutShort(#[from] CutShort),
    #[error("cross-domain command {command} at byte {at} says that it has {size} bytes, where {left} are left")]
    CrossDomain { command: u8, at: usize, size: u16, left: usize },
    #[error("{0:?} needs a channel, and this host has none")]
    NoChannel(cross_domain::Command),
    #[error(transparent)]
    Renderer(#[from] RenderError),
    #[error("resource {resource_id} can't be used by context {ctx_id}: {why}")]
    Unusable { resource_id: u32, ctx_id: u32, why: String },
    #[error("the window: {0}")]
    Window(#[source] std::io::Error),
    #[error("the image: {0}")]
    Image(#[from] std::io::Error),
}

impl CommandError {
    /// The error's number in the device protocol.
    pub fn reply(&self) -> Reply {
        match self {
            Self::NoHeader(_)
            | Self::UnknownCommand(_)
            | Self::NotOffered(_)
            | Self::NoEdid { .. }
            | Self::Renderer(RenderError::Ended)
            | Self::Window(_)
            | Self::Image(_) => Reply::ErrUnspec,
            Self::UnknownContext(_) | Self::ContextInUse(_) => Reply::ErrInvalidContextId,
            Self::UnknownScanout(_) => Reply::ErrInvalidScanoutId,
            Self::UnknownResource(_) | Self::ResourceInUse(_) | Self::NotAttached { .. } | Self::Unusable { .. } => {
                Reply::ErrInvalidResourceId
            }
            Self::Quota(_) | Self::TooMany { .. } | Self::Resolve(ResolveError::Memory(_)) => Reply::ErrOutOfMemory,
            _ => Reply::ErrInvalidParameter,
        }
    }
}
