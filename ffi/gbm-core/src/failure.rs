//! [`Failure`]: why a call across the C boundary failed, and the one table from that to errno.

use libc::{c_int, c_uint};
use rustix::io::Errno;
use thiserror::Error;
use virgbm::guest;
use virgbm::usage::UnknownUsage;
use virgbm::wire::alloc::Status;
use virgbm::{Format, LayoutError, Modifier, RequestError, Unsupported};

/// Why a call failed.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum Failure {
    #[error("{0} is null")]
    Null(&'static str),
    #[error("a modifier list and its count of {0} must both be there, or neither")]
    List(c_uint),
    #[error("LINEAR and a modifier list exclude each other: list LINEAR instead")]
    LinearWithList,
    #[error("CURSOR and RENDERING exclude each other: a cursor is drawn by the CPU")]
    RenderedCursor,
    #[error("{format} is not offered with any of {listed:?}; the host offers it with {offered:?}")]
    NoCommonModifier { format: Format, listed: Vec<Modifier>, offered: Vec<Modifier> },
    #[error(transparent)]
    Usage(#[from] UnknownUsage),
    #[error(transparent)]
    Guest(#[from] guest::Error),
    #[error("plane {plane} begins at byte {offset_bytes}, beyond the 32 bits that gbm has for it")]
    Offset { plane: usize, offset_bytes: u64 },
    #[error("plane {plane} of a buffer that has {count}")]
    Plane { plane: c_int, count: usize },
    #[error(
        "import type {0:#x}: only descriptors can be imported, GBM_BO_IMPORT_FD and GBM_BO_IMPORT_FD_MODIFIER of this flavour"
    )]
    ImportType(u32),
    #[error("{format} with modifier {modifier} has {expected} planes, the import has {found}")]
    ImportPlanes { format: Format, modifier: Modifier, found: usize, expected: usize },
    #[error("plane {plane} has stride {stride} and offset {offset}: neither can be negative")]
    Negative { plane: usize, stride: c_int, offset: c_int },
    #[error("descriptor {0} is not open")]
    Descriptor(c_int),
    #[error("plane {0} is in another buffer than plane 0: the planes of a virtio-gpu buffer are in one")]
    OtherBuffer(usize),
    #[error("the planes have the modifiers {0} and {1}: a buffer has one")]
    TwoModifiers(Modifier, Modifier),
    #[error("the buffer has no memory: it was made to be asked for its layout only")]
    NoMemory,
    #[error("transfer flags {0:#x}: READ (1), WRITE (2) or both")]
    Transfer(u32),
    #[error("modifier {0} does not lie in rows, and nobody here brings it into rows")]
    Tiled(Modifier),
    #[error("there is no combination {0}")]
    Behind(usize),
    #[error("this buffer has no mapping {0:#x}")]
    NotMapped(usize),
    #[error("{count} bytes are more than the {size_bytes} of the buffer")]
    TooLong { count: usize, size_bytes: u64 },
    #[error("only an EGL that draws to a surface fills it with buffers, and none has")]
    NoFrame,
    #[error("descriptor {0} is no device, or none of DRM where one is asked for")]
    NoDevice(c_int),
    #[error("{0:?} is no path of a DRM node")]
    NoNode(String),
    #[error("{path}: {}", std::io::Error::from_raw_os_error(*.errno))]
    Open { path: String, errno: c_int },
    #[error("no backend serves the device: {0}")]
    NoBackend(String),
    #[error("Mesa may make no buffer on this node, so that its EGL, which is on, can't draw to this one")]
    Undrawable,
    #[error("handed on to the next backend: {0}")]
    HandedOn(String),
    #[error("{0} is none of this library's")]
    Stranger(&'static str),
    #[error("the backend has no {0}")]
    Missing(&'static str),
    #[error("the backend says: {}", std::io::Error::from_raw_os_error(*.0))]
    Backend(c_int),
    #[error("a fault of this library: {0}")]
    Panic(String),
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        Self::Guest(error.into())
    }
}

impl From<Unsupported> for Failure {
    fn from(error: Unsupported) -> Self {
        Self::Guest(error.into())
    }
}

impl From<LayoutError> for Failure {
    fn from(error: LayoutError) -> Self {
        Self::Guest(error.into())
    }
}

impl Failure {
    /// The errno that C is told.
    ///
    /// | errno | when |
    /// |---|---|
    /// | EINVAL | an argument is null, zero, contradicts another, or is outside; the format is not offered for the usage |
    /// | ENOSYS | no listed modifier is offered; an import type, a transfer or a surface that does not exist here |
    /// | EBADF | a descriptor is closed |
    /// | EACCES | the CPU, or the EGL that is on, can't reach the buffer |
    /// | EOVERFLOW | sizes or offsets beyond what the API or the host can say |
    /// | ENOMEM | the host has no memory, or none left for this guest |
    /// | EPERM | the host does not permit it |
    /// | ETIMEDOUT | the host does not answer |
    /// | ENOENT | a list has ended |
    /// | ENODEV | nothing serves the device |
    /// | ENOTSUP | the device is left to the loader's next backend |
    /// | EPROTO | the host's answer does not hold |
    /// | EIO | the host failed; a fault of this library |
    ///
    /// What the kernel or a foreign backend refuses has their errno.
    pub fn errno(&self) -> c_int {
        let errno = match self {
            Self::Null(_)
            | Self::List(_)
            | Self::LinearWithList
            | Self::RenderedCursor
            | Self::Usage(_)
            | Self::Plane { .. }
            | Self::ImportPlanes { .. }
            | Self::Negative { .. }
            | Self::OtherBuffer(_)
            | Self::TwoModifiers(..)
            | Self::NoMemory
            | Self::Transfer(_)
            | Self::NotMapped(_)
            | Self::TooLong { .. }
            | Self::Stranger(_)
            | Self::NoDevice(_)
            | Self::NoNode(_) => Errno::INVAL,
            // Mir falls back to buffers without modifiers on this one only.
            Self::NoCommonModifier { .. } => Errno::NOSYS,
            Self::ImportType(_) | Self::Tiled(_) | Self::NoFrame | Self::Missing(_) => Errno::NOSYS,
            Self::Offset { .. } => Errno::OVERFLOW,
            Self::Behind(_) => Errno::NOENT,
            Self::Descriptor(_) => Errno::BADF,
            Self::NoBackend(_) => Errno::NODEV,
            Self::HandedOn(_) => Errno::NOTSUP,
            Self::Undrawable => Errno::ACCESS,
            Self::Guest(error) => return guest_errno(error),
            Self::Backend(errno) | Self::Open { errno, .. } => return *errno,
            Self::Panic(_) => Errno::IO,
        };
        errno.raw_os_error()
    }
}

fn guest_errno(error: &guest::Error) -> c_int {
    use guest::Error as E;
    let errno = match error {
        E::Unsupported(Unsupported::Modifier { .. }) => Errno::NOSYS,
        E::Layout(LayoutError::Overflow { .. }) | E::BeyondHost { .. } => Errno::OVERFLOW,
        E::Request(_) | E::Unsupported(_) | E::Layout(_) | E::Count(_) | E::UnknownBackend { .. } => Errno::INVAL,
        E::NoLayout { .. } | E::TooSmall { .. } | E::Region { .. } | E::Range { .. } | E::Access(_) => Errno::INVAL,
        E::NoBackend { .. } | E::Offer { .. } | E::NoFormats { .. } => Errno::NODEV,
        E::Refused { status, .. } => return status_errno(*status),
        E::RefusedQuery { .. } => Errno::INVAL,
        E::NotMappable | E::NoCpuAccess => Errno::ACCESS,
        E::Silent { .. } | E::SilentQuery | E::NoQueryRing => Errno::TIMEDOUT,
        E::UnknownStatus { .. } | E::HostLayout { .. } | E::OtherLayout { .. } | E::OtherStride { .. } => Errno::PROTO,
        E::Node(node) => return node.source.raw_os_error().unwrap_or(libc::EIO),
        E::NoFence(source) => return source.raw_os_error().unwrap_or(libc::EIO),
    };
    errno.raw_os_error()
}

fn status_errno(status: Status) -> c_int {
    let errno = match status {
        Status::Format | Status::Usage => Errno::INVAL,
        Status::NoCommonModifier => Errno::NOSYS,
        Status::Extent => Errno::OVERFLOW,
        Status::Quota | Status::OutOfMemory => Errno::NOMEM,
        Status::NotPermitted => Errno::PERM,
        Status::NoResolver => Errno::NODEV,
        Status::Malformed | Status::UnknownOpcode | Status::SizeMismatch | Status::FlagsMismatch => Errno::PROTO,
        Status::Ok | Status::IdInUse | Status::UnknownId | Status::Host => Errno::IO,
    };
    errno.raw_os_error()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_decide_by_has_the_errno_that_they_know() {
        let format = Format::XRGB8888;
        assert_eq!(Failure::NoCommonModifier { format, listed: Vec::new(), offered: Vec::new() }.errno(), libc::ENOSYS);
        assert_eq!(Failure::ImportType(0x5501).errno(), libc::ENOSYS);
        assert_eq!(Failure::from(RequestError::UnknownFormat(format)).errno(), libc::EINVAL);
        let refused = guest::Error::Refused { opcode: virgbm::wire::alloc::Opcode::AllocImage, status: Status::Quota, detail: 0 };
        assert_eq!(Failure::from(refused).errno(), libc::ENOMEM);
    }
}
