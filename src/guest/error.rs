//! [`enum@Error`]: why the guest library could not do what was asked.

use super::node::NodeError;
use super::verdict::{BackendKind, Verdict};
use crate::wire::alloc::{Opcode, Status};
use crate::{Format, Layout, LayoutError, OfferError, RequestError, Unsupported, Usage};
use thiserror::Error;

/// Why something could not be done: what was asked, and what would help where that is known.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error("VIRGBM_BACKEND={name}: there are {}", BackendKind::ALL.map(BackendKind::name).join(", "))]
    UnknownBackend { name: String },
    #[error("no backend serves this node: {}", verdicts.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    NoBackend { verdicts: Vec<Verdict> },
    #[error("the host's capset {capset_id}: {source}")]
    Offer { capset_id: u32, source: OfferError },
    #[error("the host's capset {capset_id} has no format that can be sampled")]
    NoFormats { capset_id: u32 },
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error("the host refused {opcode:?}: {}{}", status.explain(), Detail(*detail))]
    Refused { opcode: Opcode, status: Status, detail: u32 },
    #[error("the host answered {opcode:?} with status {status}, which this version does not know")]
    UnknownStatus { opcode: Opcode, status: u32 },
    #[error("the host has not answered {opcode:?}, or is late with what came before")]
    Silent { opcode: Opcode },
    #[error(
        "the cross-domain host gives no image requirements for {format} {width}x{height} with usage {usage}: it tells no reason"
    )]
    RefusedQuery { format: Format, width: u32, height: u32, usage: Usage },
    #[error("the cross-domain host has not answered a query, or is late with the one before")]
    SilentQuery,
    #[error("the cross-domain host answers after no form of INIT")]
    NoQueryRing,
    #[error("the host reports a layout that does not hold: {source}")]
    HostLayout { source: LayoutError },
    #[error("the host made another layout than the one agreed on: {reported:?} instead of {agreed:?}")]
    OtherLayout { agreed: Box<Layout>, reported: Box<Layout> },
    #[error("the kernel made rows of {reported} bytes where {agreed} were agreed on")]
    OtherStride { agreed: u32, reported: u32 },
    #[error("{size_bytes} bytes are more than a resource of this host can hold")]
    BeyondHost { size_bytes: u64 },
    #[error("resource {resource_id} is plain memory: it has no layout, so it needs one with the import")]
    NoLayout { resource_id: u32 },
    #[error("a buffer of {found} bytes can't hold a layout of {needed}")]
    TooSmall { found: u64, needed: u64 },
    #[error("the buffer can't be mapped: ask for a CPU usage when it is made")]
    NotMappable,
    #[error("the host has neither a window nor takes guest memory, so the CPU can't reach its buffers")]
    NoCpuAccess,
    #[error("region {x},{y} {width}x{height} is not inside the buffer of {buffer_width}x{buffer_height}")]
    Region { x: u32, y: u32, width: u32, height: u32, buffer_width: u32, buffer_height: u32 },
    #[error("{length} bytes at {offset} are outside the mapping")]
    Range { offset: u64, length: u64 },
    #[error("the mapping is not for {0}")]
    Access(&'static str),
    #[error("a fence of the buffer: {0}")]
    NoFence(#[source] std::io::Error),
    #[error("a count of {0} buffers: at least 1 and at most 1024")]
    Count(usize),
}

/// The host's errno behind a status, where there is one.
struct Detail(u32);

impl std::fmt::Display for Detail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            0 => Ok(()),
            errno => write!(f, " ({})", std::io::Error::from_raw_os_error(errno as i32)),
        }
    }
}
